"""From what was measured to what is said about the address, the daemon and what stands between: a table of functions.

Each takes the case and gives a finding, or None if its part was not measured. None of them looks at a network or a
clock. Pages, messages and streams have tables of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from comet.commands.doctor.case import Answer, Case
from comet.commands.doctor.findings import Finding, fault, fine, warning
from comet.commands.doctor.proxies import named, proxies_of
from comet.commands.doctor.remedies import mend

LAST_PART = 0.2
"""The part of a certificate's life in which it should have been renewed."""

_REFUSED_NAME = re.compile(r"does not answer to b?'([^']+)'")

Judge = Callable[[Case], Finding | None]


class Check(NamedTuple):
    """A row of a table."""

    row: str
    judge: Judge


def judged(checks: tuple[Check, ...], case: Case) -> list[Finding]:
    """The findings of ``checks``, without those whose part was not measured."""
    return [finding for check in checks if (finding := check.judge(case)) is not None]


def milliseconds(seconds: float) -> str:
    """A time as people write it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


# -- the way there ----------------------------------------------------------------------------------------------------


def redirect(case: Case) -> Finding | None:
    """The URL leads somewhere else."""
    if not case.moved:
        return None
    way = "; ".join(f"{source} leads to {goal} ({status})" for source, goal, status in case.moved)
    return warning(
        "redirect", "redirected", way, f"give clients {case.target.url()}: a WebSocket and a POST follow no redirect"
    )


def address(case: Case) -> Finding | None:
    """There is somebody."""
    reached = case.reached
    if reached is None:
        return None
    where = f"{reached.address} in {milliseconds(reached.seconds)}"
    if not reached.tls:
        return fine("address", where, seconds=reached.seconds)
    if reached.refused:
        return fault(
            "address", "certificate", f"{where}, {reached.tls}, but {reached.refused}", _trust(reached.refused)
        )
    if reached.days is not None and reached.days < reached.lifetime * LAST_PART:
        return warning(
            "address",
            "certificate_ends",
            f"{where}, {reached.tls}, the certificate ends in {reached.days:.1f} days",
            "renew the certificate",
        )
    return fine("address", f"{where}, {reached.tls}, the certificate is good", seconds=reached.seconds, tls=reached.tls)


def _trust(refused: str) -> str:
    said = refused.lower()
    if "expired" in said:
        return "renew the certificate, and have the proxy read it again"
    if "mismatch" in said or "not valid for" in said:
        return "use the name that is in the certificate, or have one made for this name"
    if "self-signed" in said or "self signed" in said:
        return "browsers will not go on: get a certificate from an authority; if it is your own, name it with --ca FILE"
    return (
        "if it is of a public authority, the proxy does not send the chain: use the file with the intermediate "
        "certificates (fullchain.pem); if it is your own, name it with --ca FILE"
    )


def protocol(case: Case) -> Finding | None:
    """Whether browsers get HTTP/2."""
    reached = case.reached
    if reached is None:
        return None
    if reached.http2 and proxies_of(case.fields())[:1] == ("Apache",):
        return warning(
            "protocol",
            "http1",
            "HTTP/2 is offered, but by Apache, which answers six held responses of a connection at a time",
            mend("http1", ("Apache",)),
        )
    if reached.http2:
        return fine("protocol", "HTTP/2 is offered to browsers")
    if not reached.tls and reached.loopback:
        return fine("protocol", "HTTP/1.1 without TLS, as it is on the loopback")
    if reached.tls:
        return warning("protocol", "http1", "HTTP/1.1 only", mend("http1", proxies_of(case.fields())))
    return warning("protocol", "http1", "HTTP/1.1 without TLS: anybody on the way can read it", mend("http1", ()))


# -- who answers ------------------------------------------------------------------------------------------------------


def comet(case: Case) -> Finding | None:
    """Whether it is Comet that answers."""
    answer = case.poll
    if answer is None:
        return None
    if answer.is_poll():
        return _is_comet(case)
    for judge in (_refused_host, _down, _draining, _elsewhere, _not_http):
        finding = judge(case, answer)
        if finding is not None:
            return finding
    return _no_comet(case, answer)


def _is_comet(case: Case) -> Finding:
    version = "" if case.stats is None else str(case.stats.members().get("version", ""))
    proxies = proxies_of(case.fields())
    between = f", behind {between}" if (between := named(case.fields())) else ""
    says = f"Comet {version}".strip() + f" answers in {milliseconds(case.round_trip)}{between}"
    if version and case.own_version and version != case.own_version:
        return warning(
            "comet",
            "versions",
            f"{says}; this command is of {case.own_version}",
            "restart the daemon after an upgrade, or use the comet of the daemon's own environment",
        )
    return fine("comet", says, round_trip=case.round_trip, version=version, proxies=list(proxies))


def _refused_host(case: Case, answer: Answer) -> Finding | None:
    if answer.code() != "host_refused":
        return None
    found = _REFUSED_NAME.search(answer.detail())
    name = found[1] if found else case.target.name()
    changed = "" if name == case.target.name() else f", which is what {_who(case)} makes of {case.target.name()}"
    return fault(
        "comet",
        "host_refused",
        f"the daemon is on the loopback and does not answer to the name {name}{changed} ({answer.said()})",
        f"start the daemon with --host {name} (without it any site could have a name lead to the loopback)",
    )


def _down(case: Case, answer: Answer) -> Finding | None:
    if answer.status not in (502, 503, 504) or answer.code():
        return None
    return fault(
        "comet",
        "daemon_down",
        f"{_who(case)} is there, but Comet behind it is not: {answer.said()}",
        mend("daemon_down", proxies_of(case.fields())),
    )


def _draining(_: Case, answer: Answer) -> Finding | None:
    if answer.code() != "draining":
        return None
    return fault("comet", "draining", "the daemon is shutting down", "wait for it, or start it again")


def _elsewhere(case: Case, answer: Answer) -> Finding | None:
    base = case.target.base
    if answer.code() == "not_found" and base:
        return fault(
            "comet",
            "wrong_prefix",
            f"Comet answers, but is asked for {base}/…: the prefix {base} comes through to it ({answer.said()})",
            mend("wrong_prefix", proxies_of(case.fields())).replace("/push/", f"{base}/"),
        )
    if case.rootward:
        return fault(
            "comet",
            "wrong_address",
            f"Comet is not at {case.target.url()}, but at {case.rootward}",
            f"use {case.rootward}, in this command and in clients",
        )
    return None


def _not_http(_: Case, answer: Answer) -> Finding | None:
    if answer.status == 400 and b"HTTPS port" in answer.body:
        return fault("comet", "wrong_address", "that port speaks TLS", "write https:// in the URL")
    if answer.status:
        return None
    return fault(
        "comet",
        "not_comet",
        f"it takes the connection, but: {answer.said()}",
        "Comet's HTTP port is 7080 by default, and 7081 the one for publishers; a port of TLS wants https://; and a "
        "proxy that waits for a daemon which hangs looks like this, too",
    )


def _no_comet(case: Case, answer: Answer) -> Finding:
    detail = f": {answer.detail()}" if answer.code() else ""
    if answer.status in (401, 403, 407):
        hint = f"let this path through in {_who(case)}, or put name:password@ into the URL"
    elif answer.code():
        hint = "the daemon says why; see the reference of errors"
    else:
        hint = f"another server answers there: have {_who(case)} pass {case.target.base}/ on to Comet's HTTP port"
    return fault("comet", "not_comet", f"no Comet answers there: {answer.said()}{detail}", hint)


def _who(case: Case) -> str:
    return " and ".join(proxies_of(case.fields())) or "the proxy"


def ready(case: Case) -> Finding | None:
    """``/readyz``, for balancers."""
    if case.ready is None:
        return None
    if case.ready.status == 200 and case.ready.members().get("status") == "ok":
        return fine("ready", "/readyz says that it takes messages")
    return warning(
        "ready",
        "not_ready",
        f"/readyz answers {case.ready.said()}",
        "let /readyz through to Comet: a balancer and 'comet health' ask there whether it takes messages",
    )


def kept(case: Case) -> Finding | None:
    """Whether connections are kept."""
    if case.requests < 2:
        return None
    if case.connections < case.requests:
        return fine("keep-alive", f"{case.requests} requests took {case.connections} connection(s)")
    return warning(
        "keep-alive",
        "keep_alive",
        "the connection is closed after each answer",
        mend("keep_alive", proxies_of(case.fields())),
    )


def exposed(case: Case) -> Finding | None:
    """Whether everybody can read the figures."""
    if case.stats is None or case.metrics is None or case.reached is None:
        return None
    open_ = [
        path
        for path, answer, mark in (("/stats", case.stats, b'"epoch"'), ("/metrics", case.metrics, b"comet_"))
        if answer.status == 200 and mark in answer.body
    ]
    if not open_:
        return fine("figures", "/stats and /metrics are not to be had through this URL")
    if case.reached.loopback:
        return fine("figures", f"{' and '.join(open_)} can be read")
    return warning(
        "figures",
        "exposed",
        f"{' and '.join(open_)} can be read by everybody: topics, addresses, rates",
        mend("exposed", proxies_of(case.fields())),
    )


WAY = (Check("redirect", redirect), Check("address", address))
DAEMON = (
    Check("comet", comet),
    Check("protocol", protocol),
    Check("ready", ready),
    Check("keep-alive", kept),
    Check("figures", exposed),
)
