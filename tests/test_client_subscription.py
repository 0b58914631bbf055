"""Subscriptions of the client, on a network in memory that is cut wherever a test wants, and in a time of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from comet.client import Client, Closed, Gap, Message, Refused, State, Subscription, Unreachable
from comet.client.backoff import LONGEST, STABLE
from comet.client.following import ROOM, SILENCES
from comet.config import Config
from tests.client_faces import REAL, Collected, Network, result_of
from tests.test_client import LOST, problem
from tests.web_faces import Answer, Face


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


def streams(network: Network) -> int:
    """How many streams the daemon holds."""
    return len(network.face.router.streams)


def state(subscription: Subscription) -> State:
    """Where it stands now; mypy takes an attribute that was looked at for settled."""
    return subscription.state


def restart(network: Network) -> None:
    """End the daemon and start another, which has forgotten everything."""
    network.face.router.stop()
    network.settle()
    network.face = Face(network.face.config)
    network.face.router.log.epoch = "bbbbbbbb"


# -- the plain course ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["stream", "sse"])
def test_subscribe(network: Network, client: Client, transport: str) -> None:
    """Messages come as they are published, with all that is known of them; the cursor follows."""
    subscription = client.subscribe("auction/*", "chat", transport=transport)
    collected = Collected(subscription)
    assert state(subscription) is State.OPEN
    assert subscription.topics == ("auction/*", "chat")
    network.publish("auction/7", "a")
    network.publish("other", "b")
    network.publish("chat", "c")
    first, second = collected.items
    assert isinstance(first, Message)
    assert (first.topic, first.data, second.id.partition("-")[2]) == ("auction/7", "a", "3")  # type: ignore[union-attr]
    assert subscription.cursor == second.id  # type: ignore[union-attr]
    network.publish("other", "d")
    network.pass_time(60)
    assert subscription.cursor.endswith("-4")


def test_since(network: Network, client: Client) -> None:
    """A subscription starts where it is told to."""
    network.publish("a", "1", "2", "3")
    network.publish("b", "4")
    position = f"{network.face.router.epoch}-2"
    found = {}
    for since in ("now", "first", "last", "-2", position):
        subscription = client.subscribe("*", since=since)
        found[since] = Collected(subscription).data
        result_of(subscription.opened())
    assert found == {
        "now": [],
        "first": ["1", "2", "3", "4"],
        "last": ["3", "4"],
        "-2": ["3", "4"],
        position: ["3", "4"],
    }


def test_conflate_and_pace(network: Network, client: Client) -> None:
    """What the daemon is asked for beside the topics."""
    subscription = client.subscribe("a", "ü/*", conflate=True, pace=0.25, since="last")
    assert network.asked[0][1] == "/topics?topic=a&topic=%C3%BC%2F%2A&transport=stream&since=last&conflate=1&pace=250"
    subscription.aclose()


def test_bad_wishes(client: Client) -> None:
    """What cannot be wished for is told at once."""
    for topics, since in (([], "now"), (["a//b"], "now"), (["a"], "yesterday")):
        with pytest.raises(Refused):
            client.subscribe(*topics, since=since)
    with pytest.raises(ValueError, match="choose one of stream, sse"):
        client.subscribe("a", transport="poll")


def test_one_reader(network: Network, client: Client) -> None:
    """Two readers of one subscription would each miss what the other gets."""
    subscription = client.subscribe("a")
    first = subscription.__anext__()
    with pytest.raises(RuntimeError, match="one reader"):
        subscription.__anext__()
    network.publish("a", "x")
    assert result_of(first).data == "x"


def test_states(network: Network, client: Client) -> None:
    """Each change of state is told, with its cause, to who wants to know; a mistake there does no harm."""
    seen: list[tuple[State, str]] = []
    subscription = client.subscribe("a", on_state=lambda state, cause: seen.append((state, cause)))
    network.held[0].cut()
    network.pass_time(1, 0.05)
    subscription.aclose()
    states = [state for state, _ in seen]
    assert states == [State.OPEN, State.WAITING, State.CONNECTING, State.OPEN, State.CLOSED]
    assert seen[1][1].startswith("the connection was closed; trying again in 0.")


def test_on_state_fails(network: Network, client: Client, failures: list[Failure]) -> None:
    """A mistake in what is called with the state is logged, and the subscription goes on."""

    def fail(state: State, cause: str) -> None:
        if state is State.OPEN:
            raise KeyError(state)

    collected = Collected(client.subscribe("a", on_state=fail))
    network.publish("a", "x")
    assert collected.data == ["x"]
    assert [failure.type for failure in failures] == [KeyError]
    failures.clear()


@pytest.mark.parametrize("when", list(State))
def test_closing_from_on_state(network: Network, client: Client, when: State) -> None:
    """Who is told of a state may close the subscription at that."""

    def close(state: State, cause: str) -> None:
        if state is when and subscriptions:
            subscriptions[0].aclose()

    subscriptions: list[Subscription] = []
    subscriptions.append(client.subscribe("a", on_state=close))
    collected = Collected(subscriptions[0])
    network.held[0].cut()
    network.pass_time(1, 0.05)
    subscriptions[0].aclose()
    network.settle()
    assert collected.ended
    assert streams(network) == 0
    assert not network.clock.getDelayedCalls()


def test_peer_that_does_not_close(network: Network, client: Client) -> None:
    """A dead peer, which does not answer when a connection over TLS is closed, does not hold up the next stream."""
    collected = Collected(client.subscribe("a"))
    held = network.held[0]
    held.loseConnection = lambda: None  # type: ignore[method-assign]
    held.unread = b"<html>\n"
    network.settle()
    network.pass_time(3, 0.1)
    network.publish("a", "x")
    assert collected.data == ["x"]
    assert len(network.held) == 2
    held.cut()


# -- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["stream", "sse"])
def test_resume(network: Network, client: Client, transport: str) -> None:
    """Cut off, a subscription goes on from its cursor: nothing is lost, nothing comes twice."""
    collected = Collected(client.subscribe("a", transport=transport))
    network.publish("a", "1", "2")
    network.face.publish("a", "3")
    network.face.publish("a", "4")
    network.held[0].deliver(30)
    network.held[0].cut()
    network.face.publish("a", "5")
    network.pass_time(LONGEST)
    network.publish("a", "6")
    assert collected.data == list("123456")
    assert not collected.gaps


def test_restart(network: Network, client: Client) -> None:
    """A daemon that has forgotten everything is a gap; then come the messages of its successor, those too that were
    published before anybody was back."""
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    network.publish("a", "1", "2")
    before = subscription.cursor
    restart(network)
    network.face.publish("a", "3")
    network.pass_time(10)
    network.publish("a", "4")
    epoch = network.face.router.epoch
    assert collected.data == list("1234")
    assert collected.items[2] == Gap(before, f"{epoch}-0")
    assert subscription.cursor == f"{epoch}-2"


def test_lost_retention() -> None:
    """Who was away for too long is told of a gap, once."""
    network = Network(Config(retain_messages=2))
    client = network.client()
    collected = Collected(client.subscribe("a"))
    network.publish("a", "1")
    network.held[0].cut()
    for number in range(2, 9):
        network.face.publish("a", str(number))
    network.pass_time(LONGEST)
    assert collected.data == list("178")
    assert len(collected.gaps) == 1
    network.close(client)


def test_bye(network: Network, client: Client) -> None:
    """The daemon's word on when to come back is kept to."""
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    stream = next(iter(network.face.router.streams))
    assert network.face.ask("DELETE", f"/streams/{stream}").status == 204
    network.settle()
    assert state(subscription) is State.WAITING
    network.clock.advance(1.99)
    assert len(network.held) == 1
    network.publish("a", "meanwhile")
    network.clock.advance(0.02)
    network.settle()
    assert len(network.held) == 2
    assert collected.data == ["meanwhile"]


