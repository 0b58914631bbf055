"""Publishers that outlive the daemon, each in a thread of its own, and keep a record of everything that it answered.

Those with keys repeat what was not answered when the connection was lost, under the same keys, and with it a little of
what was. Those without keys never repeat: what was not answered may be in the log or not.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain

from comet.publish import Draft, Publisher
from comet.sending.wire import Outgoing, Replies, Reply, command
from tests.crash.accounts import Publication
from tests.crash.moments import Moments
from tests.e2e.held import connected
from tests.e2e.waiting import PATIENCE

AGAIN = 0.02
"""Seconds until the next try of one who found nobody, or was refused."""

REPEATED = 3
"""How many of those that were answered are repeated after a lost connection."""

MOST = (1, 1, 3, 40, 400)
"""How many messages go at once, at most: mostly few, sometimes many."""

FILLINGS = (0, 20, 100, 100, 100, 1000, 5000)
"""Bytes by which a payload is longer than its name."""

GONE = (OSError, http.client.HTTPException)
"""What a lost connection is."""


class Writer:
    """What they have in common. ``name`` and ``topics`` are what it publishes under; ``rest`` is how many seconds it
    rests between two rounds, about."""

    keyed = True

    def __init__(
        self, name: str, place: str, topics: Sequence[str], moments: Moments, chance: random.Random, rest: float = 0.05
    ) -> None:
        self.name = name
        self.publications: list[Publication] = []
        self.answers = 0
        """How many acknowledgements it has heard."""
        self.faults: list[str] = []
        self.over = threading.Event()
        self._place = place
        self._topics = topics
        self._moments = moments
        self._chance = chance
        self._rest = rest
        self._open: list[Publication] = []
        self._gave_up = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Publish nothing new; returns once everything is answered that will be."""
        self.over.set()
        self._thread.join(2 * PATIENCE)
        if self._thread.is_alive():
            self.faults.append(f"{self.name} comes to no end with {len(self._open)} messages")

    def give_up(self) -> None:
        """End, whatever is not answered yet."""
        self.over.set()
        self._gave_up = True

    def _run(self) -> None:
        try:
            while not self._gave_up and (self._open or not self.over.is_set()):
                try:
                    self._talk()
                except GONE:
                    self._settle()
                    if not self.keyed:
                        self._open.clear()
                    time.sleep(AGAIN)
        except Exception as error:
            self.faults.append(f"{self.name} has ended: {error!r}")
            raise

    def _talk(self) -> None:
        """Publish over one connection until it is lost, or there is nothing left to do."""
        raise NotImplementedError

    def _rounds(self, exchange: Callable[[Sequence[Publication]], None]) -> None:
        """``exchange`` what is open from before, then new messages until it is time to end."""
        batch = self._again()
        while not self._gave_up and (batch or not self.over.is_set()):
            exchange(batch or self._fresh())
            self._settle()
            self.over.wait(AGAIN if self._open else self._chance.uniform(0, 2 * self._rest))
            batch = self._again() if self._open else []

    def _again(self) -> list[Publication]:
        """What is repeated: all that is open, and a little of what is not."""
        if not self.keyed:
            return []
        first = len(self.publications) - len(self._open)
        answered = [each for each in self.publications[max(0, first - REPEATED) : first] if each.positions]
        for publication in chain(answered, self._open):
            publication.repeated = True
        return [*answered, *self._open]

    def _settle(self) -> None:
        self._open = [each for each in self._open if not each.positions and (self.keyed or not each.refusals)]

    def _fresh(self) -> list[Publication]:
        """New messages."""
        now, first = time.monotonic(), len(self.publications) + 1
        numbers = range(first, first + self._chance.randint(1, self._chance.choice(MOST)))
        self._open = [Publication(self.name, number, *self._content(number), now) for number in numbers]
        self.publications += self._open
        return self._open

    def _content(self, number: int) -> tuple[str, str]:
        filling = "." * self._chance.choice(FILLINGS)
        return self._chance.choice(self._topics), f"{self.name} {number} {filling}"

    def _answered(self, publication: Publication, reply: Reply) -> None:
        if not reply.code:
            publication.heard = publication.heard or time.monotonic()
            publication.positions.append(reply.position)
            self.answers += 1
            return
        publication.refusals.append(f"{reply.code} {reply.detail}")
        if not reply.retry:
            self.faults.append(f"{self.name} was told {reply}")


