"""What is kept between requests for whoever asked for it, and for so long: cursors and dumps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .request import Request


@dataclass(slots=True, kw_only=True)
class Held:
    """Gone once `expires` (monotonic seconds) is over."""

    owner: tuple[str, str]
    """Database and user."""
    seconds: float
    expires: float = field(default=0.0, init=False)

    def touch(self) -> None:
        self.expires = time.monotonic() + self.seconds


def owner_of(request: Request) -> tuple[str, str]:
    return request.database, request.user.name


def find(held: dict[str, Any], number: str, request: Request) -> Any:
    """What has this number, None if that is somebody else's or over."""
    found = held.get(number)
    return None if found is None or found.owner != owner_of(request) or found.expires < time.monotonic() else found


def forget_expired(held: dict[str, Any]) -> None:
    now = time.monotonic()
    for number, each in list(held.items()):
        if each.expires < now:
            held.pop(number, None)
