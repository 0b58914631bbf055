"""Cross-protocol attacks: a web page has a browser send a request to the TCP port, with commands in it; or somebody is
led to a port that speaks another protocol than he thinks. What is no RESP from its first line on does nothing."""

from __future__ import annotations

import ssl

import pytest

from tests.attacks.attacker import CHUNKED, exchanged, published, request, serves, statuses
from tests.daemons import Daemon
from tests.e2e.held import connected

COMMAND = b"PUBLISH forbidden evil\r\n"
ARRAY = b"*3\r\n$7\r\nPUBLISH\r\n$9\r\nforbidden\r\n$4\r\nevil\r\n"

FORM = (
    b"------x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + COMMAND + b"\r\n------x--\r\n",
    "Content-Type: multipart/form-data; boundary=----x",
)

BROWSERS = {
    "form": request("POST", "/", FORM[1], body=FORM[0]),
    "text-form": request("POST", "/", "Content-Type: text/plain", body=COMMAND * 3),
    "fetch": request("POST", "/", "Origin: https://evil.example", "Sec-Fetch-Mode: no-cors", body=ARRAY),
    "fetch-in-chunks": request("POST", "/", CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(ARRAY), ARRAY)),
    "get": request("GET", "/PUBLISH%20forbidden%20evil"),
    "get-with-line-breaks": request("GET", "/\r\nPUBLISH forbidden evil\r\n"),
    "put": request("PUT", "/", body=COMMAND),
    "preflight": request("OPTIONS", "/", body=COMMAND),
    "beacon": request("POST", "/", "Content-Type: application/x-www-form-urlencoded", body=ARRAY),
    "websocket": request("GET", "/", "Upgrade: websocket", "Connection: Upgrade", body=COMMAND),
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + COMMAND,
    "header-first": b"Host: localhost\r\n" + COMMAND,
    "method-in-small-letters": b"post / http/1.1\r\n\r\n" + COMMAND,
}

OTHERS = {
    "smtp": b"EHLO evil.example\r\nMAIL FROM:<a@evil.example>\r\nRCPT TO:<b@evil.example>\r\nDATA\r\n" + COMMAND,
    "smtp-in-capitals-and-not": b"Helo evil.example\r\n" + COMMAND,
    "ftp": b"USER anonymous\r\nPASS x\r\nSTOR a\r\n" + COMMAND,
    "irc": b"NICK a\r\nUSER a 0 * :a\r\n" + COMMAND,
    "rtsp": b"DESCRIBE rtsp://localhost/ RTSP/1.0\r\n\r\n" + COMMAND,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n" + COMMAND,
    "proxy": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + COMMAND,
    "sip": b"REGISTER sip:localhost SIP/2.0\r\nVia: x\r\n\r\n" + COMMAND,
    "gopher": b"/\r\n" + COMMAND,
    "proxy-2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\0" * 12 + COMMAND,
    "null": b"\0" + COMMAND,
    "blanks": b" " * 10 + b"\t" + b"\0" + COMMAND,
    "socks": b"\x05\x01\x00" + COMMAND,
    "tls-with-a-command": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" + COMMAND,
}


@pytest.mark.parametrize("name", BROWSERS)
def test_page_that_posts_to_the_tcp_port(daemon: Daemon, name: str, topic: str) -> None:
    """Nothing that a page in a browser can have sent to the TCP port publishes; it is not even answered, so that the
    page learns nothing."""
    assert exchanged(daemon.tcp, BROWSERS[name]) == b""
    assert published(daemon, "forbidden") == []
    serves(daemon, topic)


@pytest.mark.parametrize("name", OTHERS)
def test_other_protocol_on_the_tcp_port(daemon: Daemon, name: str) -> None:
    """Whoever speaks another protocol is sent away at its first line: what may look like commands further on is not
    executed."""
    answer = exchanged(daemon.tcp, OTHERS[name] + b"QUIT\r\n")
    assert published(daemon, "forbidden") == [], answer


@pytest.mark.parametrize("face", ["http", "tcp"])
def test_tls_on_a_plain_port(daemon: Daemon, face: str) -> None:
    """A client that begins with TLS is told nothing and is not kept waiting."""
    context = ssl.create_default_context()
    with connected(getattr(daemon, face)) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection, server_hostname="localhost")


@pytest.mark.parametrize("data", [COMMAND, ARRAY, b"PING\r\n", *OTHERS.values()])
def test_other_protocol_on_the_http_port(daemon: Daemon, data: bytes) -> None:
    """Whoever speaks RESP, or anything else, to the HTTP port is sent away at once."""
    assert statuses(exchanged(daemon.http, data + b"\r\n\r\n")) == [400]
    assert published(daemon, "forbidden") == []
