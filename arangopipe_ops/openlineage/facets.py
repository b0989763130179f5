"""Our facet of OpenLineage: what a task of ours recorded, for those who know the graph."""

from typing import Any, ClassVar

import attr
from openlineage.client.facet_v2 import RunFacet

from arangopipe_ops import __version__


@attr.define
class ArangopipeMetadataRunFacet(RunFacet):
    """What a task recorded. `ArangopipeMetadataRunFacet.json`, beside this file, says what its parts are."""

    operator: str
    node: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    _additional_skip_redact: ClassVar[list[str]] = ["operator", "node"]

    def __attrs_post_init__(self) -> None:
        self._producer = f"pkg:pypi/arangopipe-ops@{__version__}"
        super().__attrs_post_init__()

    @staticmethod
    def _get_schema() -> str:
        return "urn:arangopipe:openlineage:ArangopipeMetadataRunFacet:1"
