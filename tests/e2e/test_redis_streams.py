"""What back ends read over TCP, by the high-level API of redis-py, in both versions of the protocol."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.daemons import LONGEST, Daemon, running
from tests.e2e.held import asked_json
from tests.e2e.tools import redis_cli, run
from tests.e2e.waiting import until


@pytest.fixture(params=["memory", "disk"], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with everything in memory, and one that has nearly everything on disk."""
    options: tuple[str, ...] = ()
    if request.param == "disk":
        path: Path = tmp_path_factory.mktemp("store") / "comet.db"
        options = ("--store", f"sqlite:{path}", "--retain-messages", "1")
    with running(*options) as daemon:
        yield daemon


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, place: Daemon) -> Iterator[Any]:
    """A client of that version of the protocol."""
    with connected(place, request.param) as found:
        yield found


def connected(place: Daemon, protocol: int) -> Any:
    host, _, port = place.tcp.rpartition(":")
    return redis.Redis(host, int(port), protocol=protocol, decode_responses=True, socket_timeout=LONGEST)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of the test's own."""
    return f"streams/{request.node.name}"


def published(client: Any, topic: str, count: int = 5) -> list[str]:
    """Publish the numbers from 0 on; returns their ids."""
    return [client.xadd(topic, {"data": str(number)}) for number in range(count)]


def entries(answer: Any) -> list[tuple[str, dict[str, str]]]:
    """The entries of the one topic that an answer is about, in either version's shape."""
    if not answer:
        return []
    if isinstance(answer, dict):
        ((found,),) = answer.values()
        return list(found)
    ((_, found),) = answer
    return list(found)


def texts(answer: Any) -> list[str]:
    return [fields["data"] for _, fields in entries(answer)]


def test_ranges(client: Any, topic: str) -> None:
    """XRANGE and XREVRANGE give what is between two ids, from either side, exclusive or not."""
    ids = published(client, topic)
    assert client.xlen(topic) == 5
    assert [each for each, _ in client.xrange(topic)] == ids
    assert [each for each, _ in client.xrange(topic, ids[1], ids[3])] == ids[1:4]
    assert [each for each, _ in client.xrange(topic, f"({ids[1]}", f"({ids[3]}")] == ids[2:3]
    assert [each for each, _ in client.xrange(topic, count=2)] == ids[:2]
    assert [each for each, _ in client.xrevrange(topic)] == ids[::-1]
    assert [each for each, _ in client.xrevrange(topic, count=2)] == ids[:2:-1]
    assert [each for each, _ in client.xrevrange(topic, ids[3], ids[1], count=2)] == [ids[3], ids[2]]
    assert client.xrange(topic, ids[3], ids[1]) == []
    assert client.xrange(f"{topic}/nothing") == []
    assert client.xlen(f"{topic}/nothing") == 0


def test_types(client: Any, topic: str) -> None:
    """A content type comes as the field ``type``."""
    client.xadd(topic, {"data": "{}", "type": "application/json"})
    assert client.xrange(topic)[0][1] == {"data": "{}", "type": "application/json"}


def test_read(client: Any, topic: str) -> None:
    """XREAD goes on behind the id that one has, so many at a time."""
    published(client, topic)
    seen: list[str] = []
    since = "0"
    while found := entries(client.xread({topic: since}, count=2)):
        assert len(found) <= 2
        seen += [fields["data"] for _, fields in found]
        since = found[-1][0]
    assert seen == list("01234")
    assert texts(client.xread({topic: "+"})) == ["4"]
    assert not client.xread({topic: "$"})


def test_several_topics(client: Any, topic: str) -> None:
    """Each topic has an id of its own, and its own entries in the answer."""
    first, second = f"{topic}/1", f"{topic}/2"
    ids = published(client, first, 3)
    published(client, second, 2)
    found = client.xread({first: ids[1], second: "0", f"{topic}/3": "0"})
    if isinstance(found, list):
        found = {name: [each] for name, each in found}
    assert {name: [fields["data"] for _, fields in each[0]] for name, each in found.items()} == {
        first: ["2"],
        second: ["0", "1"],
    }


