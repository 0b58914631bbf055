"""What is almost right: valid input with some of it lost, doubled, moved, or something else in its place.

Random bytes are refused at the first of them. What finds mistakes is input that is wrong in one place, far inside, or
that has what is special to a format where nobody expects it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

COMMON = (
    *(
        b"",
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\x85",
        b"\xa0",
        b"\xff",
    ),
    *(b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc0\x80", b"\xf4\x90\x80\x80", "é".encode(), "😀".encode()),
    *(b"/", b"//", b"*", b"**", b"$", b"%", b"%2F", b"%00", b"%0d%0a", b"?", b"&", b"=", b"#", b":", b";", b",", b"."),
    *(b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b"<", b">", b"-", b"+", b"..", b"../"),
    *(b"0", b"-1", b"00", b"1e9", b"1_0", b"0x10", b"255", b"256", b"65535", b"65536", b"65537", b"2147483648"),
    *(b"9223372036854775808", b"18446744073709551616", b"9" * 40, b"NaN", b"Infinity", b"null", "٣".encode()),
    *(b"a" * 255, b"a" * 256, b"/a" * 128, b"[" * 600, b'{"a":' * 300),
)
"""What is special somewhere."""

Mutation = Callable[[st.DrawFn, bytes], bytes]


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes], special: Sequence[bytes] = (), most: int = 3) -> bytes:
    """What ``valid`` gives after up to ``most`` mutations, which may bring in what is ``special``."""
    data = draw(valid)
    for _ in range(draw(st.integers(0, most))):
        data = _KINDS[draw(st.integers(0, len(_KINDS) - 1))](draw, data)
        if len(special) > 0 and draw(st.booleans()):
            data = _put(draw, data, draw(st.sampled_from(special)))
    return data


def _place(draw: st.DrawFn, data: bytes) -> int:
    return draw(st.integers(0, len(data)))


def _span(draw: st.DrawFn, data: bytes) -> tuple[int, int]:
    begin = _place(draw, data)
    return begin, min(len(data), begin + draw(st.sampled_from((1, 1, 2, 4, 8, 32))))


def _put(draw: st.DrawFn, data: bytes, word: bytes) -> bytes:
    """Put ``word`` in, over what is there or before it."""
    begin, end = _span(draw, data)
    return data[:begin] + word + data[draw(st.sampled_from((begin, end))) :]


def _common(draw: st.DrawFn, data: bytes) -> bytes:
    return _put(draw, data, draw(st.sampled_from(COMMON)))


def _lost(draw: st.DrawFn, data: bytes) -> bytes:
    begin, end = _span(draw, data)
    return data[:begin] + data[end:]


def _doubled(draw: st.DrawFn, data: bytes) -> bytes:
    begin, end = _span(draw, data)
    return data[:end] + data[begin:end] * draw(st.sampled_from((1, 2, 50))) + data[end:]


def _moved(draw: st.DrawFn, data: bytes) -> bytes:
    begin, end = _span(draw, data)
    rest = data[:begin] + data[end:]
    place = _place(draw, rest)
    return rest[:place] + data[begin:end] + rest[place:]


def _cut_off(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def _one_bit(draw: st.DrawFn, data: bytes) -> bytes:
    if not data:
        return data
    place = draw(st.integers(0, len(data) - 1))
    return data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]


def _other_case(draw: st.DrawFn, data: bytes) -> bytes:
    begin, end = _span(draw, data)
    return data[:begin] + data[begin:end].swapcase() + data[end:]


_KINDS: Sequence[Mutation] = (_common, _common, _lost, _doubled, _moved, _cut_off, _one_bit, _other_case)
