"""From what each transport did to what is said about it: a table of faults, of which the first that applies is told.

Each takes the case and one held transport. The trap: a fault that explains another must come first, and a slow machine
is no fault: what is late is late mostly, not once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

from comet.commands.doctor.case import Case, Held
from comet.commands.doctor.findings import Finding, fault, fine, warning
from comet.commands.doctor.proxies import HAPROXY, proxies_of
from comet.commands.doctor.remedies import mend
from comet.commands.doctor.transports import BY_NAME
from comet.commands.doctor.verdicts import milliseconds

LATE = 0.1
"""Seconds by which a message may be late; nothing between a client and Comet has a reason to take longer."""

SLOW = 0.5
"""Seconds, beyond a round trip, that the first byte may take."""

GRACE = 2.0
"""Seconds that a heartbeat may take beyond the silence."""

HAPROXY_DELAY = (0.18, 0.26)
"""Between these the lateness of HAPROXY without ``http-no-delay`` lies: it is the kernel's 200 ms of TCP_CORK."""

Fault = Callable[[Case, Held], Finding | None]


def transport(case: Case, held: Held) -> Finding:
    """What is said about one transport."""
    found = (judge(case, held) for judge in FAULTS)
    finding = next((each for each in found if each is not None), None) or _works(held)
    return replace(finding, figures=_figures(held))


def not_opened(case: Case, held: Held) -> Finding | None:
    """What is said about a transport of which only the head is known: nothing, if it is as it should be."""
    return refused(case, held) or upgrade(case, held)


def _mend(case: Case, code: str) -> str:
    return mend(code, proxies_of(case.fields()))


def refused(_: Case, held: Held) -> Finding | None:
    """There is no such stream, or no answer."""
    answer = held.answer
    if answer.status in (101, 200) or (held.transport == "websocket" and _not_upgraded(held)):
        return None
    if not answer.status and held.ended:
        return fault(held.transport, "refused", answer.trouble, "look into the log of the proxy, and of the daemon")
    if not answer.status:
        return None  # see held_back
    says = f"refused: {answer.said()}"
    if answer.code():
        return fault(held.transport, "refused", f"{says}: {answer.detail()}", "see the reference of errors")
    return fault(
        held.transport,
        "refused",
        says,
        "the proxy says so, not Comet: look for a limit of connections (limit_conn, maxconn, worker_connections), a "
        "rule about paths, queries or methods, or a login",
    )


def _not_upgraded(held: Held) -> bool:
    answer = held.answer
    return answer.code() == "upgrade_required" or answer.status in (200, 400, 404, 405, 426, 501)


def upgrade(case: Case, held: Held) -> Finding | None:
    """A WebSocket that is none."""
    answer = held.answer
    if held.transport != "websocket" or not answer.status:
        return None
    if answer.status != 101:
        eaten = " (Comet was asked without 'Upgrade: websocket')" if answer.code() == "upgrade_required" else ""
        return fault(
            "websocket", "upgrade", f"the upgrade is not passed on: {answer.said()}{eaten}", _mend(case, "upgrade")
        )
    if not held.handshake:
        return fault("websocket", "upgrade", "101, but Sec-WebSocket-Accept is wrong", _mend(case, "upgrade"))
    return None


def changed_type(case: Case, held: Held) -> Finding | None:
    """A body that browsers would not read as what it is."""
    wanted = BY_NAME[held.transport].content_type
    has = held.answer.header("content-type")
    if not held.answer.status or has.lower().startswith(wanted):
        return None
    return fault(
        held.transport,
        "changed_type",
        f"Content-Type is {has or 'not there'}, not {wanted}",
        _mend(case, "changed_type"),
    )


