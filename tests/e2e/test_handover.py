"""A daemon takes another's place: its sockets, its messages, its positions and its idempotency keys."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from comet.handover.frames import VERSION, Batch, Frame, FrameReader, Hello, Known, Ready, Will, Yours, encoded
from comet.handover.taking import CannotTakeOver, Predecessor
from tests.daemons import ANYWHERE, LONGEST, Daemon, running, twistd
from tests.e2e.held import asked, asked_json, connected, publish, streams, subscribe
from tests.e2e.waiting import until

TRANSPORTS = ("stream", "sse", "iframe", "multipart", "mixed", "websocket")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """The socket on which daemons hand over to each other."""
    return str(tmp_path / "handover")


def test_messages_and_positions_go_on(place: str) -> None:
    """The successor has the messages under their positions, goes on with the next, and knows the keys."""
    with running("--handover", place) as old:
        first = publish(old.http, "a", "one")
        keyed = publish_once(old)
        with running("--handover", place, "--replace") as new:
            assert old.process.wait(LONGEST) == 0
            assert (new.http, new.tcp) == (old.http, old.tcp)
            assert publish_once(new) == keyed
            third = publish(new.http, "a", "three")
            answer = asked_json(new.http, "/topics/a?since=first&wait=0")
            assert [message["id"] for message in answer["messages"]] == [first, keyed, third]
            assert [position.rpartition("-")[2] for position in (first, keyed, third)] == ["1", "2", "3"]
            assert asked_json(new.http, f"/topics/a?since={keyed}&wait=0")["messages"][0]["id"] == third
            assert new.end() == 0


def publish_once(daemon: Daemon) -> str:
    """Publish under an idempotency key; returns the position."""
    status, _, body = asked(daemon.http, "POST", "/topics/a", b"two", Idempotency_Key="k")
    assert status in (200, 201)
    position: str = json.loads(body)["id"]
    return position


def test_losses_are_known(place: str) -> None:
    """What retention took away before is told as a gap after, too."""
    with running("--handover", place, "--retain-messages", "2") as old:
        positions = [publish(old.http, "a", str(number)) for number in range(5)]
        publish(old.http, "b", "x")
        with running("--handover", place, "--replace", "--retain-messages", "2") as new:
            lost = asked_json(new.http, f"/topics/a?since={positions[0]}&wait=0")
            assert lost["gap"] == {"since": positions[0], "until": positions[2]}
            assert [message["id"] for message in lost["messages"]] == positions[3:]
            assert "gap" not in asked_json(new.http, f"/topics/a?since={positions[2]}&wait=0")
            assert "gap" not in asked_json(new.http, f"/topics/b?since={positions[4]}&wait=0")


def test_everybody_is_sent_to_the_successor(place: str) -> None:
    """Held responses of every transport end in their own way; who resumes misses nothing and is told of no gap."""
    with running("--handover", place, "--spread", "300ms") as old, ExitStack() as stack:
        publish(old.http, "a", "zero")
        held = {
            name: stack.enter_context(subscribe(old.http, f"/topics/a?transport={name}", name)) for name in TRANSPORTS
        }
        publish(old.http, "a", "one")
        for each in held.values():
            each.until_messages(1)
        new = stack.enter_context(running("--handover", place, "--replace"))
        publish(new.http, "a", "two")
        for name, each in held.items():
            each.until_end() if name != "websocket" else each.until_control("bye")
            if name == "multipart":  # pictures have no positions, and nothing can be said between them
                continue
            assert 0 <= each.controls("bye")[0]["retry"] < 300
            resumed = stack.enter_context(
                subscribe(new.http, f"/topics/a?transport={name}&since={each.cursor()}", name)
            )
            resumed.until_messages(1)
            assert (resumed.payloads(), resumed.controls("gap")) == (["two"], [])


def test_no_connection_is_refused(place: str) -> None:
    """While one daemon takes over from the other again and again, whoever connects is served."""
    with ExitStack() as daemons:
        daemon = daemons.enter_context(running("--handover", place, "--drain", "4s"))
        with visiting(daemon) as visitors:  # they leave before the last daemon is ended
            for _ in range(3):
                old = daemon
                daemon = daemons.enter_context(running("--handover", place, "--replace", "--drain", "4s"))
                assert old.process.wait(LONGEST) == 0
            seen = len(visitors)
            until(lambda: len(visitors) > seen + 10, "visits after the last hand-over")
    assert set(visitors) == {201}


@contextmanager
def visiting(daemon: Daemon) -> Iterator[list[int]]:
    """Publish on a new connection again and again; what is given grows by the status of each answer."""
    found: list[int] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                found.append(asked(daemon.http, "POST", "/topics/visits", b"x")[0])
            except OSError as error:
                found.append(error.errno or -1)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(LONGEST)


@pytest.mark.parametrize("say", [b"", b"GET / HTTP/1.1\r\n\r\n", encoded(Hello(version=99)), encoded(Yours())])
def test_strangers_change_nothing(place: str, say: bytes) -> None:
    """Who connects and does not speak this version's language is hung up on, and the daemon goes on."""
    with running("--handover", place) as daemon:
        with connected(place) as stranger:
            stranger.sendall(say)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""
        publish(daemon.http, "a", "x")


