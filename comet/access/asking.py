"""The application says what somebody may do who has no token: it is asked at ``authorize-url``, and answers in JSON.

    GET /comet/authorize HTTP/1.1           HTTP/1.1 200 OK
    Cookie: session=…
                                            {"sub": "alice", "ttl": 60, "comet": {"subscribe": ["news/**"]}}

It is shown the headers of the client that ``authorize-header`` names, as they came, and nothing else of the request; a
client that has none of them is asked about, too, for there may be something that anybody may do. ``Comet-Address``, if
it is named there, is the client's address, and never what a client says of itself. The members of the answer are the
claims of a token (``sub``, ``comet``), and ``ttl``: for so many seconds the answer counts, for this request, for equal
ones, and for the streams that begin with them. ``401`` and ``403`` refuse, and count for a few seconds.

Nothing is open because the application is not there: an answer that is late, broken, too long, a redirect, or none of
these is :exc:`~comet.errors.AuthorizationFailed`. The traps: ten thousand clients that come back at once must not be
ten thousand questions, so equal ones are asked once, few at a time, and a long line is not joined; and what is
remembered must not hold anybody's cookies, so it goes by a hash of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.access.grant import Grant
from comet.access.tokens import Terms, grant_of
from comet.config import Config
from comet.errors import AuthorizationFailed, BadToken, CometError, Forbidden, TokenExpired, Unauthorized
from comet.exchange.values import Asked, Bounds, NoReply, Reply
from comet.metrics import Metrics
from comet.slots import Slots

AT_ONCE = 64
"""Questions that are under way at the same time."""

LONGEST_LINE = 1_000
"""Questions that wait for that."""

MOST_REMEMBERED = 10_000

USUAL_TTL = 60.0
SHORTEST_TTL = 1.0
LONGEST_TTL = 86_400.0

REFUSALS: Mapping[type[CometError], str] = {
    Unauthorized: "the application does not know who asks; log in there first",
    Forbidden: "the application does not allow it; ask there for what you need",
}

REFUSED_FOR = 5.0
"""Seconds for which a refusal counts."""

ADDRESS = b"comet-address"

OF_THE_CONNECTION = frozenset(
    b"accept accept-encoding connection content-length content-type expect keep-alive proxy-connection te trailer "
    b"transfer-encoding upgrade user-agent".split()
)
"""What is never forwarded: it is of the client's own connection and request, or ours to say."""

Request = Callable[[Asked, Bounds], Deferred[Reply]]
"""Makes a request; see :meth:`comet.exchange.requester.Requester.request`."""

_log = Logger()


class Known(NamedTuple):
    """What the application has answered, and until when it counts."""

    outcome: Grant | type[CometError]
    until: float


Memory = OrderedDict[bytes, Known]
"""What the application has answered, by a hash of the question; what was not used for longest is in front."""


class Term(Struct):
    """What an answer says beside the claims."""

    ttl: Annotated[float, Meta(ge=SHORTEST_TTL)] = USUAL_TTL


_term = Decoder(Term)


class Odd(Exception):
    """An answer that says nothing. Its text is one line for people."""


@dataclass(slots=True, eq=False)
class _Question:
    """A question, who waits for the answer, and where that is to be remembered."""

    asked: Asked
    time: float
    memory: Memory
    waiting: list[Deferred[Grant]] = field(default_factory=list)
    answer: Deferred[None] | None = None
    in_line: bool = True


