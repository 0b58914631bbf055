"""Subscribing on the TCP port, in front of the real router: what Redis promises, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from comet.errors import StoreFailed
from comet.message import Draft
from comet.resp import pubsub
from tests.resp_ports import Client, Port
from tests.resp_reading import Push, Refusal


@pytest.fixture
def port() -> Port:
    return Port()


# -- confirmations and messages ---------------------------------------------------------------------------------------


def test_topics_are_confirmed_one_by_one(port: Port) -> None:
    """Each name has a confirmation, with the number of names so far; a name that was there already does not count."""
    client = port.connect()
    assert client.send("SUBSCRIBE a b a") == [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]]
    assert client.send("PSUBSCRIBE a c/*") == [[b"psubscribe", b"a", 3], [b"psubscribe", b"c/*", 4]]
    port.publish(("a", b"x"), ("b", b"y"), ("c/d", b"z"), ("d", b"-"))
    assert client.arrived() == [
        [b"message", b"a", b"x"],
        [b"pmessage", b"a", b"a", b"x"],
        [b"message", b"b", b"y"],
        [b"pmessage", b"c/*", b"c/d", b"z"],
    ]


def test_nothing_follows_the_end_of_a_topic(port: Port) -> None:
    """What was published before, but not brought yet, is not brought behind the confirmation of the end."""
    client = port.connect()
    client.send("SUBSCRIBE a b")
    port.router.publish([Draft("a", b"x"), Draft("b", b"y")])
    assert client.send("UNSUBSCRIBE a") == [[b"unsubscribe", b"a", 1]]
    port.turn()
    assert client.arrived() == [[b"message", b"b", b"y"]]


def test_nothing_precedes_the_confirmation(port: Port) -> None:
    """A subscription begins behind all that was published before it."""
    client = port.connect()
    port.router.publish([Draft("a", b"before")])
    assert client.send("SUBSCRIBE a") == [[b"subscribe", b"a", 1]]
    port.turn()
    assert client.send("SUBSCRIBE b") == [[b"subscribe", b"b", 2]]
    port.publish(("b", b"after"))
    assert client.arrived() == [[b"message", b"b", b"after"]]


def test_unsubscribing_from_everything(port: Port) -> None:
    """Without a name, all topics or all patterns are ended, each with its confirmation; with none left, there is one
    for nothing."""
    client = port.connect()
    client.send("SUBSCRIBE a b", "PSUBSCRIBE c/* d/*")
    assert client.send("UNSUBSCRIBE") == [[b"unsubscribe", b"a", 3], [b"unsubscribe", b"b", 2]]
    assert client.send("UNSUBSCRIBE") == [[b"unsubscribe", None, 2]]
    assert client.send("PUNSUBSCRIBE d/* never") == [[b"punsubscribe", b"d/*", 1], [b"punsubscribe", b"never", 1]]
    port.publish(("a", b"x"), ("d/e", b"x"), ("c/d", b"y"))
    assert client.arrived() == [[b"pmessage", b"c/*", b"c/d", b"y"]]
    assert client.send("PUNSUBSCRIBE") == [[b"punsubscribe", b"c/*", 0]]
    assert port.router.streams == {}


@pytest.mark.parametrize("version", [2, 3])
def test_unsubscribing_without_having_subscribed(port: Port, version: int) -> None:
    """It is confirmed, and nothing else."""
    client = port.connect(version)
    assert client.send("UNSUBSCRIBE", "PUNSUBSCRIBE a", "PING") == [
        [b"unsubscribe", None, 0],
        [b"punsubscribe", b"a", 0],
        "PONG",
    ]
    assert port.router.streams == {}


def test_what_the_daemon_says_of_itself(port: Port) -> None:
    """Topics that begin with ``$`` can be subscribed to, but no wildcard in front matches them."""
    client, other = port.connect(), port.connect()
    client.send("PSUBSCRIBE $stats/**")
    other.send("PSUBSCRIBE **")
    port.router.report([Draft("$stats/daemon", b"{}")])
    port.turn()
    assert client.arrived() == [[b"pmessage", b"$stats/**", b"$stats/daemon", b"{}"]]
    assert other.arrived() == []


# -- the place of a subscription among the other commands -------------------------------------------------------------


def test_a_confirmation_waits_for_the_replies_before_it(port: Port) -> None:
    """While the store has not answered an earlier publish nothing is subscribed to, and what comes behind waits too."""
    client = port.connect(3)
    port.store.slow = True
    assert client.send("PUBLISH a 1", "SUBSCRIBE a", "PING") == []
    assert client.send("PING again") == []
    port.store.slow = False
    port.store.waiting.pop().callback(None)
    assert client.arrived() == [0, [b"subscribe", b"a", 1], "PONG", b"again"]
    port.turn()
    assert client.send("PUBLISH a 2") == [1]
    port.turn()
    assert client.arrived() == [[b"message", b"a", b"2"]]


def test_resp2_has_a_mode_of_its_own(port: Port) -> None:
    """Who has subscribed in RESP2 can do nothing but change that, ask for a sign of life, and leave."""
    client = port.connect()
    client.send("SUBSCRIBE a")
    for line in ("PUBLISH a x", "ECHO x", "MULTI", "HELLO 3", "PUBSUB NUMPAT"):
        (refusal,) = client.send(line)
        assert isinstance(refusal, Refusal)
        assert refusal.startswith(f"ERR subscribed_only {line.split()[0]}: ")
    assert client.send("PING", "PING x") == [[b"pong", b""], [b"pong", b"x"]]
    assert client.send("UNSUBSCRIBE", "PING", "PUBLISH a x") == [[b"unsubscribe", b"a", 0], "PONG", 0]


def test_resp3_has_none(port: Port) -> None:
    """In RESP3 everything goes on one connection: pushes are told from replies."""
    client = port.connect(3)
    (confirmation,) = client.send("SUBSCRIBE a")
    assert isinstance(confirmation, Push)
    assert client.send("PING", "PUBLISH a x", "MULTI", "PUBLISH a y", "EXEC") == ["PONG", 1, "OK", "QUEUED", [1]]
    port.turn()
    messages = client.arrived()
    assert messages == [[b"message", b"a", b"x"], [b"message", b"a", b"y"]]
    assert all(isinstance(message, Push) for message in messages)


def test_the_version_stands_while_subscribed(port: Port) -> None:
    """A client cannot change the protocol under its subscription, but greet again it can."""
    client = port.connect(3)
    client.send("SUBSCRIBE a")
    (refusal,) = client.send("HELLO 2")
    assert "UNSUBSCRIBE or RESET first" in refusal
    (greeting,) = client.send("HELLO 3")
    assert greeting[0] == b"server"


def test_not_within_a_transaction(port: Port) -> None:
    """A subscription cannot be part of a transaction, which is spoilt by the attempt."""
    client = port.connect()
    answers = client.send("MULTI", "PUBLISH a x", "SUBSCRIBE a", "EXEC", "PING")
    assert [type(answer) for answer in answers] == [str, str, Refusal, Refusal, str]
    assert "not between MULTI and EXEC" in answers[2]
    assert answers[3].startswith("EXECABORT ")
    assert port.router.streams == {}


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("SUBSCRIBE a news/*", "bad_topic 'news/*' is not a topic: it has a '*'; PSUBSCRIBE takes patterns"),
        ("SUBSCRIBE a b//c", "bad_pattern 'b//c' is not a pattern: it has an empty segment"),
        (
            "PSUBSCRIBE a news.*",
            "bad_pattern 'news.*' is not a pattern: '*' stands for a whole segment, between slashes",
        ),
        ("PSUBSCRIBE a h?llo", "bad_pattern 'h?llo' is not a pattern: '?', '[' and"),
        ("PSUBSCRIBE a h[ae]llo", "here '*' stands for a segment between slashes"),
        ("PSUBSCRIBE a **/b", "bad_pattern '**/b' is not a pattern: '**' can only be the last segment"),
        ("SUBSCRIBE a b c d", "too_many_patterns 4 names on one connection; at most 3 are allowed (max-patterns)"),
        ("SUBSCRIBE", "wrong_arguments SUBSCRIBE: 0 arguments, where at least 1 are wanted"),
        ("PUBSUB CHANNELS a b", "wrong_arguments PUBSUB CHANNELS: at most one pattern is wanted"),
        ("PUBSUB CHANNELS new?", "bad_pattern 'new?' is not a pattern"),
        ("PUBSUB SHARDCHANNELS", "wrong_arguments PUBSUB: no 'SHARDCHANNELS' here; there are PUBSUB CHANNELS, PUBSUB"),
    ],
)
def test_what_is_refused(line: str, says: str) -> None:
    """A mistake is told with the way out, and of its command nothing is done."""
    port = Port(max_patterns=3)
    client = port.connect()
    (refusal,) = client.send(line)
    assert isinstance(refusal, Refusal)
    assert says in refusal
    assert port.router.streams == {}
    assert client.send("PING") == ["PONG"]


def test_a_limit_does_not_keep_anybody(port: Port) -> None:
    """What is too much is refused whole, and what was subscribed to goes on and can be ended."""
    client = Port(max_patterns=2).connect()
    client.send("SUBSCRIBE a b")
    assert isinstance(client.send("SUBSCRIBE c")[0], Refusal)
    assert client.send("SUBSCRIBE b") == [[b"subscribe", b"b", 2]]
    assert client.send("UNSUBSCRIBE a", "SUBSCRIBE c") == [[b"unsubscribe", b"a", 1], [b"subscribe", b"c", 2]]


def test_there_can_be_too_many_streams() -> None:
    """Subscriptions count as streams, one for a connection, and beyond the limit they are refused."""
    port = Port(max_streams=1)
    first, second = port.connect(), port.connect()
    first.send("SUBSCRIBE a b")
    (refusal,) = second.send("SUBSCRIBE a")
    assert refusal.startswith("ERR too_many_streams ")
    assert second.send("PUBLISH a x") == [1]
    first.send("UNSUBSCRIBE")
    assert second.send("SUBSCRIBE a") == [[b"subscribe", b"a", 1]]


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_reset_ends_it(port: Port) -> None:
    """RESET makes a connection as new: it has no subscription, and is in no mode."""
    client = port.connect(3)
    client.send("SUBSCRIBE a", "PSUBSCRIBE b/*")
    assert client.send("RESET", "PING", "UNSUBSCRIBE") == ["RESET", "PONG", [b"unsubscribe", None, 0]]
    port.publish(("a", b"x"))
    assert client.arrived() == []
    assert port.router.streams == {}


@pytest.mark.parametrize("how", [Client.lose, Client.half_close, lambda client: client.send("QUIT")])
def test_who_leaves_is_no_subscriber(port: Port, how: Any) -> None:
    """A connection that is lost, ends its sending direction, or says QUIT wants nothing any more."""
    client = port.connect()
    client.send("SUBSCRIBE a")
    assert port.router.receivers("a") == 1
    how(client)
    assert port.router.receivers("a") == 0
    assert port.router.streams == {}
    port.publish(("a", b"x"))


def test_a_daemon_that_stops_brings_what_it_has_taken(port: Port) -> None:
    """Who has subscribed is brought all that was published, and then the connection ends, without being cut off."""
    client, publisher = port.connect(), port.connect()
    client.send("SUBSCRIBE a")
    assert publisher.send("PUBLISH a last") == [1]
    port.factory.finish()
    assert publisher.wire.half_closed
    assert not client.wire.half_closed
    port.router.stop()
    assert client.arrived() == [[b"message", b"a", b"last"]]
    assert client.wire.half_closed
    assert not client.wire.aborted


def test_a_subscription_that_the_daemon_ends(port: Port) -> None:
    """If its messages cannot be read from disk, say, the connection is closed behind what was written."""
    client = port.connect()
    client.send("SUBSCRIBE a")
    (subscription,) = port.router.streams.values()
    port.router.end(subscription, "store_failed")
    assert client.wire.disconnecting
    assert client.wire.producer is None


def test_nothing_new_while_the_daemon_stops(port: Port) -> None:
    """A client that subscribes too late is closed without an answer, and tries again with the daemon that comes."""
    client = port.connect()
    port.router.draining = True
    assert client.send("SUBSCRIBE a", "PING") == []
    assert client.wire.half_closed


# -- what others see --------------------------------------------------------------------------------------------------


def test_publishers_and_figures_count_it(port: Port) -> None:
    """A connection that has subscribed is one receiver, and one subscription of the transport ``resp``."""
    client, publisher = port.connect(), port.connect()
    client.send("SUBSCRIBE a", "PSUBSCRIBE a *")
    assert publisher.send("PUBLISH a x", "PUBLISH b x", "PUBLISH b/c x") == [1, 1, 0]
    port.turn()
    tally = port.metrics.tally("resp")
    assert (tally.subscriptions, tally.live, tally.messages, port.metrics.subscribed["resp"]) == (1, 1, 2, 1)
    (subscription,) = port.router.streams.values()
    assert subscription.writer.peer() == "192.168.1.1:54321"


def test_what_is_subscribed_to(port: Port) -> None:
    """PUBSUB tells topics, the subscriptions of each, and the number of patterns."""
    first, second, asking = port.connect(), port.connect(), port.connect()
    first.send("SUBSCRIBE a/1 a/2", "PSUBSCRIBE b/* b/**")
    second.send("SUBSCRIBE a/1 c", "PSUBSCRIBE b/* a/2")
    assert asking.send("PUBSUB CHANNELS", "PUBSUB CHANNELS *") == [[b"a/1", b"a/2", b"c"]] * 2
    assert asking.send("PUBSUB CHANNELS a/*", "PUBSUB CHANNELS c", "PUBSUB CHANNELS d") == [
        [b"a/1", b"a/2"],
        [b"c"],
        [],
    ]
    assert asking.send("PUBSUB NUMSUB a/1 a/2 nobody") == [[b"a/1", 2, b"a/2", 2, b"nobody", 0]]
    assert asking.send("PUBSUB NUMSUB", "PUBSUB NUMPAT") == [[], 2]
    first.send("PUNSUBSCRIBE")
    assert asking.send("PUBSUB NUMPAT") == [1]
    second.lose()
    assert asking.send("PUBSUB NUMPAT", "PUBSUB CHANNELS") == [0, [b"a/1", b"a/2"]]


def test_a_short_question_has_no_endless_answer(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many topics to look through, PUBSUB CHANNELS says what to do instead."""
    monkeypatch.setattr(pubsub, "MOST_TOPICS", 2)
    client, asking = port.connect(), port.connect()
    client.send("SUBSCRIBE a b c")
    for line in ("PUBSUB CHANNELS", "PUBSUB CHANNELS *"):
        assert "PUBSUB NUMSUB asks for single ones" in asking.send(line)[0]
    assert asking.send("PUBSUB CHANNELS a") == [[b"a"]]


def test_a_failure_to_subscribe_is_no_end(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at the last moment is told in its place, and the commands behind it are executed."""

    def refuse(*_: object, **_further: object) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(port.router, "subscribe", refuse)
    client = port.connect()
    assert client.send("PING", "SUBSCRIBE a", "PING") == ["PONG", "ERR store_failed the disk is full", "PONG"]
