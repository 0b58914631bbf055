"""Revocations: tokens that do not count any longer although they are not over yet.

A revocation is of one token, by its id (``jti``), or of a subject (``sub``): of all its tokens that were issued before
it. Each is a record, so that it outlives the daemon, and may say until when the tokens that it covers are over anyway:
then it is forgotten. The traps: to forget one early would let the token in again, so when there is no room a new one is
refused; and an ``iat`` is mostly of whole seconds, so a token of the very second in which its subject is revoked is
revoked, too, whichever of them came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from comet.access.grant import Grant
from comet.access.tokens import LEEWAY, LONGEST_NAME
from comet.errors import (
    BadName,
    BadParameter,
    BadToken,
    Draining,
    NotFound,
    StoreFailed,
    TooManyRevocations,
    shown,
)
from comet.kept import Record
from comet.records import Records

TOKEN, SUBJECT = "token", "subject"
KINDS = (TOKEN, SUBJECT)

MOST = 100_000
LOOK_EVERY = 60.0
FORGOTTEN_AT_ONCE = 1_000
"""Revocations that are forgotten in one turn; each is a write of the store."""


class Revocation(Struct, frozen=True):
    """What was revoked: when, and until when it matters. Times are in seconds since 1970; ``until`` may be none."""

    kind: str
    name: str
    at: float
    until: float | None = None

    def is_over(self, now: float) -> bool:
        """Whether there is nothing left that it could cover."""
        return self.until is not None and self.until + LEEWAY <= now

    def described(self) -> dict[str, Any]:
        """What there is to say of it."""
        described: dict[str, Any] = {self.kind: self.name, "at": round(self.at, 3)}
        return described if self.until is None else {**described, "until": self.until}


class Revocations:
    """All of them. ``time`` gives the seconds since 1970; there are at most ``most``."""

    def __init__(self, records: Records, time: Callable[[], float], most: int = MOST) -> None:
        self._records = records
        self._time = time
        self._most = most
        self._revoked: dict[str, dict[str, Revocation]] = {kind: {} for kind in KINDS}
        self._look_at = -inf

    def start(self) -> None:
        """Go on with those that are kept."""
        for kind in KINDS:
            for name, body in self._records.of(_record_kind(kind)).items():
                self._revoked[kind][name] = _decode(body)

    def __len__(self) -> int:
        return sum(map(len, self._revoked.values()))

    def __iter__(self) -> Iterator[Revocation]:
        for revoked in self._revoked.values():
            yield from revoked.values()

    # -- what is asked of each grant --------------------------------------------------------------------------------

    def check(self, grant: Grant) -> None:
        """Raise :exc:`~comet.errors.BadToken` if ``grant`` is of a token that was revoked."""
        if self.covers(grant):
            raise BadToken("this token was revoked")

    def covers(self, grant: Grant) -> bool:
        """Whether ``grant`` is of a token that was revoked, or of a subject that was revoked after it was issued.
        One that does not say when it was issued is."""
        return self._counts(TOKEN, grant.token) is not None or (
            (subject := self._counts(SUBJECT, grant.subject)) is not None and grant.issued <= subject.at
        )

    def _counts(self, kind: str, name: str) -> Revocation | None:
        revocation = self._revoked[kind].get(name)
        return None if revocation is None or revocation.is_over(self._time()) else revocation

    # -- what administrators ask ------------------------------------------------------------------------------------

    def revoke(self, kind: str, name: str, until: float | None = None) -> Deferred[Revocation]:
        """Revoke the token of the id ``name``, or all tokens that the subject ``name`` has now; at ``until``, in
        seconds since 1970, they are over anyway. Fires once that is kept, and counts from then on.

        Raises :exc:`~comet.errors.BadName`, :exc:`~comet.errors.BadParameter` or
        :exc:`~comet.errors.TooManyRevocations`; fails with :exc:`~comet.errors.StoreFailed` or
        :exc:`~comet.errors.Draining`, and then what was revoked before stays so, and nothing else is.
        """
        now = self._time()
        revocation = Revocation(kind, _checked(kind, name), now, until)
        if revocation.is_over(now):
            raise BadParameter(f"until={until:g} is over; it is the time, in seconds since 1970, when the tokens are")
        self._make_room(kind, name, now)
        record = Record(_record_kind(kind), name, _encode(revocation))
        return self._records.put(record).addCallback(self._take_in, revocation)

    def take_back(self, kind: str, name: str) -> Deferred[None]:
        """Have what was revoked count again. Fires once that is kept. Raises :exc:`~comet.errors.NotFound`; fails as
        ``revoke`` does."""
        if name not in self._revoked[kind]:
            raise NotFound(f"the {kind} {shown(name)} is not revoked; GET /revocations lists what is")
        return self._records.remove(_record_kind(kind), name).addCallback(self._let_go, kind, name)

    def each_second(self) -> None:
        """To be called once a second: what is over is forgotten, now and then."""
        now = self._time()
        if now >= self._look_at:
            self._look_at = now if self._forget(now) == FORGOTTEN_AT_ONCE else now + LOOK_EVERY

    def _make_room(self, kind: str, name: str, now: float) -> None:
        if len(self) < self._most or name in self._revoked[kind]:
            return
        if not self._forget(now):
            raise TooManyRevocations(
                f"there are {len(self)} revocations already; take some back, or change the key that signed the tokens"
            )

    def _take_in(self, _: None, revocation: Revocation) -> Revocation:
        self._revoked[revocation.kind][revocation.name] = revocation
        return revocation

    def _let_go(self, _: None, kind: str, name: str) -> None:
        self._revoked[kind].pop(name, None)

    def _forget(self, now: float) -> int:
        """Forget those that are over, but not all at once; returns how many."""
        over = list(islice((each for each in self if each.is_over(now)), FORGOTTEN_AT_ONCE))
        for each in over:
            del self._revoked[each.kind][each.name]
            self._records.remove(_record_kind(each.kind), each.name).addErrback(_is_left)
        return len(over)


def _is_left(failure: Failure) -> None:
    """What the store could not forget is read at the next start, and forgotten then."""
    failure.trap(StoreFailed, Draining)


def _record_kind(kind: str) -> str:
    return f"revoked-{kind}"


def _checked(kind: str, name: str) -> str:
    if not name or len(name.encode()) > LONGEST_NAME:
        raise BadName(f"{shown(name)} cannot name a {kind}: it has 1 to {LONGEST_NAME} bytes")
    return name


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Revocation).decode