def test_silence(network: Network, client: Client) -> None:
    """A connection that is silent for longer than the daemon ever is counts as dead; heartbeats keep it."""
    silence = network.face.config.silence
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    network.pass_time(5 * silence)
    assert len(network.held) == 1
    network.clock.advance(SILENCES * silence - 1)
    assert state(subscription) is State.OPEN
    network.clock.advance(1)
    network.settle()
    assert state(subscription) is State.WAITING
    network.pass_time(LONGEST)
    network.publish("a", "x")
    assert collected.data == ["x"]


def test_silent_from_the_beginning(network: Network, client: Client) -> None:
    """A response that says nothing at all is given up after the timeout."""
    network.lazy = True
    client.subscribe("a").aclose()
    subscription = client.subscribe("a")
    network.clock.advance(9.9)
    assert state(subscription) is State.CONNECTING
    network.clock.advance(0.1)
    network.settle()
    assert state(subscription) is State.WAITING
    subscription.aclose()


def test_backoff(network: Network, client: Client) -> None:
    """A daemon that accepts and drops is not asked again and again: only what was open for a while begins anew."""
    subscription = client.subscribe("a")
    for _ in range(12):
        network.held[-1].cut()
        network.pass_time(LONGEST, 0.1)
        assert state(subscription) is State.OPEN
    count = len(network.asked)
    times = []
    for _ in range(50):
        network.held[-1].cut()
        began = network.clock.seconds()
        while state(subscription) is not State.OPEN:
            network.pass_time(0.1)
        times.append(network.clock.seconds() - began)
    assert len(network.asked) == count + 50
    assert LONGEST / 2 < max(times) <= LONGEST + 0.2
    network.pass_time(STABLE)
    network.held[-1].cut()
    network.pass_time(0.3, 0.1)
    assert state(subscription) is State.OPEN


