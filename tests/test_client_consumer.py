"""Subscriptions for a consumer: the daemon keeps the place, the program says what is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.python.failure import Failure

from comet.client import Client, Message, Refused, Subscription
from tests.client_faces import Collected, Network, result_of
from tests.test_client import LOST


@pytest.fixture
def network() -> Network:
    """A daemon in memory."""
    return Network()


@pytest.fixture
def client(network: Network) -> Iterator[Client]:
    """A client, which leaves nothing behind."""
    client = network.client()
    yield client
    network.close(client)


def acked(network: Network, subscription: Subscription, item: Message | str) -> None:
    """Acknowledge."""
    done = subscription.ack(item)
    network.settle()
    result_of(done)


def message(collected: Collected, number: int) -> Message:
    found = collected.items[number]
    assert isinstance(found, Message)
    return found


def test_place_is_kept(network: Network, client: Client) -> None:
    """The next subscription for the consumer is given what this one has not acknowledged."""
    network.publish("a", "1", "2", "3")
    first = client.subscribe("a", since="first", consumer="c")
    collected = Collected(first)
    assert collected.data == ["1", "2", "3"]
    assert network.asked[0][1] == "/consumers/c?topic=a&transport=stream&since=first"
    acked(network, first, message(collected, 0))
    first.aclose()
    network.settle()
    second = client.subscribe("a", consumer="c")
    collected = Collected(second)
    network.publish("a", "4")
    assert collected.data == ["2", "3", "4"]
    acked(network, second, message(collected, 2).id)
    assert Collected(client.subscribe("a", consumer="c")).data == []


def test_once(network: Network, client: Client) -> None:
    """After a lost connection what was not acknowledged comes again, but not to the program that has it."""
    network.publish("a", "1", "2")
    subscription = client.subscribe("a", since="first", consumer="c")
    collected = Collected(subscription)
    for text in ("3", "4"):
        network.held[-1].cut()
        network.publish("a", text)
        network.pass_time(5)
    assert collected.data == ["1", "2", "3", "4"]
    acked(network, subscription, message(collected, 3))
    network.held[-1].cut()
    network.pass_time(5)
    network.publish("a", "5")
    assert collected.data[-1] == "5"
    assert len(collected.data) == 5


def test_acknowledgement_is_repeated(network: Network, client: Client) -> None:
    """An acknowledgement whose answer is lost is sent again."""
    network.publish("a", "1")
    subscription = client.subscribe("a", since="first", consumer="c")
    collected = Collected(subscription)
    network.acts = [LOST]
    done = subscription.ack(message(collected, 0))
    network.pass_time(5)
    result_of(done)
    assert [asked[1] for asked in network.asked[1:]] == ["/consumers/c/ack"] * 2


def test_replaced(network: Network, client: Client) -> None:
    """The older of two readers is given what it has, told why it ends, and does not come back."""
    older = Collected(client.subscribe("a", consumer="c"))
    newer = Collected(client.subscribe("a", consumer="c"))
    network.settle()
    network.pass_time(30)
    assert isinstance(older.error, Refused)
    assert older.error.code == "replaced"
    network.publish("a", "1")
    assert (older.data, newer.data) == ([], ["1"])


def test_refused(network: Network, client: Client) -> None:
    """What the daemon refuses is raised: other topics, a change of topics, an acknowledgement of nothing."""
    subscription = client.subscribe("a", consumer="c")
    assert isinstance(Collected(client.subscribe("b", consumer="c")).error, Refused)
    for work in (subscription.change(subscribe=["b"]), subscription.ack("5f0c1a2b-9")):
        network.settle()
        caught: list[Any] = []
        work.addErrback(caught.append)
        assert isinstance(caught[0], Failure)
        assert caught[0].check(Refused)