class Application:
    """Asks the application. ``reactor`` keeps the time; it connects, too, if no ``request`` is given."""

    def __init__(self, config: Config, reactor: Any, metrics: Metrics, request: Request | None = None) -> None:
        self._reactor = reactor
        self._metrics = metrics
        self._requester = request
        self._slots = Slots(lambda: AT_ONCE)
        self._questions: dict[bytes, _Question] = {}
        self._known: Memory = OrderedDict()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`. What was answered before is forgotten."""
        self._config = config
        self._names = sorted({name.encode() for name in config.authorize_header} - OF_THE_CONNECTION)
        self._known = OrderedDict()

    def forget(self, covers: Callable[[Grant], bool]) -> None:
        """Ask anew, the next time, about whoever has a grant that ``covers`` says yes to."""
        kept = (
            (key, known)
            for key, known in self._known.items()
            if not (isinstance(known.outcome, Grant) and covers(known.outcome))
        )
        self._known = OrderedDict(kept)

    def grant(self, headers: Mapping[bytes, bytes], now: float, address: str = "") -> Grant | Deferred[Grant]:
        """What a client may do whose request, which came at ``now`` (seconds since 1970), has these ``headers``; their
        names are in lower case. At once if the application has said it before, or else later.

        Raises, or fails with, :exc:`~comet.errors.Unauthorized` or :exc:`~comet.errors.Forbidden` if the application
        refuses, and :exc:`~comet.errors.AuthorizationFailed` if it does not answer. Cancelling is to wait no longer.
        """
        asked = Asked(self._config.authorize_url, self._forwarded(headers, address))
        key = _key_of(asked)
        known = self._known.get(key)
        if known is not None and now < known.until:
            self._known.move_to_end(key)
            return _granted(known.outcome)
        question = self._questions.get(key)
        if question is not None:
            return _joined(question)
        if len(self._questions) >= AT_ONCE + LONGEST_LINE:
            self._metrics.count_authorization("failed")
            raise _failed()
        question = self._questions[key] = _Question(asked, now, self._known)
        waiting = _joined(question)
        question.answer = Deferred.fromCoroutine(self._ask(question)).addBoth(self._settle, key, question)
        return waiting

    def _forwarded(self, headers: Mapping[bytes, bytes], address: str) -> dict[bytes, bytes]:
        forwarded = {name: headers[name] for name in self._names if name in headers and name != ADDRESS}
        if address and ADDRESS in self._names:
            forwarded[ADDRESS] = address.encode()
        return forwarded

    # -- one question -----------------------------------------------------------------------------------------------

    async def _ask(self, question: _Question) -> Known:
        began, patience = self._reactor.seconds(), self._config.authorize_timeout
        try:
            await self._slots.take().addTimeout(patience, self._reactor)
        except TimeoutError:
            raise Odd(f"{AT_ONCE} questions are not answered yet after {patience:g} s (authorize-timeout)") from None
        question.in_line = False
        try:
            left = max(0.0, round(began + patience - self._reactor.seconds(), 3))
            reply = await self._request(question.asked, Bounds(left, "authorize-timeout"))
        except NoReply as error:
            raise Odd(str(error)) from None
        finally:
            self._slots.give_back()
        return read(reply, question.time, question.time + self._reactor.seconds() - began)

    def _request(self, asked: Asked, bounds: Bounds) -> Deferred[Reply]:
        if self._requester is None:
            from comet.exchange.requester import Requester  # noqa: PLC0415 (18 MB that few daemons need)

            self._requester = Requester(self._reactor).request
        headers = {b"accept": b"application/json", **asked.headers}
        return self._requester(asked._replace(headers=headers), bounds)

    def _settle(self, result: Known | Failure, key: bytes, question: _Question) -> None:
        del self._questions[key]
        if isinstance(result, Failure):
            self._complain(result, question.asked.url)
        else:
            self._remember(key, result, question)
        waiting, question.waiting = question.waiting, []
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(_failed())
            elif isinstance(result.outcome, Grant):
                each.callback(result.outcome)
            else:
                each.errback(_refused(result.outcome))

    def _complain(self, failure: Failure, url: str) -> None:
        if failure.check(CancelledError):  # nobody waits for it any longer
            return
        self._metrics.count_authorization("failed")
        if failure.check(Odd):
            _log.warn(
                "{url} does not say who may do what, so clients without a token are refused: {text}",
                url=url.partition("?")[0],
                text=failure.getErrorMessage(),
            )
        else:
            _log.failure("asking {url} failed", failure, url=url.partition("?")[0])

    def _remember(self, key: bytes, known: Known, question: _Question) -> None:
        self._metrics.count_authorization("granted" if isinstance(known.outcome, Grant) else "refused")
        if question.memory is self._known:  # else what was asked before does not count any longer
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)


def read(reply: Reply, asked: float, now: float) -> Known:
    """What ``reply``, which came at ``now``, says to a question of the time ``asked``. Raises :exc:`Odd`."""
    if reply.status == 401:
        return Known(Unauthorized, now + REFUSED_FOR)
    if reply.status == 403:
        return Known(Forbidden, now + REFUSED_FOR)
    if 300 <= reply.status < 400:
        raise Odd(f"it answered {reply.status}, and redirects are not followed; set authorize-url to the right URL")
    if reply.status != 200:
        raise Odd(f"it answered {reply.status}; it is to answer 200, 401 or 403")
    if reply.body is None:
        raise Odd("its answer is too long")
    try:
        ttl = min(_term.decode(reply.body).ttl, LONGEST_TTL)
        grant = grant_of(reply.body, Terms(), now)
    except (DecodeError, UnicodeDecodeError, RecursionError, BadToken, TokenExpired) as error:
        raise Odd(f"its answer cannot be used: {error}") from None
    until = min(now + ttl, grant.expires)
    return Known(replace(grant, issued=asked, expires=until), until)


def _joined(question: _Question) -> Deferred[Grant]:
    """Fires with what the answer to ``question`` grants. A question that is still in line is given up once nobody waits
    for it; one that the application has got is not, for its answer is worth remembering."""

    def leave(waiting: Deferred[Grant]) -> None:
        question.waiting.remove(waiting)
        if question.in_line and not question.waiting and question.answer is not None:
            question.answer.cancel()

    waiting: Deferred[Grant] = Deferred(leave)
    question.waiting.append(waiting)
    return waiting


def _granted(outcome: Grant | type[CometError]) -> Grant:
    if isinstance(outcome, Grant):
        return outcome
    raise _refused(outcome)


def _refused(kind: type[CometError]) -> CometError:
    return kind(REFUSALS[kind])


def _failed() -> AuthorizationFailed:
    return AuthorizationFailed("the application that says who may do what does not answer as it should; try again")


def _key_of(asked: Asked) -> bytes:
    """Equal for equal questions alone, short, and says nothing of what is in them."""
    digest = blake2b(asked.url.encode(), digest_size=32)
    for name, value in asked.headers.items():
        digest.update(b"\n%b %d %b" % (name, len(value), value))
    return digest.digest()
