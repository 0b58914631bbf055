"""What ``comet log verify`` has found."""

from __future__ import annotations

from msgspec import Struct, field

from comet.commands.amounts import size

LISTED = 100
"""Faults that are said each; the others are counted."""


class Verdict(Struct, kw_only=True):
    """What is in a file, and what is wrong with it. ``first`` and ``last`` are the positions of its messages."""

    file: str
    good: bool = True
    epoch: str = ""
    messages: int = 0
    topics: int = 0
    blocks: int = 0
    bytes: int = 0
    first: str | None = None
    last: str | None = None
    faults: list[str] = field(default_factory=list)
    more_faults: int = 0

    def fault(self, text: str) -> None:
        """Something is wrong."""
        self.good = False
        if len(self.faults) < LISTED:
            self.faults.append(text)
        else:
            self.more_faults += 1

    def lines(self) -> list[str]:
        """It in words."""
        where = f", {self.first} to {self.last}" if self.first else ""
        count = f"{counted(self.messages, 'message')} of {counted(self.topics, 'topic')}"
        found = f"{count} in {counted(self.blocks, 'block')}, {size(self.bytes)}{where}"
        if self.good:
            return [f"{self.file} is good: {found}"]
        more = [f"… and {self.more_faults:,} more"] * bool(self.more_faults)
        return [f"{self.file} is damaged: {found} can be read", *(f"  {each}" for each in (*self.faults, *more))]


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count:,} {noun}{'s' * (count != 1)}" if count else f"no {noun}s"
