"""The Python client on Twisted, with real daemons and real connections, some of which are cut."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS

from comet.client import Client, Gap, Message, Refused, State, Subscription, TCPPublisher
from tests.daemons import ROOT, Daemon, command, running
from tests.e2e.forwarder import forwarding
from tests.e2e.held import asked_json, publish, streams
from tests.e2e.tools import begun
from tests.e2e.waiting import PATIENCE
from tests.recipes.certificate import written


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait until ``condition`` is true, while the reactor goes on."""
    deadline = reactor.seconds() + PATIENCE
    while not condition():
        assert reactor.seconds() < deadline, f"not within {PATIENCE:g} seconds: {what}"
        await deferLater(reactor, 0.01)


async def taken(subscription: Subscription, last: Any) -> list[Message | Gap]:
    """Take what comes, up to the message whose data is ``last``."""
    items: list[Message | Gap] = []
    async for item in subscription:
        items.append(item)
        if isinstance(item, Message) and item.data == last:
            break
    return items


def data(items: list[Message | Gap]) -> list[Any]:
    """The data of the messages."""
    return [item.data for item in items if isinstance(item, Message)]


def gaps(items: list[Message | Gap]) -> list[Gap]:
    """The gaps."""
    return [item for item in items if isinstance(item, Gap)]


@pytest_twisted.async_yield_fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """A client of the shared daemon."""
    async with Client(f"http://{daemon.http}/", timeout=PATIENCE) as client:
        yield client


@pytest.mark.parametrize("transport", ["stream", "sse"])
@pytest_twisted.ensureDeferred
async def test_publish_and_subscribe(client: Client, topic: str, transport: str) -> None:
    """What is published comes to who subscribes, under the position that the publisher was told."""
    async with client.subscribe(f"{topic}/*", transport=transport) as subscription:
        positions = [
            await client.publish(f"{topic}/1", {"bid": 120}),
            *await client.publish_many([(f"{topic}/2", "text"), (f"{topic}/3", b"\xff")]),
        ]
        items = await taken(subscription, b"\xff")
    assert data(items) == [{"bid": 120}, "text", b"\xff"]
    assert [item.id for item in items if isinstance(item, Message)] == positions
    assert subscription.cursor == positions[-1]


@pytest_twisted.ensureDeferred
async def test_consumer(client: Client, topic: str) -> None:
    """What is acknowledged does not come again, to another subscription either."""
    name = topic.replace("/", " ")
    async with client.subscribe(topic, consumer=name) as subscription:
        await client.publish_many([(topic, number) for number in range(5)])
        items = await taken(subscription, 4)
        assert isinstance(items[2], Message)
        await subscription.ack(items[2])
    async with client.subscribe(topic, consumer=name) as subscription:
        assert data(await taken(subscription, 4)) == [3, 4]


@pytest_twisted.ensureDeferred
async def test_many_at_once(client: Client, topic: str) -> None:
    """Many publishes at once share a few connections."""
    positions = await gatherResults([client.publish(topic, str(number)) for number in range(300)])
    assert len(set(positions)) == 300


@pytest_twisted.ensureDeferred
async def test_refused(client: Client) -> None:
    """A refusal of the daemon's comes with its code and its words, whoever is refused."""
    with pytest.raises(Refused, match="a//b") as refused:
        await client.publish("a//b", "x")
    assert (refused.value.code, refused.value.status) == ("bad_topic", 400)
    with pytest.raises(Refused) as refused:
        await client.subscribe(*(f"a/{number}" for number in range(101))).opened()
    assert refused.value.code == "too_many_patterns"


@pytest_twisted.ensureDeferred
async def test_cancel(daemon: Daemon, client: Client, topic: str) -> None:
    """Cancelling the Deferred of who subscribes closes the stream; leaving the loop does, too."""

    async def follow(last: str) -> None:
        async for item in client.subscribe(topic):
            assert isinstance(item, Message)
            if item.data == last:
                return

    following = Deferred.fromCoroutine(follow("x"))
    await eventually(lambda: streams(daemon.http, topic), "the stream is open")
    following.cancel()
    with pytest.raises(CancelledError):
        await following
    await eventually(lambda: not streams(daemon.http, topic), "the stream is closed")
    following = Deferred.fromCoroutine(follow("x"))
    await eventually(lambda: streams(daemon.http, topic), "the stream is open")
    await client.publish(topic, "x")
    await following
    await eventually(lambda: not streams(daemon.http, topic), "the stream is closed")


@pytest_twisted.ensureDeferred
async def test_change(daemon: Daemon, client: Client, topic: str) -> None:
    """Topics are changed on the open stream; the history of new ones comes first."""
    await client.publish(f"{topic}/b", "old")
    async with client.subscribe(f"{topic}/a") as subscription:
        await subscription.change(subscribe=[f"{topic}/b"], unsubscribe=[f"{topic}/a"], since="first")
        await client.publish(f"{topic}/a", "unwanted")
        await client.publish(f"{topic}/b", "new")
        assert data(await taken(subscription, "new")) == ["old", "new"]
        assert [stream["patterns"] for stream in streams(daemon.http, f"{topic}/b")] == [[f"{topic}/b"]]


