"""What is printed: a line for each check as it is made, then what to do, in the order of weight; or JSON.

On a terminal the status has a colour, unless NO_COLOR is set (https://no-color.org), and what is going on stands in a
line that the next one replaces. What comes from a header field may hold anything: nothing that a terminal obeys gets
through.
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import Protocol, TextIO

from comet.commands.doctor.findings import Finding, Status, advice
from comet.commands.terminal import cut, is_terminal, printable

WIDTH = 14
_COLOURS = {Status.OK: "32", Status.WARN: "33", Status.BAD: "31"}


class Report(Protocol):
    """Takes the findings one by one."""

    def progress(self, text: str) -> None:
        """Something takes a while."""

    def tell(self, finding: Finding) -> None:
        """Something was found out."""

    def conclude(self, findings: Sequence[Finding], code: int) -> None:
        """That is all; ``code`` is the exit code."""


class Words:
    """For people."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = is_terminal(stream)
        self._coloured = self._terminal and not os.environ.get("NO_COLOR")
        self._columns = shutil.get_terminal_size().columns - 1 if self._terminal else 0

    def progress(self, text: str) -> None:
        """See :class:`Report`."""
        if self._terminal:
            self._write(f"\r{cut(f'  … {text}', self._columns)}\x1b[K")

    def tell(self, finding: Finding) -> None:
        """See :class:`Report`."""
        status = f"{finding.status.value:<4}"
        if self._coloured:
            status = f"\x1b[{_COLOURS[finding.status]}m{status}\x1b[0m"
        self._clear()
        lines = self._wrapped(finding.says, WIDTH + 10)
        self._write(f"  {finding.row:<{WIDTH}}  {status}  {lines[0]}\n")
        for line in lines[1:]:
            self._write(f"{'':{WIDTH + 10}}{line}\n")

    def conclude(self, findings: Sequence[Finding], code: int) -> None:
        """See :class:`Report`."""
        del code
        self._clear()
        things = advice(findings)
        if not things:
            self._write("\nAll is well.\n")
            return
        self._write("\nWhat to do, the most important first:\n")
        for number, thing in enumerate(things, 1):
            first, *further = self._wrapped(f"{', '.join(thing.rows)} ({thing.status.value}: {thing.code})", 7)
            self._write("".join((f"\n{number:>3}. {first}\n", *(f"     {line}\n" for line in further))))
            for line in thing.mend.split("\n"):
                for piece in self._wrapped(line, 7):
                    self._write(f"     {piece}\n")

    def _clear(self) -> None:
        if self._terminal:
            self._write("\r\x1b[K")

    def _wrapped(self, text: str, indent: int) -> list[str]:
        text = printable(text)
        if not self._terminal:
            return [text]
        return textwrap.wrap(text, max(30, self._columns - indent), break_on_hyphens=False) or [""]

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _rounded(value: object) -> object:
    """Seconds as microseconds tell them."""
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


class Objects:
    """For programs: an object a line; the last has the exit code and what to do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def progress(self, text: str) -> None:
        """See :class:`Report`."""

    def tell(self, finding: Finding) -> None:
        """See :class:`Report`."""
        told = {"check": finding.row, "status": finding.status.value, "says": finding.says}
        fault = {"code": finding.code, "mend": finding.mend} if finding.code else {}
        self._write({**told, **fault, **{name: _rounded(value) for name, value in finding.figures}})

    def conclude(self, findings: Sequence[Finding], code: int) -> None:
        """See :class:`Report`."""
        todo = [
            {"code": thing.code, "status": thing.status.value, "checks": thing.rows, "mend": thing.mend}
            for thing in advice(findings)
        ]
        self._write({"exit": code, "todo": todo})

    def _write(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), file=self._stream, flush=True)
