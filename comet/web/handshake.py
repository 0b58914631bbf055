"""The handshake of a WebSocket (RFC 6455, section 4.2). The subprotocol ``comet.v1`` is answered if it is offered; no
extension is."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

from wsproto.utilities import generate_accept_token

from comet.audience import Interest, Subscription
from comet.config import Config
from comet.errors import BadRequest, UpgradeRequired, shown
from comet.router import Router
from comet.sockets import take_over
from comet.web.websocket import Acknowledge, Session
from comet.web.writer import make_writer

SUBPROTOCOL = b"comet.v1"

GOING_AWAY = b"\x88\x02\x03\xe9"
"""The close frame with 1001, made once for all."""


def wants_websocket(request: Any) -> bool:
    """Whether ``request`` asks for a WebSocket, however well."""
    return b"websocket" in _listed(request, b"upgrade")


def accept_websocket(
    request: Any, router: Router, config: Config, interest: Interest, acknowledge: Acknowledge | None = None
) -> Subscription:
    """Subscribe ``interest`` on a WebSocket, or raise a :exc:`~comet.errors.CometError` that the answer can tell."""
    accept = _accept_token(request)
    protocol = b""
    if SUBPROTOCOL in _listed(request, b"sec-websocket-protocol"):
        protocol = b"Sec-WebSocket-Protocol: %b\r\n" % SUBPROTOCOL
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, protocol)
    )
    router.check_room(request.holder)
    site = request.channel.site
    transport, ahead = request.channel.hand_over()
    writer = make_writer(transport, router, config)
    writer.address = request.channel.address
    watched = site.requests.watched(request, writer, "websocket", 101)
    writer.received = Session(writer, site, acknowledge).received
    writer.farewell = GOING_AWAY
    take_over(transport, watched)
    writer.subscription = subscription = router.subscribe(interest, writer, head, request.holder)
    if ahead:
        writer.dataReceived(ahead)
    return subscription


def _accept_token(request: Any) -> bytes:
    if not wants_websocket(request) or b"upgrade" not in _listed(request, b"connection"):
        raise _upgrade_required(request, "a WebSocket is asked for with 'Upgrade: websocket' and 'Connection: Upgrade'")
    if request.head.version != b"HTTP/1.1":
        raise _upgrade_required(request, "a WebSocket is asked for in HTTP/1.1")
    version = request.getHeader(b"sec-websocket-version")
    if version != b"13":
        raise _upgrade_required(
            request, f"Sec-WebSocket-Version={shown(version or b'')}: the version spoken here is 13"
        )
    keys = request.requestHeaders.getRawHeaders(b"sec-websocket-key", ())
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadRequest("Sec-WebSocket-Key is to be there once: 16 bytes in base64")
    return generate_accept_token(keys[0])


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _upgrade_required(request: Any, detail: str) -> UpgradeRequired:
    request.setHeader(b"upgrade", b"websocket")  # RFC 9110, section 15.5.22
    request.setHeader(b"sec-websocket-version", b"13")
    return UpgradeRequired(detail)


def _listed(request: Any, name: bytes) -> list[bytes]:
    """The elements, in lower case, of a header that is a list."""
    values = request.requestHeaders.getRawHeaders(name, ())
    return [element.strip().lower() for value in values for element in value.split(b",")]