def test_block(client: Any, place: Daemon, topic: str) -> None:
    """XREAD waits for a message as long as it is told, and what comes meanwhile on another connection ends the wait."""
    assert not client.xread({topic: "$"}, block=50)
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(client.xread({topic: "$", "another": "$"}, block=0)))
    waiting.start()
    streams_of(place, "resp", 1)
    with connected(place, 2) as other:
        other.publish(topic, "late")
    waiting.join(LONGEST)
    assert texts(got[0]) == ["late"]


def streams_of(place: Daemon, transport: str, count: int) -> None:
    """Wait until there are so many subscriptions of that kind."""

    def there() -> bool:
        totals = asked_json(place.http, "/stats/streams")["streams"]
        return len([each for each in totals if each["transport"] == transport]) == count

    until(there, f"{count} of {transport}")


@pytest.mark.parametrize("ending", ["half", "reset"])
def test_who_leaves_while_it_waits_is_forgotten(place: Daemon, topic: str, ending: str) -> None:
    """A client that goes away while it is blocked leaves nothing behind."""
    host, _, port = place.tcp.rpartition(":")
    with socket.create_connection((host, int(port)), LONGEST) as near:
        near.sendall(f"XREAD BLOCK 0 STREAMS {topic} $\r\n".encode())
        streams_of(place, "resp", 1)
        if ending == "half":
            near.shutdown(socket.SHUT_WR)
            assert near.recv(100) == b"*-1\r\n"
            assert near.recv(100) == b""
    streams_of(place, "resp", 0)


def test_in_order_behind_what_was_published(place: Daemon, topic: str) -> None:
    """In one pipeline a read has everything that was published before it."""
    with connected(place, 2) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(100):
            pipeline.xadd(topic, {"data": str(number)})
            pipeline.xrevrange(topic, count=1)
        answers = pipeline.execute()
    assert [answer[0][1]["data"] for answer in answers[1::2]] == [str(number) for number in range(100)]


def test_a_transaction_that_reads(client: Any, topic: str) -> None:
    """The pipelines of redis-py are transactions: what is read in one has all that it publishes, and waits for
    nothing."""
    pipeline = client.pipeline(transaction=True)
    pipeline.xadd(topic, {"data": "0"})
    pipeline.xlen(topic)
    pipeline.xread({topic: "$"}, block=0)
    pipeline.publish(topic, "1")
    pipeline.xrange(topic)
    _, length, nothing, went_to, found = pipeline.execute()
    assert (length, went_to) == (2, 0)
    assert not nothing
    assert [fields["data"] for _, fields in found] == ["0", "1"]


def test_redis_cli(place: Daemon, topic: str) -> None:
    """What a person types, and sees."""
    first = redis_cli(place.tcp, "XADD", topic, "*", "data", "one").out.strip()
    redis_cli(place.tcp, "PUBLISH", topic, "two")
    assert redis_cli(place.tcp, "XLEN", topic).out == "2\n"
    assert redis_cli(place.tcp, "XRANGE", topic, "-", "+", "COUNT", "1").out.split() == [first, "data", "one"]
    assert redis_cli(place.tcp, "XREAD", "STREAMS", topic, first).out.split()[2:] == ["data", "two"]
    assert redis_cli(place.tcp, "XGROUP", "CREATE", topic, group_name(topic), "0").out == "OK\n"
    read = ("XREADGROUP", "GROUP", group_name(topic), "me", "COUNT", "1", "STREAMS", topic, ">")
    assert redis_cli(place.tcp, *read).out.split() == [topic, first, "data", "one"]
    assert redis_cli(place.tcp, "XACK", topic, group_name(topic), first).out == "1\n"
    assert redis_cli(place.tcp, "XINFO", "STREAM", topic).out.split()[:2] == ["length", "2"]


@pytest.mark.parametrize("name", ["ioredis", "redis2", "redis3"])
def test_node(place: Daemon, topic: str, name: str) -> None:
    """The clients of Node read, wait, and read as a group, by their own functions."""
    script = Path(__file__).parent / "redis_streams.mjs"
    ended = run("node", str(script), name, place.tcp.rpartition(":")[2], topic, group_name(topic))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "length": 3,
        "range": ["one", "two", "three"],
        "newest": ["three"],
        "read": ["two", "three"],
        "waited": ["late"],
        "nothing": None,
        "group": ["one", "two", "three", "late"],
        "acknowledged": 2,
        "pending": 2,
        "again": ["three", "late"],
        "groups": [group_name(topic)],
        "last": "late",
    }