def test_a_successor_that_dies_leaves_everything_as_it_was(place: str) -> None:
    """If the successor is gone before it serves, publishers that waited go on, and so does the daemon."""
    with running("--handover", place) as daemon, connected(daemon.tcp) as publisher:
        position = publish(daemon.http, "a", "one")
        with connected(place) as successor:
            will = the_will(successor)
            assert will.past.end == 1
            publisher.sendall(b"XADD a * data two\r\n")
            waiting = connected(daemon.http)  # is not accepted yet
            publisher.settimeout(0.2)
            with pytest.raises(TimeoutError):
                publisher.recv(100)
        publisher.settimeout(20)
        assert publisher.recv(100) == b"$10\r\n%b-2\r\n" % position[:8].encode()
        waiting.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert waiting.recv(100).startswith(b"HTTP/1.1 200 ")
        waiting.close()
        until(lambda: "this daemon goes on" in "".join(daemon.log), "a line in the log")
        with running("--handover", place, "--replace") as new:  # and the next successor is welcome
            assert len(asked_json(new.http, "/topics/a?since=first&wait=0")["messages"]) == 2


def the_will(successor: socket.socket) -> Will:
    """Say hello, and read on until the predecessor's will has come."""
    successor.sendall(encoded(Hello(VERSION)))
    reader = FrameReader()
    frames: list[Frame] = []
    while not frames or not isinstance(frames[-1], Will):
        data, descriptors, _, _ = socket.recv_fds(successor, 65_536, 8)
        for each in descriptors:
            os.close(each)
        assert data
        frames += reader.feed(data)
    assert all(isinstance(frame, Batch | Known) for frame in frames[:-1])
    will = frames[-1]
    assert isinstance(will, Will)
    return will


def test_only_one_successor(place: str) -> None:
    """While one successor takes over, another is turned away, with one line that says so."""
    with running("--handover", place) as daemon, connected(place) as first, connected(place) as second:
        the_will(first)
        # The second is not even accepted before the first is done.
        second.sendall(encoded(Hello(VERSION)))
        first.sendall(encoded(Ready()))
        reader = FrameReader()
        assert list(reader.feed(first.recv(100))) == [Yours()]
        assert daemon.process.wait(LONGEST) == 0


