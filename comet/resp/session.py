"""What the TCP port keeps: of all connections together (:class:`Intake`), and of each (:class:`Session`).

The trap: a client that makes it keep more and more. Checked topics and queued commands are counted and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count

from twisted.internet.defer import Deferred

from comet.access.access import Access
from comet.access.grant import EVERYTHING, Grant
from comet.access.who import is_local_peer
from comet.config import Config
from comet.consumers import Consumers
from comet.drafts import draft, topic_of
from comet.errors import CometError, PayloadTooLarge, SubscribedOnly, WrongArguments
from comet.holder import LOCAL, Holder
from comet.limits.limits import Limits, Who
from comet.message import Draft
from comet.metrics import Metrics
from comet.resp.guard import Guard
from comet.resp.patience import Patience
from comet.resp.replies import simple
from comet.resp.subscribing import Connection, Subscriber
from comet.resp.wire import OTHER_ARGUMENTS
from comet.router import Router
from comet.topics import check_topic

REMEMBERED_TOPICS = 65_536
"""How many topics are remembered as checked; then all are dropped, which bounds the memory."""

MOST_QUEUED = 1024
"""Commands between MULTI and EXEC. Their bytes are bounded as those of one command are."""

Words = Sequence[bytes]
"""A command's name and its arguments."""


Later = Callable[[Connection], bytes | Deferred[bytes]]
"""The rest of a command, which is called once everything before it is replied to."""

Refused = Callable[[CometError, str, str], None]
"""Is told what was refused to whom: the error, the command, the peer."""


class Intake:
    """What all connections share: the router, who may do what, the settings, the topics that were checked already."""

    __slots__ = (
        *("_topics", "access", "config", "consumers", "limits", "max_payload", "metrics", "numbers", "patience"),
        *("refused", "router"),
    )

    def __init__(self, router: Router, config: Config, metrics: Metrics, refused: Refused | None = None) -> None:
        self.router = router
        self.limits: Limits = router.limits
        self.consumers: Consumers | None = None
        """For the commands that read as a group; whoever makes the daemon sets it."""
        self.access: Access | None = None
        """Without it everybody may do everything; whoever makes the daemon sets it, too."""
        self.metrics = metrics
        self.refused: Refused = refused or (lambda refusal, _what, _peer: metrics.count_refusal(refusal.code))
        self.numbers = count(1)
        self.patience = Patience()
        self._topics: dict[bytes, str] = {}
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self.config = config
        self.max_payload = config.max_payload  # looked up for each message

    def unnamed(self, host: str, announced: bool) -> Grant:
        """What a connection from ``host`` may do before it AUTHs; ``announced`` if a proxy says that it is from
        there."""
        if self.access is None:
            return EVERYTHING
        return self.access.unnamed(not announced and is_local_peer(host, self.config.proxy))

    def draft(self, raw_topic: bytes, payload: bytes) -> Draft:
        """Return a message without type and key. On the hot path this is one look-up and one construction."""
        topic = self._topics.get(raw_topic) or self._checked(raw_topic)
        if len(payload) > self.max_payload:
            return draft(topic, payload, largest=self.max_payload)
        return Draft(topic, payload)

    def _checked(self, raw: bytes) -> str:
        if len(self._topics) >= REMEMBERED_TOPICS:
            self._topics.clear()
        self._topics[raw] = topic = check_topic(topic_of(raw))
        return topic


class Ending(Enum):
    """Whether the connection ends with this run of requests, and how."""

    NOT_YET = "not yet"
    AFTER_REPLIES = "after replies"
    AT_ONCE = "at once"


