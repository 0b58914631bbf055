"""What the documentation shows: commands with their output, and programs, read from reStructuredText.

A command is a line ``$ command`` of a literal block; what follows up to the next one is its output, in which ``…``
stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_OPENING = re.compile(r"^( *)(?:\.\. code-block:: *(\S+)|(?!\.\. ).*::)$")


@dataclass(slots=True)
class Block:
    """A literal block: its language, empty if it has none, and where it begins."""

    language: str
    line: int
    lines: list[str]

    def text(self) -> str:
        """What stands in it."""
        return "\n".join(self.lines)


@dataclass(slots=True)
class Shown:
    """A command, and the output that is shown for it, if any."""

    command: str
    line: int
    output: list[str] = field(default_factory=list)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the literal blocks of ``page``."""
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        match = _OPENING.match(lines[number])
        number += 1
        if match is None:
            continue
        indent, begun = len(match[1]), number
        while number < len(lines) and (not lines[number] or _indent(lines[number]) > indent):
            number += 1
        found = [line for line in lines[begun:number] if not re.match(r" *:[a-z-]+:( |$)", line)]
        if any(found):
            least = min(_indent(line) for line in found if line)
            yield Block(
                match[2] or "",
                begun + 1 + next(number for number, line in enumerate(lines[begun:number]) if line),
                [line[least:] for line in _stripped(found)],
            )


def commands(block: Block) -> Iterator[Shown]:
    """Yield the commands of a block, if it has any."""
    shown: Shown | None = None
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            if shown is not None:
                yield shown
            shown = Shown(line[2:], number)
        elif shown is not None and shown.command.endswith("\\") and not shown.output:
            shown.command = f"{shown.command[:-1]}{line.strip()}"
        elif shown is not None and line:
            shown.output.append(line)
    if shown is not None:
        yield shown


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _stripped(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").split("\n")


_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9]+\b"), "POSITION"),
    (re.compile(r'"time":[0-9.]+'), '"time":TIME'),
    (re.compile(r'"stream":"[^"]+"'), '"stream":"STREAM"'),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9:]+)?"), "DATE"),
)


def unvarying(line: str) -> str:
    """``line`` without what is another at each run."""
    for pattern, name in _VARYING:
        line = pattern.sub(name, line)
    return line.rstrip()


def agrees(shown: list[str], printed: str) -> bool:
    """Whether what is shown is what was printed, apart from what varies, and from what an ``…`` stands for."""
    wanted = "\n".join(re.escape(unvarying(line)) for line in shown).replace(re.escape("…"), "(?s:.*)")
    return re.search(rf"(?m)^{wanted}$", "\n".join(map(unvarying, printed.splitlines()))) is not None
