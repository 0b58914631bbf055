"""What is sent on a WebSocket: frames that say what clients say, in any number of fragments, and mutations of them."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from tests.fuzz.http_input import ADMIN, ALICE, handshake
from tests.fuzz.mutations import mutated

_SAID = (
    *(b'{"subscribe":["a/*"],"since":"first"}', b'{"unsubscribe":["a/*"]}', b'{"subscribe":["news"],"ref":1}'),
    *(b'{"publish":"news","data":{"bid":120},"ref":"r"}', b'{"publish":"news","data64":"AAEC","type":"image/png"}'),
    *(b'{"publish":"news/1","data":"hi","key":"k","ref":9}', b'{"publish":"$stats","data":1}', b'{"publish":1}'),
    *(b'{"ack":"5f0c1a2b-1","ref":2}', b'{"token":"a.b.c","ref":3}', b'{"token":""}', b"{}", b"[]", b"null", b""),
    *(b'{"token":"' + ALICE + b'","ref":4}', b'{"token":"' + ADMIN + b'"}'),
    *(b'{"subscribe":[]}', b'{"subscribe":["a","a"],"unsubscribe":["a"]}', b'{"ref":' + b"9" * 200 + b"}"),
)
_OPCODES = (1, 1, 1, 1, 0, 2, 3, 7, 8, 9, 10, 11, 15)
_CLOSES = (b"", b"\x03\xe8", b"\x03\xe8bye", b"\x03", b"\x03\xed", b"\x0f\xa0", b"\xff\xff", b"\x03\xe8\xff\xfe")


def frame(payload: bytes, opcode: int = 1, fin: bool = True, reserved: int = 0, mask: bytes | None = b"mask") -> bytes:
    """A frame of a client (RFC 6455, section 5.2)."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    masked = 0 if mask is None else 0x80
    size = len(payload)
    if size < 126:
        start = struct.pack("!BB", first, masked | size)
    elif size < 65_536:
        start = struct.pack("!BBH", first, masked | 126, size)
    else:
        start = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return start + payload
    return start + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    """One message, in one frame or in two, with another frame in between now and then."""
    opcode = draw(st.sampled_from(_OPCODES))
    payload = draw(st.sampled_from(_CLOSES) if opcode == 8 else mutated(st.sampled_from(_SAID), most=1))
    if draw(st.booleans()):
        mask = draw(st.sampled_from((b"mask", b"mask", b"mask", b"\0\0\0\0", None)))
        return frame(payload, opcode, True, draw(st.sampled_from((0, 0, 0, 0, 4, 2, 1))), mask)
    cut = draw(st.integers(0, len(payload)))
    between = draw(st.sampled_from((b"", frame(b"p", 9), frame(b"x" * 126, 9), frame(b"", 0, False), frame(b"a", 1))))
    return frame(payload[:cut], opcode, False) + between + frame(payload[cut:], 0)


_SPECIAL = (
    struct.pack("!BBQ", 0x81, 0xFF, 1 << 62),
    struct.pack("!BBQ", 0x81, 0xFF, (1 << 64) - 1),
    struct.pack("!BBH", 0x81, 0xFE, 5),
    frame(b"\xff\xfe", 1),
    frame(b"\xe2\x82", 1, False),
    frame(b"", 9) * 200,
    frame(b'{"publish":"news","data":1}') * 70,
    frame(b"", 0, False) * 100,
)

said = mutated(st.lists(_frames(), max_size=6).map(b"".join), _SPECIAL).map(lambda frames: handshake() + frames)
