"""The router: what publishers and subscribers can rely on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import comet.audience
import comet.turns
from comet.errors import CometError, Draining, StoreFailed, TooManyKeys, TooManyStreams, UnknownStream
from comet.message import Draft, Message, Position
from tests.fakes import EPOCH, House, SocketWriter, Subscriber, offset_of, offsets, until


@pytest.fixture
def house() -> House:
    return House(silence=5.0, stall=20.0)


@pytest.fixture
def socket() -> Iterator[SocketWriter]:
    writer = SocketWriter()
    yield writer
    writer.close()


def outcome(published: Deferred[Sequence[int]]) -> list[Any]:
    """What a publish comes to, as soon as it is known."""
    got: list[Any] = []
    published.addCallbacks(lambda offsets: got.append(list(offsets)), lambda failure: got.append(failure.type))
    return got


def keyed(key: str, payload: bytes = b"x", topic: str = "news") -> Draft:
    return Draft(topic, payload, "", key)


# -- subscribing


def test_live_subscriber_hears_what_is_published(house: House) -> None:
    """A subscriber hears its topics and no others, in the turn in which they are published."""
    subscriber = Subscriber(house, "news", "chat/*")
    house.publish(("news", "one"), ("sport", "no"), ("chat/7", "two"), ("chat/7/x", "no"))
    assert subscriber.messages() == ["one", "two"]


def test_message_that_two_patterns_match_comes_once(house: House) -> None:
    """However many patterns of a subscription match, a message comes once, live and from history."""
    live = Subscriber(house, "chat/7", "chat/*", "**")
    house.publish(("chat/7", "one"))
    late = Subscriber(house, "chat/7", "chat/*", "**", since="first")
    assert live.messages() == late.messages() == ["one"]


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("now", []),
        ("first", ["1", "2", "3", "4"]),
        ("last", ["3", "4"]),
        (0, []),
        (1, ["4"]),
        (3, ["2", "3", "4"]),
        (100, ["1", "2", "3", "4"]),
        (Position(EPOCH, 0), ["1", "2", "3", "4"]),
        (Position(EPOCH, 3), ["3", "4"]),
        (Position(EPOCH, 5), []),
    ],
)
@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_since_says_where_to_start(house: House, since: Any, expected: list[str], transport: str) -> None:
    """Every form of ``since`` gives the history it names, then what follows, on streams and by polling."""
    house.publish(("a", "1"), ("b", "2"), ("other", "x"), ("a", "3"), ("b", "4"))
    subscriber = Subscriber(house, "a", "b", transport=transport, since=since, wait=10.0)
    house.turn()
    if transport == "stream" or not expected:
        house.publish(("a", "5"))
        expected = [*expected, "5"]
    assert subscriber.messages() == expected


def test_position_of_another_life_is_a_gap(house: House) -> None:
    """A client that comes back after a restart without a durable store is told, and given all there is."""
    house.publish(("news", "one"))
    subscriber = Subscriber(house, "news", since=Position("0" * 8, 99))
    house.turn()
    gap, message = subscriber.read()[1:]
    assert (gap["comet"], gap["since"], message["data"]) == ("gap", "00000000-99", "one")


def test_position_beyond_the_end_is_a_gap(house: House) -> None:
    """A position that was never given out is told as a gap, not taken for the future."""
    subscriber = Subscriber(house, "news", since=Position(EPOCH, 99))
    house.publish(("news", "one"))
    assert subscriber.controls("gap")[0]["until"] == f"{EPOCH}-0"
    assert subscriber.messages() == ["one"]


def test_what_was_lost_before_a_position_is_a_gap() -> None:
    """A client that was away for too long is told so, in front of what there still is."""
    house = House(retain_messages=2)
    house.publish(*[("news", str(number)) for number in range(1, 6)])
    subscriber = Subscriber(house, "news", since=Position(EPOCH, 1))
    house.turn()
    assert subscriber.controls("gap") == [{"comet": "gap", "since": f"{EPOCH}-1", "until": f"{EPOCH}-3"}]
    assert subscriber.messages() == ["4", "5"]
    assert house.metrics.gaps == 1


@pytest.mark.parametrize("since", ["first", 100])
def test_history_that_goes_while_it_is_read_is_a_gap(since: Any) -> None:
    """Who asks for all there is need not hear of what was lost before; but of what is lost while it reads, it must."""
    house = House(retain_messages=3)
    house.publish(*[("a", str(number)) for number in (1, 2, 3)], *[("b", str(number)) for number in range(4, 10)])
    subscriber = Subscriber(house, "a", "b", since=since, limit=1)
    subscriber.writer.room = 0
    house.turn()
    assert subscriber.controls("gap") == []
    house.publish(("a", "10"), ("a", "11"))
    subscriber.writer.drain()
    house.router.drained(subscriber.subscription)
    house.turn()
    got = offsets(subscriber.read())
    gaps = [(offset_of(gap["since"]), offset_of(gap["until"])) for gap in subscriber.controls("gap")]
    assert all(any(offset in (got) or low < offset <= high for low, high in gaps) for offset in (1, 2, 3))
    assert len(gaps) == 1


def test_history_of_topics_with_losses_is_read_without_a_gap() -> None:
    """What was lost before a client asked for all there is, is no gap, however many pages its history takes."""
    house = House(retain_messages=3)
    house.publish(*[("a", "x")] * 3, *[("b", "x")] * 9, *[("a", "x")] * 2)
    subscriber = Subscriber(house, "a", "b", since="first", limit=1)
    house.turn()
    assert offsets(subscriber.read()) == [3, 10, 11, 12, 13, 14]
    assert subscriber.controls("gap") == []


def test_no_room_for_more_streams() -> None:
    """The stream that is one too many is refused, and nothing of it is left."""
    house = House(max_streams=1)
    first = Subscriber(house, "news")
    with pytest.raises(TooManyStreams):
        Subscriber(house, "other")
    first.leave()
    assert house.left_behind() == {}


def test_unknown_stream_is_refused(house: House) -> None:
    """A stream that is not open cannot be addressed, and one that is can."""
    subscriber = Subscriber(house, "news")
    assert house.router.stream(subscriber.read()[0]["stream"]) is subscriber.subscription
    with pytest.raises(UnknownStream):
        house.router.stream("nonsense")


def test_receivers_are_counted(house: House) -> None:
    """A publisher can be told how many subscriptions want a topic."""
    Subscriber(house, "news")
    Subscriber(house, "news", transport="sse")
    Subscriber(house, "*")
    assert house.router.receivers("news") == 3
    assert house.router.receivers("sport") == 1


# -- flushing


def test_many_messages_of_a_turn_are_one_write(house: House) -> None:
    """What is published between two turns reaches a client in one write."""
    subscriber = Subscriber(house, "news")
    before = len(subscriber.writer.blocks)
    for number in range(10):
        house.publish_only(("news", str(number)))
    house.turn()
    assert len(subscriber.writer.blocks) == before + 1
    assert len(subscriber.messages()) == 10


def test_row_that_empties_before_its_flush_holds_nothing_up(house: House) -> None:
    """A client that leaves between a publish and its flush does not keep the news from one who has just come."""
    first = Subscriber(house, "news")
    house.publish_only(("news", "one"))
    second = Subscriber(house, "news")
    first.leave()
    house.publish_only(("news", "two"))
    house.turn()
    assert second.messages() == ["two"]


def test_large_crowd_is_flushed_in_slices(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large audience does not keep the reactor from its other work: a turn makes a bounded number of writes."""
    monkeypatch.setattr(comet.audience, "ROW", 2)
    monkeypatch.setattr(comet.turns, "SENDS", 3)
    crowd = [Subscriber(house, "news") for _ in range(10)]
    house.publish_only(("news", "one"))
    reached = []
    while sum(bool(each.messages()) for each in crowd) < 10:
        house.clock.step()
        reached.append(sum(bool(each.messages()) for each in crowd))
        house.publish_only(("news", "more"))
    assert len(reached) >= 3
    house.turn()
    assert {tuple(each.messages()) for each in crowd} == {("one", *["more"] * len(reached))}