def key_of(publication: Publication) -> str:
    """The idempotency key of a message."""
    return f"{publication.writer}-{publication.number}"


class Pipeline(Writer):
    """Over TCP, ``XADD`` with keys: a batch is sent before its replies are read."""

    def _talk(self) -> None:
        with connected(self._place) as connection:
            self._rounds(partial(self._exchange, connection, Replies()))

    def _exchange(self, connection: socket.socket, replies: Replies, batch: Sequence[Publication]) -> None:
        data = b"".join(map(self._command, batch))
        middle = len(data) // 2
        connection.sendall(data[:middle])
        self._moments.reached("halfway")
        connection.sendall(data[middle:])
        unanswered = iter(batch)
        left = len(batch)
        while left:
            found = replies.feed(_received(connection))
            for reply in found:
                self._answered(next(unanswered), reply)
            left -= len(found)
            self._moments.reached("acknowledged")

    def _command(self, publication: Publication) -> bytes:
        key = key_of(publication) if self.keyed else ""
        return command(Outgoing(publication.topic, publication.payload.encode(), key=key))


class Keyless(Pipeline):
    """Over TCP, ``XADD`` without keys."""

    keyed = False


class Telling(Pipeline):
    """Over TCP, ``PUBLISH``, whose answer names no position."""

    keyed = False

    def _command(self, publication: Publication) -> bytes:
        words = (b"PUBLISH", publication.topic.encode(), publication.payload.encode())
        return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    def _answered(self, publication: Publication, reply: Reply) -> None:
        super()._answered(publication, reply._replace(position=""))


class Posting(Writer):
    """Over HTTP, a message a request, with ``Idempotency-Key``."""

    def _talk(self) -> None:
        with closing(http.client.HTTPConnection(self._place, timeout=PATIENCE)) as connection:
            self._rounds(partial(self._exchange, connection))

    def _exchange(self, connection: http.client.HTTPConnection, batch: Sequence[Publication]) -> None:
        for publication in batch:
            reply = self._posted(connection, publication)
            self._answered(publication, reply)
            self._moments.reached("acknowledged")

    def _posted(self, connection: http.client.HTTPConnection, publication: Publication) -> Reply:
        header = {"Content-Type": "text/plain", "Idempotency-Key": key_of(publication)}
        connection.request("POST", f"/topics/{publication.topic}", publication.payload.encode(), header)
        return next(_replies(connection.getresponse(), 1))


class Batches(Posting):
    """Over HTTP, many messages a request, with a key each."""

    def _exchange(self, connection: http.client.HTTPConnection, batch: Sequence[Publication]) -> None:
        lines = [
            json.dumps({"topic": each.topic, "data": each.payload, "key": key_of(each)}, separators=(",", ":"))
            for each in batch
        ]
        connection.request("POST", "/topics", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
        for publication, reply in zip(batch, _replies(connection.getresponse(), len(batch)), strict=True):
            self._answered(publication, reply)
        self._moments.reached("acknowledged")


class Library(Writer):
    """By ``comet.publish``, which makes the keys and repeats by itself."""

    def _talk(self) -> None:
        with Publisher(self._place, patience=3 * PATIENCE) as publisher:
            self._rounds(partial(self._exchange, publisher))

    def _exchange(self, publisher: Publisher, batch: Sequence[Publication]) -> None:
        drafts = [Draft(each.topic, each.payload, key=key_of(each)) for each in batch]
        for publication, position in zip(batch, publisher.publish_many(drafts), strict=True):
            self._answered(publication, Reply(position))


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionResetError("the daemon has gone")
    return data


def _replies(response: http.client.HTTPResponse, count: int) -> Iterator[Reply]:
    """What a response says of each of ``count`` messages."""
    body = json.loads(response.read())
    if response.status in (200, 201):
        yield from map(Reply, body.get("ids") or [body["id"]])
    else:
        refusal = Reply("", body["code"], f"{response.status} {body['detail']}", retry=response.status == 503)
        yield from [refusal] * count
