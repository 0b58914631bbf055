"""Subscribing with ``curl -N``, on every transport that HTTP has."""

from __future__ import annotations

import json
import re

import pytest

from tests.daemons import Daemon
from tests.e2e.held import publish, streams, subscribe
from tests.e2e.tools import CURL, begun, run
from tests.e2e.waiting import until
from tests.framing_readers import READERS, Object

STREAMS = ("stream", "sse", "iframe", "multipart", "mixed")
ACCEPTS = [
    ("text/event-stream", "text/event-stream"),
    ("application/x-ndjson", "application/x-ndjson"),
    ("multipart/x-mixed-replace", "multipart/x-mixed-replace; boundary="),
    ("image/avif,image/webp,image/*,*/*;q=0.8", "multipart/x-mixed-replace; boundary="),
    ("multipart/mixed", "multipart/mixed; boundary="),
    ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
]


def read_back(transport: str, output: bytes) -> tuple[list[Object], dict[str, str]]:
    """What the strict reader makes of what ``curl -i`` has written, and the header of the response."""
    head, _, body = output.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    header = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return READERS[transport](header["content-type"]).feed(body), header


@pytest.mark.parametrize("transport", STREAMS)
def test_stream(daemon: Daemon, topic: str, transport: str) -> None:
    """``curl -N`` shows each message at once, on every transport that goes on."""
    with begun(*CURL, "-iN", f"http://{daemon.http}/topics/{topic}?transport={transport}") as curl:
        curl.until(b"comet")
        for text in ("one", "two", "three"):
            publish(daemon.http, topic, text)
            curl.until(text.encode())
        publish(daemon.http, topic, "end")
        curl.until(b"end")
        objects, header = read_back(transport, curl.out)
    assert header["cache-control"] == "no-store, no-transform"
    assert header["x-accel-buffering"] == "no"
    assert objects[0]["comet"] == "open"
    messages = [found for found in objects if "comet" not in found]
    assert [found.get("data", found.get("payload", b"")) for found in messages[:3]] in (
        ["one", "two", "three"],
        [b"one", b"two", b"three"],
    )


def test_poll(daemon: Daemon, topic: str) -> None:
    """A long poll is answered by the first message, and its ``next`` leads to those after it."""
    with begun(*CURL, "-i", f"http://{daemon.http}/topics/{topic}") as curl:
        until(lambda: streams(daemon.http, topic), "the poll is held")
        publish(daemon.http, topic, "one")
        assert curl.wait() == 0
    objects, header = read_back("poll", curl.out)
    assert header["content-type"] == "application/json"
    assert [found["data"] for found in objects[:-1]] == ["one"]
    publish(daemon.http, topic, "two")
    answer = json.loads(run(*CURL, f"http://{daemon.http}/topics/{topic}?since={objects[-1]['next']}").out)
    assert [found["data"] for found in answer["messages"]] == ["two"]


def test_history(daemon: Daemon, topic: str) -> None:
    """``wait=0`` reads what is retained and answers at once."""
    for number in range(5):
        publish(daemon.http, topic, str(number))
    answer = json.loads(run(*CURL, f"http://{daemon.http}/topics/{topic}?since=-3&wait=0").out)
    assert [found["data"] for found in answer["messages"]] == ["2", "3", "4"]
    empty = json.loads(run(*CURL, f"http://{daemon.http}/topics/{topic}?since={answer['next']}&wait=0").out)
    assert empty["messages"] == []


@pytest.mark.parametrize(("accept", "content_type"), ACCEPTS)
def test_accept(daemon: Daemon, topic: str, accept: str, content_type: str) -> None:
    """The Accept header chooses the transport, with the content type that it names."""
    with begun(*CURL, "-iN", "-H", f"Accept: {accept}", f"http://{daemon.http}/topics/{topic}") as curl:
        head = curl.until(b"\r\n\r\n").partition(b"\r\n\r\n")[0].decode()
    found = re.search(r"(?mi)^content-type: ([^\r\n]*)", head)
    assert found is not None
    assert found[1].startswith(content_type)


def test_accept_anything(daemon: Daemon, topic: str) -> None:
    """What curl sends by itself, ``Accept: */*``, is a poll."""
    ended = run(*CURL, "-i", f"http://{daemon.http}/topics/{topic}?wait=0")
    assert "Content-Type: application/json\r\n" in ended.out
    assert json.loads(ended.out.partition("\r\n\r\n")[2])["messages"] == []


def test_patterns(daemon: Daemon, topic: str) -> None:
    """A pattern gets the messages of all topics that it matches, in the order in which they were published."""
    with subscribe(daemon.http, f"/topics/{topic}/**?transport=stream", "stream") as held:
        held.until_control("open")
        for name in ("a", "b/c", "d"):
            publish(daemon.http, f"{topic}/{name}", name)
        publish(daemon.http, f"{topic}x", "elsewhere")
        publish(daemon.http, f"{topic}/end", "end")
        assert [found["topic"] for found in held.until_messages(4)] == [
            f"{topic}/{n}" for n in ("a", "b/c", "d", "end")
        ]


def test_refusal(daemon: Daemon) -> None:
    """A mistake in the address is told as a problem document, with what to do."""
    ended = run(*CURL, "-i", f"http://{daemon.http}/topics/a?transprot=sse")
    assert ended.out.startswith("HTTP/1.1 400 ")
    assert "Content-Type: application/problem+json\r\n" in ended.out
    assert "did you mean transport?" in json.loads(ended.out.partition("\r\n\r\n")[2])["detail"]
