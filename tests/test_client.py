"""The parts of the client that need no connection, and what it publishes over HTTP."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Sequence
from enum import Enum
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from comet.client import Client, Closed, Draft, Gap, Message, Refused, TCPPublisher, Unreachable
from comet.client.backoff import FIRST, LONGEST, Backoff
from comet.client.cursor import Cursor
from comet.client.reading import TRANSPORTS, Garbled, Line
from tests.client_faces import Network, result_of
from tests.daemons import command
from tests.web_faces import Answer

HOSTILE = [
    "",
    "text",
    "a\nb\r\n\r\nc",
    "\0\x7f\x85\u2028",
    "ü€🎉",
    '{"comet":"bye"}',
    "data: x\n\nid: 1-1\n\n",
    "x" * 300,
]
BYTES = [b"\xff\x00\n\n", b"\x80" * 50]


# -- reading ---------------------------------------------------------------------------------------------------------


def recorded(transport: str) -> bytes:
    """All that a daemon writes on a transport, with messages of every kind."""
    network = Network()
    held = network.face.connect()
    held.send(f"GET /topics/a?transport={transport} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for text in HOSTILE:
        network.face.publish("a", text)
    for data in (*BYTES, json.dumps({"deep": [1, None, "ü"]}).encode()):
        kind = "application/json" if data[:1] == b"{" else "image/png"
        assert network.face.ask("POST", "/topics/a", data, content_type=kind).status == 201
    network.face.clock.advance(60)
    network.face.router.stop()
    return held.take().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("name", TRANSPORTS)
def test_every_split(name: str) -> None:
    """However a stream is cut into pieces, the same messages come out of it, and their data is what was published."""
    data = recorded(name)
    whole = list(TRANSPORTS[name].reader().feed(data))
    messages = [line.value() for line in whole if not line.comet]
    assert messages == [*HOSTILE, *BYTES, {"deep": [1, None, "ü"]}]
    assert [line.comet for line in whole if line.comet] == ["open", "beat", "bye"]
    for cut in range(len(data) + 1):
        reader = TRANSPORTS[name].reader()
        found = [*reader.feed(data[:cut]), *reader.feed(data[cut:])]
        assert found == whole, cut
    reader = TRANSPORTS[name].reader()
    assert [line for byte in data for line in reader.feed(bytes((byte,)))] == whole


@pytest.mark.parametrize("name", TRANSPORTS)
def test_unfinished(name: str) -> None:
    """What was cut off before its end is not read, though it may look whole: the rest of it may have been lost."""
    data = recorded(name)
    reader = TRANSPORTS[name].reader()
    assert [line.comet for line in reader.feed(data[:-1]) if line.comet] == ["open", "beat"]


@pytest.mark.parametrize(
    "line", [b"<html>\n", b"[1]\n", b'{"data64":"?"}\n', b'{"id":1}\n', b"\xff\n", b"[" * 10_000 + b"\n"]
)
def test_garbled(line: bytes) -> None:
    """What is no stream of Comet is told from one."""
    with pytest.raises(Garbled):
        list(TRANSPORTS["stream"].reader().feed(line))


# -- the cursor ------------------------------------------------------------------------------------------------------


def said(comet: str, **members: Any) -> Line:
    """What the daemon says in-band."""
    return Line(comet=comet, **members)


def message(topic: str, position: str) -> Line:
    """A message."""
    return Line(topic=topic, id=position, data=position)


def taken(cursor: Cursor, *lines: Line) -> list[Any]:
    """What the subscriber is given of ``lines``: positions of messages, and gaps."""
    items = [cursor.take(line) for line in lines]
    return [item.id if isinstance(item, Message) else item for item in items if item is not None]


def asked(cursor: Cursor) -> list[tuple[list[str], str]]:
    """What the next stream is asked for: patterns and since, first by opening it, then on it."""
    opening = cursor.opening()
    cursor.take(said("open", position=opening.since if "-" in opening.since[1:] else "1-0"))
    return [(lane.texts(), lane.since) for lane in (opening, *cursor.further())]


E, F = "aaaaaaaa", "bbbbbbbb"
"""Two epochs."""


def test_cursor_follows() -> None:
    """A subscriber goes on behind its newest message, or behind what a heartbeat has told."""
    cursor = Cursor(["a"], "now")
    assert cursor.position == "now"
    assert taken(cursor, said("open", position=f"{E}-7")) == []
    assert cursor.position == f"{E}-7"
    assert taken(cursor, message("a", f"{E}-9")) == [f"{E}-9"]
    taken(cursor, said("beat", position=f"{E}-12"))
    assert asked(cursor) == [(["a"], f"{E}-12")]


def test_cursor_of_a_snapshot() -> None:
    """While a snapshot comes, its messages are the cursor: nothing behind them was given."""
    cursor = Cursor(["*"], "last")
    taken(cursor, said("open"))
    assert cursor.position == "last"
    taken(cursor, message("b", f"{E}-3"), message("a", f"{E}-9"))
    assert cursor.position == f"{E}-9"


def test_cursor_keeps_a_gap() -> None:
    """A gap is told though the connection is lost just before it, and once though it is lost just behind it."""
    cursor = Cursor(["a"], f"{E}-7")
    taken(cursor, said("open", position=f"{F}-0"))
    assert cursor.position == f"{E}-7"
    gap = said("gap", since=f"{E}-7", until=f"{F}-4")
    assert taken(cursor, said("open", position=f"{F}-0"), gap) == [Gap(f"{E}-7", f"{F}-4")]
    assert cursor.position == f"{F}-0"
    again = said("gap", since=f"{F}-0", until=f"{F}-4")
    assert taken(cursor, said("open", position=f"{F}-0"), again, message("a", f"{F}-2")) == [f"{F}-2"]
    further = said("gap", since=f"{F}-2", until=f"{F}-4")
    assert taken(cursor, further) == [Gap(f"{F}-2", f"{F}-4")]


def test_cursor_with_history() -> None:
    """Topics that were added with their history are asked for again from where it has come, the others from theirs."""
    cursor = Cursor(["a"], "now")
    taken(cursor, said("open", position=f"{E}-100"))
    lane = cursor.propose(["b"], "first")
    taken(cursor, message("a", f"{E}-101"))
    cursor.accept(lane)
    taken(cursor, said("topics", topics=["a", "b"]), message("b", f"{E}-3"), message("b", f"{E}-7"))
    assert cursor.position == f"{E}-101"
    assert asked(cursor) == [(["a"], f"{E}-101"), (["b"], f"{E}-7")]
    taken(cursor, said("topics", topics=["a", "b"]), message("b", f"{E}-9"), message("b", f"{E}-110"))
    assert asked(cursor) == [(["a", "b"], f"{E}-110")]


def test_cursor_with_histories() -> None:
    """With several histories under way, what is none of them, or a heartbeat, says that all are done."""
    cursor = Cursor(["a"], "now")
    taken(cursor, said("open", position=f"{E}-100"))
    for topic in ("b", "c"):
        cursor.accept(cursor.propose([topic], "first"))
        taken(cursor, said("topics", topics=["a", "b", "c"] if topic == "c" else ["a", "b"]))
    taken(cursor, message("b", f"{E}-102"))
    assert asked(cursor) == [(["a"], f"{E}-100"), (["b"], f"{E}-102"), (["c"], "first")]
    taken(cursor, said("topics", topics=["a", "b"]), said("topics", topics=["a", "b", "c"]), message("c", f"{E}-103"))
    taken(cursor, message("a", f"{E}-104"))
    assert asked(cursor) == [(["a", "b", "c"], f"{E}-104")]
    cursor.accept(cursor.propose(["d"], "-5"))
    taken(cursor, said("topics", topics=["a", "b", "c", "d"]), said("beat", position=f"{E}-200"))
    assert asked(cursor) == [(["a", "b", "c", "d"], f"{E}-200")]


def test_cursor_without_history() -> None:
    """Topics that were added for now, on a stream that is lost before it says so, are asked for from the cursor."""
    cursor = Cursor(["a"], f"{E}-5")
    cursor.accept(cursor.propose(["b"], "now"))
    assert asked(cursor) == [(["a", "b"], f"{E}-5")]


def test_cursor_less() -> None:
    """What is wanted no longer is not asked for; what still comes of its history does not move the cursor back."""
    cursor = Cursor(["a", "b"], f"{E}-50")
    cursor.accept(cursor.propose(["c"], "first"))
    taken(cursor, said("topics", topics=["a", "b", "c"]))
    cursor.drop(["b", "c"])
    taken(cursor, message("c", f"{E}-3"))
    assert asked(cursor) == [(["a"], f"{E}-50")]
    taken(cursor, said("topics", topics=["d"], position=f"{E}-60"))
    assert asked(cursor) == [(["d"], f"{E}-60")]


def test_cursor_refused() -> None:
    """What the daemon refuses is not wanted."""
    cursor = Cursor(["a"], f"{E}-50")
    cursor.withdraw(cursor.propose(["b"], "first"))
    cursor.withdraw(cursor.propose(["a"], "first"))
    assert asked(cursor) == [(["a"], f"{E}-50")]


# -- pauses ----------------------------------------------------------------------------------------------------------


def test_backoff() -> None:
    """The longest pause doubles up to a limit, the pause is anything below it, and a success begins anew."""
    backoff = Backoff(lambda: 1.0)
    pauses = [backoff.pause() for _ in range(40)]
    assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert pauses[-1] == LONGEST
    backoff.reset()
    assert backoff.pause() == FIRST
    chance = Backoff(random.Random(7).random)
    found = [chance.pause() for _ in range(200)][10:]
    assert min(found) < LONGEST / 10
    assert LONGEST * 0.9 < max(found) < LONGEST


# -- publishing over HTTP --------------------------------------------------------------------------------------------


class Colour(Enum):
    """A value whose JSON is a string."""

    RED = "red"


SENT: Sequence[tuple[Any, str | None, Any]] = [
    ("text", None, "text"),
    ("", None, ""),
    (b"\xff\n", None, b"\xff\n"),
    (b"utf-8", "image/png", "utf-8"),
    ({"bid": [1, None]}, None, {"bid": [1, None]}),
    (None, None, None),
    (7, None, 7),
    (datetime.date(2026, 1, 2), None, "2026-01-02"),
    (Colour.RED, None, "red"),
    ('{"a":1}', "application/json", {"a": 1}),
    ({"a": 1}, "application/vnd.bid+json", '{"a":1}'),
]


@pytest.mark.parametrize(("data", "content_type", "wanted"), SENT)
def test_publish(data: Any, content_type: str | None, wanted: Any) -> None:
    """Bytes and strings are published as they are and other values as JSON, alone or in a batch; the type is told."""
    network = Network()
    client = network.client()
    alone = result_of(client.publish("a/ü?", data, content_type=content_type))
    [batched] = result_of(client.publish_many([("a/ü?", data, content_type)]))
    retained = network.face.router.log.topic("a/ü?")
    assert retained is not None
    first, second = retained.last(2)
    assert alone.endswith(f"-{first.offset}")
    assert batched.endswith(f"-{second.offset}")
    assert first.payload == second.payload
    assert first.content_type == second.content_type
    answer = network.face.ask("GET", "/topics/a/%C3%BC%3F?since=first&wait=0").json()
    reader = TRANSPORTS["stream"].reader()
    for object_ in answer["messages"]:
        [line] = reader.feed(json.dumps(object_).encode() + b"\n")
        assert line.value() == wanted


def test_content() -> None:
    """A message gives its payload as bytes too."""
    assert Message("a", "ü", "1-1", 0.0).content == "ü".encode()
    assert Message("a", b"\xff", "1-1", 0.0).content == b"\xff"
    assert json.loads(Message("a", {"b": 1}, "1-1", 0.0).content) == {"b": 1}


def test_publish_many() -> None:
    """A batch is published in order, all or nothing, and the refusal says which message it is about."""
    network = Network()
    client = network.client()
    ids = result_of(client.publish_many([("a", 1), Draft("a", 2, None, "once"), ("a", 3)]))
    assert [position.partition("-")[2] for position in ids] == ["1", "2", "3"]
    assert result_of(client.publish_many([("a", 2, None, "once")])) == ids[1:2]
    with pytest.raises(Refused, match=r"\$\[1\]") as refused:
        result_of(client.publish_many([("a", 1), ("a//b", 2)]))
    assert (refused.value.code, refused.value.status) == ("bad_topic", 400)
    assert network.face.router.log.end == 3
    with pytest.raises(ValueError, match="nothing to publish"):
        client.publish_many([])


def problem(status: int, code: str, **headers: str) -> Answer:
    """A refusal of the daemon's."""
    return Answer(status, headers, json.dumps({"status": status, "code": code, "detail": "not now"}).encode())