def test_readers_are_served_in_slices(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many who read history at once get a bounded number of pages a turn."""
    monkeypatch.setattr(comet.turns, "PAGES", 2)
    house.publish(*[("news", str(number)) for number in range(4)])
    crowd = [Subscriber(house, "news", since="first", limit=1) for _ in range(4)]
    house.clock.step()
    assert sorted(len(each.messages()) for each in crowd) == [1, 1, 2, 2]
    house.turn()
    assert all(each.messages() == ["0", "1", "2", "3"] for each in crowd)


def test_large_news_come_in_several_blocks(house: House) -> None:
    """News of one turn that are larger than a block come complete and in order."""
    subscriber = Subscriber(house, "news")
    house.publish(*[("news", str(number) * 30_000) for number in range(9)])
    assert [data[0] for data in subscriber.messages()] == list("012345678")
    assert len(subscriber.writer.blocks) > 3


@pytest.mark.parametrize("conflate", [False, True])
def test_news_are_not_kept_without_bound(house: House, conflate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audience that cannot be flushed for long keeps a bounded amount of news; nobody loses any."""
    monkeypatch.setattr(comet.turns, "NEWS", 10)
    crowd = [Subscriber(house, "news/*", conflate=conflate, pace=60.0) for _ in range(3)]
    for number in range(1, 36):
        house.publish_only((f"news/{number % 20 if number < 25 else 0}", str(number)))
        for audience in house.router.audiences:
            assert len(audience.news) <= 10
    house.wait(62)
    newest = {}
    for number in range(1, 36):
        newest[number % 20 if number < 25 else 0] = str(number)
    for each in crowd:
        got = each.messages()
        assert sorted(got, key=int) == got
        assert set(newest.values()) <= set(got)
        assert conflate or len(got) == 35


# -- conflation and pace


def test_conflated_stream_has_the_newest_per_topic(house: House) -> None:
    """Of what a turn brings, a conflated stream is given the newest of each topic, in order."""
    subscriber = Subscriber(house, "*", conflate=True)
    house.publish(("a", "1"), ("b", "2"), ("a", "3"))
    house.publish(("a", "4"))
    assert subscriber.messages() == ["2", "3", "4"]
    assert house.metrics.conflated == 1


def test_conflated_stream_that_was_slow_goes_on_with_the_newest(house: House) -> None:
    """A conflated client that could not read for a while is given the newest of each topic, not all of it."""
    subscriber = Subscriber(house, "*", conflate=True)
    subscriber.writer.room = 0
    house.publish(("a", "0"))
    for number in range(1, 50):
        house.publish((f"a{number % 3}", str(number)))
    subscriber.drain()
    house.turn()
    assert subscriber.messages() == ["0", "47", "48", "49"]


def test_pace_is_the_least_time_between_two_writes(house: House) -> None:
    """A paced stream is written to at most once per pace, and misses nothing; its audience shares the tick."""
    crowd = [Subscriber(house, "news", pace=1.0) for _ in range(2)]
    writes: list[float] = []
    for number in range(20):
        before = len(crowd[0].writer.blocks)
        house.publish(("news", str(number)))
        house.wait(0.25)
        if len(crowd[0].writer.blocks) > before:
            writes.append(house.clock.seconds())
            assert len(crowd[0].writer.blocks) == before + 1
            assert crowd[0].writer.blocks[-1] is crowd[1].writer.blocks[-1]
    house.wait(1)
    assert all(after - before >= 1.0 for before, after in pairwise(writes))
    assert len(writes) >= 4
    assert crowd[0].messages() == [str(number) for number in range(20)]


def test_message_after_a_quiet_time_is_not_held_back(house: House) -> None:
    """A pace delays nothing if the last write is long ago."""
    subscriber = Subscriber(house, "news", pace=2.0)
    house.wait(3)
    house.publish(("news", "one"))
    assert subscriber.messages() == ["one"]


def test_paced_audience_leaves_no_timer(house: House) -> None:
    """When the last member of a paced audience goes, its tick goes with it."""
    subscriber = Subscriber(house, "news", pace=2.0)
    house.publish(("news", "one"))
    subscriber.leave()
    assert house.left_behind() == {}


# -- heartbeats and polls


@pytest.mark.parametrize("transport", ["stream", "sse", "iframe", "mixed", "websocket"])
def test_quiet_stream_has_heartbeats(house: House, transport: str) -> None:
    """After ``silence`` seconds without a byte a stream gets some."""
    subscriber = Subscriber(house, "news", transport=transport)
    for number in range(1, 4):
        begun = house.clock.seconds()
        until(lambda: house.metrics.heartbeats == number, lambda: house.wait(0.25))  # noqa: B023
        assert 4.75 <= house.clock.seconds() - begun <= 6.25
        assert len(subscriber.writer.blocks) == number + 1


def test_messages_put_heartbeats_off(house: House) -> None:
    """A stream that has messages needs no heartbeat."""
    subscriber = Subscriber(house, "news")
    for _ in range(5):
        house.wait(3)
        house.publish(("news", "x"))
    assert subscriber.controls("beat") == []


def test_position_of_a_heartbeat_moves_on_quiet_topics() -> None:
    """A quiet stream's heartbeat has the position of the whole log; resuming there is no gap whatever was lost."""
    house = House(silence=5.0, retain_messages=2, retain_seconds=8.0)
    quiet = Subscriber(house, "quiet")
    for _ in range(3):
        for number in range(10):
            house.publish(("busy", str(number)), (f"brief/{house.clock.seconds()}/{number}", "x"))
        house.wait(6)
    beats = [offset_of(beat["position"]) for beat in quiet.controls("beat")]
    assert beats[-1] == house.router.log.end
    assert beats == sorted(beats)
    quiet.leave()
    house.publish(("quiet", "one"), ("busy", "x"))
    back = Subscriber(house, "quiet", since=Position(EPOCH, beats[-1]))
    house.turn()
    assert back.messages() == ["one"]
    assert back.controls("gap") == []


def test_slow_client_on_a_quiet_topic_is_told_no_gap(socket: SocketWriter) -> None:
    """That other topics came and went while a client was live is no loss to it when it falls behind."""
    house = House(silence=500.0, retain_seconds=8.0)
    quiet = Subscriber(house, "quiet/*", writer=socket)
    quiet.read()
    house.publish(("brief", "x"), ("other", "x"))
    house.wait(10)
    assert house.router.log.count == 0
    socket.fill()
    house.publish(("quiet/1", "one"))
    house.publish(("quiet/1", "two"))
    assert not quiet.live
    socket.unfill()
    quiet.drain()
    house.turn()
    assert quiet.messages() == ["one", "two"]
    assert quiet.controls("gap") == []


def test_client_that_cannot_take_a_heartbeat_is_told_no_gap(socket: SocketWriter) -> None:
    """A client whose socket is full when a heartbeat is due has missed nothing."""
    house = House(silence=5.0, retain_seconds=8.0)
    quiet = Subscriber(house, "quiet/*", writer=socket)
    quiet.read()
    house.publish(("brief", "x"))
    house.wait(3)
    socket.fill()
    house.wait(8)
    assert not quiet.live
    socket.unfill()
    quiet.drain()
    house.turn()
    house.publish(("quiet/1", "one"))
    assert quiet.messages() == ["one"]
    assert quiet.controls("gap") == []


def test_poll_ends_with_an_empty_list(house: House) -> None:
    """A poll that hears nothing is answered when its wait is over, and gets no heartbeats."""
    subscriber = Subscriber(house, "news", transport="poll", wait=20.0)
    house.publish(("other", "x"))
    house.wait(19.5)
    assert subscriber.read() == []
    house.wait(1)
    assert subscriber.read() == [{"next": f"{EPOCH}-1"}]
    assert subscriber.writer.ended == "finished"
    assert house.left_behind() == {}


def test_poll_without_wait_is_answered_at_once(house: House) -> None:
    """``wait=0`` is how history is read: the answer comes in the same call."""
    house.publish(("news", "one"))
    assert Subscriber(house, "news", transport="poll", since="first").messages() == ["one"]
    assert Subscriber(house, "news", transport="poll").read() == [{"next": f"{EPOCH}-1"}]
    assert house.router.streams == {}


def test_poll_whose_wait_ends_before_the_flush_loses_nothing(house: House) -> None:
    """A message that comes in the very moment in which a poll's wait ends is in this answer or in the next."""
    subscriber = Subscriber(house, "news", transport="poll", wait=1.0)
    house.wait(0.75)
    house.clock.rightNow += 0.5
    house.publish_only(("news", "one"))
    house.router._sweep.look()
    house.turn()
    answer = subscriber.read()
    again = Subscriber(house, "news", transport="poll", since=Position(EPOCH, offset_of(answer[-1]["next"])))
    assert subscriber.messages() + again.messages() == ["one"]


def test_paced_poll_whose_wait_ends_before_the_tick_loses_nothing(house: House) -> None:
    """A poll with a pace longer than its wait gets its message with the next poll."""
    subscriber = Subscriber(house, "news", transport="poll", wait=1.0, pace=30.0)
    house.publish(("news", "one"))
    house.wait(2)
    answer = subscriber.read()
    again = Subscriber(house, "news", transport="poll", since=Position(EPOCH, offset_of(answer[-1]["next"])))
    assert subscriber.messages() + again.messages() == ["one"]


def test_polls_follow_each_other_without_loss(house: House) -> None:
    """Asking again with ``next`` gives everything, in pages of ``limit``."""
    house.publish(*[("news", str(number)) for number in range(7)])
    got: list[str] = []
    since: Any = "first"
    for _ in range(4):
        poll = Subscriber(house, "news", transport="poll", since=since, limit=2)
        got += poll.messages()
        since = Position(EPOCH, offset_of(poll.read()[-1]["next"]))
    assert got == [str(number) for number in range(7)]


# -- publishing


def test_publish_gives_offsets_in_order(house: House) -> None:
    """Each message of a batch gets its offset, one after the other."""
    assert house.publish(("a", "x"), ("b", "x")) == [1, 2]
    assert house.publish(("a", "x")) == [3]
    assert house.publish() == []
    assert house.metrics.published == 3
    assert house.metrics.published_bytes == 3


def test_nothing_is_heard_before_it_is_stored(house: House) -> None:
    """A message is in the log, and goes out, only when the store has it; in order, if the store takes its time."""
    subscriber = Subscriber(house, "news")
    house.store.holds = True
    first, second = (outcome(house.router.publish([Draft("news", payload)])) for payload in (b"1", b"2"))
    house.turn()
    assert (first, subscriber.messages(), house.router.log.end) == ([], [], 0)
    house.store.release(1)
    house.turn()
    assert (first, second, subscriber.messages()) == ([[1]], [], ["1"])
    house.store.release()
    house.turn()
    assert (second, subscriber.messages()) == ([[2]], ["1", "2"])


def test_what_the_store_refuses_is_not_delivered(house: House) -> None:
    """A publish that failed is heard by nobody, now or later; the next one is."""
    subscriber = Subscriber(house, "news")
    house.store.fails = True
    assert outcome(house.router.publish([Draft("news", b"lost")])) == [StoreFailed]
    house.store.fails = False
    house.publish(("news", "kept"))
    late = Subscriber(house, "news", since="first")
    assert subscriber.messages() == late.messages() == ["kept"]
    assert subscriber.controls("gap") + late.controls("gap") == []


def test_repeated_key_publishes_nothing(house: House) -> None:
    """Repeating a publish within the window gives the first offset; afterwards it is a new one."""
    house = House(key_window=60.0)
    subscriber = Subscriber(house, "news")
    assert house.publish(keyed("k")) == [1]
    assert house.publish(keyed("k", b"other"), keyed("k", topic="sport"), keyed("")) == [1, 2, 3]
    assert subscriber.messages() == ["x", "x"]
    assert house.metrics.repeated == 1
    house.wait(61)
    assert house.publish(keyed("k")) == [4]


def test_same_key_twice_in_a_batch(house: House) -> None:
    """A batch that names a key twice publishes it once."""
    subscriber = Subscriber(house, "news")
    assert house.publish(keyed("k", b"1"), keyed("", b"2"), keyed("k", b"3"), keyed("l", b"4")) == [1, 2, 1, 3]
    assert subscriber.messages() == ["1", "2", "4"]


def test_too_many_keys_publish_nothing() -> None:
    """A batch that has one key too many is refused whole, and leaves none of its keys behind."""
    house = House(max_keys=2)
    subscriber = Subscriber(house, "news")
    house.publish(keyed("a"))
    with pytest.raises(TooManyKeys):
        house.publish(keyed("b"), Draft("news", b"plain"), keyed("c"))
    assert len(house.router.keys) == 1
    assert house.publish(keyed("b")) == [2]
    assert subscriber.messages() == ["x", "x"]


def test_key_of_a_failed_publish_is_free(house: House) -> None:
    """A publish that the store refused can be repeated with its key."""
    house.store.fails = True
    assert outcome(house.router.publish([keyed("k")])) == [StoreFailed]
    assert len(house.router.keys) == 0
    house.store.fails = False
    assert len(house.publish(keyed("k"))) == 1
    assert house.router.log.count == 1


def test_repeat_that_waits_on_a_failed_publish_fails(house: House) -> None:
    """A repeat is confirmed only if what it repeats was stored."""
    house.store.holds = house.store.fails = True
    first, repeat = outcome(house.router.publish([keyed("k")])), outcome(house.router.publish([keyed("k")]))
    house.store.release()
    assert (first, repeat) == ([StoreFailed], [StoreFailed])


def test_repeat_that_waits_on_a_good_publish_succeeds(house: House) -> None:
    """A repeat that comes while the first is on its way gets its offset, not before it is stored."""
    house.store.holds = True
    first, repeat = outcome(house.router.publish([keyed("k")])), outcome(house.router.publish([keyed("k")]))
    assert repeat == []
    house.store.release()
    assert (first, repeat) == ([[1]], [[1]])


def test_stored_publish_whose_key_has_expired_is_confirmed() -> None:
    """A store that takes longer than the key's window does not make a stored publish fail."""
    house = House(key_window=1.0)
    house.store.holds = True
    published = outcome(house.router.publish([keyed("k")]))
    house.wait(3)
    house.store.release()
    assert published == [[1]]


# -- changing topics


def changed(house: House, since: Any) -> Subscriber:
    """A live stream of ``a`` that adds ``b`` when both have history."""
    house.publish(("a", "1"), ("b", "2"), ("b", "3"))
    subscriber = Subscriber(house, "a")
    house.publish(("a", "4"), ("b", "5"))
    subscriber.change("a", "b", since=since)
    house.turn()
    house.publish(("b", "6"), ("a", "7"))
    return subscriber


@pytest.mark.parametrize(
    ("since", "replayed"),
    [
        ("now", []),
        ("last", ["5"]),
        (2, ["3", "5"]),
        ("first", ["2", "3", "5"]),
        (Position(EPOCH, 2), ["3", "5"]),
        (Position(EPOCH, 5), []),
    ],
)
def test_topic_can_be_added_with_its_history(house: House, since: Any, replayed: list[str]) -> None:
    """A stream that adds a topic is told so, then has the history it asked for, then everything of both topics."""
    subscriber = changed(house, since)
    assert subscriber.messages() == ["4", *replayed, "6", "7"]
    objects = subscriber.read()
    said = next(index for index, found in enumerate(objects) if found.get("comet") == "topics")
    assert objects[said]["topics"] == ["a", "b"]
    assert objects[said - 1]["data"] == "4"


def test_added_topic_with_a_position_that_is_no_more(house: House) -> None:
    """Adding a topic at a position of another life tells a gap and gives all there is."""
    subscriber = changed(house, Position("0" * 8, 1))
    assert subscriber.controls("gap")[0]["since"] == "00000000-1"
    assert subscriber.messages() == ["4", "2", "3", "5", "6", "7"]


def test_added_topic_whose_history_is_lost_is_a_gap() -> None:
    """Adding a topic at a position behind which messages were lost tells a gap."""
    house = House(retain_messages=2)
    subscriber = Subscriber(house, "a")
    house.publish(*[("b", str(number)) for number in range(1, 6)])
    subscriber.change("a", "b", since=Position(EPOCH, 1))
    house.turn()
    assert subscriber.controls("gap") == [{"comet": "gap", "since": f"{EPOCH}-1", "until": f"{EPOCH}-3"}]
    assert subscriber.messages() == ["4", "5"]


def test_multipart_stream_remembers_the_gap_of_a_change(house: House) -> None:
    """A gap that the format cannot say at once is said with the next image."""
    subscriber = Subscriber(house, "camera", transport="multipart")
    house.publish(Draft("camera", b"1", "image/png"))
    subscriber.change("camera", "other", since=Position("0" * 8, 1))
    house.turn()
    house.publish(Draft("camera", b"2", "image/png"))
    house.publish(Draft("camera", b"3", "image/png"))
    assert subscriber.messages()[-2:] == ["2", "3"]
    assert [gap["since"] for gap in subscriber.controls("gap")] == ["00000000-1"]


def test_removed_topic_is_heard_no_more(house: House) -> None:
    """What is published on a topic after it was removed does not come, nor does the rest of its history."""
    house.publish(*[("b", str(number)) for number in range(5)])
    subscriber = Subscriber(house, "a", "b")
    subscriber.change("a")
    house.publish(("b", "x"), ("a", "1"))
    assert subscriber.messages() == ["1"]
    subscriber.change("a", "b", since="first")
    subscriber.change("a")
    house.publish(("a", "2"))
    assert subscriber.messages() == ["1", "2"]


def test_topic_added_now_brings_nothing_old(house: House) -> None:
    """A topic that is added ``now`` has none of its history, not even if the stream is just about to be flushed."""
    subscriber = Subscriber(house, "a")
    house.publish(*[("b", "old")] * 5)
    house.publish_only(("a", "1"))
    subscriber.change("a", "b")
    house.publish(("b", "2"))
    assert subscriber.messages() == ["1", "2"]


def test_change_of_a_stuck_stream_is_said_in_order(house: House) -> None:
    """A client that cannot read just then finds everything in order when it does."""
    subscriber = Subscriber(house, "a")
    subscriber.writer.room = 10
    house.publish(("a", "1"))
    subscriber.change("b")
    house.publish(("a", "no"), ("b", "2"))
    subscriber.drain()
    house.turn()
    assert [found.get("data", found.get("comet")) for found in subscriber.read()] == ["open", "1", "topics", "2"]


# -- ending


def test_stop_says_bye_and_ends_polls(house: House) -> None:
    """A daemon that stops tells every stream, answers every poll, and refuses what comes then."""
    stream = Subscriber(house, "news")
    poll = Subscriber(house, "news", transport="poll", wait=60.0)
    house.publish_only(("news", "one"))
    house.router.stop()
    assert [found.get("data", found.get("comet")) for found in stream.read()] == ["open", "one", "bye"]
    assert stream.controls("bye")[0]["reason"] == "shutdown"
    assert poll.messages() == ["one"]
    assert (stream.writer.ended, poll.writer.ended, house.store.stopped) == ("finished", "finished", True)
    assert outcome(house.router.publish([Draft("news", b"x")])) == [Draining]
    with pytest.raises(Draining):
        Subscriber(house, "news")
    house.turn()
    assert house.clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["stop", "end"])
