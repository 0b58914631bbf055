"""``comet doctor``: what it concludes from measurements, how it reads answers, and what it says of a daemon alone.

The faults of real proxies are in ``tests/recipes/test_misconfigured.py``.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import resource
import socket
import subprocess
import termios
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comet.commands.doctor.case import Answer, Case, Descriptors, Experiment, Held, Idle, Installed, Published, Reached
from comet.commands.doctor.findings import ORDER, Finding, Status, advice, exit_code, fault, fine, warning
from comet.commands.doctor.machine import descriptors
from comet.commands.doctor.machine_verdicts import MACHINE
from comet.commands.doctor.message_verdicts import MESSAGES, PAGES, PUBLISHED
from comet.commands.doctor.proxies import named, proxies_of
from comet.commands.doctor.remedies import REMEDIES, mend
from comet.commands.doctor.report import Words
from comet.commands.doctor.responses import Response, Unreadable
from comet.commands.doctor.stream_verdicts import idle, transport
from comet.commands.doctor.target import Target
from comet.commands.doctor.transports import TRANSPORTS
from comet.commands.doctor.verdicts import DAEMON, WAY, judged
from tests.daemons import ROOT, Daemon, command, environment, running
from tests.e2e.tools import COMET, begun, run

FEW = ("--max-streams", "10000")
"""Streams that a daemon may hold under any limit of open files that a machine has."""

JSON = (("Content-Type", "application/json"),)
PROBLEM = (("Content-Type", "application/problem+json"),)
NGINX = (("Server", "nginx/1.22.1"), ("Content-Type", "application/json"))


def problem(status: int, code: str, detail: str = "") -> Answer:
    """A refusal by Comet."""
    return Answer(status, "Refused", PROBLEM, json.dumps({"code": code, "detail": detail}).encode())


def poll(*messages: str, fields: Any = JSON) -> Answer:
    """The answer to a poll."""
    body = {"messages": [{"time": 1.0, "data": each} for each in messages], "next": "0a0a0a0a-1"}
    return Answer(200, "OK", fields, json.dumps(body).encode(), seconds=0.01)


def well(name: str) -> Held:
    """A transport of which there is nothing to say."""
    content_type = next(each.content_type for each in TRANSPORTS if each.name == name)
    fields = (("Content-Type", content_type), ("Cache-Control", "no-store, no-transform"))
    answer = Answer(101 if name == "websocket" else 200, "OK", fields)
    row = () if name == "poll" else (0.001, 0.0, 0.002, 0.0, 0.0)
    return Held(name, answer, 0.002, 0.001, row, len(row), f"stream-{name}", handshake=True, ponged=True)


def healthy() -> Case:
    """A case of which there is nothing to say, through nginx, in public."""
    return Case(
        target=Target.of("https://push.example/"),
        origin="https://shop.example",
        own_version="0.1.0",
        reached=Reached("192.0.2.1:443", False, 0.03, "TLSv1.3", days=60, http2=True),
        poll=poll(fields=NGINX),
        round_trip=0.01,
        connections=1,
        requests=6,
        ready=Answer(200, "OK", JSON, b'{"status":"ok"}'),
        stats=Answer(403, "Forbidden"),
        metrics=Answer(403, "Forbidden"),
        same_origin=poll(),
        cross_origin=poll(fields=(*JSON, ("Access-Control-Allow-Origin", "https://shop.example"))),
        preflight=Answer(204, "No Content", (("Access-Control-Allow-Methods", "GET, POST"),)),
        published=Published("POST", 1.0, 1.002),
        polled_again=poll("m"),
        polled_fresh=poll("m"),
        arrived=True,
        skew=0.0,
        held=[replace(well(each.name), idle=Idle(30.0, 1, 25.0)) for each in TRANSPORTS],
        twin="another",
        experiment=Experiment(),
        descriptors=Descriptors(200_000, 12, 100_000),
        installed=[Installed("comet-push", "0.1.0", "/opt/comet")],
        plugins=["/opt/comet/twisted/plugins/comet_plugin.py"],
    )


def findings_of(case: Case) -> list[Finding]:
    """Everything that is said of ``case``."""
    silences = [idle(case, held) for held in case.held]
    return [
        *judged((*WAY, *DAEMON, *PAGES, *PUBLISHED, *MESSAGES, *MACHINE), case),
        *(transport(case, held) for held in case.held),
        *(finding for finding in silences if finding is not None),
    ]


def faults_of(case: Case) -> list[Finding]:
    """What is not well in ``case``."""
    return [finding for finding in findings_of(case) if finding.status is not Status.OK]


def sole(case: Case) -> Finding:
    """The one thing that is not well in ``case``."""
    found = faults_of(case)
    assert len(found) == 1, found
    return found[0]


def with_held(name: str, **changes: Any) -> Callable[[Case], None]:
    """Changes of the transport ``name``."""

    def change(case: Case) -> None:
        case.held = [replace(held, **changes) if held.transport == name else held for held in case.held]

    return change


def having(**changes: Any) -> Callable[[Case], None]:
    """Changes of a case."""

    def change(case: Case) -> None:
        for name, value in changes.items():
            setattr(case, name, value)

    return change


def answered(name: str, status: int = 200, **fields: str) -> Callable[[Case], None]:
    """A transport that is answered with these header fields, instead of its own of the same name."""

    def change(case: Case) -> None:
        given = {key.replace("_", "-"): value for key, value in fields.items()}
        own = {key: value for key, value in well(name).answer.fields if key.lower() not in given}
        with_held(name, answer=Answer(status, "Phrase", tuple({**own, **given}.items())))(case)

    return change


def test_nothing_to_say() -> None:
    """Of a case in which all is well nothing but that is said, in a line for each check."""
    findings = findings_of(healthy())
    assert not [finding for finding in findings if finding.status is not Status.OK]
    assert [finding.row for finding in findings].count("sse") == 1
    assert len(findings) == 27
    assert exit_code(findings) == 0
    assert not advice(findings)


REACHED = healthy().reached
assert REACHED is not None

WRONG = {
    "expired": (
        having(reached=replace(REACHED, refused="the certificate is refused: certificate has expired")),
        ("address", "bad", "certificate", "expired", "renew the certificate"),
    ),
    "another name": (
        having(reached=replace(REACHED, refused="Hostname mismatch, certificate is not valid for 'push.example'")),
        ("address", "bad", "certificate", "mismatch", "the name that is in the certificate"),
    ),
    "no chain": (
        having(reached=replace(REACHED, refused="unable to get local issuer certificate")),
        ("address", "bad", "certificate", "issuer", "fullchain.pem"),
    ),
    "own authority": (
        having(reached=replace(REACHED, refused="self-signed certificate")),
        ("address", "bad", "certificate", "self-signed", "--ca FILE"),
    ),
    "certificate ends": (
        having(reached=replace(REACHED, days=9)),
        ("address", "warn", "certificate_ends", "9.0 days", "renew"),
    ),
    "redirect": (
        having(moved=[("http://push.example/", "https://push.example/", 301)]),
        (
            "redirect",
            "warn",
            "redirected",
            "leads to https://push.example/ (301)",
            "give clients https://push.example/",
        ),
    ),
    "no HTTP/2": (
        having(reached=replace(REACHED, http2=False)),
        ("protocol", "warn", "http1", "HTTP/1.1 only", "listen 443 ssl http2"),
    ),
    "HTTP/2 of Apache": (
        having(poll=poll(fields=(("Server", "Apache/2.4.62"),))),
        ("protocol", "warn", "http1", "six held responses", "put nginx or HAProxy in front"),
    ),
    "no TLS": (
        having(reached=replace(REACHED, tls="", http2=False)),
        ("protocol", "warn", "http1", "without TLS", "six connections"),
    ),
    "Host refused": (
        having(poll=problem(421, "host_refused")),
        ("comet", "bad", "host_refused", "push.example", "--host push.example"),
    ),
    "daemon down": (
        having(poll=Answer(502, "Bad Gateway", NGINX)),
        ("comet", "bad", "daemon_down", "nginx is there", "'proxy_pass' names"),
    ),
    "draining": (
        having(poll=problem(503, "draining")),
        ("comet", "bad", "draining", "shutting down", "start it again"),
    ),
    "elsewhere": (
        having(poll=Answer(404, "Not Found"), rootward="https://push.example/"),
        ("comet", "bad", "wrong_address", "but at https://push.example/", "use https://push.example/"),
    ),
    "TLS port": (
        having(poll=Answer(400, "Bad Request", NGINX, b"The plain HTTP request was sent to HTTPS port")),
        ("comet", "bad", "wrong_address", "speaks TLS", "https://"),
    ),
    "silent": (
        having(poll=Answer(trouble="no answer within 5.0 s")),
        ("comet", "bad", "not_comet", "no answer within 5.0 s", "7080"),
    ),
    "login": (
        having(poll=Answer(401, "Unauthorized", NGINX)),
        ("comet", "bad", "not_comet", "401", "let this path through in nginx"),
    ),
    "another server": (
        having(poll=Answer(200, "OK", NGINX, b"<html>")),
        ("comet", "bad", "not_comet", "no Comet answers", "pass / on to Comet"),
    ),
    "another version": (
        having(stats=Answer(403, body=b'{"version":"0.0.9"}')),
        ("comet", "warn", "versions", "Comet 0.0.9", "restart the daemon"),
    ),
    "not ready": (
        having(ready=Answer(403, "Forbidden")),
        ("ready", "warn", "not_ready", "403 Forbidden", "let /readyz through"),
    ),
    "not kept": (having(connections=6), ("keep-alive", "warn", "keep_alive", "closed", "keepalive_timeout")),
    "open figures": (
        having(stats=Answer(200, body=b'{"epoch":"0"}')),
        ("figures", "warn", "exposed", "/stats can be read by everybody", "deny all"),
    ),
    "Host not passed on": (
        having(same_origin=problem(403, "origin_refused")),
        ("own pages", "warn", "origin", "https://push.example is refused", "proxy_set_header Host $http_host"),
    ),
    "origin not listed": (
        having(cross_origin=problem(403, "origin_refused")),
        ("origin", "bad", "origin", "https://shop.example are refused", "--origin https://shop.example"),
    ),
    "origin twice": (
        having(cross_origin=poll(fields=(("Access-Control-Allow-Origin", "*, https://shop.example"),))),
        ("origin", "bad", "origin", "twice", "take it out of the proxy"),
    ),
    "origin taken away": (
        having(cross_origin=poll()),
        ("origin", "bad", "origin", "is not there", "--origin https://shop.example"),
    ),
    "no preflight": (
        having(preflight=Answer(405, "Method Not Allowed")),
        ("origin", "bad", "origin", "405", "let OPTIONS through"),
    ),
    "publishing refused": (
        having(published=Published("POST", refused="405 Method Not Allowed")),
        ("publish", "bad", "cannot_publish", "405", "--publish-url"),
    ),
    "two daemons": (
        having(arrived=False, polled_again=poll(), polled_fresh=poll()),
        ("publish", "bad", "lost", "another daemon answers", "meet in one daemon"),
    ),
    "stored answers": (
        having(polled_again=healthy().poll),
        ("cache", "bad", "cached", "an old answer", "proxy_cache off"),
    ),
    "shared streams": (
        having(twin="stream-sse"),
        ("cache", "bad", "cached", "one and the same stream", "proxy_cache off"),
    ),
    "clock": (having(skew=-61.5), ("clock", "warn", "clock", "61.5 s behind", "NTP")),
    "refused stream": (
        answered("sse", 429),
        ("sse", "bad", "refused", "429 Phrase", "limit_conn"),
    ),
    "stream cut at once": (
        with_held("mixed", first=None, single=None, row=(), ended=True, answer=Answer(trouble="connection reset")),
        ("mixed", "bad", "refused", "connection reset", "log of the proxy"),
    ),
    "upgrade eaten": (
        with_held("websocket", answer=problem(426, "upgrade_required"), first=None, single=None, row=()),
        ("websocket", "bad", "upgrade", "426", "proxy_set_header Upgrade $http_upgrade"),
    ),
    "upgrade forged": (
        with_held("websocket", handshake=False),
        ("websocket", "bad", "upgrade", "Sec-WebSocket-Accept", "proxy_http_version 1.1"),
    ),
    "deaf": (
        with_held("websocket", ponged=False),
        ("websocket", "bad", "upgrade", "does not arrive", "proxy_http_version 1.1"),
    ),
    "type changed": (
        answered("sse", content_type="text/plain"),
        ("sse", "bad", "changed_type", "text/plain, not text/event-stream", "Content-Type"),
    ),
    "nothing comes": (
        with_held("iframe", first=None, single=None, row=(None,) * 5),
        ("iframe", "bad", "held_back", "waits for the end", "proxy_buffering off"),
    ),
    "messages do not come": (
        with_held("stream", single=None, row=(None,) * 5),
        ("stream", "bad", "held_back", "6 of 6 messages did not come", "proxy_buffering off"),
    ),
    "late beginning": (
        with_held("stream", first=1.6),
        ("stream", "bad", "held_back", "only with the first message", "proxy_buffering off"),
    ),
    "slow beginning": (with_held("stream", first=0.9), ("stream", "warn", "late", "900 ms", "proxy_buffering off")),
    "poll not answered": (
        with_held("poll", single=None),
        ("poll", "bad", "lost", "not answered when a message is published", "proxy_cache_lock"),
    ),
    "ended": (with_held("sse", ended=True), ("sse", "bad", "ended", "was closed", "log of the proxy")),
    "200 ms": (
        with_held("sse", single=0.206, row=(0.206, 0.154, 0.103, 0.051, 0.208), clumps=2),
        ("sse", "bad", "late", "HAProxy waits", "option http-no-delay"),
    ),
    "late": (
        with_held("sse", single=0.9, row=(0.9,) * 5),
        ("sse", "bad", "late", "900 ms late", "proxy_buffering off"),
    ),
    "clumps": (
        with_held("sse", single=0.09, row=(0.08, 0.03, 0.08, 0.03, 0.08), clumps=2),
        ("sse", "warn", "clumped", "in 2 clump(s)", "tcp_nodelay"),
    ),
    "compressed": (answered("sse", content_encoding="gzip"), ("sse", "warn", "compressed", "(gzip)", "gzip off")),
    "compressed for browsers": (
        having(experiment=Experiment(encoding="br")),
        ("sse", "warn", "compressed", "(br)", "brotli off"),
    ),
    "no-store taken away": (
        answered("sse", cache_control="max-age=60"),
        ("sse", "warn", "headers", "'max-age=60'", "proxy_hide_header"),
    ),
    "idle": (
        with_held("sse", idle=Idle(10.0, 0, 10.0, 10.0)),
        (
            "idle sse",
            "bad",
            "idle_cut",
            "10.0 s without a byte, shorter than the silence of 25 s",
            "proxy_read_timeout",
        ),
    ),
    "idle poll": (
        with_held("poll", idle=Idle(10.0, 0, 10.0, None, 504)),
        ("idle poll", "bad", "idle_cut", "answers 504", "proxy_read_timeout"),
    ),
    "idle pictures": (
        with_held("multipart", idle=Idle(60.0, 0, 60.0, 60.0)),
        ("idle multipart", "warn", "idle_cut", "no heartbeat", "proxy_read_timeout"),
    ),
    "no heartbeat": (
        with_held("stream", idle=Idle(30.0, 0, 30.0)),
        ("idle stream", "bad", "no_heartbeat", "due after 25 s", "gzip off"),
    ),
    "few files": (
        having(descriptors=Descriptors(20_000, 30, 100_000)),
        ("files", "warn", "descriptors", "20,000 files", "LimitNOFILE=200000"),
    ),
    "hardly any files": (
        having(descriptors=Descriptors(1024, 1000, 100_000)),
        ("files", "bad", "descriptors", "1,000 are open", "--max-streams 924"),
    ),
    "files for a shell": (
        having(descriptors=Descriptors(1024, 30, None)),
        ("files", "warn", "descriptors", "1,024 files", "LimitNOFILE=8192"),
    ),
    "clash": (
        having(installed=[Installed("Comet", "3.1.0", "/a"), Installed("comet-push", "0.1.0", "/a")]),
        ("installed", "bad", "clash", "astronomy broker", "pip uninstall Comet"),
    ),
    "two versions": (
        having(installed=[Installed("comet-push", "0.0.9", "/a"), Installed("comet-push", "0.1.0", "/b")]),
        ("installed", "warn", "clash", "0.0.9 in /a, 0.1.0 in /b", "uninstall all but one"),
    ),
    "two plugins": (
        having(plugins=["/a/twisted/plugins/comet_plugin.py", "/b/twisted/plugins/comet_plugin.py"]),
        ("installed", "warn", "clash", "/b/twisted", "twistd takes the first"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    """Each thing that can be wrong is the one thing that is said to be, in words and with what to do."""
    change, (row, status, code, says, mend_) = WRONG[name]
    case = healthy()
    change(case)
    finding = sole(case)
    assert (finding.row, finding.status.value, finding.code) == (row, status, code)
    assert says in finding.says
    assert mend_ in finding.mend


def test_buffering_is_proved() -> None:
    """If padding comes and nothing else, the proxy collects; if it comes uncompressed, the compressor does."""
    silent = with_held("sse", first=None, single=None, row=())
    for experiment, code, says in (
        (Experiment(padded=32_768), "held_back", "32 KiB came: the proxy collects"),
        (Experiment(plain=200, padded=65_536), "compressed", "without compression it comes at once"),
    ):
        case = healthy()
        silent(case)
        case.experiment = experiment
        finding = sole(case)
        assert finding.code == code
        assert says in finding.says


def test_compressed_and_lost() -> None:
    """A stream of which only the beginning comes, compressed, is the compressor's fault."""
    case = healthy()
    answered("sse", content_encoding="gzip")(case)
    with_held("sse", single=None, row=(None,) * 5)(case)
    assert (sole(case).code, sole(case).status) == ("compressed", Status.BAD)