def test_gap(place: Daemon, topic: str) -> None:
    """What is gone is told, as an entry."""
    with connected(place, 2) as client:
        published(client, topic)
        found = entries(client.xread({topic: "00000000-3"}, count=10))
        assert list(found[0][1]) == ["gap"]
        assert [fields["data"] for _, fields in entries(client.xread({topic: found[0][0]}))][-1] == "4"


# -- groups -----------------------------------------------------------------------------------------------------------


def group_name(topic: str) -> str:
    return topic.replace("/", "-")


def test_group(client: Any, topic: str) -> None:
    """A group is given each message once on a connection, until it is acknowledged again on the next."""
    group = group_name(topic)
    ids = published(client, topic)
    assert client.xgroup_create(topic, group, id="0") is True
    assert texts(client.xreadgroup(group, "one", {topic: ">"}, count=2)) == ["0", "1"]
    assert texts(client.xreadgroup(group, "one", {topic: ">"}, count=9)) == ["2", "3", "4"]
    assert not client.xreadgroup(group, "one", {topic: ">"})
    pending = client.xpending(topic, group)
    assert (pending["pending"], pending["min"], pending["max"]) == (5, ids[0], ids[4])
    assert client.xack(topic, group, ids[0], ids[1], ids[3]) == 3
    assert texts(client.xreadgroup(group, "one", {topic: "0"})) == ["2", "4"]
    assert client.xpending(topic, group)["pending"] == 2
    (told,) = client.xinfo_groups(topic)
    assert (told["name"], told["pending"]) == (group, 2)


def test_next_connection_is_given_what_was_not_acknowledged(client: Any, place: Daemon, topic: str) -> None:
    """A client that dies loses nothing: the next begins behind what was acknowledged without a hole."""
    group = group_name(topic)
    ids = published(client, topic)
    client.xgroup_create(topic, group, id="0")
    client.xreadgroup(group, "one", {topic: ">"})
    client.xack(topic, group, ids[0], ids[2])
    with connected(place, 2) as other:
        assert texts(other.xreadgroup(group, "one", {topic: ">"})) == ["1", "2", "3", "4"]
        assert other.xack(topic, group, *ids[1:]) == 4
        assert not other.xreadgroup(group, "one", {topic: ">"}, block=20)
        other.publish(topic, "5")
        assert texts(other.xreadgroup(group, "one", {topic: ">"}, block=20)) == ["5"]
    answer = asked_json(place.http, f"/consumers?topic={topic}&id={ids[4]}")
    assert [(each["name"], each["has"]) for each in answer["consumers"]] == [(group, True)]


def test_refusals(client: Any, topic: str) -> None:
    """What cannot be done is refused by a kind that clients know, and the connection goes on."""
    group = group_name(topic)
    client.xgroup_create(topic, group, id="$", mkstream=True)
    for kind, call in {
        "BUSYGROUP": lambda: client.execute_command("XGROUP", "CREATE", topic, group, "$"),
        "NOGROUP": lambda: client.execute_command("XREADGROUP", "GROUP", "x", "c", "STREAMS", topic, ">"),
        "bad_since": lambda: client.execute_command("XREAD", "STREAMS", topic, "yesterday"),
        "as many ids": lambda: client.execute_command("XREAD", "STREAMS", topic, "a", "0"),
        "COUNT": lambda: client.execute_command("XREAD", "COUNT", "x", "STREAMS", topic, "0"),
        "pattern": lambda: client.execute_command("XREAD", "STREAMS", f"{topic}/*", "0"),
        "another life": lambda: client.execute_command("XRANGE", topic, "-", "00000000-1"),
        "retention": lambda: client.execute_command("XTRIM", topic, "MAXLEN", "3"),
    }.items():
        with pytest.raises(redis.ResponseError) as caught:
            call()  # type: ignore[no-untyped-call]
        assert kind in str(caught.value)
    assert client.ping()
    assert client.xgroup_destroy(topic, group) == 1
    assert client.xgroup_destroy(topic, group) == 0
