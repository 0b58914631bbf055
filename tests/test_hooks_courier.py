"""Couriers: what they post and when, what they do about failures, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.errors import StoreFailed
from comet.hooks.answers import Answer, PostFailed, Terms
from comet.hooks.courier import NOTED, WAIT, Courier, Means, State
from comet.hooks.hook import Hook
from comet.slots import Slots
from comet.topics import parse_patterns
from tests.fakes import EPOCH, START, House

URL = "http://receiver.example/"


class Scene:
    """A courier whose posts are answered by the test."""

    def __init__(self, chance: float = 1.0, **settings: Any) -> None:
        self.house = House(**settings)
        self.config = self.house.router.config
        self.posts: list[Any] = []
        self.headers: list[Mapping[str, str]] = []
        self.answers: list[Deferred[Answer]] = []
        self.kept: list[Hook] = []
        self.still: Deferred[None] | None = None
        self.metrics = self.house.metrics
        self.slots = Slots(lambda: self.config.hook_posts)
        self.means = Means(
            lambda: self.config,
            self.house.clock,
            self.house.router.time,
            lambda: chance,
            self.post,
            self.keep,
            lambda: self.still or succeed(None),
            self.slots,
            self.metrics,
        )
        self.consumers = Consumers(self.house.router)
        self.consumer = self.made("h", "news")
        self.courier = Courier(Hook("h", URL, bytes(32), START), self.consumer, self.means)
        self.courier.start()

    def made(self, name: str, topic: str) -> Consumer:
        """A consumer that begins now."""
        made: list[Consumer] = []
        self.consumers.create(name, parse_patterns([topic]), "now", "hook").addCallback(made.append)
        return made[0]

    def other(self) -> Courier:
        """The courier of another hook, for the topic ``other``."""
        other = Courier(Hook("other", URL, bytes(32), START), self.made("other", "other"), self.means)
        other.start()
        return other

    def publish(self, *texts: str, topic: str = "news") -> None:
        """Publish messages, all at once."""
        self.house.publish(*((topic, text) for text in texts))

    def post(self, url: str, headers: Mapping[str, str], body: bytes, terms: Terms) -> Deferred[Answer]:
        assert url == URL
        assert terms.timeout == self.config.hook_timeout
        self.posts.append(json.loads(body))
        self.headers.append(headers)
        answer: Deferred[Answer] = Deferred()
        self.answers.append(answer)
        return answer

    def keep(self, hook: Hook) -> Deferred[None]:
        if self.house.store.fails:
            return fail(StoreFailed("the disk is full"))
        self.kept.append(hook)
        return succeed(None)

    def answer(self, status: int, retry_after: str = "") -> None:
        """Answer the last post."""
        self.answers[-1].callback(Answer(status, retry_after))
        self.house.turn()

    def texts(self) -> list[list[str]]:
        """The data of each post."""
        return [[message["data"] for message in post["messages"]] for post in self.posts]

    def state(self) -> State:
        """What the hook does now."""
        return self.courier.state

    def acked(self) -> int:
        """How far the receiver has everything."""
        return self.consumer.acked.offset

    def pause(self) -> float:
        """How long it is to the next try."""
        return self.courier.next_try - self.means.now()

    def ids(self) -> list[str]:
        """The id of each post."""
        return [headers["webhook-id"] for headers in self.headers]

    def leave(self) -> None:
        """End, and see that nothing is left."""
        gone: list[None] = []
        self.courier.leave().addCallback(gone.append)
        assert gone == [None]
        self.over()

    def abandon(self) -> None:
        """Drop everything, and see that nothing is left."""
        self.courier.abandon()
        self.over()

    def over(self) -> None:
        """See that nothing is left."""
        self.house.wait(WAIT)
        assert self.slots.is_free
        assert self.house.left_behind() == {}


def test_in_order() -> None:
    """The next messages are posted once the receiver has taken the last, those that came meanwhile together."""
    scene = Scene()
    assert scene.state() == State.LIVE
    scene.publish("a")
    scene.publish("b", "c")
    assert scene.texts() == [["a"]]
    assert scene.state() == State.BEHIND
    scene.answer(200)
    assert scene.texts() == [["a"], ["b", "c"]]
    assert scene.acked() == 1
    scene.answer(204)
    assert scene.acked() == 3
    assert scene.state() == State.LIVE
    assert scene.metrics.hook_posts == {"done": 2}
    scene.leave()


def test_a_post() -> None:
    """A post says whose it is, what there is, and where it ends."""
    scene = Scene()
    scene.publish("a")
    assert scene.posts == [
        {
            "hook": "h",
            "messages": [{"id": f"{EPOCH}-1", "topic": "news", "time": START, "data": "a"}],
            "next": f"{EPOCH}-1",
        }
    ]
    assert scene.headers[0]["webhook-timestamp"] == str(int(START))
    scene.abandon()


def test_batches() -> None:
    """A post has no more messages than hook-batch."""
    scene = Scene(hook_batch=2)
    scene.publish("a", "b", "c")
    scene.answer(200)
    assert scene.texts() == [["a", "b"], ["c"]]
    scene.abandon()


def test_repeats_have_the_same_id() -> None:
    """What failed is posted again just as it was, under its id and a new time, although more has come since."""
    scene = Scene()
    scene.publish("a", "b")
    scene.answer(500)
    scene.publish("c")
    assert scene.state() == State.RETRYING
    assert scene.courier.trouble == "the receiver answered 500 Internal Server Error"
    assert (scene.courier.tries, scene.courier.next_try) == (1, START + 1)
    scene.house.wait(1)
    assert scene.posts[0] == scene.posts[1]
    assert scene.ids()[0] == scene.ids()[1]
    assert scene.headers[0]["webhook-timestamp"] != scene.headers[1]["webhook-timestamp"]
    assert scene.headers[0]["webhook-signature"] != scene.headers[1]["webhook-signature"]
    scene.answer(200)
    assert scene.texts()[2] == ["c"]
    assert scene.ids()[2] != scene.ids()[1]
    assert (scene.courier.trouble, scene.courier.tries) == ("", 0)
    scene.abandon()


def test_gaps() -> None:
    """Loss is told with what is left."""
    scene = Scene(retain_messages=2)
    scene.publish("a")
    scene.publish("b", "c", "d", "e")
    scene.answer(200)
    assert scene.texts() == [["a"], ["d", "e"]]
    assert scene.posts[1]["gap"] == {"since": f"{EPOCH}-1", "until": f"{EPOCH}-3"}
    scene.answer(200)
    assert len(scene.posts) == 2
    scene.leave()


def test_nothing_but_a_gap() -> None:
    """Loss is told, even if there is nothing else to tell."""
    scene = Scene(retain_seconds=10.0)
    scene.publish("a")
    scene.publish("b")
    scene.house.wait(12)
    scene.answer(200)
    assert scene.texts() == [["a"], []]
    assert scene.posts[1]["gap"] == {"since": f"{EPOCH}-1", "until": f"{EPOCH}-2"}
    assert scene.posts[1]["next"] == f"{EPOCH}-2"
    scene.answer(200)
    assert scene.state() == State.LIVE
    scene.leave()


def test_what_is_lost_while_it_is_tried_again() -> None:
    """What is lost between two tries is told, under another id."""
    scene = Scene(retain_messages=2)
    scene.publish("a", "b")
    scene.answer(500)
    scene.publish("c", "d", "e")
    scene.house.wait(1)
    assert "gap" in scene.posts[1]
    assert scene.ids()[0] != scene.ids()[1]
    assert scene.texts() == [["a", "b"], ["d", "e"]]
    scene.abandon()


def test_nothing_for_it() -> None:
    """How far was looked in vain is kept now and then, and not each time."""
    scene = Scene()
    scene.publish("x", topic="other")
    scene.house.wait(NOTED - WAIT)
    assert scene.acked() == 0
    assert scene.courier._reached.offset == 1
    scene.house.wait(2 * WAIT)
    assert scene.acked() == 1
    assert scene.state() == State.LIVE
    assert not scene.posts
    scene.publish("a")
    assert scene.texts() == [["a"]]
    scene.abandon()


def test_pauses_grow() -> None:
    """Pauses double up to hook-backoff, and chance says how much of each is waited."""
    for chance, wanted in ((1.0, [1, 2, 4, 8, 10, 10]), (0.25, [0.25, 0.5, 1, 2, 2.5, 2.5])):
        scene = Scene(chance, hook_backoff=10.0)
        scene.publish("a")
        pauses = []
        for _ in wanted:
            scene.answer(503)
            pauses.append(scene.pause())
            scene.house.wait(pauses[-1])
        assert pauses == wanted
        scene.abandon()


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("30", 30), (" 7 ", 7), ("86400", 3600), ("0", 1), ("soon", 1), ("-5", 1), ("Mon, 21 Sep 2026 14:14:00 GMT", 40)],
)
def test_retry_after(retry_after: str, pause: float) -> None:
    """A receiver that says when to come back is believed, within an hour."""
    scene = Scene()
    scene.publish("a")
    scene.answer(429, retry_after)
    assert scene.pause() == pause
    scene.abandon()


def test_parking() -> None:
    """After hook-patience of failures the hook is parked, which is kept, and it keeps its place."""
    scene = Scene(hook_patience=10.0)
    scene.publish("a")
    while scene.state() is not State.PARKED:
        scene.answer(500)
        scene.house.wait(8)
    [parked] = scene.kept
    assert parked == scene.courier.hook
    assert parked.parked == "the receiver answered 500 Internal Server Error (after 3 tries in 16 s)"
    assert parked.parked_at == START + 16
    assert scene.acked() == 0
    scene.leave()
    assert Hook.parse(parked.record().body) == parked


def test_gone() -> None:
    """410 parks at once."""
    scene = Scene()
    scene.publish("a")
    scene.answer(410)
    assert scene.state() == State.PARKED
    assert scene.courier.hook.parked == "the receiver answered 410 Gone: it wants no more"
    scene.leave()


def test_redirects() -> None:
    """Redirects are failures, and it is said what to do."""
    scene = Scene()
    scene.publish("a")
    scene.answer(307)
    assert "redirects are not followed; make the hook anew" in scene.courier.trouble
    scene.abandon()


def test_parking_needs_the_store() -> None:
    """A hook that cannot be parked because the store fails is parked later."""
    scene = Scene()
    scene.publish("a")
    scene.house.store.fails = True
    scene.answer(410)
    assert scene.state() == State.RETRYING
    scene.house.store.fails = False
    scene.house.wait(1)
    scene.answer(410)
    assert scene.state() == State.PARKED
    scene.leave()


def test_the_store_fails() -> None:
    """Trouble of the daemon's own parks nothing, however long it takes; what was not acknowledged is repeated."""
    scene = Scene(hook_patience=5.0)
    scene.publish("a")
    scene.house.store.fails = True
    scene.answer(200)
    assert "the disk is full" in scene.courier.trouble
    for _ in range(100):
        scene.house.wait(1)
    assert scene.state() == State.RETRYING
    scene.house.store.fails = False
    scene.house.wait(1)
    assert scene.texts() == [["a"], ["a"]]
    assert scene.ids()[0] == scene.ids()[1]
    scene.answer(200)
    assert scene.state() == State.LIVE
    scene.leave()


