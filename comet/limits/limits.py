"""How much one client may have and do: connections, streams, requests and publishes, by address and by subject.

What is had (connections, streams) is counted, what is done (requests, publishes) is measured by token buckets. Two
traps. Whoever has IPv6 has a network of 2^64 addresses, which is therefore one client here (``account_of``). And at the
descriptor limit nobody can be told anything any more; so the last :data:`RESERVE` descriptors are for refusing. That
they are reached shows in the number of a new connection's descriptor: it is the lowest that was free.

Programs of this machine have the empty address, which has no bound: it must cost them next to nothing.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from comet.access.who import address_of, is_listed, is_local_peer
from comet.config import Config
from comet.errors import CometError, TooManyConnections, TooManyFromOne, TooManyRequests, shown
from comet.interfaces import Clock
from comet.limits.bodies import Bodies
from comet.limits.buckets import Buckets
from comet.limits.counts import Counts
from comet.limits.parting import Partings
from comet.metrics import Metrics
from comet.sockets import number_of

RESERVE = 256
"""Descriptors that are kept free: for refusing in a clean way, and for the daemon's own files."""

PAUSE = 2.0
"""Seconds after which one who was refused because of others may try again."""


class Who(NamedTuple):
    """On whose account something goes. What is empty has no bound: programs on this machine have no address here."""

    address: str
    subject: str = ""


