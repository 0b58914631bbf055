"""History: the log in memory, and beneath it what the store has kept on disk.

Memory has the newest messages of each topic. Where it has lost something that a reader asks for, and the store has an
archive, the disk is read instead, so only what is gone from there is lost. A reader is never made to wait within a
call: what is on disk is asked for, and it is called again when it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from comet.interfaces import Archive
from comet.kept import Piece
from comet.log import Log, Replay, Since, Start
from comet.message import Gap, Position
from comet.topics import Pattern

Ready = Callable[[Failure | None], None]


class Ask(NamedTuple):
    """What a reader wants: the first ``limit`` messages of ``patterns`` after ``after`` and up to ``until``, with
    ``newest`` only those that are the newest of their topics."""

    patterns: tuple[Pattern, ...]
    after: int
    until: int
    limit: int
    newest: bool = False


class History:
    """Everything that was published, as far as it is kept anywhere."""

    def __init__(self, log: Log, archive: Archive | None) -> None:
        self.log = self._log = log
        self._archive = archive
        # What has come from disk, with the number of those who have asked for it and not been given it yet. Some of
        # them have gone meanwhile, so it is let go of after a while, too.
        self._fetched: dict[Ask, tuple[Piece, int]] = {}
        self._earlier: dict[Ask, tuple[Piece, int]] = {}
        self._waiting: dict[Ask, list[Ready]] = {}

    # -- reading forward --------------------------------------------------------------------------------------------

    def at_hand(self, ask: Ask, told: int) -> Piece | None:
        """Return what ``ask`` wants, or None if it is on disk: then :meth:`fetch` it. Losses up to ``told`` are no
        news; later ones are what the piece's ``trimmed`` says, if it is higher."""
        if self._archive is None:
            return self._in_memory(ask, self._lost(ask, told))
        piece = self._taken(ask)
        if piece is None and self._is_in_memory(ask):
            return self._in_memory(ask, told)
        return piece

    def fetch(self, ask: Ask, ready: Ready) -> None:
        """Have what ``ask`` wants read from disk, and call ``ready`` once it is at hand, for a short time, or
        has failed."""
        assert self._archive is not None
        waiting = self._waiting.get(ask)
        if waiting is not None:
            waiting.append(ready)
            return
        self._waiting[ask] = [ready]
        read = self._archive.newest if ask.newest else self._archive.read
        reading = read(ask.patterns, ask.after, ask.until, ask.limit)
        reading.addCallback(self._arrived, ask)
        reading.addErrback(self._failed, ask)

    def forget(self) -> None:
        """Let go of what was at hand before the last call."""
        if self._fetched or self._earlier:
            self._fetched, self._earlier = {}, self._fetched

    def _is_in_memory(self, ask: Ask) -> bool:
        if ask.newest:
            return self._log.lost_newest(ask.patterns, ask.after) <= ask.after
        return not self._log.has_lost(ask.patterns, ask.after)

    def _lost(self, ask: Ask, after: int) -> int:
        """The highest offset, if above ``after``, that is gone from memory; else ``after``."""
        lost = self._log.lost_newest if ask.newest else self._log.lost
        return lost(ask.patterns, after)

    def _in_memory(self, ask: Ask, trimmed: int) -> Piece:
        if ask.newest:
            replay = Replay(ask.patterns, ask.after, ask.until, newest=True)
            return Piece(*self._log.snapshot(replay, ask.limit), trimmed)
        messages, reached = self._log.read(ask.patterns, ask.after, ask.limit)
        if reached > ask.until:
            messages = [message for message in messages if message.offset <= ask.until]
        return Piece(messages, min(reached, ask.until), trimmed)

    def _arrived(self, piece: Piece, ask: Ask) -> None:
        waiting = self._waiting.pop(ask)
        self._fetched[ask] = piece, len(waiting)
        for ready in waiting:
            ready(None)

    def _taken(self, ask: Ask) -> Piece | None:
        """What has come from disk; it is let go of when everybody has taken it."""
        for fetched in (self._fetched, self._earlier):
            found = fetched.pop(ask, None)
            if found is not None:
                piece, left = found
                if left > 1:
                    fetched[ask] = piece, left - 1
                return piece
        return None

    def _failed(self, failure: Failure, ask: Ask) -> None:
        for ready in self._waiting.pop(ask, ()):
            ready(failure)

    # -- where to begin ---------------------------------------------------------------------------------------------

    def start(self, since: Since, patterns: Sequence[Pattern]) -> Start:
        """As :meth:`comet.log.Log.start`, but only what is gone from the disk too is lost. ``last`` is set if only the
        disk knows where the newest so many begin."""
        start = self._log.start(since, patterns)
        if self._archive is None or since == "now":
            return start
        trimmed = self._archive.trimmed
        if isinstance(since, int):
            before = self._newest_in_memory(patterns, self._log.end, since)
            return Start(self._log.end, told=trimmed, last=since) if before is None else Start(before)
        if isinstance(since, Position):
            if since.epoch != self._log.epoch:
                return Start(0, trimmed, Gap(since, self._log.position(trimmed)))
            return start
        return start._replace(told=trimmed, losses=None)

    def first(self, patterns: Sequence[Pattern]) -> int:
        """The offset before everything that is kept of ``patterns``."""
        return self._log.lost(patterns, 0) if self._archive is None else self._archive.trimmed

    def is_gone(self, position: Position, patterns: Sequence[Pattern]) -> bool:
        """Whether messages of ``patterns`` after ``position`` may be gone."""
        return position.epoch != self._log.epoch or self.first(patterns) > position.offset

    def before_newest(self, patterns: Sequence[Pattern], until: int, count: int) -> Deferred[int]:
        """Fire with the offset after which the newest ``count`` messages of ``patterns`` up to ``until`` follow. Fails
        with :exc:`~comet.errors.StoreFailed`."""
        before = self._newest_in_memory(patterns, until, count)
        if before is not None:
            return succeed(before)
        assert self._archive is not None
        return self._archive.before_newest(patterns, until, count)

    def _newest_in_memory(self, patterns: Sequence[Pattern], until: int, count: int) -> int | None:
        """The offset after which the newest ``count`` messages follow; None if memory does not have all of them."""
        before, found = self._log.before_newest(patterns, until, count)
        begin = before if found == count else 0
        complete = not self._log.has_lost(patterns, begin)
        return before if complete or self._archive is None else None

    def count(self, topic: str) -> Deferred[int]:
        """Fire with the number of messages that are kept of ``topic``. Fails as ``before_newest``."""
        if self._archive is not None:
            return self._archive.count(topic)
        found = self._log.topic(topic)
        return succeed(0 if found is None else len(found))
