"""Reloading: which settings change while the daemon runs, that each takes effect, and what is said of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import pytest_twisted
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from comet import log
from comet.config import Config, settings
from comet.logs.observer import Observer
from comet.reloading import Reloading
from comet.resp.factory import RespFactory
from comet.service import make_daemon
from comet.sources import Sources
from tests.http_wires import Face, Response, Wire, get, post, read_response, served, until
from tests.resp_ports import Wire as PublishersWire

Publisher = Callable[[bytes], bytes]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings file is."""
    return tmp_path / "comet.toml"


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that are logged."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


class Running:
    """A daemon in memory, started with a settings file."""

    def __init__(self, file: Path, text: str, **flags: str) -> None:
        self.file = file
        file.write_text(text)
        sources = Sources({"config": str(file), **flags}, {})
        config = sources.settle().config
        self.face = Face(**{setting.field: getattr(config, setting.field) for setting in settings()})
        self.router, self.metrics, self.pass_time = self.face.router, self.face.metrics, self.face.pass_time
        self.publishers = RespFactory(self.router, config, self.metrics)
        self.logged: list[str] = []
        self.observer = Observer(config, lambda _, text: self.logged.append(text))
        self.reloading = Reloading(config, (self.router, self.face.site.gate.access, self.face.site, self.publishers))
        self.reloading.parts.append(self.observer)
        self.reloading.sources = sources

    def reload(self, text: str) -> None:
        """Change the file, and have it read."""
        self.file.write_text(text)
        self.reloading.reload(MemoryReactorClock())

    def get(self, target: str, *lines: str, host: str = "localhost") -> Response:
        """Make a GET."""
        return self.face.ask(get(target, *lines, host=host))

    def publish(self, count: int = 1, payload: bytes = b"x", *lines: str) -> list[int]:
        """Publish so many messages on the topic ``a``; returns the statuses."""
        return [self.face.publish("a", payload, *lines).status for _ in range(count)]

    def kept(self) -> int:
        """How many messages the topic ``a`` still has, after the next look at them."""
        self.pass_time(0.5)
        topic = self.router.log.topic("a")
        return 0 if topic is None else len(topic)

    def publisher(self) -> Publisher:
        """A connection to the TCP port: a function that sends, and returns what was replied by then."""
        wire = PublishersWire()  # type: ignore[no-untyped-call]
        protocol = self.publishers.buildProtocol(None)
        protocol.makeConnection(wire)  # type: ignore[no-untyped-call]

        def send(data: bytes) -> bytes:
            protocol.dataReceived(data)
            return wire.taken()

        return send


# -- each setting takes effect ----------------------------------------------------------------------------------------


class Look(NamedTuple):
    """A value before and one after a reload, as they stand in the file, and what shows which is in force."""

    before: str
    after: str
    shows: Callable[[Running], object]


def host(daemon: Running) -> object:
    return daemon.get("/healthz", host="a.example").status


def origin(daemon: Running) -> object:
    asking = "Origin: https://a.example"
    framed = daemon.face.held(get("/topics/a?transport=iframe&origin=https://a.example")).take()
    return daemon.get("/healthz", asking).status, framed.splitlines()[0]


def retain_messages(daemon: Running) -> object:
    daemon.publish(5)
    return daemon.kept()


def retain_seconds(daemon: Running) -> object:
    daemon.publish()
    daemon.pass_time(10)
    return daemon.kept()


def retain_bytes(daemon: Running) -> object:
    daemon.publish(10, b"x" * 1000)
    return daemon.kept()


def key_window(daemon: Running) -> object:
    first = daemon.publish(1, b"x", "Idempotency-Key: k")
    daemon.pass_time(10)
    return first, daemon.publish(1, b"x", "Idempotency-Key: k")


def max_keys(daemon: Running) -> object:
    return [daemon.publish(1, b"x", f"Idempotency-Key: {number}") for number in range(4)]