def test_bye_of_a_stream_that_is_behind_has_its_own_position(house: House, how: str) -> None:
    """A client that resumes from the position of a ``bye`` gets what it had not been given."""
    slow, paced = Subscriber(house, "news"), Subscriber(house, "news", pace=60.0)
    slow.writer.room = 1
    house.publish(("news", "1"))
    house.publish(("news", "2"))
    if how == "stop":
        house.router.stop()
    else:
        for each in (slow, paced):
            house.router.end(each.subscription, "ended")
    for each in (slow, paced):
        each.drain()
        position = offset_of(each.controls("bye")[0]["position"])
        given = offsets(each.read())
        assert position == max(given, default=0)


def test_bye_in_the_midst_of_a_snapshot_has_no_position(house: House) -> None:
    """A client that has only a part of its snapshot is not told to resume behind it."""
    house.publish(("a", "1"), ("b", "2"))
    subscriber = Subscriber(house, "a", "b", since="last", limit=1)
    house.router.end(subscriber.subscription, "ended")
    assert "position" not in subscriber.controls("bye")[0]


def test_nothing_is_left_of_those_who_have_gone(house: House) -> None:
    """When all have gone, however they were occupied, nothing of them is left."""
    house.publish(*[("news", str(number)) for number in range(9)])
    crowd = [
        Subscriber(house, "news", **wish)
        for wish in (
            {},
            {"since": "first", "limit": 1},
            {"since": "last", "transport": "sse"},
            {"transport": "poll", "wait": 3.0},
            {"transport": "multipart"},
            {"pace": 5.0},
            {"conflate": True},
        )
    ]
    crowd[0].writer.room = 0
    house.publish(("news", "x"))
    house.publish_only(("news", "x"))
    for each in crowd:
        each.leave()
        each.leave()
    house.turn()
    house.wait(4)
    assert house.left_behind() == {}


def test_restored_messages_are_history() -> None:
    """What a store has kept can be read, and a client from before it is told of a gap."""
    kept = [Message("news", b"kept", "", 1_790_000_000.0, 7)]
    house = House(kept)
    subscriber = Subscriber(house, "news", since="first")
    assert (subscriber.messages(), subscriber.controls("gap")) == (["kept"], [])
    assert house.publish(("news", "new")) == [8]
    behind = Subscriber(house, "news", since=Position(EPOCH, 3))
    house.turn()
    assert behind.messages() == ["kept", "new"]
    assert len(behind.controls("gap")) == 1


def test_refusals_are_comet_errors() -> None:
    """Every face can map what the router refuses."""
    assert all(issubclass(kind, CometError) for kind in (Draining, StoreFailed, TooManyKeys, TooManyStreams))