def test_far_away() -> None:
    """What is late by the way there alone is not late."""
    case = healthy()
    case.round_trip = 0.3
    with_held("sse", first=0.7, single=0.35, row=(0.3, 0.31, 0.3, 0.33, 0.3))(case)
    assert not faults_of(case)


def test_one_late_message() -> None:
    """A machine that was busy for a moment is no fault of a proxy."""
    case = healthy()
    with_held("sse", single=0.4, row=(0.0, 0.3, 0.0, 0.001, 0.0), clumps=4)(case)
    assert not faults_of(case)


def test_own_authority_on_the_loopback() -> None:
    """On the loopback neither HTTP/1.1 without TLS nor figures that can be read are anything to warn of."""
    case = healthy()
    case.reached = Reached("127.0.0.1:7080", True, 0.001)
    case.stats, case.metrics = Answer(200, body=b'{"epoch":"0"}'), Answer(200, body=b"comet_topics 1")
    assert not faults_of(case)


def test_heartbeat_not_due() -> None:
    """Who watches for less than the silence is told when the heartbeat is due."""
    case = healthy()
    with_held("sse", idle=Idle(10.0, 0, 10.0))(case)
    assert "the heartbeat is due after 25 s" in next(f.says for f in findings_of(case) if f.row == "idle sse")