def max_payload(daemon: Running) -> object:
    replied = daemon.publisher()(b"PUBLISH a %b\r\n" % (b"x" * 100))
    return daemon.publish(1, b"x" * 100), replied[:2]


def max_body(daemon: Running) -> object:
    body = json.dumps([{"topic": "a", "data": "x" * 300}] * 4000).encode()
    return daemon.face.ask(post("/topics", body, "Content-Type: application/json")).status


def max_head(daemon: Running) -> object:
    wire = daemon.face.connect()
    wire.send(get("/healthz", f"Cookie: {'x' * 2000}"))
    return wire.take().splitlines()[0]


def max_patterns(daemon: Running) -> object:
    return daemon.get("/topics?topic=a&topic=b&wait=0").status


def max_streams(daemon: Running) -> object:
    return [daemon.face.held(get("/topics/a?transport=stream")).take()[:12] for _ in range(3)]


def page_messages(daemon: Running) -> object:
    daemon.publish(5)
    return len(daemon.get("/topics/a?since=first&wait=0").json()["messages"])


def silence(daemon: Running) -> object:
    stream = daemon.face.held(get("/topics/a?transport=stream"))
    told = b'"silence":3.0' in stream.take()
    daemon.pass_time(10)
    return told, stream.take().count(b'"beat"')


def max_wait(daemon: Running) -> object:
    return daemon.face.held(get("/topics/a?wait=30")).take()[:12]


def retry(daemon: Running) -> object:
    return b"retry: 3000" in daemon.face.held(get("/topics/a?transport=sse")).take()


def closed_after(daemon: Running, data: bytes) -> tuple[str, bytes]:
    """Whether a connection on which ``data`` came has ended after three seconds, and the status of its answer."""
    wire = daemon.face.connect()
    wire.send(data)
    daemon.pass_time(3)
    return wire.closed, wire.take()[:12]


def head_timeout(daemon: Running) -> object:
    return closed_after(daemon, b"GET / HTTP/1.1\r\n")


def body_timeout(daemon: Running) -> object:
    return closed_after(daemon, post("/topics/a", b"xx")[:-1])


def idle_timeout(daemon: Running) -> object:
    return closed_after(daemon, get("/healthz"))


def stall(daemon: Running) -> object:
    stream = daemon.face.held(get("/topics/a?transport=stream"))
    stream.stall()
    daemon.publish()
    daemon.pass_time(5)
    return stream.closed, daemon.metrics.stalled


def spread(daemon: Running) -> object:
    streams = [daemon.face.held(get("/topics/a?transport=stream")) for _ in range(5)]
    daemon.router.stop()
    byes = [json.loads(stream.take().splitlines()[-1]) for stream in streams]
    return [bye["retry"] - byes[0]["retry"] for bye in byes]


def log_format(daemon: Running) -> object:
    daemon.observer({"log_level": LogLevel.warn, "log_namespace": "comet", "log_format": "x", "log_time": 0.0})
    return daemon.logged[-1][0]


def log_level(daemon: Running) -> object:
    daemon.observer({"log_level": LogLevel.info, "log_namespace": "comet", "log_format": "x", "log_time": 0.0})
    return len(daemon.logged)


def access_log(daemon: Running) -> object:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    daemon.get("/nothing")
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    return len(lines)


def max_consumers(daemon: Running) -> object:
    return [daemon.get(f"/consumers/{name}?topic=a&wait=0").status for name in "abc"]


def hooks(name: str) -> Callable[[Running], object]:
    """What hooks look up each time that they need it."""
    return lambda daemon: getattr(daemon.router.config, name)