# -- no daemon, or one that refuses ----------------------------------------------------------------------------------


def test_nobody_there(network: Network, client: Client) -> None:
    """If no daemon is there to begin with, that is raised when patience is over, once; then the iterator ends."""
    network.down = True
    subscription = client.subscribe("a", patience=5)
    opened = subscription.opened()
    collected = Collected(subscription)
    network.pass_time(5, 0.1)
    assert isinstance(collected.error, Unreachable)
    assert "nobody is there" in str(collected.error)
    assert "\n" not in str(collected.error)
    assert state(subscription) is State.CLOSED
    with pytest.raises(Unreachable):
        result_of(opened)
    with pytest.raises(StopAsyncIteration):
        result_of(subscription.__anext__())
    with pytest.raises(Closed):
        result_of(subscription.opened())


def test_for_ever(network: Network, client: Client) -> None:
    """Without a limit a daemon is waited for; one that was there is always waited for."""
    network.down = True
    subscriptions = [client.subscribe("a", patience=None)]
    network.pass_time(1000, 10)
    network.down = False
    subscriptions.append(client.subscribe("a", patience=0))
    network.pass_time(LONGEST)
    network.down = True
    for held in network.held:
        held.cut()
    network.pass_time(1000, 10)
    network.down = False
    network.pass_time(LONGEST)
    assert [subscription.state for subscription in subscriptions] == [State.OPEN] * 2


@pytest.mark.parametrize("answer", [problem(403, "origin_refused"), Answer(200, {"content-type": "text/html"}, b"hi")])
def test_refused(network: Network, client: Client, answer: Answer) -> None:
    """A refusal is raised at once, also where the daemon was there before."""
    network.acts = [answer]
    collected = Collected(client.subscribe("a"))
    assert isinstance(collected.error, Refused)
    collected = Collected(client.subscribe("a"))
    network.publish("a", "x")
    network.acts = [answer]
    network.held[-1].cut()
    network.pass_time(1, 0.1)
    assert collected.data == ["x"]
    assert isinstance(collected.error, Refused)


def test_refused_for_a_while(network: Network, client: Client) -> None:
    """A refusal that passes is waited for as long as the daemon says; when patience is over it is what is raised."""
    network.acts = [problem(503, "too_many_streams", **{"retry-after": "2"})]
    subscription = client.subscribe("a")
    network.clock.advance(1.9)
    assert state(subscription) is State.WAITING
    network.clock.advance(0.5)
    assert state(subscription) is State.OPEN
    network.acts = [problem(503, "draining")]
    with pytest.raises(Refused, match="not now"):
        result_of(client.subscribe("a", patience=0).opened())