LOST = ResponseNeverReceived([Failure(ConnectionLost())])


@pytest.mark.parametrize(
    "act",
    [LOST, problem(503, "draining", **{"retry-after": "2"}), problem(429, "too_many_keys"), Answer(502, {}, b"<html>")],
)
def test_publish_again(act: Exception | Answer) -> None:
    """After a lost connection, and a refusal that passes, a message is sent again under its key, and stored once."""
    network = Network()
    network.acts = [act, act]
    publishing = network.client().publish("a", "x")
    for _ in range(30):
        network.clock.advance(0.5)
    assert result_of(publishing).endswith("-1")
    keys = {fields["idempotency-key"] for _, _, fields, _ in network.asked}
    assert (len(network.asked), len(keys)) == (3, 1)


def test_publish_stored_and_lost() -> None:
    """A message that was stored, but whose answer was lost, is not stored twice."""
    network = Network()
    client = network.client()
    first = result_of(client.publish("a", "x", key="k"))
    network.acts = [LOST]
    again = client.publish("a", "x", key="k")
    network.clock.advance(1)
    assert result_of(again) == first
    assert network.face.router.log.end == 1


def test_retry_after() -> None:
    """The daemon's word on when to come back is kept to."""
    network = Network()
    network.acts = [problem(503, "store_failed", **{"retry-after": "2"})]
    publishing = network.client().publish("a", "x")
    network.clock.advance(1.99)
    assert len(network.asked) == 1
    network.clock.advance(FIRST + 0.01)
    result_of(publishing)


