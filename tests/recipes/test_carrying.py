"""What every recipe carries: all transports, at once, in order and whole, over each protocol that it offers."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from statistics import median

import pytest

from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.recipes.clients import Client
from tests.recipes.conftest import Served
from tests.recipes.faces import CARRIED, OFFERED

SOON = 0.02
"""Seconds that the first byte may take, and in the median a message: at best, because other things run here too."""
LATE = 2.0
"""Seconds that no message may take."""
NOTICED = 5.0
"""Seconds within which the daemon notices that a client has left."""
TRIES = 5
ROUNDS = 3
MESSAGES = 5
LARGE = 1024 * 1024

each_carried = pytest.mark.parametrize(("served", "protocol", "transport"), CARRIED, indirect=["served"])
each_offered = pytest.mark.parametrize(("served", "protocol"), OFFERED, indirect=["served"])


def target(topic: str, transport: str, further: str = "") -> str:
    """What is asked for to subscribe. A poll is held long, a heartbeat or not."""
    wait = "&wait=20" if transport == "poll" and "wait" not in further else ""
    return f"/topics/{topic}?transport={transport}{wait}{further}"


def opened(served: Served, protocol: str, topic: str, transport: str) -> Client:
    """A client whose response has begun; a poll is held."""
    client = served.client(protocol)
    client.begin(target(topic, transport), transport)
    if transport != "poll":
        client.arrive(transport).until(lambda held: held.objects, "the first object")
    until(lambda: streams(served.direct, topic), f"{transport} is held")
    return client


@each_carried
def test_first_byte(served: Served, protocol: str, topic: str, transport: str) -> None:
    """The first bytes of a response come within 20 ms."""
    best = LATE
    for _ in range(TRIES):
        with served.client(protocol) as client:
            began = time.monotonic()
            client.ask(target(topic, transport, "&wait=0" if transport == "poll" else ""), transport)
            client.until(lambda held: held.objects, "the first object")
            best = min(best, time.monotonic() - began)
    assert best < SOON


def delay(served: Served, client: Client, topic: str, transport: str, text: str) -> float:
    """Publish ``text`` while the response is held; returns the seconds until it has come."""
    count = len(client.messages()) + 1
    if transport == "poll":
        since = f"&since={client.cursor()}" if client.objects else ""
        client.begin(target(topic, transport, since), transport)
        until(lambda: streams(served.direct, topic), "the poll is held")
    began = time.monotonic()
    publish(served.direct, topic, text)
    if transport == "poll":
        client.arrive(transport)
    client.until_messages(count)
    return time.monotonic() - began


@each_carried
def test_messages_come_at_once(served: Served, protocol: str, topic: str, transport: str) -> None:
    """Each message that is published while the response is held comes at once."""
    texts = [str(number) for number in range(ROUNDS * MESSAGES)]
    with served.client(protocol) as client:
        if transport != "poll":
            client.ask(target(topic, transport), transport).until(lambda held: held.objects, "the first object")
        delays = [delay(served, client, topic, transport, text) for text in texts]
        assert client.payloads() == texts
    assert min(median(delays[start : start + MESSAGES]) for start in range(0, len(delays), MESSAGES)) < SOON
    assert max(delays) < LATE


@each_carried
def test_large_message(served: Served, protocol: str, topic: str, transport: str) -> None:
    """A message of 1 MiB is published through the proxy and comes back whole."""
    payload = ("0123456789abcdef" * (LARGE // 16)).encode()
    with opened(served, protocol, topic, transport) as client, served.client(protocol) as publisher:
        answer = publisher.exchange("POST", f"/topics/{topic}", payload, Content_Type="text/plain")
        assert answer.status == 201, answer
        if transport == "poll":
            client.arrive(transport)
        client.gather(LARGE)
        client.until_messages(1)
        assert client.payloads() == [payload.decode()]


@each_carried
def test_resume(served: Served, protocol: str, topic: str, transport: str) -> None:
    """``Last-Event-ID`` comes through: a client goes on where it was."""
    first, *_ = [publish(served.direct, topic, text) for text in ("one", "two", "three")]
    with served.client(protocol) as client:
        client.ask(target(topic, transport, "&conflate=0"), transport, Last_Event_ID=first)
        client.until_messages(2)
        assert client.payloads() == ["two", "three"]


@each_offered
def test_heartbeat(served: Served, protocol: str, topic: str) -> None:
    """The daemon's heartbeats come through by themselves, on every transport that has them."""
    with ExitStack() as stack:
        names = [name for name in served.face.recipe.carried(protocol) if name != "poll"]
        clients = [stack.enter_context(opened(served, protocol, f"{topic}/{name}", name)) for name in names]
        for _ in range(2):
            began = time.monotonic()
            for client in clients:
                client.until_more()
            assert time.monotonic() - began < LATE


@each_offered
def test_leaving(served: Served, protocol: str, topic: str) -> None:
    """The daemon notices soon when a client leaves."""
    tried = served.face.recipe
    names = [name for name in tried.carried(protocol) if name not in tried.unnoticed]
    clients = [opened(served, protocol, f"{topic}/{name}", name) for name in names]
    for client in clients:
        client.wire.leave()
    for name in names:
        until(partial(is_gone, served, f"{topic}/{name}"), f"{name} is gone", NOTICED)
    for client in clients:
        client.socket.close()


def is_gone(served: Served, topic: str) -> bool:
    """Whether the daemon has noticed that the client of ``topic`` has left."""
    return not streams(served.direct, topic)