LOOKS = {
    "host": Look("[]", "['a.example']", host),
    "origin": Look("[]", "['https://a.example']", origin),
    "retain-messages": Look("4", "2", retain_messages),
    "retain-seconds": Look("60", "5", retain_seconds),
    "retain-bytes": Look("1_000_000", "5_000", retain_bytes),
    "key-window": Look("60", "5", key_window),
    "max-keys": Look("3", "2", max_keys),
    "max-payload": Look("99", "100", max_payload),
    "max-body": Look("2_000_000", "1_000_000", max_body),
    "max-head": Look("'1KiB'", "'4KiB'", max_head),
    "max-patterns": Look("1", "2", max_patterns),
    "max-streams": Look("2", "1", max_streams),
    "page-messages": Look("4", "3", page_messages),
    "max-consumers": Look("1", "2", max_consumers),
    "max-hooks": Look("1", "2", hooks("max_hooks")),
    "hook-timeout": Look("9", "8", hooks("hook_timeout")),
    "hook-batch": Look("9", "8", hooks("hook_batch")),
    "hook-backoff": Look("9", "8", hooks("hook_backoff")),
    "hook-patience": Look("9", "8", hooks("hook_patience")),
    "hook-posts": Look("9", "8", hooks("hook_posts")),
    "silence": Look("25", "3", silence),
    "max-wait": Look("60", "10", max_wait),
    "retry": Look("2000", "3000", retry),
    "head-timeout": Look("10", "2", head_timeout),
    "body-timeout": Look("30", "2", body_timeout),
    "idle-timeout": Look("75", "2", idle_timeout),
    "stall": Look("60", "2", stall),
    "spread": Look("5", "0", spread),
    "log-format": Look("'human'", "'json'", log_format),
    "log-level": Look("'info'", "'warn'", log_level),
    "access-log": Look("'refused'", "'none'", access_log),
}

ELSEWHERE = {"send-buffer", "drain", "hook-private", "keep-seconds", "keep-bytes"}
"""Settings that are looked at in tests of their own."""


def test_every_live_setting_is_looked_at() -> None:
    """What may change while the daemon runs is seen to change; what cannot is ``live=False`` in ``Config``."""
    from tests.test_reloading_access import CASES  # noqa: PLC0415

    assert {setting.name for setting in settings() if setting.live} == LOOKS.keys() | CASES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", LOOKS)
def test_takes_effect(file: Path, said: list[str], name: str) -> None:
    """After a reload the daemon does what one does that was started with the new value."""
    look = LOOKS[name]
    lines = [f"{name} = {value}\n" for value in (look.before, look.after)]
    before, wanted = (look.shows(Running(file, line)) for line in lines)
    assert before != wanted
    daemon = Running(file, lines[0])
    daemon.get("/topics/a?transport=poll&wait=0")
    said.clear()
    daemon.reload(lines[1])
    assert len(said) == 1
    assert said[0].startswith(f"reloaded: {name} = ")
    assert look.shows(daemon) == wanted


@pytest_twisted.ensureDeferred
async def test_send_buffer() -> None:
    """Streams that are open already get the new buffer too."""
    async with served(send_buffer=65_536) as face:
        client = await face.client(get("/topics/a?transport=stream"))
        await until(client.has(b'"comet":"open"'))
        [stream] = face.router.streams.values()
        socket = stream.writer.transport.getHandle()  # type: ignore[attr-defined]
        before = socket.getsockopt(SOL_SOCKET, SO_SNDBUF)
        face.site.configure(Config(send_buffer=32_768))
        assert socket.getsockopt(SOL_SOCKET, SO_SNDBUF) * 2 == before


def test_drain(file: Path) -> None:
    """How long the daemon waits at its end is what the file said last."""
    reactor = MemoryReactorClock()
    file.write_text("drain = 1\nanonymous = ['subscribe:**']")
    daemon = make_daemon(Config(drain=60.0, anonymous=("subscribe:**",)), reactor)
    daemon.reloading.sources = Sources({"config": str(file)}, {})
    daemon.startService()
    daemon.reloading.reload(reactor)
    reactor.addWriter(object())
    stopping = daemon.stopService()
    reactor.pump([0.05] * 25)
    assert stopping.called


