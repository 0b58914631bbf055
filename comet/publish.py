"""Publishing from any Python program: blocking, on the standard library alone, safe to use from many threads::

    from comet.publish import Publisher

    publisher = Publisher("127.0.0.1:7081")
    publisher.publish("auction/7", {"bid": 120})

Each message goes out with an idempotency key, so what was not acknowledged when a connection is lost, or is refused for
a while, is sent again under the same key, and is published once. The traps are processes that fork: a child must not
write on the connections of its parent, nor make the same keys.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

from comet.sending.credentials import VARIABLE, Denied, Token
from comet.sending.link import Link, Lost, address_of
from comet.sending.outbox import Item, Outbox, Patience
from comet.sending.wire import NotRESP, Outgoing, Reply

DEFAULT_SERVER = "127.0.0.1:7081"
JSON = "application/json"

KEPT = 64
"""Idle connections that are kept; more callers than that at once are rare."""

GATHERED = 0.01
"""Seconds that a message may wait for others to be sent with it."""


class Draft(NamedTuple):
    """A message to be published. ``data`` is bytes, a text, or anything that can be written as JSON."""

    topic: str
    data: Any
    content_type: str | None = None
    key: str | None = None


class PublishError(Exception):
    """Something was not published. ``positions`` has an item for each message: its position, or None. Of an iterator,
    they are the messages that were asked for."""

    positions: Sequence[str | None] = ()


class PublishRefused(PublishError):
    """The daemon refuses a message for good: the one with the number ``index``, from 0 on, because of ``detail``, which
    for programs is ``code``. Of the other messages, ``positions`` says which are published."""

    index = 0

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class PublishFailed(PublishError):
    """Patience is over. ``unacknowledged`` are the messages that may or may not be published, with their keys, so that
    it is safe to publish them once more."""

    unacknowledged: Sequence[Draft] = ()


class Connection(Protocol):
    """A way to the daemon: :class:`comet.sending.link.Link`, or :class:`comet.sending.post.Post`."""

    window: int
    batch: int
    batch_bytes: int

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Send a batch; what goes wrong, ``receive`` raises."""

    def receive(self) -> list[Reply]:
        """Wait for replies, in the order of the messages, and return them."""

    def alive(self) -> bool:
        """Whether the connection, which is idle, seems good for another message."""

    def close(self) -> None:
        """Close it."""


class Publisher:
    """Publishes to the daemon at ``server``: ``host:port`` of its TCP port, the path of its UNIX socket, or the URL of
    its HTTP port.

    No wait for the daemon is longer than ``timeout`` seconds; then the connection counts as lost. After ``patience``
    seconds without any acknowledgement a publish fails. With ``keys=False`` messages have no idempotency keys but those
    that are given: see the documentation for when that is needed. ``dumps`` writes what is neither bytes nor text.
    ``token`` says who publishes, or is called for the current token, with each connection or request.
    Connections are made when they are needed, and kept. A context manager.
    """

    def __init__(  # noqa: PLR0913 (they are keywords)
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout: float = 5.0,
        patience: float = 30.0,
        keys: bool = True,
        dumps: Callable[[Any], str] | None = None,
        token: Token = None,
    ) -> None:
        self.server = server
        self._dial = _dialler(server, timeout, token)
        self._patience = patience
        self._keys = keys
        self._dumps = dumps or _dumps
        self._begin()
        self._closed = False

    def _begin(self) -> None:
        """Have no connections, and a name of our own in the keys."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    def publish(self, topic: str, data: Any, *, content_type: str | None = None, key: str | None = None) -> str:
        """Publish one message, and return its position once it is stored.

        Raises :exc:`PublishRefused` and :exc:`PublishFailed`; ValueError and TypeError for data that is no JSON.
        """
        return self.publish_many((Draft(topic, data, content_type, key),))[0]

    def publish_many(self, messages: Iterable[Draft | tuple[str, Any]]) -> list[str]:
        """Publish all ``messages`` over one connection, without waiting for each; return their positions, in order.

        What was refused for a while is sent again behind what was sent after it. Raises as :meth:`publish` does; after
        a refusal no more of ``messages`` is asked for.
        """
        if self._closed:
            raise ValueError("the publisher is closed")
        delivery = Delivery(self, messages, Patience(self._patience))
        while not delivery.done():
            try:
                with self._connection() as connection:
                    delivery.advance(connection)
            except Lost as lost:
                delivery.wait(f"{self.server}: {lost}")
            except Denied as denied:
                raise delivery.failed(PublishRefused(denied.code, str(denied)), 0) from None
            except NotRESP:
                raise delivery.failed(PublishRefused("protocol", _wrong_port(self.server)), 0) from None
        return delivery.result()

    def outgoing(self, message: Draft | tuple[str, Any]) -> Outgoing:
        """Return ``message`` as it is sent, with a key."""
        topic, data, content_type, key = message if len(message) == 4 else Draft(*message)
        if isinstance(data, str):
            payload = data.encode()
        elif isinstance(data, (bytes, bytearray, memoryview)):
            payload = bytes(data)
        else:
            payload, content_type = self._dumps(data).encode(), content_type or JSON
        if key is None and self._keys:
            self._check_process()
            key = f"{self._prefix}-{next(self._numbers)}"
        return Outgoing(topic, payload, content_type or "", key or "")

    def close(self) -> None:
        """Close the connections; those in use, once they are no longer. Nothing can be published after that."""
        self._closed = True
        self._check_process()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- connections ------------------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection for this caller alone; kept afterwards, unless something went wrong in between."""
        self._check_process()
        connection = self._idle_connection() or self._dial()
        process = os.getpid()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if not self._closed and len(self._idle) < KEPT and process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()

    def _idle_connection(self) -> Connection | None:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None or connection.alive():
                return connection
            connection.close()

    def _check_process(self) -> None:
        """In a child, let go of what belongs to the parent. Nothing here waits for a lock that another thread held when
        the process forked."""
        if self._process != os.getpid():
            inherited = self._idle
            self._begin()
            for connection in inherited:
                connection.close()