# -- what to do -------------------------------------------------------------------------------------------------------


def test_advice() -> None:
    """What to do comes once for each remedy, faults before warnings, in the order of weight."""
    findings = [
        warning("protocol", "http1", "a", "do a"),
        fault("sse", "late", "b", "do b"),
        fine("poll", "c"),
        fault("stream", "held_back", "d", "do d"),
        warning("iframe", "held_back", "e", "do d"),
    ]
    things = [(thing.code, thing.status, thing.rows, thing.mend) for thing in advice(findings)]
    assert things == [
        ("held_back", Status.BAD, ("stream", "iframe"), "do d"),
        ("late", Status.BAD, ("sse",), "do b"),
        ("http1", Status.WARN, ("protocol",), "do a"),
    ]
    assert exit_code(findings) == 1
    assert exit_code(findings[:1]) == 0


def test_every_remedy_has_its_weight() -> None:
    """Whatever can be mended has a place in the order of weight, and in the documentation."""
    page = (ROOT / "docs/troubleshooting.rst").read_text()
    assert not REMEDIES.keys() - set(ORDER)
    for code in ORDER:
        assert f"``{code}``" in page, f"docs/troubleshooting.rst does not know {code}"


def test_mend() -> None:
    """A proxy that is known is told in its own words; where none is, the common ones are."""
    assert "nginx" in mend("held_back", ("nginx",))
    assert "Apache" not in mend("held_back", ("nginx",))
    assert "do_stream" not in mend("held_back", ())
    assert all(name in mend("held_back", ("Unknown",)) for name in ("nginx", "HAProxy", "Apache"))
    assert mend("origin", (), ORIGIN="https://a.example").count("https://a.example") == 1