def test_garbled(network: Network, client: Client) -> None:
    """A stream that says what is not Comet's is dropped and asked for again."""
    collected = Collected(client.subscribe("a"))
    network.held[0].unread = b"<html>\n"
    network.settle()
    network.pass_time(1, 0.1)
    network.publish("a", "x")
    assert collected.data == ["x"]
    assert len(network.held) == 2


# -- a slow consumer -------------------------------------------------------------------------------------------------


def test_slow_consumer(network: Network, client: Client) -> None:
    """Of what nobody asks for, no more than a little is read; the daemon keeps the rest, and silence means nothing."""
    subscription = client.subscribe("a")
    for number in range(100):
        network.face.publish("a", f"{number:03}" + "x" * 10_000)
    held = network.held[0]
    while held.deliver(20_000):
        pass
    assert held.paused
    assert len(held.unread) > 600_000
    network.clock.advance(1000)
    assert state(subscription) is State.OPEN
    assert subscription.cursor.endswith("-0")
    collected = Collected(subscription)
    network.settle()
    assert [text[:3] for text in collected.data] == [f"{number:03}" for number in range(100)]
    assert len(network.held) == 1
    assert subscription.cursor.endswith("-100")


def test_slow_consumer_is_cut(network: Network, client: Client) -> None:
    """What was read before a connection was lost is still given, and nothing of it comes again."""
    subscription = client.subscribe("a")
    for number in range(50):
        network.face.publish("a", f"{number:03}" + "x" * 10_000)
    network.settle()
    network.held[0].cut()
    network.pass_time(LONGEST)
    collected = Collected(subscription)
    network.settle()
    assert [text[:3] for text in collected.data] == [f"{number:03}" for number in range(50)]
    assert not collected.gaps


def test_paused_at_once(network: Network, client: Client) -> None:
    """A stream whose very beginning is too much is not read on, though the response resumes when it is first read."""
    network.face.publish("a", "x" * ROOM)
    subscription = client.subscribe("a", since="first")
    network.settle()
    assert not network.held[0].paused
    network.publish("a", *"123")
    assert network.held[0].paused
    assert [text[:1] for text in Collected(subscription).data] == ["x", *"123"]
    network.publish("a", "4")
    assert subscription.cursor.endswith("-5")


def test_the_cursor_is_of_what_was_given(network: Network, client: Client) -> None:
    """A program that stores the cursor and starts again with it misses nothing and gets nothing twice."""
    subscription = client.subscribe("a")
    network.publish("a", "1", "2", "3")
    network.pass_time(60)
    assert result_of(subscription.__anext__()).data == "1"
    again = Collected(client.subscribe("a", since=subscription.cursor))
    assert again.data == ["2", "3"]
    rest = Collected(subscription)
    assert rest.data == ["2", "3"]


# -- the end ---------------------------------------------------------------------------------------------------------


def test_leaving_a_loop(network: Network, client: Client) -> None:
    """Leaving the loop closes a subscription that nobody else holds, at once."""

    async def first() -> Any:
        async for item in client.subscribe("a"):
            return item
        return None

    found = Deferred.fromCoroutine(first())
    assert streams(network) == 1
    network.publish("a", "x")
    assert result_of(found).data == "x"
    network.settle()
    assert streams(network) == 0


def test_failing_in_a_loop(network: Network, client: Client) -> None:
    """So does an error in it."""

    async def stumble() -> None:
        async for item in client.subscribe("a"):
            raise KeyError(item)

    stumbling = Deferred.fromCoroutine(stumble())
    network.publish("a", "x")
    with pytest.raises(KeyError):
        result_of(stumbling)
    network.settle()
    assert streams(network) == 0