@pytest.mark.parametrize("transport", ["stream", "sse"])
@pytest_twisted.ensureDeferred
async def test_cut_stream(daemon: Daemon, topic: str, transport: str) -> None:
    """A stream that is cut at whichever byte goes on where it was: nothing is lost, nothing comes twice."""
    chance = random.Random(transport)
    cuts = [chance.randrange(100, 40_000) for _ in range(5)]
    async with forwarding(daemon.http, *cuts) as (forwarder, address), Client(f"http://{address}/") as client:
        subscription = client.subscribe(topic, since="first", transport=transport, patience=PATIENCE)
        taking = Deferred.fromCoroutine(taken(subscription, "end"))
        async with TCPPublisher(daemon.tcp) as publisher:
            publishing = [publisher.publish(topic, str(number)) for number in range(3000)]
            await gatherResults(publishing)
            await eventually(lambda: forwarder.connections > len(cuts), "every cut has been made")
            await publisher.publish(topic, "end")
        items = await taking
        await subscription.aclose()
    assert data(items) == [*map(str, range(3000)), "end"]
    assert not gaps(items)


@pytest_twisted.ensureDeferred
async def test_answer_is_lost(daemon: Daemon, topic: str) -> None:
    """A publish whose answer is lost is sent again under its key, and stored once."""
    async with forwarding(daemon.http, 0, 17) as (forwarder, address), Client(f"http://{address}/") as client:
        position = await client.publish(topic, "x")
        assert forwarder.connections == 3
    messages = asked_json(daemon.http, f"/topics/{topic}?since=first&wait=0")["messages"]
    assert [message["id"] for message in messages] == [position]


@pytest_twisted.ensureDeferred
async def test_cut_publisher(daemon: Daemon, topic: str) -> None:
    """Messages that were under way over TCP when the connection was cut are sent again, and each is stored once."""
    chance = random.Random(7)
    cuts = [chance.randrange(1000, 30_000) for _ in range(5)]
    async with forwarding(daemon.tcp, *cuts) as (forwarder, address):
        async with TCPPublisher(address) as publisher:
            publishing = []
            for number in range(20_000):
                publishing.append(publisher.publish(topic, str(number)))
                await publisher.drained()
            positions = await gatherResults(publishing)
        assert forwarder.connections == len(cuts) + 1
    async with Client(f"http://{daemon.http}/") as client:
        items = await taken(client.subscribe(topic, since="first"), "19999")
    assert data(items) == list(map(str, range(20_000)))
    assert [item.id for item in items if isinstance(item, Message)] == positions


