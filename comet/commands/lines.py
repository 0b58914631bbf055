"""Lines out of a stream that comes in pieces."""

from __future__ import annotations


class Lines:
    """Cuts a stream into lines, without their ends."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes."""
        first, *rest = data.split(b"\n")
        self._begun.append(first)
        if not rest:
            return []
        *between, last = rest
        lines = [b"".join(self._begun), *between]
        self._begun = [last]
        return lines

    def begun(self) -> bytes:
        """The line whose end has not come."""
        self._begun = [b"".join(self._begun)]
        return self._begun[0]
