"""The examination, step by step: each step measures something, and what is said about it is told before the next.

Every step is bounded by a time, so that a host which takes connections and says nothing is told in seconds. A step that
shows that the rest cannot be measured is the last.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

from comet import __version__
from comet.commands.doctor.case import Answer, Case, Reached
from comet.commands.doctor.findings import Finding
from comet.commands.doctor.machine import descriptors, installed, plugins
from comet.commands.doctor.machine_verdicts import MACHINE
from comet.commands.doctor.message_verdicts import MESSAGES, PAGES, PUBLISHED
from comet.commands.doctor.probes import GAP, ROW, Probes
from comet.commands.doctor.publishing import OverHTTP, OverTCP, Publisher
from comet.commands.doctor.requests import Requests
from comet.commands.doctor.stream_verdicts import idle, not_opened, transport
from comet.commands.doctor.target import Target
from comet.commands.doctor.verdicts import DAEMON, WAY, judged
from comet.commands.doctor.wire import Trust, connect

PATIENCE = 1.5
"""Seconds, beyond four round trips, after which what should come at once is taken not to come."""

MOVES = 3
DAY = 86_400
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Orders:
    """What is asked for: where to publish if not through the URL, and how many seconds of silence to watch."""

    target: Target
    trust: Trust
    origin: str = ""
    publish: Target | None = None
    server: str = ""
    idle: float = 0.0
    progress: Callable[[str], None] = lambda _: None


def examine(orders: Orders) -> Iterator[Finding]:
    """Yield the findings as they are made. Raises :exc:`~comet.commands.doctor.wire.Unreachable`."""
    case = Case(orders.target, orders.origin, own_version=__version__)
    topic = f"doctor/{secrets.token_hex(8)}"
    trust = _reach(case, orders.trust)
    requests = _find(case, trust, topic)
    try:
        yield from judged(WAY, case)
        if case.poll is not None and case.poll.is_poll():
            _ask_plainly(case, requests, topic)
            publisher = _publisher(orders, case.target, trust, topic)
            try:
                _publish_first(case, requests, publisher, topic)
                yield from judged((*DAEMON, *PAGES, *PUBLISHED), case)
                if case.published is not None and not case.published.refused:
                    yield from _listen(case, orders, trust, publisher, topic)
            finally:
                publisher.close()
        else:
            yield from judged(DAEMON, case)
    finally:
        requests.close()
    if case.reached is not None and case.reached.loopback:
        _look_around(case)
        yield from judged(MACHINE, case)


# -- the way there ----------------------------------------------------------------------------------------------------


def _reach(case: Case, trust: Trust) -> Trust:
    """Connect once, and find out what TLS makes of it; returns how the rest is to be trusted."""
    began = time.monotonic()
    refused = ""
    try:
        connection = connect(case.target, trust, "h2", "http/1.1")
    except ssl.SSLCertVerificationError as error:
        refused = f"the certificate is refused: {error.verify_message.rstrip('.')}"
        trust = replace(trust, verified=False)
        connection = connect(case.target, trust, "h2", "http/1.1")
    seconds = time.monotonic() - began
    with connection:
        host = connection.getpeername()[0].partition("%")[0]
        where = f"[{host}]" if ":" in host else host
        reached = Reached(f"{where}:{case.target.port}", ip_address(host).is_loopback, seconds)
        if isinstance(connection, ssl.SSLSocket):
            begins, ends = _lifetime(connection)
            reached = replace(
                reached,
                tls=connection.version() or "TLS",
                refused=refused,
                days=(ends - time.time()) / DAY if ends else None,
                lifetime=(ends - begins) / DAY,
                http2=connection.selected_alpn_protocol() == "h2",
            )
    case.reached = reached
    return trust


def _lifetime(connection: ssl.SSLSocket) -> tuple[float, float]:
    """From when to when the certificate is good, in seconds since 1970; zeros for one that was not checked."""
    certificate = connection.getpeercert() or {}
    begins, ends = (str(certificate.get(name, "")) for name in ("notBefore", "notAfter"))
    return (ssl.cert_time_to_seconds(begins), ssl.cert_time_to_seconds(ends)) if begins and ends else (0.0, 0.0)


def _find(case: Case, trust: Trust, topic: str) -> Requests:
    """Ask for a poll, where redirects lead to; returns who asked."""
    path = f"/topics/{topic}?transport=poll&wait=0&since=first"
    while True:
        requests = Requests(case.target, trust)
        case.poll = requests.ask(path)
        location = case.poll.header("location")
        if case.poll.status not in REDIRECTS or not location or len(case.moved) == MOVES:
            break
        requests.close()
        try:
            moved = case.target.moved_to(location)
        except ValueError:
            break
        if moved == case.target:
            break
        case.moved.append((case.target.url(), moved.url(), case.poll.status))
        case.target = moved
        trust = _reach(case, trust)
    if case.poll.status and not case.poll.is_poll() and case.target.base:
        _look_at_the_root(case, trust, path)
    return requests


def _look_at_the_root(case: Case, trust: Trust, path: str) -> None:
    root = replace(case.target, base="")
    requests = Requests(root, trust)
    if requests.ask(path).is_poll():
        case.rootward = root.url()
    requests.close()


# -- plain requests ---------------------------------------------------------------------------------------------------


def _ask_plainly(case: Case, requests: Requests, topic: str) -> None:
    case.ready = requests.ask("/readyz")
    case.stats = requests.ask("/stats")
    case.metrics = requests.ask("/metrics")
    assert case.poll is not None
    times = [answer.seconds for answer in (case.poll, case.ready, case.stats) if answer.status]
    case.round_trip = min(times)
    case.patience = PATIENCE + 4 * case.round_trip
    path = f"/topics/{topic}?transport=poll&wait=0"
    case.same_origin = requests.ask(path, {"Origin": case.target.origin()})
    if case.origin:
        case.cross_origin = requests.ask(path, {"Origin": case.origin})
        asks = {"Origin": case.origin, "Access-Control-Request-Method": "POST"}
        case.preflight = requests.tell(case.target.request(f"/topics/{topic}", asks, "OPTIONS"))
    case.requests, case.connections = requests.asked, requests.connections


def _publisher(orders: Orders, target: Target, trust: Trust, topic: str) -> Publisher:
    if orders.server:
        return OverTCP(orders.server, topic)
    return OverHTTP(orders.publish or target, trust if orders.publish is None else orders.trust, topic)


def _publish_first(case: Case, requests: Requests, publisher: Publisher, topic: str) -> None:
    """Publish a message, and ask for it where nothing was before: once as before, once past every cache."""
    text = _text()
    before = time.time()
    case.published = publisher.publish(text, ())
    after = time.time()
    path = f"/topics/{topic}?transport=poll&wait=0&since=first"
    case.polled_again = requests.ask(path)
    case.polled_fresh = requests.ask(f"{path}&_={text}")
    case.arrived = text.encode() in case.polled_fresh.body
    case.skew = _skew(case.polled_fresh, before, after)


def _skew(answer: Answer, before: float, after: float) -> float | None:
    """By how many seconds the daemon's clock is ahead, if it wrote its time on a message between the two."""
    messages = answer.members().get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    at = float(messages[-1]["time"])
    return at - after if at > after else min(0.0, at - before)