def held_back(case: Case, held: Held) -> Finding | None:
    """Nothing comes, though it was sent."""
    if held.transport == "poll" or held.first is not None or held.ended:
        return None
    tried = case.experiment
    says = f"nothing came within {case.patience:.1f} s"
    if tried is not None and tried.plain:
        return fault(
            held.transport,
            "compressed",
            f"{says}; without compression it comes at once: what is compressed is collected first",
            _mend(case, "compressed"),
        )
    if tried is not None and tried.padded:
        says += (
            f"; of a stream with 64 KiB in front {tried.padded // 1024} KiB came: the proxy collects before it sends"
        )
    else:
        says += ", not even of a stream with 64 KiB in front: the proxy waits for the end of the answer"
    return fault(held.transport, "held_back", says, _mend(case, "held_back"))


def ended(_: Case, held: Held) -> Finding | None:
    """A stream that did not last."""
    if not held.ended:
        return None
    trouble = f" ({held.answer.trouble})" if held.answer.trouble else ""
    return fault(
        held.transport,
        "ended",
        f"the connection was closed though it was to be held{trouble}",
        "look into the log of the proxy: a limit of time or size, or a crash; and into the daemon's",
    )


def lost(case: Case, held: Held) -> Finding | None:
    """Messages that did not come."""
    missing = [late for late in (held.single, *held.row) if late is None]
    if not missing or (held.first is None and held.transport != "poll"):
        return None
    if held.transport == "poll":
        return fault(
            "poll",
            "lost",
            "a poll that is held is not answered when a message is published",
            "look into the log of the proxy: it may hold back requests for the same URL until the first is answered "
            "(nginx: proxy_cache_lock; Varnish: return (pass))",
        )
    encoding = _encoding(held)
    if encoding:
        return fault(
            held.transport,
            "compressed",
            f"{_missing(held)}; the answer is compressed ({encoding})",
            _mend(case, "compressed"),
        )
    return fault(
        held.transport,
        "held_back",
        f"the beginning came, but {_missing(held)}: the proxy collects before it sends",
        _mend(case, "held_back"),
    )


def _missing(held: Held) -> str:
    lates = (held.single, *held.row)
    missing = sum(1 for late in lates if late is None)
    return f"{missing} of {len(lates)} messages did not come"


def late(case: Case, held: Held) -> Finding | None:
    """Messages that come, but not when they are sent."""
    lates = [late for late in (held.single, *held.row) if late is not None]
    if not lates or median(lates) - case.round_trip < LATE:
        return None
    says = f"messages come {milliseconds(median(lates))} late, the first of them {milliseconds(lates[0])}"
    if held.row and held.clumps < len(held.row) - 1:
        says += f", {len(held.row)} in a row in {held.clumps} clump(s)"
    proxies = proxies_of(case.fields())
    if HAPROXY_DELAY[0] < lates[0] < HAPROXY_DELAY[1]:
        says += ": the 200 ms that HAProxy waits for more to send"
        proxies = (HAPROXY, *proxies)
    return fault(held.transport, "late", says, mend("late", dict.fromkeys(proxies)))


def clumped(case: Case, held: Held) -> Finding | None:
    """Messages that come several at a time."""
    if not held.row or held.clumps > len(held.row) // 2 or case.round_trip > LATE:
        return None
    return warning(
        held.transport,
        "clumped",
        f"{len(held.row)} messages, one every 50 ms, came in {held.clumps} clump(s)",
        _mend(case, "late"),
    )


def slow_start(case: Case, held: Held) -> Finding | None:
    """A beginning that takes its time."""
    if held.first is None or held.transport == "poll" or held.first - case.round_trip < SLOW:
        return None
    if held.first >= case.patience:
        return fault(
            held.transport,
            "held_back",
            f"nothing came within {case.patience:.1f} s, the beginning only with the first message",
            _mend(case, "held_back"),
        )
    return warning(
        held.transport,
        "late",
        f"the first byte takes {milliseconds(held.first)}, messages come in time",
        _mend(case, "late"),
    )


def compressed(case: Case, held: Held) -> Finding | None:
    """A stream that is compressed, though it comes."""
    encoding = _encoding(held)
    if held.transport == "sse" and case.experiment is not None:
        encoding = encoding or case.experiment.encoding
    if not encoding or held.transport == "poll":
        return None
    return warning(
        held.transport,
        "compressed",
        f"the stream is compressed ({encoding}), and comes in time nevertheless",
        _mend(case, "compressed"),
    )


