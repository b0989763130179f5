"""The transport for openlineage-python: what a tool tells of its jobs goes into the graph."""

import logging
from typing import TYPE_CHECKING, Any

import attr
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from arangopipe_ops.connection import connect
from arangopipe_ops.errors import ArangopipeError
from arangopipe_ops.openlineage import record
from arangopipe_ops.store import Store

if TYPE_CHECKING:
    from openlineage.client.client import Event

SECONDS = 10.0

_log = logging.getLogger(__name__)


@attr.define
class ArangopipeConfig(Config):
    """`url` as `arangopipe_ops.connect` takes it (ARANGOPIPE_URL if it is None), `timeout` in seconds."""

    url: str | None = None
    timeout: float = SECONDS

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> "ArangopipeConfig":
        return cls(params.get("url"), float(params.get("timeout", SECONDS)))


class ArangopipeTransport(Transport):
    """Writes events into the graph. One that cannot be written is logged: a job does not fail for its metadata.

    In openlineage.yml, `transport: {type: arangopipe_ops.openlineage.transport.ArangopipeTransport}`.
    """

    kind = "arangopipe"
    config_class = ArangopipeConfig

    def __init__(self, config: ArangopipeConfig) -> None:
        self.config = config
        self._store: Store | None = None

    def emit(self, event: "Event") -> None:
        try:
            record(self._opened(), [Serde.to_dict(event)])
        except ArangopipeError as error:
            _log.warning("an OpenLineage event was not recorded: %s", error)

    def _opened(self) -> Store:
        if self._store is None:
            database = connect(self.config.url, timeout=self.config.timeout)
            self._store = Store(database, provenance={"through": "openlineage"}, patience=self.config.timeout)
        return self._store