def _text() -> str:
    return "doctor" + secrets.token_hex(8)


# -- streams ----------------------------------------------------------------------------------------------------------


def _listen(case: Case, orders: Orders, trust: Trust, publisher: Publisher, topic: str) -> Iterator[Finding]:
    probes = Probes(case.target, trust, topic)
    try:
        orders.progress("opening all transports")
        assert case.polled_fresh is not None
        probes.open(str(case.polled_fresh.members().get("next", "now")), case.patience)
        case.silence = probes.silence() or case.silence
        orders.progress("asking in other ways")
        case.experiment = probes.experiment(case.patience)
        orders.progress("publishing")
        stored = _publish_more(case, publisher, probes)
        if len(stored) < 1 + ROW:
            # A limit of connections refuses publishers, too; without messages nothing else can be said of a transport.
            yield from judged(PUBLISHED, case)
            yield from (finding for held in probes.results({}) if (finding := not_opened(case, held)) is not None)
            return
        case.twin = probes.twin()
        case.held = probes.results(stored)
        yield from (transport(case, held) for held in case.held)
        yield from judged(MESSAGES, case)
        if orders.idle:
            yield from _watch(case, orders, probes)
    finally:
        probes.close()


def _publish_more(case: Case, publisher: Publisher, probes: Probes) -> dict[str, float]:
    """Publish a single message, and then some in a row; returns when each was stored."""
    stored: dict[str, float] = {}
    for texts in ([_text()], [_text() for _ in range(ROW)]):
        for text in texts:
            published = publisher.publish(text, probes.conversations())
            if published.refused:
                case.published = published
                return stored
            stored[text] = published.stored_at
            if len(texts) > 1:
                probes.pause(GAP)
        probes.wait_for(texts, case.patience)
    return stored


def _watch(case: Case, orders: Orders, probes: Probes) -> Iterator[Finding]:
    def progress(passed: float) -> None:
        orders.progress(f"silence: {passed:.0f} of {orders.idle:g} s")

    found = probes.idle(orders.idle, "now", progress)
    case.held = [replace(held, idle=found.get(held.transport)) for held in case.held]
    yield from (finding for held in case.held if (finding := idle(case, held)) is not None)


# -- this machine -----------------------------------------------------------------------------------------------------


def _look_around(case: Case) -> None:
    case.descriptors = descriptors(case.metrics)
    case.installed, case.plugins = installed(), plugins()