def test_a_large_log(place: str) -> None:
    """A log of many batches, taken while a publisher goes on, arrives complete and in order."""
    with running("--handover", place, "--retain-messages", "100000") as old, connected(old.tcp) as publisher:
        publisher.sendall(b"PUBLISH big %b\r\n" % (b"x" * 100) * 20_000)
        replies = 0
        while replies < 20_000:
            replies += publisher.recv(65_536).count(b"\n")
        with running("--handover", place, "--replace", "--retain-messages", "100000") as new:
            offsets: list[int] = []
            since = "first"
            while page := asked_json(new.http, f"/topics/big?since={since}&wait=0&limit=5000"):
                if not page["messages"]:
                    break
                offsets += [int(message["id"].rpartition("-")[2]) for message in page["messages"]]
                since = page["next"]
            assert offsets == list(range(1, 20_001))


def test_unix_sockets(tmp_path: Path) -> None:
    """Endpoints with a file keep their file, its mode and its lock over a hand-over, and the last one removes them."""
    http, place = tmp_path / "http", str(tmp_path / "handover")
    options = ("--handover", place, "--http", f"unix:{http}:mode=600")
    with running(*options) as old:
        publish(str(http), "a", "x")
        with running(*options, "--replace") as new:
            assert old.process.wait(LONGEST) == 0
            assert asked_json(str(http), "/stats")["retained"] == 1
            assert stat.S_IMODE(http.stat().st_mode) == 0o600
            assert Path(f"{http}.lock").readlink() == Path(str(new.process.pid))
            assert new.end() == 0
    assert not http.exists()
    assert not Path(place).exists()


def test_other_endpoints(tmp_path: Path) -> None:
    """What only the successor listens on is opened, and what only its predecessor did is closed."""
    first, second, place = tmp_path / "first", tmp_path / "second", str(tmp_path / "handover")
    with (
        running("--handover", place, "--http", f"unix:{first}") as old,
        running("--handover", place, "--http", f"unix:{second}", "--replace") as new,
    ):
        assert old.process.wait(LONGEST) == 0
        publish(str(second), "a", "x")
        assert asked_json(new.http, "/stats")["retained"] == 1
        with socket.socket(socket.AF_UNIX) as visitor, pytest.raises(ConnectionRefusedError):
            visitor.connect(str(first))


def test_nobody_to_replace(place: str) -> None:
    """Told to replace where nobody is, the daemon starts afresh and says so; a leftover of one that was killed is no
    hindrance."""
    with running("--handover", place, "--replace") as daemon:
        assert "starting afresh" in "".join(daemon.log)
        daemon.end(signal.SIGKILL)
    with running("--handover", place, "--replace") as daemon:
        publish(daemon.http, "a", "x")


def test_nowhere_to_look() -> None:
    """A daemon whose ports are not known beforehand has no default place; to replace it, the place must be named."""
    ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, "--replace")
    assert ended.code == 1
    assert ended.err.startswith("comet: --replace: name the daemon to replace by ")
    assert ended.err.count("\n") == 1


def test_no_daemon_at_the_other_end(place: str) -> None:
    """What listens there but is no daemon ends the start with one line; nothing is left behind."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        predecessor = Predecessor.at(place)
        assert predecessor is not None
        peer, _ = server.accept()
        with predecessor, peer:
            peer.sendall(b"\0\0\0\1x")
            with pytest.raises(CannotTakeOver, match="is no daemon of this version"):
                predecessor.inherit()


def test_streams_of_the_successor(place: str) -> None:
    """The successor lists its own streams only, and the old daemon is gone with its own."""
    with (
        running("--handover", place) as old,
        subscribe(old.http, "/topics/a?transport=sse", "sse") as held,
        running("--handover", place, "--replace") as new,
    ):
        held.until_end()
        assert old.process.wait(LONGEST) == 0
        assert streams(new.http, "a") == []


def test_an_unusable_place(tmp_path: Path) -> None:
    """A place that was named and cannot be used ends the start with one line."""
    ended = twistd("-n", "--pidfile=", "comet", *ANYWHERE, "--handover", str(tmp_path / "none" / "handover"))
    assert ended.code == 1
    assert ended.err.startswith("comet: --handover: cannot listen on ")
    assert ended.err.count("\n") == 1
