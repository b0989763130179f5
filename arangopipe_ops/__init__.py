"""ML metadata as a first-class part of the pipeline, in one graph in ArangoDB.

    from arangopipe_ops import Store, connect, stages

    store = Store(connect())
    wine = store.write(stages.register_dataset("wine", uri="s3://lake/wine.parquet"))

The names below are loaded on first use, because orchestrators import this package in every process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arangopipe_ops import errors, model, stages
    from arangopipe_ops.connection import connect
    from arangopipe_ops.model import Stage
    from arangopipe_ops.store import Store, current_run

__version__ = "0.1.0"
__all__ = ["Stage", "Store", "connect", "current_run", "errors", "model", "stages"]

_HOMES = {"connect": "connection", "Store": "store", "current_run": "store", "Stage": "model"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES.get(name, name)}")
    return getattr(home, name) if name in _HOMES else home


def __dir__() -> list[str]:
    return __all__
