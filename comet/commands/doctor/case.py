"""What was measured, as plain values: the verdicts are made of these alone, without a network. Times are in seconds.

A member that is None was not measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from comet.commands.doctor.target import Target

Fields = tuple[tuple[str, str], ...]
"""The fields of a head, with their names as they came."""


def header(fields: Fields, name: str) -> str:
    """The value of a field, joined if it is there more than once; empty if it is not there."""
    return ", ".join(value for each, value in fields if each.lower() == name)


@dataclass(frozen=True, slots=True)
class Reached:
    """The way to the address. ``refused`` is what is wrong with the certificate, ``days`` how long it is still good
    for, ``lifetime`` how many days it is good for in all."""

    address: str
    loopback: bool
    seconds: float
    tls: str = ""
    refused: str = ""
    days: float | None = None
    lifetime: float = 90.0
    http2: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a plain request; with ``status`` 0 there was none, and ``trouble`` may say why."""

    status: int = 0
    phrase: str = ""
    fields: Fields = ()
    body: bytes = b""
    sent_at: float = 0.0
    seconds: float = 0.0
    trouble: str = ""

    def header(self, name: str) -> str:
        """The value of a field, empty if it is not there."""
        return header(self.fields, name)

    def members(self) -> dict[str, object]:
        """The members of a body that is a JSON object, else none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def code(self) -> str:
        """The code of a refusal by Comet (a problem document), empty if it is none."""
        return str(self.members().get("code", "")) if "problem+json" in self.header("content-type") else ""

    def detail(self) -> str:
        """What such a refusal says."""
        return str(self.members().get("detail", "")) if self.code() else ""

    def is_poll(self) -> bool:
        """Whether Comet has answered a poll."""
        return self.status == 200 and {"messages", "next"} <= self.members().keys()

    def said(self) -> str:
        """The answer in a few words."""
        if not self.status:
            return self.trouble or "no answer"
        return f"{self.status} {self.phrase}".strip()


@dataclass(frozen=True, slots=True)
class Idle:
    """What came in ``watched`` seconds without messages. ``beats`` is how often something came, ``quiet`` the longest
    time without; ``cut`` is how long nothing had come when the connection was ended, None if it was not."""

    watched: float
    beats: int
    quiet: float
    cut: float | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A transport that was opened. ``first`` is the time from the request to the first byte of the body, ``single`` and
    ``row`` are by how much messages came later than their publisher was told that they are stored, None for one that
    did not come."""

    transport: str
    answer: Answer
    first: float | None = None
    single: float | None = None
    row: tuple[float | None, ...] = ()
    clumps: int = 0
    stream: str = ""
    ended: bool = False
    handshake: bool = False
    ponged: bool = False
    idle: Idle | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """How many bytes came of a stream that was asked for with padding, of one without gzip, and what the answer to one
    that takes any encoding says of it."""

    padded: int = 0
    plain: int = 0
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A message that was published: when it was sent and when its publisher was told that it is stored, by the
    monotonic clock; ``refused`` says why it was not."""

    way: str
    sent_at: float = 0.0
    stored_at: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Open files of the daemon: how many it may have, and has; and how many streams it is told to hold, if that can be
    seen."""

    limit: int
    opened: int
    streams: int | None


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution on this machine: ``name`` and ``version`` as it says, and where it is."""

    name: str
    version: str
    place: str


@dataclass(slots=True)
class Case:
    """Everything that was found out so far."""

    target: Target
    origin: str = ""
    patience: float = 1.5
    silence: float = 25.0
    own_version: str = ""
    moved: list[tuple[str, str, int]] = field(default_factory=list)
    reached: Reached | None = None
    poll: Answer | None = None
    rootward: str = ""
    round_trip: float = 0.0
    connections: int = 0
    requests: int = 0
    ready: Answer | None = None
    stats: Answer | None = None
    metrics: Answer | None = None
    same_origin: Answer | None = None
    cross_origin: Answer | None = None
    preflight: Answer | None = None
    published: Published | None = None
    polled_again: Answer | None = None
    polled_fresh: Answer | None = None
    arrived: bool = False
    skew: float | None = None
    held: list[Held] = field(default_factory=list)
    twin: str = ""
    experiment: Experiment | None = None
    descriptors: Descriptors | None = None
    installed: Sequence[Installed] = ()
    plugins: Sequence[str] = ()

    def fields(self) -> list[Fields]:
        """The heads of all answers, which tell what stands between."""
        answers = (self.poll, self.ready, self.stats, self.polled_again, *(held.answer for held in self.held))
        return [answer.fields for answer in answers if answer is not None]