@pytest.mark.parametrize(
    ("fields", "proxies", "name"),
    [
        ((("Content-Type", "text/plain"),), (), ""),
        ((("Server", "nginx/1.22.1"),), ("nginx",), "nginx/1.22.1"),
        ((("content-type", "text/plain"),), ("HAProxy",), "HAProxy"),
        ((("server", "nginx"), ("date", "now")), ("nginx", "HAProxy"), "nginx and HAProxy"),
        ((("server", "envoy"), ("date", "now")), ("Envoy",), "envoy"),
        ((("Via", "1.1 cache (Varnish/7.1)"),), ("Varnish",), "1.1 cache (Varnish/7.1)"),
        ((("Via", "1.1 box (squid/5.7)"), ("X-Varnish", "3")), ("Varnish", "Squid"), "1.1 box (squid/5.7) and Varnish"),
        ((("Server", "Apache/2.4.62 (Debian)"),), ("Apache",), "Apache/2.4.62 (Debian)"),
        ((("server", "cloudflare"), ("cf-ray", "1")), ("Cloudflare",), "cloudflare"),
    ],
)
def test_proxies(fields: Any, proxies: tuple[str, ...], name: str) -> None:
    """A proxy is known by the fields that it adds, HAProxy by the small letters in which it writes them."""
    assert proxies_of([fields]) == proxies
    assert named([fields]) == name