class Session:
    """What one connection has said about itself, and how it is to be answered.

    ``mode`` is what stands between its commands and their execution, if anything does; ``guard`` what they are held
    against, unless it may do everything. ``subscriber`` is what it has subscribed to, if it ever did. ``may_wait`` is
    whether commands may wait for messages, ``is_waiting`` whether one does.
    """

    __slots__ = (
        *("_address", "_unnamed", "ending", "guard", "intake", "is_waiting", "may_wait", "mode", "name", "number"),
        *("peer", "subscriber", "version"),
    )

    def __init__(self, intake: Intake, peer: str) -> None:
        self.intake = intake
        self.peer = peer
        self.number = next(intake.numbers)
        self.name = b""
        self.version = 2
        self.ending = Ending.NOT_YET
        self.mode: Transaction | SubscribedMode | None = None
        self.guard: Guard | None = None
        self.subscriber: Subscriber | None = None
        self.may_wait = True
        self.is_waiting = False
        self._address = ""
        self._unnamed = EVERYTHING

    # -- who that is -------------------------------------------------------------------------------------------------

    def come_from(self, address: str, unnamed: Grant) -> None:
        """Note under which ``address`` it is counted, and what it may do before it AUTHs."""
        is_named = self.is_named
        self._address, self._unnamed = address, unnamed
        if not is_named:
            self.guard = None
            self.become(unnamed)

    def become(self, grant: Grant) -> bool:
        """Have ``grant`` from now on; returns whether that is another one."""
        if grant == self.grant:  # what was counted stays counted
            return False
        self.guard = None
        if grant is not EVERYTHING:
            holder = Holder(grant, Who(self._address, grant.subject))
            assert self.intake.access is not None
            self.guard = Guard(holder, self.intake.access, self.intake.config.max_commands_unknown)
        return True

    def forget(self) -> bool:
        """Be nobody in particular again; returns whether it was somebody."""
        return self.become(self._unnamed)

    @property
    def grant(self) -> Grant:
        """What it may do."""
        return EVERYTHING if self.guard is None else self.guard.grant

    @property
    def is_named(self) -> bool:
        """Whether it has AUTHed."""
        return self.grant != self._unnamed

    @property
    def holder(self) -> Holder:
        """On whose behalf its commands are executed."""
        return LOCAL if self.guard is None else self.guard.holder

    def check_current(self) -> None:
        """Raise :exc:`~comet.errors.Unauthorized` if its token is over."""
        if self.guard is not None:
            self.guard.check_current(self.intake.router.time())

    @property
    def is_subscribed(self) -> bool:
        """Whether the connection has an open subscription."""
        return self.subscriber is not None and self.subscriber.is_open


class SubscribedMode:
    """A RESP2 connection that has subscribed takes only what changes that: its client could not tell a reply from a
    message. (In RESP3 it can.)"""

    __slots__ = ()

    ADMITTED = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "AUTH", "PING", "QUIT", "RESET"})

    def admits(self, name: str) -> bool:
        """Whether the command of that name is executed."""
        return name in self.ADMITTED

    def instead(self, name: str, words: Words, max_payload: int) -> bytes:  # noqa: ARG002
        """Refuse a command that is not."""
        raise SubscribedOnly(
            f"{name}: this connection has subscribed and speaks RESP2, so it takes only (P)SUBSCRIBE, (P)UNSUBSCRIBE, "
            "AUTH, PING, QUIT and RESET; use another connection, or RESP3 (HELLO 3)"
        )


class Transaction:
    """What came between MULTI and EXEC. Bounded, since it is kept; and spoilt by any command that is refused."""

    __slots__ = ("commands", "size", "spoilt")

    AT_ONCE = frozenset({"MULTI", "EXEC", "DISCARD", "RESET", "QUIT"})
    """Commands that are not kept for EXEC."""

    REFUSED = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "AUTH", "HELLO"})
    """Commands whose replies are no reply of a transaction (they are one for each name), and those that change what the
    others may do."""

    def __init__(self) -> None:
        self.commands: list[Words] = []
        self.size = 0
        self.spoilt = False

    def admits(self, name: str) -> bool:
        """Whether the command of that name is executed at once."""
        return name in self.AT_ONCE

    def instead(self, name: str, words: Words, max_payload: int) -> bytes:
        """Keep a command for EXEC."""
        if name in self.REFUSED:
            raise WrongArguments(f"{name}: not between MULTI and EXEC; send it before, or after")
        most = max_payload + OTHER_ARGUMENTS
        self.size += sum(map(len, words))
        if self.size > most or len(self.commands) >= MOST_QUEUED:
            raise PayloadTooLarge(f"a transaction has at most {MOST_QUEUED} commands and {most} bytes")
        self.commands.append(words)
        return simple("QUEUED")
