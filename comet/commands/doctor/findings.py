"""Findings: what a check comes to, in words, and what to do first.

A finding has a row (what was looked at), a status, and if it is a fault a code, which programs go by. ``ORDER`` is the
order of weight: what stands further up explains what stands further down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

ORDER = (
    "unreachable",
    "certificate",
    "host_refused",
    "daemon_down",
    "wrong_prefix",
    "wrong_address",
    "not_comet",
    "draining",
    "cannot_publish",
    "refused",
    "cached",
    "held_back",
    "compressed",
    "ended",
    "lost",
    "idle_cut",
    "no_heartbeat",
    "upgrade",
    "late",
    "clumped",
    "changed_type",
    "clash",
    "descriptors",
    "origin",
    "headers",
    "redirected",
    "not_ready",
    "exposed",
    "http1",
    "keep_alive",
    "versions",
    "clock",
    "certificate_ends",
)
"""The codes of the faults, the weightiest in front."""


class Status(Enum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of ``row``. ``code`` and ``mend`` are empty if all is well; ``figures`` are for programs."""

    row: str
    status: Status
    says: str
    code: str = ""
    mend: str = ""
    figures: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do: findings of one code and one remedy."""

    code: str
    status: Status
    rows: tuple[str, ...]
    mend: str


def fine(row: str, says: str, /, **figures: Any) -> Finding:
    """All is well."""
    return Finding(row, Status.OK, says, figures=tuple(figures.items()))


def warning(row: str, code: str, says: str, mend: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(row, Status.WARN, says, code, mend)


def fault(row: str, code: str, says: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(row, Status.BAD, says, code, mend)


def advice(findings: Iterable[Finding]) -> list[Advice]:
    """What to do, in the order of weight: faults first; what has the same remedy is one."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.code:
            groups.setdefault((finding.code, finding.mend), []).append(finding)
    return sorted(map(_advice, groups.values()), key=lambda each: (each.status is Status.WARN, ORDER.index(each.code)))


def _advice(group: Sequence[Finding]) -> Advice:
    status = Status.BAD if any(each.status is Status.BAD for each in group) else Status.WARN
    return Advice(group[0].code, status, tuple(dict.fromkeys(each.row for each in group)), group[0].mend)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 if all is well, warnings allowed; 1 if something is bad."""
    return int(any(finding.status is Status.BAD for finding in findings))