# -- reading answers --------------------------------------------------------------------------------------------------

GZIP = zlib.compressobj(wbits=31)
PACKED = GZIP.compress(b"one") + GZIP.flush(zlib.Z_SYNC_FLUSH) + GZIP.compress(b"two") + GZIP.flush(zlib.Z_SYNC_FLUSH)
ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nonetwo", b"onetwo", True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3;x=y\r\ntwo\r\n0\r\n\r\n",
        b"onetwo",
        True,
    ),
    "to the end": (b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nonetwo", b"onetwo", False),
    "early hints": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nonetwo", b"onetwo", False),
    "no content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", b"", True),
    "upgraded": (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nonetwo", b"onetwo", False),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED, b"onetwo", False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_in_pieces(name: str) -> None:
    """An answer reads the same wherever the network cuts it, and each byte has the time at which it came."""
    raw, body, complete = ANSWERS[name]
    for cut in range(len(raw) + 1):
        response = Response()
        for at, piece in enumerate((raw[:cut], raw[cut:]), 1):
            response.feed(piece, float(at))
        assert bytes(response.body) == body
        assert response.complete is complete
        if body:
            assert response.found_at(body) in (1.0, 2.0)
            assert response.found_at(b"three") is None
    assert response.head_at == 2.0 or cut == len(raw)


def test_time_of_a_message() -> None:
    """The time of a message is when its last byte came."""
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\n\r\n", 1.0)
    assert (response.first_at(), response.head_at) == (None, 1.0)
    for at, piece in enumerate((b"mes", b"sage", b" more"), 2):
        response.feed(piece, float(at))
    assert (response.first_at(), response.found_at(b"message"), response.last_at()) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "raw",
    [
        b"$3\r\nabc\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain text",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
def test_unreadable(raw: bytes) -> None:
    """What is no HTTP is recognised."""
    with pytest.raises(Unreadable):
        Response().feed(raw, 1.0)


@pytest.mark.parametrize(
    ("url", "shown", "authority"),
    [
        ("http://a.example", "http://a.example/", "a.example"),
        ("https://a.example:8443/push/", "https://a.example:8443/push/", "a.example:8443"),
        ("http://user:secret@[::1]:7080/topics/news?since=1", "http://[::1]:7080/", "[::1]:7080"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4/", "xn--bcher-kva.example"),
    ],
)
def test_target(url: str, shown: str, authority: str) -> None:
    """A URL is taken apart; its password is sent and never shown."""
    target = Target.of(url)
    assert (target.url(), target.authority) == (shown, authority)
    assert "secret" not in repr(target)
    assert (b"Authorization: Basic" in target.request("/x")) == ("secret" in url)


def test_another_name() -> None:
    """A name that is given takes the place of that of the URL, in everything but where to connect."""
    target = Target.of("https://127.0.0.1:8443/push", "push.example")
    assert (target.host, target.port, target.name(), target.url()) == (
        "127.0.0.1",
        8443,
        "push.example",
        "https://push.example/push/",
    )
    assert target.moved_to("https://push.example:9443/").host == "127.0.0.1"


def test_redirected_target() -> None:
    """A password goes along to the same host, but to no other, and not out of TLS."""
    target = Target.of("https://u:p@a.example/push/")
    assert target.moved_to("/b/topics/x?y").url() == "https://a.example/b/"
    assert target.moved_to("https://a.example:8443/topics/x").authorization
    assert not target.moved_to("https://b.example/topics/x").authorization
    assert not target.moved_to("http://a.example/topics/x").authorization
    with pytest.raises(ValueError, match="mailto"):
        target.moved_to("mailto:a@a.example")


def test_what_a_terminal_is_shown() -> None:
    """What a header field has a terminal do is not done."""
    out = io.StringIO()
    Words(out).tell(fine("comet", "behind \x1b[2Jnginx"))
    assert "\x1b" not in out.getvalue()
    assert "comet" in out.getvalue()


# -- the command ------------------------------------------------------------------------------------------------------


def doctor(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run ``comet doctor``; returns the exit code and the objects that it prints."""
    ended = run(*COMET, "doctor", "--json", *arguments)
    assert not ended.err
    return ended.code, [json.loads(line) for line in ended.out.splitlines()]


def faults(told: list[dict[str, Any]]) -> dict[str, str]:
    """The code of each row that is not well."""
    return {each["check"]: each["code"] for each in told if each.get("status") in ("warn", "bad")}


@pytest.mark.parametrize("way", ["http", "tcp"])
def test_daemon_alone(way: str) -> None:
    """Nothing is wrong with a daemon on the loopback; each transport has its line, and its figures."""
    with running(*FEW) as daemon:
        further = () if way == "http" else ("--server", daemon.tcp)
        code, told = doctor(f"http://{daemon.http}/", *further)
    assert (code, faults(told)) == (0, {})
    assert told[-1] == {"exit": 0, "todo": []}
    rows = {each["check"]: each for each in told[:-1]}
    assert {"address", "comet", "publish", "cache", "clock", "files", "installed"} < rows.keys()
    for transport_ in ("stream", "sse", "iframe", "multipart", "mixed", "websocket"):
        assert len(rows[transport_]["row"]) == 5
        assert rows[transport_]["first"] < 1


def test_silence_of_a_daemon_alone() -> None:
    """With ``--idle`` the heartbeats are seen to come."""
    with running(*FEW, "--silence", "500ms") as daemon:
        code, told = doctor(f"http://{daemon.http}/", "--idle", "3")
    assert (code, faults(told)) == (0, {})
    beats = {each["check"]: each.get("beats", 0) for each in told if str(each.get("check")).startswith("idle ")}
    assert len(beats) == 7
    assert all(beats[f"idle {name}"] >= 1 for name in ("stream", "sse", "iframe", "mixed", "websocket"))


def test_words(daemon: Daemon) -> None:
    """For people each check is a line, without colours in a pipe; in the end stands what to do."""
    ended = run(*COMET, "doctor", f"http://{daemon.http}/", "--origin", "https://shop.example")
    lines = ended.out.splitlines()
    assert ended.code == 1
    assert "\x1b" not in ended.out
    assert any(line.startswith("  sse             ok    first byte ") for line in lines)
    assert "  origin          bad   pages of https://shop.example are refused (403)" in lines
    assert "What to do, the most important first:" in lines
    assert "     start the daemon with --origin https://shop.example" in lines


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_terminal(daemon: Daemon, variables: dict[str, str], coloured: bool) -> None:
    """On a terminal the status has a colour, unless NO_COLOR says otherwise; lines are no wider than it is."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    environ = environment(**{"TERM": "xterm", **variables})
    command_ = [*COMET, "doctor", f"http://{daemon.http}/", "--origin", "https://shop.example"]
    with subprocess.Popen(command_, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_from(ours), b"")).decode()
        assert process.wait(30) == 1
    os.close(ours)
    assert ("\x1b[31mbad \x1b[0m" in shown) is coloured
    assert ("\x1b[" in shown) is (variables.get("TERM") != "dumb")
    if coloured:
        lines = [line.rpartition("\r")[2] for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown).split("\r\n")]
        assert max(map(len, lines)) < 60


def read_from(terminal: int) -> bytes:
    """What was written to a terminal; nothing once nobody has it open any more."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_allowed_origin() -> None:
    """An origin that is listed may read and publish."""
    with running(*FEW, "--origin", "https://shop.example") as daemon:
        code, told = doctor(f"http://{daemon.http}/", "--origin", "https://shop.example")
    assert (code, faults(told)) == (0, {})


def test_unknown_host(daemon: Daemon) -> None:
    """A daemon that does not know the name it is asked by is told with which option to start."""
    code, told = doctor(f"http://{daemon.http}/", "--host", "push.example")
    assert code == 1
    assert faults(told)["comet"] == "host_refused"
    assert "--host push.example" in told[-1]["todo"][0]["mend"]


def test_wrong_path(daemon: Daemon) -> None:
    """A prefix that nobody takes off is named."""
    code, told = doctor(f"http://{daemon.http}/push/")
    assert (code, faults(told)["comet"]) == (1, "wrong_prefix")


def test_wrong_port(daemon: Daemon) -> None:
    """The port for publishers is not taken for that of HTTP."""
    code, told = doctor(f"http://{daemon.tcp}/")
    assert (code, faults(told)["comet"]) == (1, "not_comet")


def test_not_tls(daemon: Daemon) -> None:
    """A URL of TLS for a port without it is told apart from a daemon that is not there."""
    code, told = doctor(f"https://{daemon.http}/")
    assert (code, told[0]["says"].endswith("what answers is no TLS")) == (2, True)


def test_nobody_there() -> None:
    """Where nobody listens, or a name is not known, the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, told = doctor(f"http://127.0.0.1:{port}/")
    assert (code, told[0]["code"], told[-1]["exit"]) == (2, "unreachable", 2)
    ended = run(*COMET, "doctor", f"http://127.0.0.1:{port}/")
    assert (ended.code, ended.err) == (2, "")
    assert f"127.0.0.1:{port}: connection refused" in ended.out


@contextmanager
def answering(*pieces: bytes) -> Iterator[str]:
    """A server that answers every connection with ``pieces`` as long as it takes them; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def answer(connection: socket.socket) -> None:
            try:
                connection.recv(65_536)
                for piece in pieces:
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        def accept() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
                    threading.Thread(target=answer, args=(held[-1],), daemon=True).start()
            except OSError:
                pass

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), "what came is not HTTP/1.1"),
        ((), "the connection was closed without an answer"),
        ((b"HTTP/1.1 200 OK\r\n\r\n", *([b"x" * 65_536] * 1000)), "no Comet answers there: 200 OK"),
        (
            (b"HTTP/1.1 302 Found\r\nLocation: /a/topics/x\r\nContent-Length: 0\r\n\r\n",),
            "no Comet answers there: 302 Found",
        ),
    ],
)
def test_something_else(pieces: tuple[bytes, ...], says: str) -> None:
    """Whatever else answers, the examination says so and comes to its end."""
    with answering(*pieces) as address:
        code, told = doctor(f"http://{address}/")
    assert code == 1
    assert says in next(each["says"] for each in told if each["check"] == "comet")


def test_publisher_not_there(daemon: Daemon) -> None:
    """Where publishing fails, that is said, and the rest is not guessed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, told = doctor(f"http://{daemon.http}/", "--server", f"127.0.0.1:{port}")
    assert (code, faults(told)["publish"]) == (1, "cannot_publish")
    assert "sse" not in [each.get("check") for each in told]


def test_two_daemons(daemon: Daemon) -> None:
    """Publishing to another daemon than the one that is subscribed to is found out."""
    with running() as other:
        code, told = doctor(f"http://{daemon.http}/", "--server", other.tcp)
    assert (code, faults(told)["publish"]) == (1, "lost")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://a"], "argument URL: 'ftp://a' cannot be used: write a URL such as https://push.example/"),
        (["http://a", "--idle", "x"], "argument --idle: 'x' cannot be used: it is a number of seconds up to 3600"),
        (["http://a", "--server", "x"], "argument --server: 'x' cannot be used: write host:port"),
        (["http://a", "--ca", "/none"], "argument --ca: '/none' cannot be used: there is no such file"),
    ],
)
def test_mistakes(arguments: list[str], said: str) -> None:
    """A mistake in the arguments is one line with a hint."""
    ended = run(*COMET, "doctor", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert said in ended.err


def test_reader_that_leaves(daemon: Daemon) -> None:
    """Who reads the first lines only ends the examination without a word."""
    with begun(*COMET, "doctor", f"http://{daemon.http}/", errors=subprocess.STDOUT) as examined:
        examined.until(b"address")
        assert examined.process.stdout is not None
    assert b"Traceback" not in examined.out


# -- the machine ------------------------------------------------------------------------------------------------------


def test_few_descriptors() -> None:
    """A daemon that may open fewer files than it is told to hold streams is warned of, and told what to raise."""
    with running("--max-streams", "5000") as daemon:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (1500, 1500))
        code, told = doctor(f"http://{daemon.http}/")
    row = next(each for each in told if each.get("check") == "files")
    assert (code, row["code"], row["status"]) == (0, "descriptors", "warn")
    assert "1,500 files" in row["says"]
    assert "5,000 streams" in row["says"]
    assert "LimitNOFILE=10000" in row["mend"]