def test_async_with(network: Network, client: Client) -> None:
    """``async with`` waits for the stream to be open, and closes it; what waits for an item then ends."""
    network.down = True
    subscriptions: list[Subscription] = []

    async def hold() -> None:
        async with client.subscribe("a", patience=None) as subscription:
            subscriptions.append(subscription)

    holding = Deferred.fromCoroutine(hold())
    network.pass_time(20)
    assert not subscriptions
    network.down = False
    network.pass_time(LONGEST, 0.1)
    result_of(holding)
    assert streams(network) == 0
    assert subscriptions[0].state is State.CLOSED


def test_aclose(network: Network, client: Client) -> None:
    """Closing ends the loop that reads; closing again does nothing."""
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    closing = subscription.aclose()
    assert collected.ended
    network.settle()
    result_of(closing)
    result_of(subscription.aclose())
    assert streams(network) == 0


@pytest.mark.parametrize("when", ["asking", "open", "waiting"])
def test_cancel(network: Network, client: Client, when: str) -> None:
    """Cancelling who waits for the next item closes the connection at once, whatever is under way."""
    if when == "asking":
        network.acts = [None]
    network.down = when == "waiting"
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    collected.done.cancel()
    assert isinstance(collected.error, CancelledError)
    network.settle()
    assert state(subscription) is State.CLOSED
    assert streams(network) == 0
    assert network.cancelled == (when == "asking")
    assert not network.clock.getDelayedCalls()


def test_dropped(network: Network, client: Client) -> None:
    """A subscription that nobody holds any longer closes its connection; one that somebody waits on is held by that."""
    subscription = client.subscribe("a")
    collected = Collected(client.subscribe("a"))
    assert streams(network) == 2
    del subscription
    network.settle()
    assert streams(network) == 1
    gc.collect()
    network.publish("a", "x")
    assert collected.data == ["x"]


# -- changing the topics ---------------------------------------------------------------------------------------------


def test_change(network: Network, client: Client) -> None:
    """Topics are added and removed on the open stream, and are those of the next when it is cut off."""
    subscription = client.subscribe("a", "b")
    collected = Collected(subscription)
    result_of(subscription.change(subscribe=["c"], unsubscribe=["b"]))
    network.settle()
    assert set(subscription.topics) == {"a", "c"}
    for topic in "abc":
        network.publish(topic, topic)
    assert collected.data == ["a", "c"]
    network.held[0].cut()
    network.pass_time(LONGEST)
    for topic in "abc":
        network.publish(topic, topic + topic)
    assert collected.data == ["a", "c", "aa", "cc"]
    assert len(network.held) == 2


def test_change_refused(network: Network, client: Client) -> None:
    """A change that is refused changes nothing."""
    subscription = client.subscribe("a")
    for subscribe, since in (["a//b"], "now"), (["b"], "yesterday"):
        with pytest.raises(Refused):
            result_of(subscription.change(subscribe=subscribe, since=since))
    with pytest.raises(Refused, match="at least one topic"):
        result_of(subscription.change(unsubscribe=["a"]))
    network.acts = [problem(400, "too_many_patterns")]
    with pytest.raises(Refused):
        result_of(subscription.change(subscribe=["b"]))
    assert subscription.topics == ("a",)


def test_change_without_a_stream(network: Network, client: Client) -> None:
    """Without a stream a change waits for one, as long as patience lasts."""
    network.down = True
    subscription = client.subscribe("a", patience=30)
    changing = subscription.change(subscribe=["b"])
    network.pass_time(3)
    network.down = False
    network.pass_time(LONGEST)
    result_of(changing)
    collected = Collected(subscription)
    network.publish("b", "x")
    assert collected.data == ["x"]
    network.down = True
    network.held[0].cut()
    changing = subscription.change(subscribe=["c"])
    network.pass_time(30)
    with pytest.raises(Unreachable, match="topics could be changed"):
        result_of(changing)
    assert set(subscription.topics) == {"a", "b"}


def test_change_of_a_lost_stream(network: Network, client: Client) -> None:
    """A stream that the daemon has ended without the client's knowledge is changed by opening the next."""
    network.publish("b", "old")
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    network.face.router.gone(next(iter(network.face.router.streams.values())))
    changing = subscription.change(subscribe=["b"], since="first")
    network.settle()
    result_of(changing)
    network.pass_time(LONGEST)
    network.publish("b", "new")
    network.publish("a", "x")
    assert collected.data == ["old", "new", "x"]


