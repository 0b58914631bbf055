"""Where a subscription stands: what it wants, up to where it has it, and so what to ask for when it is cut off.

Pure. Messages come in order, so a cursor is the position of the newest one, or a later one that the daemon has told
(a heartbeat's). Three things make it more than that:

- A gap's ``until`` is no cursor: retained messages may stand in the gap, and they follow it.
- The position of an ``open`` that answers another position says that a gap follows. Until that has come, the old
  position is the cursor, or the gap would be lost with the connection.
- A stream that gets new topics with their history (:meth:`Cursor.propose`) has its past and its present at the same
  time: messages come that stand before its cursor. So there are lanes, each with patterns and a cursor of its own. The
  first lane is what a stream is opened with, the others are asked for on it. They become one when the daemon tells a
  position, or sends what is no history: it does so only when all histories are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from comet.client.reading import Line
from comet.client.values import Gap, Message
from comet.message import Position
from comet.topics import Pattern, parse_patterns

KEYWORDS = ("now", "first", "last")


class Stage(Enum):
    """How far a lane has come."""

    PROPOSED = "proposed"
    """The daemon was asked for it, and has not answered."""
    WANTED = "wanted"
    """To be asked for on each stream that is opened."""
    CARRIED = "carried"
    """The stream says that it carries it."""


class Lane:
    """Patterns that have the same cursor: ``since`` is a position, or another word that the daemon knows."""

    __slots__ = ("patterns", "since", "stage")

    def __init__(self, patterns: Sequence[Pattern], since: str, stage: Stage) -> None:
        self.patterns = list(patterns)
        self.since = since
        self.stage = stage

    def matches(self, topic: str) -> bool:
        """Whether messages on ``topic`` are of this lane."""
        return any(pattern.matches(topic) for pattern in self.patterns)

    def texts(self) -> list[str]:
        """The patterns as they are written."""
        return [pattern.text for pattern in self.patterns]


class Cursor:
    """What one subscription wants and has. Raises :exc:`~comet.errors.BadPattern` and
    :exc:`~comet.errors.BadSince` for what the daemon would refuse."""

    def __init__(self, patterns: Iterable[str], since: str) -> None:
        self._lanes = [Lane(parse_patterns(patterns), checked_since(since), Stage.CARRIED)]
        # The position that will be the cursor once the gap has come that follows an ``open``.
        self._behind_gap = ""
        # A snapshot comes first: what comes of it does not say that other histories are done.
        self._in_snapshot = False
        self._told: Gap | None = None

    @property
    def position(self) -> str:
        """Where to resume; the histories that were asked for later, and are not read yet, are left out."""
        return self._lanes[0].since

    def patterns(self) -> list[str]:
        """All that is wanted."""
        return [text for lane in self._lanes for text in lane.texts()]

    # -- what to ask for -------------------------------------------------------------------------------------------

    def opening(self) -> Lane:
        """What to open the next stream with. The streams before it are lost."""
        main, *others = self._lanes
        kept = [main]
        for lane in others:
            if lane.since in ("now", main.since) and lane.stage is not Stage.PROPOSED:
                # The past of a topic that was to have none is better than messages that are lost.
                main.patterns += lane.patterns
            else:
                kept.append(lane)
        self._lanes = [lane for lane in kept if lane.patterns] or [main]
        return self._lanes[0]

    def further(self) -> list[Lane]:
        """What to ask for on a stream that was opened."""
        return [lane for lane in self._lanes[1:] if lane.stage is Stage.WANTED]

    def propose(self, patterns: Iterable[str], since: str) -> Lane:
        """Return a lane with those of ``patterns`` that are new, which the daemon is about to be asked for."""
        known = set(self.patterns())
        new = [Pattern.parse(text) for text in dict.fromkeys(patterns) if text not in known]
        lane = Lane(new, checked_since(since), Stage.PROPOSED)
        if new:
            self._lanes.append(lane)
        return lane

    def accept(self, lane: Lane) -> None:
        """The daemon has agreed, or will be asked on the next stream."""
        if lane.stage is Stage.PROPOSED:
            lane.stage = Stage.WANTED
            # If the stream is lost before it says so, the next begins later than now.
            if lane.since == "now" and is_position(self.position):
                lane.since = self.position

    def withdraw(self, lane: Lane) -> None:
        """The daemon has refused."""
        if lane in self._lanes:
            self._lanes.remove(lane)

    def drop(self, patterns: Iterable[str]) -> None:
        """Want ``patterns`` no more."""
        gone = set(patterns)
        for lane in self._lanes:
            lane.patterns = [pattern for pattern in lane.patterns if pattern.text not in gone]
        self._lanes = [lane for lane in self._lanes if lane.patterns] or self._lanes[:1]

    # -- what has come ---------------------------------------------------------------------------------------------

    def take(self, line: Line) -> Message | Gap | None:
        """Note what has come; returns what the subscriber is to be given of it."""
        if not line.comet:
            return self._message(line)
        if line.comet == "gap":
            return self._gap(line)
        if line.comet == "open":
            self._open(line)
        elif line.comet == "topics":
            self._carry(line.topics)
        if line.comet in ("beat", "topics", "bye") and line.position:
            self._merge(line.position)
        return None

    def _message(self, line: Line) -> Message:
        self._told, self._behind_gap = None, ""
        self._advance(line.topic, line.id)
        return Message(line.topic, line.value(), line.id, line.time)

    def _advance(self, topic: str, position: str) -> None:
        main, *others = self._lanes
        carried = [lane for lane in others if lane.stage is Stage.CARRIED]
        lane = next((lane for lane in carried if lane.matches(topic)), main)
        # What does not move the main cursor on is the rest of a history that is not wanted any more.
        on = is_behind(position, main.since)
        if lane is not main or on:
            lane.since = position
        # With one history, what stands behind the cursor is no history, or its end: either way all of it has come.
        if carried and on and not self._in_snapshot and (lane is main or len(carried) == 1):
            self._merge(position)

    def _gap(self, line: Line) -> Gap | None:
        if self._behind_gap:
            self._lanes[0].since, self._behind_gap = self._behind_gap, ""
        gap = Gap(line.since, line.until)
        # Told again, because the connection was lost just after it.
        known = self._told is not None and self._told.until == gap.until
        self._told = gap
        return None if known else gap

    def _open(self, line: Line) -> None:
        main, *others = self._lanes
        for lane in others:
            if lane.stage is Stage.CARRIED:
                lane.stage = Stage.WANTED
        self._in_snapshot = not line.position
        self._behind_gap = ""
        if not line.position:
            return
        if is_position(main.since):
            self._behind_gap = "" if line.position == main.since else line.position
        else:
            main.since = line.position

    def _carry(self, texts: Iterable[str]) -> None:
        """The stream carries ``texts`` from here on."""
        carried = set(texts)
        for lane in self._lanes:
            if {pattern.text for pattern in lane.patterns} <= carried:
                lane.stage = Stage.CARRIED
        self.drop(
            text for lane in self._lanes if lane.stage is Stage.CARRIED for text in lane.texts() if text not in carried
        )
        # Whoever knows the stream's id may have asked for more.
        self._lanes[0].patterns += map(Pattern.parse, carried.difference(self.patterns()))

    def _merge(self, position: str) -> None:
        """Everything that the stream carries has come up to ``position``."""
        self._told, self._behind_gap, self._in_snapshot = None, "", False
        main, *others = self._lanes
        main.since = position
        main.patterns += [each for lane in others if lane.stage is Stage.CARRIED for each in lane.patterns]
        self._lanes = [main, *(lane for lane in others if lane.stage is not Stage.CARRIED)]


def checked_since(since: str) -> str:
    """Return ``since`` if the daemon knows it, or raise :exc:`~comet.errors.BadSince`."""
    if since in KEYWORDS or (since[:1] == "-" and since[1:].isascii() and since[1:].isdigit()):
        return since
    return str(Position.parse(since))


def is_position(since: str) -> bool:
    """Whether ``since`` is a position, and no word for one."""
    return since not in KEYWORDS and since[:1] != "-"


def is_behind(position: str, since: str) -> bool:
    """Whether ``position`` stands in the log behind ``since``; in another log, and behind a word, everything does."""
    epoch, _, offset = position.rpartition("-")
    old_epoch, _, old_offset = since.rpartition("-")
    return epoch != old_epoch or int(offset) > int(old_offset)
