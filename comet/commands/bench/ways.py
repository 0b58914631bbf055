"""THE table of how the bench holds each transport: what it asks for, and how it finds what it looks for in the bytes.

Streams are asked for in HTTP/1.0, so that no proxy cuts them into chunks: the bytes that come are those of the framing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from comet.commands.bench.payload import Signs
from comet.sending.credentials import authorization, of_environment

_JSON = Signs(gap=b'"comet":"gap"', position=b'"id":"', ends=b"}\n")


class Way(NamedTuple):
    """A row of the table. ``wishes`` is added to the query, ``fields`` to the header; ``version`` is that of HTTP."""

    name: str
    signs: Signs
    wishes: str = ""
    version: str = "1.0"
    status: int = 200
    fields: Sequence[str] = ()

    def request(self, host: str, path: str, since: str) -> bytes:
        """Return the request for the topic at ``path``."""
        lines = (
            f"GET {path}?transport={self.name}&since={since}{self.wishes} HTTP/{self.version}",
            f"Host: {host}",
            *(f"{name}: {value}" for name, value in authorization(of_environment()).items()),
            *self.fields,
        )
        return "\r\n".join((*lines, "", "")).encode()


WAYS = {
    way.name: way
    for way in (
        Way("stream", _JSON),
        Way("sse", Signs(gap=_JSON.gap, position=b"id: ", ends=b"\n\n")),
        Way("poll", Signs(gap=b'"gap":{"since"', position=b"", ends=b"}"), version="1.1"),
        Way(
            "websocket",
            _JSON._replace(ends=b"}"),
            version="1.1",
            status=101,
            fields=(
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: Y29tZXQgYmVuY2hlcyBpdA==",
            ),
        ),
        Way("iframe", Signs(gap=rb"\"comet\":\"gap\"", position=rb"\"id\":\"", ends=b"</script>")),
        Way("mixed", Signs(gap=_JSON.gap, position=b"Comet-Id: ", ends=b"\r\n")),
        # An image wants the newest only; here each message is counted. The header that follows it is part of it.
        Way("multipart", Signs(gap=_JSON.gap, position=b"", ends=b"\r\n\r\n", late=True), wishes="&conflate=0"),
    )
}
