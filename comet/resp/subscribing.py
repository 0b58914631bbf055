"""A connection's subscription: all that it has subscribed to is one subscription of the router, which spends it here.

:class:`Subscriber` is the writer of that subscription. It keeps nothing: what does not fit into the transport's buffer
any more makes the subscription read from the log, so a client that does not read costs no more than one that has just
come. Replies and messages go through the same transport, each whole, so neither can end up within the other.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from comet.access.grant import Grant
from comet.audience import Interest, Key, Subscription
from comet.delivery import STREAMING
from comet.errors import TooManyPatterns
from comet.framing.resp import GAP, Resp
from comet.holder import Holder
from comet.router import Router
from comet.topics import Pattern, check_depth
from comet.transports import RESP

GAP_TOPIC = Pattern.parse(GAP)


class Connection(Protocol):
    """A connection, as far as its subscription goes."""

    def push(self, data: bytes) -> bool:
        """Write ``data`` behind what was written. Returns whether there is room for more; if not, the session's
        subscriber will be told that it is ``drained``."""

    def bound(self) -> None:
        """Have the kernel keep no more than it should for a subscriber."""

    def regard(self) -> None:
        """Go by the session's guard, which is another one."""

    def close(self) -> None:
        """Close after what was written."""

    def abort(self) -> None:
        """Drop the connection, and what was not sent yet."""


class Names(NamedTuple):
    """What a connection has subscribed to, as it was spelt: topics, and patterns. A name can be among both."""

    topics: dict[bytes, Pattern]
    patterns: dict[bytes, Pattern]

    def copy(self) -> Names:
        """Return these names, to be changed."""
        return Names(dict(self.topics), dict(self.patterns))

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.topics) + len(self.patterns)


class Subscriber:
    """The subscription of one connection. ``names`` is what it is for."""

    __slots__ = ("_connection", "_peer", "_router", "_subscription", "names")

    descriptor = -1  # everything goes through the transport, behind the replies that it has

    def __init__(self, router: Router, connection: Connection, peer: str) -> None:
        self._router = router
        self._connection = connection
        self._peer = peer
        self._subscription: Subscription | None = None
        self.names = Names({}, {})

    @property
    def is_open(self) -> bool:
        """Whether the router has the subscription."""
        return self._subscription is not None and self._subscription.audience is not None

    def change(self, names: Names, version: int, holder: Holder) -> None:
        """Have these names from now on, in that version of the protocol, on behalf of ``holder``.

        Raises :exc:`~comet.errors.TooManyPatterns`, :exc:`~comet.errors.TooManyStreams`,
        :exc:`~comet.errors.TooManyFromOne` or :exc:`~comet.errors.Draining`; then everything is as it was.
        """
        most = self._router.config.max_patterns
        if self.names.total < names.total > most:
            raise TooManyPatterns(f"{names.total} names on one connection; at most {most} are allowed (max-patterns)")
        check_depth(names.patterns.values())
        if names.total:
            self._subscribe(names, version, holder)
        else:
            self.leave()
        self.names = names

    def _subscribe(self, names: Names, version: int, holder: Holder) -> None:
        topics, patterns = names.topics.values(), names.patterns.values()
        framing = Resp(version, frozenset(topic.text for topic in topics), tuple(sorted(patterns)))
        # A gap is told to whom it concerns; nobody publishes there, so the router need not know of it.
        wanted = tuple(sorted({*topics, *patterns} - {GAP_TOPIC})) or (GAP_TOPIC,)
        if self._subscription is not None and self._subscription.audience is not None:
            self._router.change(self._subscription, wanted, framing=framing)
        else:
            interest = Interest(Key(wanted, framing, RESP, STREAMING))
            self._subscription = self._router.subscribe(interest, self, holder=holder)
            self._connection.bound()

    def renew(self, grant: Grant) -> None:
        """Let the subscription, if there is one, go on under ``grant``. Raises :exc:`~comet.errors.Forbidden`."""
        if self._subscription is not None and self._subscription.audience is not None:
            self._router.tenures.renew(self._subscription, grant)

    def leave(self) -> None:
        """End the subscription, if there is one."""
        if self._subscription is not None:
            self._router.gone(self._subscription)
        self._subscription = None
        self.names = Names({}, {})

    def drained(self) -> None:
        """The connection has room again."""
        if self._subscription is not None:
            self._router.drained(self._subscription)

    # -- the router's writer (comet.interfaces.Writer) ---------------------------------------------------------------

    def write(self, data: bytes, sent: int = 0) -> bool:
        """Write ``data`` from ``sent`` on; whether there is room for more."""
        return self._connection.push(data[sent:] if sent else data)

    def wait(self) -> None:
        raise AssertionError("nothing is sent past the transport")

    def finish(self) -> None:
        """Close the connection after what was written: a Redis client knows no other word for the end."""
        self._connection.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._connection.abort()

    def peer(self) -> str:
        """The client's address, for people."""
        return self._peer
