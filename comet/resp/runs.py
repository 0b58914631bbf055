"""A run: the commands of one read of the socket, from their execution to the bytes of their replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from twisted.internet.defer import Deferred

from comet.errors import CometError, Draining, ProtocolViolation, TooManyBodies, shown
from comet.message import Draft
from comet.resp.commands import BY_SPELLING, Acknowledge, command_named
from comet.resp.guard import LockedOut
from comet.resp.replies import array, error
from comet.resp.session import Ending, Later, Session, Transaction
from comet.resp.subscribing import Connection
from comet.resp.wire import LooksForeign, Request
from comet.router import Router

MOST_REPLIES = 262_144
"""Bytes of immediate replies that end a run: a short command may have a long reply, a thousand times over."""


class Late(NamedTuple):
    """A command that is done once everything before it is replied to; nothing behind it is executed earlier."""

    do: Later
    request: Request


class Run:
    """Replies in order, of which some wait for the store's word on the drafts, in order. The last command of a run may
    be a ``late`` one."""

    __slots__ = ("drafts", "immediate", "late", "output", "replies", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.replies: list[bytes | Acknowledge] = []
        self.drafts: list[Draft] = []
        # Bytes of the replies that wait for nothing.
        self.immediate = 0
        self.late: Late | None = None
        self.output: bytes | None = None

    def execute(self, session: Session, requests: Iterator[Request]) -> bool:  # noqa: PLR0912 (calls cost more)
        """Execute ``requests`` as far as is sensible, and return whether that was to their end.

        A command that is refused has its own reply, and the next is executed.
        """
        add = self.replies.append
        guard = session.guard
        for request in requests:
            try:
                if guard is not None:
                    guard.count()
                if isinstance(request, CometError):
                    raise request
                command = BY_SPELLING.get(request[0]) or command_named(request[0])
                if len(request) != command.arity:
                    command.check_arity(request)
                if guard is not None:
                    guard.check(command.needs, request)
                if session.mode is None or session.mode.admits(command.name):
                    answer = command.run(session, request)
                else:
                    answer = session.mode.instead(command.name, request, session.intake.max_payload)
            except CometError as refusal:
                answer = refused(session, refusal, request)
            if isinstance(answer, Draft):
                assert command.acknowledge is not None
                add(command.acknowledge)
                self.drafts.append(answer)
                continue
            if isinstance(answer, bytes):
                add(answer)
                self.immediate += len(answer)
            elif isinstance(answer, list):
                if any(command_named(words[0]).late for words in answer):
                    self.late = Late(partial(_executed_together, session, answer), request)
                    return False
                self._execute_all(session, answer)
            else:
                self.late = Late(answer, request)
                return False
            if self.immediate > MOST_REPLIES or session.ending is not Ending.NOT_YET:
                return False
        return True

    def _execute_all(self, session: Session, commands: Sequence[Request]) -> None:
        """Execute the commands of a transaction. Replies that follow the head of an array are its items."""
        self.replies.append(b"*%d\r\n" % len(commands))
        requests = iter(commands)
        while not self.execute(session, requests):
            assert self.late is None

    def count(self) -> int:
        """How many commands it has."""
        return len(self.replies) + (self.late is not None)

    def stored(self, router: Router, offsets: Sequence[int]) -> None:
        """Fill the holes in the replies, now that the drafts have these offsets."""
        drafts = zip(self.drafts, offsets, strict=True)
        self.output = b"".join(
            [reply if isinstance(reply, bytes) else reply(router, *next(drafts)) for reply in self.replies]
        )

    def refused(self, session: Session, refusal: CometError) -> None:
        """Fill the holes in the replies with one and the same refusal."""
        for _ in self.drafts:
            session.intake.refused(refusal, "a message", session.peer)
        instead = error(refusal)
        self.output = b"".join([reply if isinstance(reply, bytes) else instead for reply in self.replies])


def _executed_together(session: Session, commands: Sequence[Request], connection: Connection) -> Deferred[bytes]:
    """Execute a transaction in which something is read: first all messages are stored, then it is read, in order."""
    return Deferred.fromCoroutine(_execute_together(session, commands, connection))


async def _execute_together(session: Session, commands: Sequence[Request], connection: Connection) -> bytes:
    runs = [Run(0) for _ in commands]
    may_wait, session.may_wait = session.may_wait, False
    for run, words in zip(runs, commands, strict=True):
        run.execute(session, iter((words,)))
    session.may_wait = may_wait
    await _publish_together(session, runs)
    return array([await _reply(session, run, connection) for run in runs])


async def _publish_together(session: Session, runs: Sequence[Run]) -> None:
    router = session.intake.router
    drafts = [draft for run in runs for draft in run.drafts]
    try:
        offsets = iter(await router.publish(drafts) if drafts else ())
    except Draining:
        raise
    except CometError as refusal:
        for run in runs:
            run.refused(session, refusal)
    else:
        for run in runs:
            run.stored(router, list(islice(offsets, len(run.drafts))))


async def _reply(session: Session, run: Run, connection: Connection) -> bytes:
    assert run.output is not None
    if run.late is None:
        return run.output
    try:
        reply = run.late.do(connection)
        return reply if isinstance(reply, bytes) else await reply
    except Draining:
        raise
    except CometError as refusal:
        return refused(session, refusal, run.late.request)


def refused(session: Session, refusal: CometError, request: Request) -> bytes:
    """Return the reply to a command that is refused, and note what follows from that."""
    metrics = session.intake.metrics
    what = "a command" if isinstance(request, CometError) else shown(request[0], 32)
    session.intake.refused(refusal, what, session.peer)
    if isinstance(session.mode, Transaction):
        session.mode.spoilt = True
    if isinstance(refusal, (LockedOut, TooManyBodies)):
        session.ending = Ending.AFTER_REPLIES
    if isinstance(refusal, ProtocolViolation):
        metrics.protocol_errors += 1
        session.ending = Ending.AT_ONCE if isinstance(refusal, LooksForeign) else Ending.AFTER_REPLIES
    return error(refusal)