@lru_cache(maxsize=4096)
def account_of(address: str) -> str:
    """The name under which what comes from ``address`` is counted: of an IPv6 address its network, which is one
    subscriber's."""
    found = address_of(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return address if found is None else str(found)


class Limits:
    """The accounts of one daemon."""

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        self._connections = 0
        self._from = Counts()
        self._streams = {"address": Counts(), "subject": Counts()}
        self._rates: dict[str, Buckets] = {}
        self._descriptors = 0
        self.bodies = Bodies()
        self.partings = Partings(clock)
        """Where connections go that :meth:`connected` has refused."""
        self.configure(config)
        metrics.limit_uses = self.uses
        metrics.address_count = self.addresses

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`. Who has more than is allowed now keeps it."""
        self._config = config
        self.bodies.most = config.max_bodies
        for name in ("requests_per_address", "requests_per_subject", "publishes_per_address", "publishes_per_subject"):
            rate = getattr(config, name)
            known = self._rates.get(name)
            if not rate:
                self._rates.pop(name, None)
            elif known is None or (known.rate, known.burst) != (rate, max(config.burst, 1 / rate)):
                self._rates[name] = Buckets(rate, config.burst)
        # By address and by subject, looked up for each request.
        self._requests = self._rates.get("requests_per_address"), self._rates.get("requests_per_subject")
        self._publishes = self._rates.get("publishes_per_address"), self._rates.get("publishes_per_subject")

    # -- connections ------------------------------------------------------------------------------------------------

    def address_of_peer(self, host: str) -> str:
        """The address under which a connection from ``host`` goes: none if that is this machine, or a proxy, which has
        the connections of many."""
        config = self._config
        if (config.local == "all" and is_local_peer(host, config.proxy)) or is_listed(host, config.proxy):
            return ""
        return account_of(host)

    def admit(self, transport: Any) -> str:
        """Count the connection of ``transport``, and return the address that :meth:`disconnected` is to be given.
        Raises what :meth:`connected` raises; then :attr:`partings` is where it goes."""
        address = self._address_of(transport)
        self.connected(address, number_of(transport))
        return address

    def admit_anew(self, address: str, transport: Any) -> str:
        """A proxy has said whose ``transport`` is, which is counted under ``address``. As :meth:`admit`; raises
        :exc:`~comet.errors.TooManyFromOne`, and then it is counted as before."""
        found = self._address_of(transport)
        self._add_connection_of(found)
        if address:
            self._from.remove(address)
        return found

    def _address_of(self, transport: Any) -> str:
        return self.address_of_peer(getattr(transport.getPeer(), "host", ""))

    def connected(self, address: str, descriptor: int = -1) -> None:
        """Count a connection, or raise :exc:`~comet.errors.TooManyConnections` or
        :exc:`~comet.errors.TooManyFromOne` and count nothing. ``descriptor`` is that of its socket, if it has one."""
        config = self._config
        if self._connections >= config.max_connections:
            raise _later(TooManyConnections, f"{self._connections} connections are open (max-connections)", PAUSE)
        if descriptor >= self._descriptors and not self._has_descriptors(descriptor):
            raise _later(TooManyConnections, "the process has no descriptors left for further connections", PAUSE)
        self._add_connection_of(address)
        self._connections += 1

    def _add_connection_of(self, address: str) -> None:
        if not address:
            return
        most = self._config.max_connections_per_address
        if most and self._from.of(address) >= most:
            text = f"{address} has {most} connections open (max-connections-per-address); close some"
            raise _later(TooManyFromOne, text, PAUSE)
        self._from.add(address)

    def disconnected(self, address: str) -> None:
        """Undo :meth:`connected`."""
        self._connections -= 1
        if address:
            self._from.remove(address)

    def _has_descriptors(self, descriptor: int) -> bool:
        """Whether there is room behind ``descriptor``. The limit may have been raised since it was last looked at."""
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if allowed == resource.RLIM_INFINITY:
            allowed = 1 << 30
        self._descriptors = allowed - min(RESERVE, allowed // 4)
        return descriptor < self._descriptors

    # -- streams ----------------------------------------------------------------------------------------------------

    def check_room(self, who: Who) -> None:
        """Raise what :meth:`opened` would raise."""
        for kind, counts, name, most in self._held(who):
            if most and counts.of(name) >= most:
                raise _later(
                    TooManyFromOne,
                    f"the {kind} {shown(name)} has {most} streams open (max-streams-per-{kind}); close some",
                    PAUSE,
                )

    def opened(self, who: Who) -> None:
        """Count a stream, or raise :exc:`~comet.errors.TooManyFromOne` and count nothing."""
        if who.address or who.subject:
            self.check_room(who)
            for _, counts, name, _ in self._held(who):
                counts.add(name)

    def closed(self, who: Who) -> None:
        """Undo :meth:`opened`."""
        if who.address or who.subject:
            for _, counts, name, _ in self._held(who):
                counts.remove(name)

    def _held(self, who: Who) -> list[tuple[str, Counts, str, int]]:
        config, streams = self._config, self._streams
        held = []
        if who.address:
            address = account_of(who.address)
            held.append(("address", streams["address"], address, config.max_streams_per_address))
        if who.subject:
            held.append(("subject", streams["subject"], who.subject, config.max_streams_per_subject))
        return held

    # -- rates ------------------------------------------------------------------------------------------------------

    def request(self, who: Who) -> None:
        """Count a request or a command, or raise :exc:`~comet.errors.TooManyRequests`."""
        if who.address or who.subject:
            self._take(self._requests, who, 1, "requests")

    def requests(self, who: Who, count: int) -> None:
        """Count ``count`` requests or commands that came together, or raise :exc:`~comet.errors.TooManyRequests`, and
        then none of them is."""
        if who.address or who.subject:
            self._take(self._requests, who, count, "requests")

    def publish(self, who: Who, count: int) -> None:
        """Count ``count`` messages, or raise :exc:`~comet.errors.TooManyRequests`, and then none of them is."""
        if who.address or who.subject:
            self._take(self._publishes, who, count, "publishes")

    def _take(self, rates: tuple[Buckets | None, Buckets | None], who: Who, count: int, what: str) -> None:
        now = self._clock.seconds()
        taken: list[tuple[Buckets, str]] = []
        for kind, buckets, name in zip(Who._fields, rates, (account_of(who.address), who.subject), strict=True):
            if buckets is None or not name:
                continue
            wait = buckets.take(name, count, now)
            if wait:
                for each, of_whom in taken:
                    each.give_back(of_whom, count)
                raise _too_many(buckets, count, wait, what, kind)
            taken.append((buckets, name))

    # -- what people ask --------------------------------------------------------------------------------------------

    def uses(self) -> Mapping[str, float]:
        """The share of each limit that is used: of a limit for each one, by who uses most of it."""
        config, now = self._config, self._clock.seconds()
        uses = {
            "max_connections": self._connections / config.max_connections,
            "max_bodies": self.bodies.taken / config.max_bodies,
        }
        for name, counts in (
            ("max_connections_per_address", self._from),
            ("max_streams_per_address", self._streams["address"]),
            ("max_streams_per_subject", self._streams["subject"]),
        ):
            uses[name] = counts.highest() / getattr(config, name) if getattr(config, name) else 0.0
        uses |= {name: buckets.fullest_use(now) for name, buckets in self._rates.items()}
        return {name.replace("_", "-"): use for name, use in uses.items()}

    def addresses(self) -> int:
        """How many addresses something is remembered of."""
        known = [self._from, self._streams["address"]]
        rates = [buckets for name, buckets in self._rates.items() if name.endswith("address")]
        return len(set().union(*known, *rates))

    def each_second(self) -> None:
        """Forget those who have nothing left to count."""
        self._descriptors = 0  # how many there may be is looked up anew
        now = self._clock.seconds()
        for buckets in self._rates.values():
            buckets.sweep(now)
        self.partings.sweep(now)


def _too_many(buckets: Buckets, count: int, wait: float, what: str, kind: str) -> CometError:
    setting = f"{what}-per-{kind}"
    if count > buckets.most_at_once:
        error = TooManyRequests(f"{count} {what} at once are too many; send at most {buckets.most_at_once} ({setting})")
        error.retry = False  # it would never go
        return error
    return _later(TooManyRequests, f"this {kind} may make {buckets.rate:g} {what} a second ({setting})", wait)


def _later(kind: type[CometError], detail: str, seconds: float) -> CometError:
    """A refusal that is over in so many seconds."""
    error = kind(f"{detail}; try again in {_written(seconds)}")
    error.after = seconds
    return error


def _written(seconds: float) -> str:
    return "a second" if seconds <= 1 else f"{-int(-seconds // 1)} seconds"
