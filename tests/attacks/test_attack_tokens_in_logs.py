"""Leaked tokens: a token is worth as much as what it allows, so it is written down nowhere: in no log, figure, error,
record or answer, whichever way it came and whatever went wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.attacks.access import asks, guarded, token
from tests.attacks.attacker import exchanged, push, request
from tests.attacks.frames import opened, text
from tests.daemons import Daemon
from tests.e2e.held import Held, connected
from tests.e2e.waiting import until
from tests.minting import SECRET


def carried(bearer: str) -> list[bytes]:
    """Requests that carry ``bearer`` in every way there is, and that fail in many."""
    close = "Connection: close"
    header = f"Authorization: Bearer {bearer}"
    cookie = f"Cookie: a=b; __Host-comet={bearer}"
    targets = ("/topics/open/a?wait=0", "/topics/other?wait=0", "/topics/open/a?wait=x", "/nothing", "/stats", "/hooks")
    found = []
    for target in targets:
        sign = "&" if "?" in target else "?"
        names = ("token", "%74oken", "access_token", "Token")
        found += [request("GET", f"{target}{sign}{name}={bearer}", close) for name in names]
        found += [
            request("GET", target, close, *lines) for lines in ((header,), (cookie, "Sec-Fetch-Site: same-origin"))
        ]
    return [
        *found,
        request("GET", f"/topics/open/a?token={bearer}&token={bearer}x", close),
        request("POST", f"/topics/open/a?token={bearer}", close, "Content-Length: 1", body=b"x"),
        request(
            "POST", "/topics/open/a", close, header, "Content-Type: application/json", "Content-Length: 1", body=b"x"
        ),
        request("POST", "/topics", close, header, "Content-Length: 1", body=b"{"),
        request("POST", "/streams/x/token", close, "Content-Length: 9", body=bearer.encode()[:9]),
        request("POST", "/streams/x/token", close, header, f"Content-Length: {len(bearer)}", body=bearer.encode()),
        request("GET", f"/topics/open/a?wait=0&token={bearer}\x7f", close),
        request("GET", "/topics/open/a", close, f"{header}\0"),
        request("GET", "/topics/open/a", close, f"Authorization: Basic {bearer}"),
        request("GET", "/topics/open/a", close, f"Authorization: {bearer}"),
        request("GET", "/topics/open/a", close, f"Authorization : Bearer {bearer}"),
        request("GET", "/topics/open/a", close, header, header),
        request("BREW", f"/topics/open/a?token={bearer}", close, header),
        request("GET", f"http://localhost/topics/open/a?wait=0&token={bearer}", close),
        request("GET", f"/topics/open/a?token={bearer}", close, host="evil.example"),
    ]


def commands(bearer: str) -> list[bytes]:
    """The same over RESP."""
    return [
        *(f"{command}\r\nQUIT\r\n".encode() for command in (f"AUTH {bearer}", f"AUTH default {bearer}")),
        f"HELLO 3 AUTH default {bearer} SETNAME x\r\nSUBSCRIBE other\r\nQUIT\r\n".encode(),
        f"AUTH {bearer} x y z\r\nQUIT\r\n".encode(),
        f"AUTHORIZE {bearer}\r\nQUIT\r\n".encode(),
        f"AUTH '{bearer}\r\nQUIT\r\n".encode(),
        f"HELLO 9 AUTH default {bearer}\r\nQUIT\r\n".encode(),
        f"AUTH {bearer}\r\nPUBLISH other x\r\nMULTI\r\nPUBLISH other x\r\nEXEC\r\nQUIT\r\n".encode(),
    ]


@pytest.mark.parametrize("logged", ["all", "refused"])
@pytest.mark.parametrize("kind", ["honest", "forged", "expired"])
def test_tokens_in_logs(logged: str, kind: str, tmp_path: Path) -> None:
    """Whether it counts or not, and whatever comes of the request: neither the token, nor its signature, nor the key is
    in a line of the log, in an answer, in the figures or in the store."""
    bearer = {
        "honest": token(jti="t1"),
        "forged": token(jti="t1")[:-3] + "AAA",
        "expired": token(jti="t1", exp=1_000_000_000),
    }[kind]
    admin = token("root", comet={"admin": True, "subscribe": ["**"]})
    store = tmp_path / "log.sqlite"
    options = ("--access-log", logged, "--log-level", "debug", "--store", f"sqlite:{store}")
    with guarded(*options) as daemon:
        answers = [exchanged(daemon.http, data) for data in carried(bearer)]
        answers += [exchanged(daemon.tcp, data) for data in commands(bearer)]
        if kind == "honest":
            answers += [on_streams(daemon, bearer)]
        for target in ("/stats", "/stats/streams", "/stats/topics", "/metrics", "/hooks", "/consumers", "/revocations"):
            answers.append(asks(daemon, "GET", target, admin)[2])
        until(lambda: len(daemon.log) > 5, "lines of the log")
        assert daemon.end() == 0
        told = "".join(daemon.log)
    signature = bearer.rpartition(".")[2]
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (bearer, signature, bearer.split(".")[1], SECRET):
        assert secret not in told
        assert secret.encode() not in kept
        for answer in answers:
            assert secret.encode() not in answer


def on_streams(daemon: Daemon, bearer: str) -> bytes:
    """What comes on streams that are opened and renewed with ``bearer``."""
    with Held(connected(daemon.http)) as held:
        held.ask(f"/topics/open/a?transport=stream&token={bearer}", "stream")
        stream = held.until_control("open")["stream"]
        for body in (json.dumps({"token": bearer}), json.dumps({"token": bearer, "x": 1}), json.dumps([bearer])):
            asks(daemon, "POST", f"/streams/{stream}/token", bearer, body.encode())
        told = json.dumps(held.objects).encode()
    with opened(daemon.http, f"open/a?token={bearer}") as (connection, data):
        came = data
        for message in ({"token": bearer}, {"token": [bearer]}, {"token": bearer, "publish": "other", "data": 1}):
            push(connection, text(message))
        push(connection, text({"publish": "open/a", "data": "end"}))
        while b'"end"' not in came:
            came += connection.recv(65_536)
    return told + came