@pytest_twisted.ensureDeferred
async def test_restart() -> None:
    """The daemon is stopped and another is started in its place: each message that is published meanwhile comes once,
    in order, and the new log is a gap."""
    numbers = count()
    with running() as first:
        http, tcp = first.http, first.tcp
        client, publisher = Client(f"http://{http}/"), TCPPublisher(tcp)
        states: list[State] = []
        subscription = client.subscribe("a", patience=PATIENCE, on_state=lambda state, _: states.append(state))
        await subscription.opened()
        taking = Deferred.fromCoroutine(taken(subscription, "end"))
        publishing = [publisher.publish("a", next(numbers)) for _ in range(2000)]
        await eventually(lambda: publishing[1000].called, "half of them are stored")
        first.process.terminate()
        publishing += [publisher.publish("a", next(numbers)) for _ in range(1000)]
        assert await deferToThread(first.process.wait, PATIENCE) == 0
        publishing += [publisher.publish("a", next(numbers)) for _ in range(1000)]
    ports = [f"tcp:{address.rpartition(':')[2]}:interface=127.0.0.1" for address in (http, tcp)]
    with running("--http", ports[0], "--tcp", ports[1], "--retain-messages", "10000", anywhere=()):
        positions = await gatherResults(publishing)
        positions.append(await publisher.publish("a", "end"))
        items = await taking
        await publisher.close()
        await subscription.aclose()
        await client.close()
    assert data(items) == [*range(4000), "end"]
    assert [item.id for item in items if isinstance(item, Message)] == positions
    [gap] = gaps(items)
    epochs = [position.partition("-")[0] for position in positions]
    assert len(set(epochs)) == 2
    assert gap.since.partition("-")[0] == epochs[0]
    assert items.index(gap) == epochs.index(epochs[-1])
    tries = [State.CONNECTING, State.WAITING] * ((len(states) - 5) // 2)
    assert states == [State.OPEN, State.WAITING, *tries, State.CONNECTING, State.OPEN, State.CLOSED]


@pytest_twisted.ensureDeferred
async def test_hand_over(tmp_path: Path) -> None:
    """A daemon that hands over to its successor is not even noticed: no message is missing, none comes twice, and there
    is no gap."""
    place = ("--handover", str(tmp_path / "handover"), "--spread", "500ms")
    with running(*place) as first:
        async with Client(f"http://{first.http}/") as client, TCPPublisher(first.tcp) as publisher:
            subscriptions = [client.subscribe("a", transport=name) for name in ("stream", "sse")]
            await gatherResults([subscription.opened() for subscription in subscriptions])
            taking = [Deferred.fromCoroutine(taken(subscription, "end")) for subscription in subscriptions]
            publishing = [publisher.publish("a", number) for number in range(400)]
            with running(*place, "--replace"):
                publishing += [publisher.publish("a", number) for number in range(400, 800)]
                assert await deferToThread(first.process.wait, PATIENCE) == 0
                publishing.append(client.publish("a", "end"))
                positions = await gatherResults(publishing)
                for items in await gatherResults(taking):
                    assert data(items) == [*range(800), "end"]
                    assert [item.id for item in items if isinstance(item, Message)] == positions
                    assert not gaps(items)
                await gatherResults([subscription.aclose() for subscription in subscriptions])


@pytest_twisted.ensureDeferred
async def test_tls(tmp_path: Path) -> None:
    """Over TLS, with a certificate of one's own, all of it works: a subscription that is slow, and one that is closed
    while the connection is not read."""
    files = written(tmp_path)
    endpoint = f"ssl:0:privateKey={files.key}:certKey={files.cert}:interface=127.0.0.1"
    trusted = trustRootFromCertificates([ssl.Certificate.loadPEM(files.cert.read_bytes())])
    policy = BrowserLikePolicyForHTTPS(trusted)
    with running("--http", endpoint, "--tcp", endpoint, anywhere=()) as daemon:
        url = daemon.http.replace("127.0.0.1", "localhost")
        agent = Agent(reactor, policy)
        tls = wrapClientTLS(optionsForClientTLS("localhost", trusted), clientFromString(reactor, f"tcp:{daemon.tcp}"))
        async with Client(url, agent=agent) as client, TCPPublisher(tls) as publisher:
            for number in range(100):
                await client.publish("a", f"{number} " + "x" * 10_000)
            async with client.subscribe("a", since="first") as slow, client.subscribe("a", since="first") as stuck:
                await publisher.publish("a", "end")
                assert len(await taken(slow, "end")) == 101
                assert isinstance(await anext(stuck), Message)


SLOW = """
import re, sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from comet.client import Client

async def main(reactor):
    # The most that was resident so far, in megabytes (what getrusage says begins with the parent's).
    used = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
    async with Client(sys.argv[1], reactor=reactor) as client:
        seen = 0
        async for item in client.subscribe(sys.argv[2], since="first"):
            if seen == 20:
                before = used()
            seen += 1
            assert item.data.startswith(f"{seen} ")
            if item.data.endswith("end"):
                break
            await deferLater(reactor, 0)
        print(seen, used() - before)

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


@pytest_twisted.ensureDeferred
async def test_slow_consumer(daemon: Daemon, topic: str) -> None:
    """A program that is slower than the daemon keeps a little of what is to come, not all of it."""
    async with TCPPublisher(daemon.tcp) as publisher:
        for number in range(1, 3001):
            publisher.publish(topic, f"{number} " + "x" * 10_000 + ("end" if number == 3000 else ""))
            await publisher.drained()
    ended = await deferToThread(command, "-c", SLOW, f"http://{daemon.http}/", topic)
    assert ended.code == 0, ended.err
    seen, megabytes = map(int, ended.out.split())
    assert seen == 3000
    assert megabytes < 6


# -- what the documentation shows ------------------------------------------------------------------------------------


def test_example_publish(daemon: Daemon) -> None:
    """The example publishes, over HTTP and over TCP."""
    ended = command(str(ROOT / "examples/python/publish.py"), f"http://{daemon.http}/", daemon.tcp)
    assert (ended.code, ended.err) == (0, "")
    first, many, refused, last = ended.out.splitlines()
    assert re.fullmatch(r"stored under [0-9a-f]{8}-\d+", first)
    assert re.fullmatch(r"stored under [0-9a-f]{8}-\d+ [0-9a-f]{8}-\d+", many)
    assert refused.startswith("bad_topic - 'no//topic' is not a topic")
    assert last.startswith("10000 are stored, the last under ")


def test_example_subscribe() -> None:
    """The example prints what comes, and ends."""
    with running() as daemon:
        publish(daemon.http, "auction/7", '{"bid": 120}', "application/json")
        script = str(ROOT / "examples/python/subscribe.py")
        with begun(sys.executable, script, f"http://{daemon.http}/") as example:
            example.until(b"auction/7 {'bid': 120}\n")
            publish(daemon.http, "chat/lobby", "that is all")
            assert example.wait() == 0
    *_, last, after = example.out.decode().splitlines()
    assert last == "chat/lobby that is all"
    assert re.fullmatch(r"chat/lobby that is all - to go on from: [0-9a-f]{8}-2", after)


def test_examples_are_shown() -> None:
    """The documentation shows the functions of the examples."""
    page = (ROOT / "docs/python.rst").read_text()
    for name in ("publish", "subscribe"):
        for function in re.findall(
            r"^async def (\w+)", (ROOT / f"examples/python/{name}.py").read_text(), re.MULTILINE
        ):
            shown = rf"examples/python/{name}\.py\n +:language: python\n +:pyobject: {function}\n"
            assert re.search(shown, page) or function == "main"
