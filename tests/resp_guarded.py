"""The TCP port in memory, to which those only belong who have a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address

from comet.access.access import Access
from comet.consumers import Consumers
from comet.resp.factory import RespFactory
from tests.fakes import START, House, access_of
from tests.minting import SECRET, minted
from tests.resp_ports import Client, Wire
from tests.resp_reading import Refusal

ELSEWHERE, HERE, PROXY = "192.0.2.1", "127.0.0.1", "10.0.0.1"


class Guarded:
    """A house, a TCP port in front of it that checks tokens, and connections to that."""

    def __init__(self, place: Path, **settings: Any) -> None:
        key = place / "key"
        key.write_text(SECRET)
        self.house = House(key=(str(key),), **settings)
        self.router = self.house.router
        self.config = self.router.config
        self.metrics = self.house.metrics
        self.access = self.access_of()
        self.consumers = Consumers(self.router)
        self.factory = RespFactory(self.router, self.config, self.metrics, None, self.consumers, self.access)

    def access_of(self) -> Access:
        return access_of(self.router, self.house.clock)

    def connect(self, host: str = ELSEWHERE, *, announced: bool = False) -> Guest:
        return Guest(self, host, announced=announced)

    def named(self, *lines: str, **claims: Any) -> Guest:
        """A connection that has AUTHed with a token of these claims."""
        guest = self.connect()
        assert guest.ask(f"AUTH {token(**claims)}") == "OK"
        guest.ask(*lines)
        return guest


class Guest(Client):
    """A connection from somewhere."""

    def __init__(self, port: Guarded, host: str, *, announced: bool = False) -> None:
        super().__init__(port, Wire(peerAddress=IPv4Address("TCP", host, 4711)), announced=announced)  # type: ignore[no-untyped-call]
        self._house = port.house

    def ask(self, *lines: str) -> Any:
        """Send commands, and return the reply to the last of them, if there is one."""
        replies = self.send(*lines)
        self._house.turn()
        return ([*replies, *self.arrived()] or [None])[-1]

    def word(self, *lines: str) -> str:
        """The first word of the error that the last of some commands is refused with; OK if it is not."""
        reply = self.ask(*lines)
        return reply.partition(" ")[0] if isinstance(reply, Refusal) else "OK"

    @property
    def is_closed(self) -> bool:
        """Whether the daemon has ended the connection."""
        return bool(self.wire.disconnecting or self.wire.half_closed)


def token(publish: tuple[str, ...] = (), subscribe: tuple[str, ...] = (), **claims: Any) -> str:
    """A token for these patterns. ``lasts`` is for how many seconds, ``consumers`` and ``admin`` are what else it is
    for."""
    allowed: dict[str, Any] = {"publish": publish, "subscribe": subscribe, "consumers": claims.pop("consumers", ())}
    allowed["admin"] = claims.pop("admin", False)
    if "lasts" in claims:
        claims["exp"] = START + claims.pop("lasts")
    return minted(**{"sub": "alice", "iat": START, "comet": allowed, **claims})