def test_publish_refused() -> None:
    """A refusal for good is raised at once, with what the daemon says; so is an answer that is not Comet's."""
    network = Network()
    client = network.client()
    with pytest.raises(Refused, match="a//b") as refused:
        result_of(client.publish("a//b", "x"))
    assert (refused.value.code, refused.value.status, refused.value.passing) == ("bad_topic", 400, False)
    for answer in (Answer(404, {}, b"<html>"), Answer(200, {}, b"<html>"), Answer(301, {"location": "/x"}, b"")):
        network.acts = [answer]
        with pytest.raises(Refused) as refused:
            result_of(client.publish("a", "x"))
        assert refused.value.code == "not_comet"
    assert "'/x'" in refused.value.detail
    with pytest.raises(TypeError):
        client.publish("a", object())


def test_publish_patience() -> None:
    """Patience ends with the last thing that was wrong; a request that is not answered in time counts as lost."""
    network = Network()
    client = network.client(timeout=3)
    network.acts = [problem(503, "draining") for _ in range(100)]
    publishing = client.publish("a", "x", patience=10)
    for _ in range(100):
        network.clock.advance(0.1)
    with pytest.raises(Refused, match="not now"):
        result_of(publishing)
    network.acts = [None]
    publishing = client.publish("a", "x", patience=0)
    network.clock.advance(3)
    with pytest.raises(Unreachable, match=r"^no answer from http://localhost/: it took too long$"):
        result_of(publishing)
    assert network.cancelled == 1