def test_change_is_lost(network: Network, client: Client) -> None:
    """A change that was made, but whose answer was lost, is made again, to no further effect."""
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    network.acts = [LOST, problem(429, "still_reading")]
    changing = subscription.change(subscribe=["b"])
    network.pass_time(3, 0.1)
    result_of(changing)
    network.publish("b", "x")
    assert collected.data == ["x"]


def test_further_topics_are_refused(network: Network, client: Client) -> None:
    """If the next stream is refused what the last one carried, that is raised: messages would be missing."""
    network.publish("b", "old")
    network.publish("a", "older")
    subscription = client.subscribe("a")
    collected = Collected(subscription)
    result_of(subscription.change(subscribe=["b"], since="first"))
    network.settle()
    assert collected.data == ["old"]
    network.held[0].cut()
    network.acts = [REAL, problem(400, "too_many_patterns")]
    network.pass_time(1)
    assert [method for method, _, _, _ in network.asked] == ["GET", "POST", "GET", "POST"]
    assert isinstance(collected.error, Refused)
    assert streams(network) == 0


# -- whatever happens ------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from("ab")),
    st.tuples(st.just("deliver"), st.integers(0, 400)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("time"), st.sampled_from([0, 1, 30, 100])),
    st.tuples(st.just("take"), st.integers(1, 3)),
)


def play(network: Network, subscription: Subscription, steps: list[tuple[str, Any]]) -> tuple[list[Any], list[str]]:
    """Let ``steps`` happen, then everything come to rest; returns what has come, and what was published."""
    network.lazy = True
    items: list[Any] = []
    published: list[str] = []
    waiting: Deferred[Any] | None = None
    for step, value in steps:
        if step == "publish":
            published.append(f"{value}{len(published)}")
            network.face.publish(value, published[-1])
        elif step == "deliver":
            for held in network.held:
                held.paused = False
                held.deliver(value)
        elif step == "cut":
            network.held[-1].cut()
        elif step == "time":
            network.face.clock.advance(value)
            network.clock.advance(value)
        elif waiting is None or waiting.called:
            waiting = subscription.__anext__()
            waiting.addCallbacks(items.append, lambda failure: failure.trap(StopAsyncIteration))
    network.lazy = False
    for held in network.held:
        held.paused = False
    network.pass_time(3 * LONGEST)
    if waiting is None or waiting.called:
        rest = Collected(subscription)
        network.settle()
        items += rest.items
    return items, published


@given(st.lists(STEPS, max_size=40), st.sampled_from(["stream", "sse"]))
def test_each_message_once(steps: list[tuple[str, Any]], transport: str) -> None:
    """Wherever connections are cut, at whichever byte, each message comes once, in order, and there is no gap."""
    network = Network()
    client = network.client()
    items, published = play(network, client.subscribe("*", since="first", transport=transport, patience=None), steps)
    assert [item.data if isinstance(item, Message) else item for item in items] == published
    network.close(client)


@given(st.lists(STEPS, max_size=20), st.lists(STEPS, max_size=40))
def test_each_message_once_with_history(before: list[tuple[str, Any]], after: list[tuple[str, Any]]) -> None:
    """So it is where a topic is added with all of its history: it comes once, and each topic in order."""
    network = Network()
    client = network.client()
    for step, value in before:
        if step == "publish":
            network.face.publish(value, f"{value}{network.face.router.log.end}")
    subscription = client.subscribe("a", since="first", patience=None)
    result_of(subscription.change(subscribe=["b"], since="first"))
    items, published = play(network, subscription, after)
    early = [message.payload.decode() for message in network.face.router.log.after(0, 1000)][: -len(published) or None]
    for topic in "ab":
        came = [item.data for item in items if isinstance(item, Message) and item.topic == topic]
        assert came == [text for text in [*early, *published] if text[0] == topic]
    assert not [item for item in items if isinstance(item, Gap)]
    network.close(client)