def test_own_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours is logged, and does not end the hook."""
    logged: list[str] = []
    monkeypatch.setattr(Logger, "failure", lambda _self, text, **_: logged.append(text))
    scene = Scene()
    scene.publish("a")
    scene.answers[-1].errback(ZeroDivisionError())
    assert logged
    assert scene.state() == State.RETRYING
    scene.house.wait(1)
    scene.answer(200)
    assert scene.state() == State.LIVE
    scene.leave()


def test_hurry() -> None:
    """A pause can be cut short."""
    scene = Scene()
    scene.publish("a")
    scene.answer(500)
    scene.courier.hurry()
    assert len(scene.posts) == 2
    scene.answer(200)
    scene.courier.hurry()
    scene.leave()


def test_leaving() -> None:
    """Who leaves finishes what is being posted, and posts nothing more."""
    scene = Scene()
    scene.publish("a")
    gone: list[None] = []
    scene.courier.leave().addCallback(gone.append)
    scene.publish("b")
    assert not gone
    scene.answer(200)
    assert gone
    assert scene.acked() == 1
    assert scene.texts() == [["a"]]
    scene.leave()


def test_leaving_after_a_failure() -> None:
    """Who leaves does not wait for another try."""
    scene = Scene()
    scene.publish("a")
    gone: list[None] = []
    scene.courier.leave().addCallback(gone.append)
    scene.answer(500)
    assert gone
    scene.leave()


@pytest.mark.parametrize("failure", [PostFailed("the connection was lost"), None])
def test_abandoning(failure: Exception | None) -> None:
    """A post that is given up may fail with anything, and nothing follows."""
    scene = Scene()
    scene.publish("a")
    if failure is not None:
        scene.answers[-1]._canceller = lambda answer: answer.errback(failure)
    scene.abandon()
    assert len(scene.posts) == 1
    assert scene.acked() == 0
    scene.leave()


def test_slots() -> None:
    """No more is posted at once, over all hooks, than hook-posts; who waits holds no messages."""
    scene = Scene(hook_posts=1)
    other = scene.other()
    scene.publish("a")
    scene.publish("x", "y", topic="other")
    assert scene.texts() == [["a"]]
    assert other.state == State.BEHIND
    scene.answer(200)
    assert scene.texts() == [["a"], ["x", "y"]]
    scene.answer(200)
    other.leave()
    scene.leave()


def test_leaving_the_line() -> None:
    """Who waits for a turn to post can leave."""
    scene = Scene(hook_posts=1)
    other = scene.other()
    scene.publish("a")
    scene.publish("x", topic="other")
    gone: list[None] = []
    other.leave().addCallback(gone.append)
    assert gone
    scene.answer(200)
    assert scene.texts() == [["a"]]
    scene.leave()


def test_standing_still() -> None:
    """While a successor takes over nothing is posted nor acknowledged."""
    scene = Scene()
    scene.publish("a")
    still: Deferred[None] = Deferred()
    scene.still = still
    scene.answer(200)
    assert scene.acked() == 0
    scene.still = None
    still.callback(None)
    assert scene.acked() == 1
    scene.still = Deferred()
    scene.publish("b")
    assert scene.texts() == [["a"]]
    scene.abandon()


def test_parked_at_the_start() -> None:
    """A hook that is parked stays so over a restart."""
    scene = Scene()
    scene.abandon()
    courier = Courier(Hook("h", "http://x.example/", bytes(32), START, "why", START), scene.consumer, scene.means)
    courier.start()
    scene.publish("a")
    assert courier.state == State.PARKED
    assert not scene.posts
    gone: list[None] = []
    courier.leave().addCallback(gone.append)
    assert gone