def test_publish_cancelled() -> None:
    """A publish that is cancelled, or whose client is closed, lets go of its request; nothing more is published."""
    network = Network()
    client = network.client()
    network.acts = [None, None]
    first, second = client.publish("a", "x"), client.publish("a", "x")
    failed: list[Failure] = []
    first.addErrback(failed.append)
    second.addErrback(failed.append)
    first.cancel()
    assert (len(failed), network.cancelled) == (1, 1)
    network.close(client)
    assert (len(failed), network.cancelled) == (2, 2)
    for publishing in (client.publish("a", "x"), client.publish_many([("a", "x")])):
        with pytest.raises(Closed):
            result_of(publishing)
    with pytest.raises(Closed):
        client.subscribe("a")


def test_headers() -> None:
    """The headers of a client go out with every request; streams are asked for unpacked."""
    network = Network()
    client = network.client(headers={"X-Shop": "7"})
    result_of(client.publish("a", "x"))
    client.subscribe("a")
    assert [fields["x-shop"] for _, _, fields, _ in network.asked] == ["7"] * 2
    assert "accept-encoding" not in network.asked[1][2]
    network.close(client)


def test_abreast() -> None:
    """However much is published at once, only so many requests are under way."""
    network = Network()
    network.acts = [None] * 100
    client = network.client()
    publishing = [client.publish("a", "x") for _ in range(100)]
    assert len(network.asked) == 16
    for each in publishing:
        each.addErrback(lambda failure: None)
    network.close(client)


# -- as a library ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["localhost:7080", "ftp://localhost", "http://", "http://localhost/?x=1"])
def test_bad_url(url: str) -> None:
    """A URL that is none is told at once."""
    with pytest.raises(ValueError, match="write the URL"):
        Client(url, agent=object(), reactor=object())


def test_url_with_password() -> None:
    """A password in a URL is refused, and not repeated."""
    with pytest.raises(ValueError, match="as a header") as error:
        Client("http://me:secret@localhost/", agent=object(), reactor=object())
    assert "secret" not in str(error.value)
    with pytest.raises(ValueError, match="ASCII"):
        Client("http://bücher/", agent=object(), reactor=object())


def test_the_reactor_is_not_chosen() -> None:
    """Importing the client installs no reactor, and a publisher over TCP does not load what only HTTP needs."""
    look = "import sys, comet.client; print('twisted.internet.reactor' in sys.modules, 'treq' in sys.modules)"
    assert command("-c", look).out == "False False\n"


def test_default_reactor() -> None:
    """Without one that is named, the global reactor is taken."""
    Client("http://127.0.0.1:1/")
    TCPPublisher("127.0.0.1:1")