class Delivery:
    """One call of :meth:`Publisher.publish_many`: what is still to be taken, sent and answered, on any connection."""

    def __init__(self, publisher: Publisher, messages: Iterable[Draft | tuple[str, Any]], patience: Patience) -> None:
        self._publisher = publisher
        self._messages = iter(messages)
        # How many there are, if they can be counted.
        self._count = len(messages) if isinstance(messages, Sequence) else 0
        self._patience = patience
        self._outbox = Outbox()
        self._positions: list[str | None] = []
        self._refusals: list[tuple[int, Reply]] = []
        self._postponement = Reply("")

    def done(self) -> bool:
        """Whether everything is settled. Takes a message if there is none, so that nothing is dialled for nothing."""
        if not self._outbox:
            self._take(1, 1)
        return not self._outbox

    def advance(self, connection: Connection) -> None:
        """Send and receive on ``connection`` until everything is settled, or something is postponed."""
        outbox = self._outbox
        while True:
            room = min(connection.window - outbox.outstanding, connection.batch)
            # Whole batches, or the rest: otherwise each reply that comes would send a single message.
            if not outbox.postponed and (room == connection.batch or not outbox.outstanding):
                # The first message of who knows how slow a source does not wait for the second.
                if self._count or outbox.outstanding or not outbox.waiting:
                    self._take(room - outbox.waiting, connection.batch_bytes)
                if outbox.waiting:
                    connection.send(outbox.take(room, connection.batch_bytes))
                    continue
            if not outbox.outstanding:
                break
            for reply in connection.receive():
                self._settle(reply)
        if outbox.postponed:
            raise Lost(f"{self._postponement.code}: {self._postponement.detail}")

    def wait(self, reason: str) -> None:
        """Wait until all that is not settled may be sent again. Raises :exc:`PublishFailed`."""
        self._outbox.lost()
        pause = self._patience.pause()
        if pause is None:
            for message in itertools.islice(self._messages, max(0, self._count - len(self._positions))):
                self._put(message)
            unanswered = [each.outgoing for each in self._outbox.unanswered]
            error = PublishFailed(
                f"{len(unanswered)} of {len(self._positions)} messages are not acknowledged; the last attempt: {reason}"
            )
            error.unacknowledged = [Draft(each[0], each[1], each[2] or None, each[3] or None) for each in unanswered]
            raise self.failed(error)
        time.sleep(pause)
        self._outbox.resume()

    def result(self) -> list[str]:
        """Return the positions. Raises :exc:`PublishRefused`."""
        if self._refusals:
            index, reply = min(self._refusals)
            raise self.failed(PublishRefused(reply.code, reply.detail), index)
        return [position or "" for position in self._positions]

    def failed(self, error: PublishError, index: int = 0) -> PublishError:
        """Return ``error``, with what is known of each message."""
        error.positions = self._positions + [None] * (self._count - len(self._positions))
        if isinstance(error, PublishRefused):
            error.index = index
        return error

    def _take(self, most: int, most_bytes: int) -> None:
        """Have up to ``most`` further messages sent; fewer if they are large, or slow to come."""
        if self._refusals:
            return
        limit = time.monotonic() + GATHERED
        for message in itertools.islice(self._messages, max(0, most)):
            most_bytes -= self._put(message)
            if most_bytes <= 0 or time.monotonic() > limit:
                break

    def _put(self, message: Draft | tuple[str, Any]) -> int:
        """Have ``message`` sent; returns the bytes of its payload."""
        outgoing = self._publisher.outgoing(message)
        self._outbox.put(Item(len(self._positions), outgoing))
        self._positions.append(None)
        return len(outgoing.payload)

    def _settle(self, reply: Reply) -> None:
        number = self._outbox.answer(reply).number
        if reply.retry:
            self._postponement = reply
            return
        self._patience.renew()
        if reply.code:
            self._refusals.append((number, reply))
        else:
            self._positions[number] = reply.position


_default: Publisher | None = None
_making = threading.Lock()


def publish(topic: str, data: Any, *, content_type: str | None = None, key: str | None = None) -> str:
    """Publish one message as :meth:`Publisher.publish` does, to the daemon that the variable ``COMET_SERVER`` names, or
    to the one on this machine; with the token of ``COMET_TOKEN``, if that is set."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = Publisher(os.environ.get("COMET_SERVER") or DEFAULT_SERVER, token=os.environ.get(VARIABLE))
                atexit.register(_default.close)
    return _default.publish(topic, data, content_type=content_type, key=key)


def _dialler(server: str, timeout: float, token: Token) -> Callable[[], Connection]:
    """Return what connects to ``server``. Raises ValueError."""
    if server.startswith(("http:", "https:")):
        # Only here: it takes longer to import than everything else together.
        from comet.sending.post import Post, url_of  # noqa: PLC0415

        return partial(Post.dialled, url_of(server), timeout, token)
    return partial(Link.dialled, address_of(server), timeout, token)


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _wrong_port(server: str) -> str:
    return f"{server} does not speak RESP; give the TCP port of Comet, by default 7081, or a URL for its HTTP port"
