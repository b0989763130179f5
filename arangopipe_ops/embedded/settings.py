"""What clients may set on a server: kept while the process runs, and otherwise without effect here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LOG_TOPICS = (
    *("agency", "authentication", "authorization", "aql", "engines", "general", "queries", "requests", "security"),
    *("startup", "statistics", "threads", "trx", "v8", "views"),
)
LEVELS = ("FATAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE")
DEFAULT_LEVEL = "INFO"


def _default_levels() -> dict[str, str]:
    return dict.fromkeys(LOG_TOPICS, DEFAULT_LEVEL)


@dataclass(slots=True)
class Settings:
    log_levels: dict[str, str] = field(default_factory=_default_levels)
    structured: dict[str, Any] = field(default_factory=dict)

    def reset_log_levels(self) -> None:
        self.log_levels = _default_levels()
