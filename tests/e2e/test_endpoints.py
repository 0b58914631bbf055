"""Where the daemon can be listened to: UNIX sockets, TLS, behind a proxy, on several ports at once."""

from __future__ import annotations

import json
import re
import socket
import ssl
from pathlib import Path

import pytest
from websockets.sync.client import connect, unix_connect

from tests.daemons import Daemon, running
from tests.e2e.held import Held, connected, publish, secured, streams, subscribe
from tests.e2e.tools import COMET, CURL, begun, run, split
from tests.recipes.certificate import written

TRANSPORTS = ("poll", "stream", "sse", "iframe", "multipart", "mixed", "websocket")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``cert.pem``, signed by itself for the loopback, and its ``key.pem``."""
    directory = tmp_path_factory.mktemp("tls")
    written(directory)
    return directory


def endpoint(certificate: Path, kind: str) -> str:
    """A TLS endpoint: ``ssl`` names the files, ``tls`` a directory in which a certificate is found by its name."""
    if kind == "ssl":
        return f"ssl:0:privateKey={certificate}/key.pem:certKey={certificate}/cert.pem:interface=127.0.0.1"
    directory = certificate / "names"
    directory.mkdir(exist_ok=True)
    both = (certificate / name for name in ("key.pem", "cert.pem"))
    (directory / "localhost.pem").write_bytes(b"".join(each.read_bytes() for each in both))
    return f"tls:{directory}:0:interface=127.0.0.1"


def consoles(daemon: Daemon) -> list[str]:
    """Where the daemon says that it speaks HTTP, in order."""
    return re.findall(r"console +(?:https?://)?(\S+?)/?(?: on \S+)?$", "".join(daemon.log), re.MULTILINE)


def test_unix_socket(tmp_path: Path) -> None:
    """Everything works over UNIX sockets: every transport, WebSocket, curl, ``comet pub``."""
    http, tcp = tmp_path / "http", tmp_path / "tcp"
    with running("--http", f"unix:{http}", "--tcp", f"unix:{tcp}") as daemon:
        for transport in TRANSPORTS:
            publish(str(http), transport, "one")
            with subscribe(str(http), f"/topics/{transport}?transport={transport}&since=first", transport) as held:
                if transport == "multipart":
                    held.until_messages(1)
                else:
                    assert held.until_messages(1) and held.payloads() == ["one"]
        with unix_connect(str(http), "ws://localhost/topics/live", proxy=None) as websocket:
            websocket.recv(20)
            published = run(*COMET, "pub", "live", "over a file", "--server", str(tcp))
            assert published.code == 0, published.err
            assert json.loads(websocket.recv(20))["data"] == "over a file"
        url = "http://localhost/topics/live?since=first&wait=0"
        assert json.loads(run(*CURL, "--unix-socket", str(http), url).out)["messages"][0]["data"] == "over a file"
        with subscribe(str(http), "/topics/live?transport=sse", "sse") as held:
            assert [stream["address"] for stream in streams(str(http), "live")] == ["unix"]
            publish(str(http), "live", "x" * 1_000_000)
            assert len(held.until_messages(1)[0]["data"]) == 1_000_000
        assert daemon.end() == 0
    assert not http.exists()
    assert not tcp.exists()


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_tls(certificate: Path, kind: str) -> None:
    """Everything works over TLS: every transport, WebSocket, curl; a large message and many small ones."""
    trusted = str(certificate / "cert.pem")
    with running("--http", endpoint(certificate, kind)) as daemon:
        plain, tls = consoles(daemon)
        named = tls.replace("127.0.0.1", "localhost")
        for transport in TRANSPORTS:
            publish(plain, transport, "one")
            with Held(secured(tls, trusted)) as held:
                held.ask(f"/topics/{transport}?transport={transport}&since=first", transport).until_messages(1)
                if transport not in ("poll", "multipart"):
                    assert held.payloads() == ["one"]
                    large = publish(plain, transport, "x" * 900_000)
                    for number in range(100):
                        publish(plain, transport, str(number))
                    messages = held.until_messages(102)
                    assert (messages[1]["id"], len(held.payloads()[1])) == (large, 900_000)
                    assert held.payloads()[2:] == [str(number) for number in range(100)]
        with connect(
            f"wss://{named}/topics/live", ssl=ssl.create_default_context(cafile=trusted), proxy=None
        ) as websocket:
            websocket.recv(20)
            websocket.send(json.dumps({"publish": "live", "data": "secret", "ref": 1}))
            assert {json.loads(websocket.recv(20)).get("data"), json.loads(websocket.recv(20)).get("data")} == {
                "secret",
                None,
            }
        with begun(*CURL, "-N", "--cacert", trusted, f"https://{named}/topics/live?transport=sse&since=first") as curl:
            curl.until(b'"data":"secret"')
            publish(plain, "live", "more")
            curl.until(b'"data":"more"')
        assert daemon.end() == 0


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_tls_offers_http_1(certificate: Path, kind: str) -> None:
    """A client that could do HTTP/2 is offered HTTP/1.1, in which responses can be held."""
    with running("--http", endpoint(certificate, kind)) as daemon:
        _, tls = consoles(daemon)
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(connected(tls), server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() in (None, "http/1.1")


def test_behind_haproxy() -> None:
    """Behind a proxy that speaks the PROXY protocol, streams work, and have the address of the client itself."""
    options = ("--proxy", "127.0.0.2", "--anonymous", "subscribe:**")
    with running("--http", "haproxy:tcp:0:interface=127.0.0.1", *options) as daemon:
        direct, proxied = consoles(daemon)
        for transport in TRANSPORTS:
            publish(direct, transport, "one")
            host, port = split(proxied)
            with Held(socket.create_connection((host, int(port)), 10, ("127.0.0.2", 0))) as held:
                held.socket.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 80\r\n")
                held.ask(f"/topics/{transport}?transport={transport}&since=first", transport).until_messages(1)
                if transport != "poll":
                    assert [stream["address"] for stream in streams(direct, transport)] == ["192.0.2.7:51000"]
                    publish(direct, transport, "two")
                    held.until_messages(2)
        assert daemon.end() == 0


def test_several_ports() -> None:
    """Several endpoints at once serve one and the same topics."""
    anywhere = "tcp:0:interface=127.0.0.1"
    with running("--http", anywhere, "--http", anywhere, "--tcp", anywhere) as daemon:
        addresses = consoles(daemon)
        assert len(set(addresses)) == 3
        listeners = [subscribe(address, "/topics/a?transport=sse", "sse") for address in addresses]
        try:
            publish(addresses[1], "a", "one")
            for held in listeners:
                assert held.until_messages(1)[0]["data"] == "one"
        finally:
            for held in listeners:
                held.socket.close()