def test_figures() -> None:
    """The daemon's own figures say how many files it may open, where they are to be seen; an older one says less."""
    lines = b"# TYPE process_max_fds gauge\nprocess_max_fds 1024\nprocess_open_fds 12\n"
    assert descriptors(Answer(200, body=lines + b"comet_max_streams 5000\n")) == Descriptors(1024, 12, 5000)
    assert descriptors(Answer(200, body=lines)) == Descriptors(1024, 12, None)
    assert descriptors(Answer(403)) is None


@contextmanager
def installed_beside(directory: Path, name: str, version: str) -> Iterator[str]:
    """A directory to put on the path, with the record of a distribution in it."""
    record = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    yield f"{directory}{os.pathsep}{ROOT}"


@pytest.mark.parametrize(
    ("name", "version", "status", "says"),
    [("Comet", "3.1.0", "bad", "Comet 3.1.0 (an astronomy broker)"), ("comet-push", "0.0.1", "warn", "0.0.1 in ")],
)
def test_installed_beside(daemon: Daemon, tmp_path: Path, name: str, version: str, status: str, says: str) -> None:
    """The distribution called Comet, or a second comet-push, is found by its record."""
    with installed_beside(tmp_path, name, version) as path:
        done = subprocess.run(
            [*COMET, "doctor", "--json", f"http://{daemon.http}/"],
            capture_output=True,
            env=environment(PYTHONPATH=path),
            timeout=30,
            check=False,
        )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    row = next(each for each in told if each.get("check") == "installed")
    assert (row["status"], row["code"]) == (status, "clash")
    assert says in row["says"]
    assert done.returncode == (1 if status == "bad" else 0)


def test_second_plugin(daemon: Daemon, tmp_path: Path) -> None:
    """A second plugin of the same name, which twistd might take, is found."""
    (tmp_path / "twisted/plugins").mkdir(parents=True)
    (tmp_path / "twisted/plugins/comet_plugin.py").touch()
    done = subprocess.run(
        [*COMET, "doctor", f"http://{daemon.http}/"],
        capture_output=True,
        env=environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"),
        timeout=30,
        check=False,
    )
    said = done.stdout.decode()
    assert "there are several plugins called comet: " in said
    assert f"{tmp_path}/twisted/plugins/comet_plugin.py" in said


def test_starts_fast() -> None:
    """The command imports nothing of Twisted."""
    ended = command("-c", "import sys, comet.commands.doctor.main; print([n for n in sys.modules if 'twisted' in n])")
    assert ended.out == "[]\n"