def _encoding(held: Held) -> str:
    encoding = held.answer.header("content-encoding")
    return "" if encoding == "identity" else encoding


def headers(case: Case, held: Held) -> Finding | None:
    """A head without what Comet wrote into it."""
    if held.transport == "websocket" or "no-store" in held.answer.header("cache-control").lower():
        return None
    if not held.answer.status:
        return None
    has = held.answer.header("cache-control")
    return warning(
        held.transport,
        "headers",
        f"Cache-Control is {has!r}" if has else "Cache-Control was taken away",
        _mend(case, "headers"),
    )


def deaf(case: Case, held: Held) -> Finding | None:
    """A WebSocket that carries only one way."""
    if held.transport != "websocket" or held.ponged:
        return None
    return fault("websocket", "upgrade", "what the client sends does not arrive", _mend(case, "upgrade"))


FAULTS: tuple[Fault, ...] = (
    refused,
    upgrade,
    changed_type,
    held_back,
    ended,
    lost,
    late,
    slow_start,
    deaf,
    compressed,
    clumped,
    headers,
)


def _works(held: Held) -> Finding:
    parts = []
    if held.first is not None and held.transport != "poll":
        parts.append(f"first byte {milliseconds(held.first)}")
    if held.single is not None:
        parts.append(f"message {milliseconds(held.single)} late")
    if held.row:
        parts.append(f"{len(held.row)} in a row one by one" if held.clumps == len(held.row) else "in a row in time")
    return fine(held.transport, ", ".join(parts))


def _figures(held: Held) -> tuple[tuple[str, Any], ...]:
    """What a program may want to know of any transport."""
    answer = held.answer
    return (
        ("first", held.first),
        ("single", held.single),
        ("row", list(held.row)),
        ("clumps", held.clumps),
        ("answer", answer.status),
        ("content_type", answer.header("content-type")),
        ("content_encoding", answer.header("content-encoding")),
        ("transfer_encoding", answer.header("transfer-encoding")),
        ("cache_control", answer.header("cache-control")),
    )


# -- silence ----------------------------------------------------------------------------------------------------------


def idle(case: Case, held: Held) -> Finding | None:
    """What a transport does while nothing is published."""
    if held.idle is None:
        return None
    row, quiet = f"idle {held.transport}", held.idle
    beats = BY_NAME[held.transport].beats
    if quiet.status in (502, 504, 408):
        return fault(
            row,
            "idle_cut",
            f"after {quiet.watched:.1f} s without a byte the proxy answers {quiet.status}; a poll may be held "
            f"for {case.silence:g} s and more",
            _mend(case, "idle_cut"),
        )
    if quiet.cut is not None:
        return _cut(case, row, quiet.cut, beats or held.transport == "poll")
    if beats and quiet.quiet > case.silence + GRACE:
        return fault(
            row,
            "no_heartbeat",
            f"nothing came for {quiet.quiet:.1f} s; a heartbeat is due after {case.silence:g} s",
            _mend(case, "no_heartbeat"),
        )
    if beats and not quiet.beats:
        return fine(row, f"open after {quiet.watched:.1f} s; the heartbeat is due after {case.silence:g} s")
    said = f"{quiet.beats} heartbeat(s), the longest silence {quiet.quiet:.1f} s" if beats else "as it is to be"
    return fine(row, f"held for {quiet.watched:.1f} s, {said}", beats=quiet.beats, quiet=quiet.quiet)


def _cut(case: Case, row: str, cut: float, beats: bool) -> Finding:
    says = f"the connection was cut after {cut:.1f} s without a byte"
    if not beats:
        return warning(
            row,
            "idle_cut",
            f"{says}; this transport has no heartbeat once it has shown something",
            _mend(case, "idle_cut"),
        )
    compared = "shorter than" if cut < case.silence else "in spite of"
    return fault(row, "idle_cut", f"{says}, {compared} the silence of {case.silence:g} s", _mend(case, "idle_cut"))
