"""WebSocket (RFC 6455), on wsproto."""

from __future__ import annotations

from typing import Any

from comet.audience import Interest
from comet.config import Config
from comet.errors import UpgradeRequired
from comet.router import Router


def wants_websocket(request: Any) -> bool:
    return False


def accept_websocket(request: Any, router: Router, config: Config, interest: Interest) -> None:
    raise UpgradeRequired("not yet")
