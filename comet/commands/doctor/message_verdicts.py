"""From what was measured to what is said about pages, and about messages as far as they need no stream."""

from __future__ import annotations

from comet.commands.doctor.case import Case
from comet.commands.doctor.findings import Finding, fault, fine, warning
from comet.commands.doctor.proxies import proxies_of
from comet.commands.doctor.remedies import mend
from comet.commands.doctor.verdicts import Check, milliseconds

SKEW = 2.0
"""Seconds by which two clocks may differ."""


# -- pages ------------------------------------------------------------------------------------------------------------


def same_origin(case: Case) -> Finding | None:
    """A page that comes through this very URL."""
    answer = case.same_origin
    if answer is None:
        return None
    if answer.is_poll():
        return fine("own pages", f"pages of {case.target.origin()} may use it")
    return warning(
        "own pages",
        "origin",
        f"a page of {case.target.origin()} is refused ({answer.code() or answer.said()}): Comet is asked under another "
        "Host than the browser shows",
        mend("origin", proxies_of(case.fields()), ORIGIN=case.target.origin()),
    )


def cross_origin(case: Case) -> Finding | None:
    """The page of another origin, with ``--origin``."""
    answer = case.cross_origin
    if answer is None:
        return None
    allowed = answer.header("access-control-allow-origin")
    if answer.code() == "origin_refused":
        return fault(
            "origin",
            "origin",
            f"pages of {case.origin} are refused (403)",
            f"start the daemon with --origin {case.origin}",
        )
    if "," in allowed:
        return fault(
            "origin",
            "origin",
            f"Access-Control-Allow-Origin is there twice ({allowed}): browsers then refuse the answer",
            "Comet says it already: take it out of the proxy (nginx: add_header Access-Control-Allow-Origin)",
        )
    if allowed not in (case.origin, "*"):
        return fault(
            "origin",
            "origin",
            f"pages of {case.origin} may not read the answer: Access-Control-Allow-Origin is {allowed or 'not there'}",
            f"start the daemon with --origin {case.origin}, and leave its Access-Control-* header fields as they are",
        )
    return _preflight(case)


def _preflight(case: Case) -> Finding:
    preflight = case.preflight
    if preflight is not None and "POST" not in preflight.header("access-control-allow-methods"):
        return fault(
            "origin",
            "origin",
            f"pages of {case.origin} may read but not publish: OPTIONS is answered by {preflight.said()}",
            "let OPTIONS through to Comet, with Origin and Access-Control-Request-Method",
        )
    return fine("origin", f"pages of {case.origin} may use it")


# -- messages ----------------------------------------------------------------------------------------


def published(case: Case) -> Finding | None:
    """Whether a message can be published."""
    if case.published is None:
        return None
    if case.published.refused:
        return fault(
            "publish",
            "cannot_publish",
            f"{case.published.way} is refused: {case.published.refused}",
            "nothing could be measured without a message. If the public URL is not to publish, say where else: "
            "--server HOST:7081, or --publish-url URL",
        )
    if case.polled_fresh is not None and case.polled_fresh.is_poll() and not case.arrived:
        return fault(
            "publish",
            "lost",
            f"{case.published.way}: stored, but a poll through the URL does not have it: another daemon answers there",
            "publishers and subscribers have to meet in one daemon: name one in the proxy, not several, and see that "
            "--server or --publish-url means the same",
        )
    seconds = case.published.stored_at - case.published.sent_at
    return fine("publish", f"{case.published.way}: stored in {milliseconds(seconds)}", seconds=seconds)


def cached(case: Case) -> Finding | None:
    """Whether somebody stores answers."""
    if case.polled_again is None or case.poll is None or not case.held:
        return None
    streams = [held.stream for held in case.held if held.transport == "sse" and held.stream]
    again = case.polled_again
    marks = [(name, again.header(name.lower())) for name in ("X-Cache", "X-Cache-Status", "Age")]
    said = [f"{name}: {value}" for name, value in marks if value not in ("", "0")]
    proof = ""
    if again.status == 200 and again.body == case.poll.body and case.arrived:
        proof = "an old answer came instead of a new one"
    elif case.twin and case.twin in streams:
        proof = "two clients that asked for the same were given one and the same stream"
    if not proof:
        return fine("cache", "nobody stores the answers")
    return fault("cache", "cached", ", ".join((proof, *said)), mend("cached", proxies_of(case.fields())))


def clock(case: Case) -> Finding | None:
    """Whether this machine and the daemon's agree on the time."""
    if case.skew is None:
        return None
    if abs(case.skew) < SKEW:
        return fine("clock", "the daemon's clock and this one agree", skew=round(case.skew, 3))
    way = "ahead of" if case.skew > 0 else "behind"
    return warning(
        "clock",
        "clock",
        f"the daemon's clock is {abs(case.skew):.1f} s {way} this one",
        "set both by NTP (timedatectl set-ntp true): tokens and the times of messages go by them",
    )


PAGES = (Check("own pages", same_origin), Check("origin", cross_origin))
PUBLISHED = (Check("publish", published),)
MESSAGES = (Check("cache", cached), Check("clock", clock))
