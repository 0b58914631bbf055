"""The TCP port for tests of history: messages in memory, or on a disk that is a list, and groups."""

from __future__ import annotations

from typing import Any

from comet.consumers import Consumers
from comet.resp.factory import RespFactory
from tests.fakes import EPOCH, FakeArchive, House
from tests.resp_ports import Client


class Streams:
    """A house, a TCP port in front of it, and connections to that."""

    def __init__(self, archive: FakeArchive | None = None, **settings: Any) -> None:
        self.house = House(archive=archive, **settings)
        self.consumers = Consumers(self.house.router)
        router = self.house.router
        self.factory = RespFactory(router, router.config, self.house.metrics, consumers=self.consumers)

    def connect(self, version: int = 2) -> Reader:
        client = Reader(self)
        if version == 3:
            client.send("HELLO 3")
        return client

    def publish(self, *messages: tuple[str, str]) -> None:
        self.house.publish(*messages)


class Reader(Client):
    """A connection that waits for its replies."""

    def __init__(self, streams: Streams) -> None:
        super().__init__(streams)
        self._house = streams.house

    def ask(self, *lines: str) -> Any:
        """Send commands, and return the reply to the last of them."""
        replies = self.send(*lines)
        self._house.turn()
        return (replies + self.arrived())[-1]


def at(offset: int) -> str:
    """The id of an offset."""
    return f"{EPOCH}-{offset}"


def entry(offset: int, text: str) -> list[Any]:
    """An entry, as a client reads it."""
    return [at(offset).encode(), [b"data", text.encode()]]


def gap(since: str, until: int) -> list[Any]:
    """A gap, as a client reads it."""
    return [at(until).encode(), [b"gap", f'{{"since":"{since}","until":"{at(until)}"}}'.encode()]]