# -- what is under way ------------------------------------------------------------------------------------------------


def test_open_connections_of_publishers(file: Path) -> None:
    """A publisher that is connected already may send larger payloads, and then only smaller ones again."""
    daemon = Running(file, "max-payload = 99")
    publisher = daemon.publisher()
    command = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$100\r\n%b\r\n" % (b"x" * 100)
    replies = []
    for text in ("", "max-payload = 100", "max-payload = 99"):
        daemon.reload(text or "max-payload = 99")
        replies.append(publisher(command)[:1])
    assert replies == [b"-", b":", b"-"]


def test_payload_under_way(file: Path) -> None:
    """A payload that was within the bounds when it began is read, and refused; the connection goes on."""
    daemon = Running(file, "max-payload = 100")
    publisher = daemon.publisher()
    assert publisher(b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$100\r\nxx") == b""
    daemon.reload("max-payload = 50")
    first, second, _ = publisher(b"x" * 98 + b"\r\nPING\r\n").split(b"\r\n")
    assert first.startswith(b"-ERR payload_too_large")
    assert second == b"+PONG"


def test_a_longer_silence_waits(file: Path) -> None:
    """A stream that was told a shorter silence has its heartbeats as it expects them, as long as it is open."""
    daemon = Running(file, "silence = 5")
    old = daemon.face.held(get("/topics/a?transport=stream"))
    daemon.pass_time(1)
    daemon.reload("silence = 20")
    daemon.reload("silence = 30")
    daemon.pass_time(1)
    new = daemon.face.held(get("/topics/a?transport=stream"))
    assert b'"silence":30.0' in new.take()
    old.take()
    daemon.pass_time(12)
    assert (old.take().count(b'"beat"'), new.take().count(b'"beat"')) == (2, 2)
    old.leave()
    daemon.pass_time(25)
    assert new.take().count(b'"beat"') == 0
    daemon.pass_time(6)
    assert new.take().count(b'"beat"') == 1


def test_less_is_retained_step_by_step(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When less is to be retained, the rest goes a part at a time, and what comes meanwhile does not add to it."""
    monkeypatch.setattr(log, "EXPIRE_AT_ONCE", 10)
    daemon = Running(file, "retain-messages = 100")
    for topic in ("a", "b", "c"):
        for _ in range(20):
            daemon.face.publish(topic, b"x" * 100)
    daemon.reload("retain-messages = 5\nretain-bytes = 2000")
    counts = [daemon.router.log.count]
    while daemon.router.log.bytes > 2000:
        bytes_before = daemon.router.log.bytes
        daemon.publish(1, b"x" * 100)
        assert daemon.router.log.bytes <= bytes_before
        daemon.pass_time(0.25)
        counts.append(daemon.router.log.count)
        assert 0 <= counts[-2] - counts[-1] <= 11
    assert daemon.router.log.bytes <= 2000
    assert len(counts) > 4
    daemon.publish(20)
    assert daemon.kept() <= 5


def test_a_gap_is_told(file: Path) -> None:
    """Who comes back for messages that a reload has made too many is told of the gap."""
    daemon = Running(file, "")
    daemon.publish(10)
    since = f"{daemon.router.epoch}-2"
    assert "gap" not in daemon.get(f"/topics/a?since={since}&wait=0").json()
    daemon.reload("retain-messages = 3")
    daemon.pass_time(0.5)
    answer = daemon.get(f"/topics/a?since={since}&wait=0").json()
    assert (len(answer["messages"]), answer["gap"]["since"]) == (3, since)


def test_an_origin_is_withdrawn(file: Path) -> None:
    """An origin that is not listed any more is refused, though the same was asked and allowed just before."""
    daemon = Running(file, "origin = ['https://a.example']")
    target = "/topics/a?transport=iframe&origin=https://a.example"

    def status() -> int:
        wire: Wire = daemon.face.held(get(target))
        data = wire.take()
        return 200 if data.startswith(b"HTTP/1.1 200") else read_response(data)[0].status

    assert (status(), status()) == (200, 200)
    daemon.reload("")
    assert status() == 400


# -- what is said -----------------------------------------------------------------------------------------------------


def test_each_change_is_a_line(file: Path, said: list[str]) -> None:
    """Each setting that has changed is a line; those that need a new process are one more."""
    daemon = Running(file, "silence = 25\nhost = ['a.example']")
    daemon.reload("silence = '10s'\norigin = ['https://b.example', 'https://c.example']\nhttp = ['tcp:1']\ntcp = []")
    assert said == [
        "reloaded: host = none (was a.example)",
        "reloaded: origin = https://b.example https://c.example (was none)",
        "reloaded: silence = 10s (was 25s)",
        "http and tcp have changed too, but need a restart: comet serve --replace",
    ]
    assert daemon.router.config.http == Config().http
    said.clear()
    daemon.reload(daemon.file.read_text().replace("tcp = []", ""))
    assert said == ["http has changed, but needs a restart: comet serve --replace"]


def test_nothing_has_changed(file: Path, said: list[str]) -> None:
    """That nothing has changed is said, too: the signal has arrived."""
    daemon = Running(file, "silence = 10", silence="5")
    daemon.reload("silence = 20  # the flag beats it")
    assert said == ["reloaded: no setting has changed"]
    assert daemon.router.config.silence == 5


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("silence = 10s", " is not TOML: "),
        ("silence = 10\nmax-payload = 0", ": max-payload: 0 cannot be used"),
        ("silence = 10\nslience = 1", ": slience is not a setting of Comet; the nearest is silence"),
        ("silence = 10\nhttp = 'tpc:1'", "--http: 'tpc:1' cannot be used: Unknown endpoint type"),
        ("silence = 10\nhttp = []\ntcp = []", "--http and --tcp are both empty"),
    ],
)
def test_a_bad_file_changes_nothing(file: Path, said: list[str], text: str, wrong: str) -> None:
    """A file with a mistake leaves everything as it is, and is one line; mended, it is in force."""
    daemon = Running(file, "silence = 25")
    before = daemon.router.config
    daemon.reload(text)
    assert len(said) == 1
    assert said[0].startswith("not reloaded, nothing has changed: ")
    assert wrong in said[0]
    assert daemon.router.config is before
    daemon.reload("silence = 10")
    assert daemon.router.config.silence == 10


def test_no_file_to_read(file: Path, said: list[str]) -> None:
    """Without a settings file, or with one that is gone or is a pipe, nothing changes, which is one line."""
    daemon = Running(file, "silence = 10")
    reactor = MemoryReactorClock()
    daemon.reloading.sources = Sources({}, {"COMET_SILENCE": "10"})
    daemon.reloading.reload(reactor)
    daemon.reloading.sources = Sources({"config": str(file)}, {})
    file.unlink()
    daemon.reloading.reload(reactor)
    os.mkfifo(file)
    daemon.reloading.reload(reactor)
    assert [line.removeprefix("not reloaded, nothing has changed: ") for line in said] == [
        "there is no settings file to read again; start with --config PATH",
        f"--config: {file} cannot be read: no such file or directory",
        f"{file} is no regular file, and can be read only once",
    ]
    assert daemon.router.config.silence == 10


def test_signal(file: Path) -> None:
    """SIGHUP reloads, between what is to be called before and what is to be called after."""
    daemon = Running(file, "silence = 10")
    file.write_text("silence = 20")
    calls: list[object] = []
    before = signal.getsignal(signal.SIGHUP)
    try:
        daemon.reloading.install(
            SimpleNamespace(callFromThread=lambda call: call()),
            before=lambda: calls.append(daemon.router.config.silence),
            after=lambda: calls.append(daemon.router.config.silence),
        )
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert calls == [10, 20]
