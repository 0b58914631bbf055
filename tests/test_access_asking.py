"""What is asked of the application, what its answers mean, and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from comet.access.asking import AT_ONCE, LONGEST_LINE, MOST_REMEMBERED, REFUSED_FOR, Application
from comet.access.grant import Grant
from comet.config import Config
from comet.errors import AuthorizationFailed, CometError, Forbidden, Unauthorized
from comet.exchange.values import Asked, Bounds, NoReply, Reply
from comet.metrics import Metrics
from comet.topics import Pattern
from tests.fakes import START

URL = "http://127.0.0.1:8000/comet/authorize?secret=geheim"
ALICE = {b"cookie": b"session=alice"}
BOB = {b"cookie": b"session=bob"}

Waiting = list[Any]
"""What was granted, or why it was refused, as far as it is known yet."""


def said(value: Any = None, status: int = 200) -> Reply:
    """An answer of the application."""
    return Reply(status, {}, json.dumps({"sub": "alice", "ttl": 60} if value is None else value).encode())


class Scene:
    """An application that answers when the test says so."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.asked: list[Asked] = []
        self.bounds: list[Bounds] = []
        self.answers: list[Deferred[Reply]] = []
        self.application = Application(self.config(**settings), self.clock, self.metrics, self.request)

    def config(self, **settings: Any) -> Config:
        """The settings, but for what is said otherwise."""
        return Config(**{"authorize_url": URL, **settings})

    def request(self, asked: Asked, bounds: Bounds) -> Deferred[Reply]:
        """Take a request."""
        self.asked.append(asked)
        self.bounds.append(bounds)
        answer: Deferred[Reply] = Deferred()
        self.answers.append(answer)
        return answer

    def answer(self, reply: Reply | Exception) -> None:
        """Answer the oldest request that waits for it."""
        answer = next(each for each in self.answers if not each.called)
        if isinstance(reply, Exception):
            answer.errback(reply)
        else:
            answer.callback(reply)

    def ask(self, headers: Mapping[bytes, bytes] = ALICE, address: str = "") -> Waiting:
        """Ask for a grant."""
        waiting: Waiting = []
        self.begin(headers, waiting, address)
        return waiting

    def begin(self, headers: Mapping[bytes, bytes], waiting: Waiting, address: str = "") -> Deferred[Any] | None:
        """Ask for a grant, and return what can be cancelled."""
        try:
            granted = self.application.grant(headers, START + self.clock.seconds(), address)
        except CometError as error:
            waiting.append(error)
            return None
        if isinstance(granted, Grant):
            waiting.append(granted)
            return None
        return granted.addCallbacks(waiting.append, lambda failure: waiting.append(failure.value))

    def granted(self, headers: Mapping[bytes, bytes] = ALICE, reply: Reply | None = None) -> Grant:
        """Ask, answer, and return what was granted."""
        waiting = self.ask(headers)
        self.answer(reply or said())
        (grant,) = waiting
        assert isinstance(grant, Grant), grant
        return grant

    def odd(self, reply: Reply | Exception) -> None:
        """Ask, answer with what is none, and see that this is refused."""
        waiting = self.ask()
        self.answer(reply)
        assert [type(each) for each in waiting] == [AuthorizationFailed]
        assert "does not answer" in str(waiting[0])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What was logged."""
    logged: list[str] = []

    def observe(event: LogEvent) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield logged
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_what_is_forwarded() -> None:
    """The application is shown the headers that it is to see, as they came, and no others."""
    scene = Scene(authorize_header=("cookie", "x-tenant", "accept-language"))
    scene.ask({b"cookie": b"a=\xff; b", b"x-tenant": b"", b"referer": b"https://a.example/", b"host": b"localhost"})
    (asked,) = scene.asked
    assert (asked.url, asked.body) == (URL, None)
    assert asked.headers == {b"accept": b"application/json", b"cookie": b"a=\xff; b", b"x-tenant": b""}
    assert scene.bounds == [(5.0, "authorize-timeout", scene.bounds[0].check)]


def test_any_address() -> None:
    """Where the application is, is the operator's choice: it may be on this machine."""
    scene = Scene()
    scene.ask()
    scene.bounds[0].check("127.0.0.1")


def test_what_is_never_forwarded() -> None:
    """What is about the client's own connection would break ours."""
    scene = Scene(authorize_header=("content-length", "transfer-encoding", "connection", "expect", "accept-encoding"))
    scene.ask({name.encode(): b"chunked" for name in scene.config().authorize_header} | {b"content-length": b"7"})
    assert scene.asked[0].headers == {b"accept": b"application/json"}


def test_the_address() -> None:
    """The client's address is told if the application wants it, whatever the client says itself."""
    scene = Scene(authorize_header=("comet-address",))
    scene.ask({b"comet-address": b"127.0.0.1"}, "192.0.2.7")
    scene.ask({b"comet-address": b"127.0.0.1"}, "192.0.2.8")
    scene.ask({b"comet-address": b"127.0.0.1"})
    assert [asked.headers.get(b"comet-address") for asked in scene.asked] == [b"192.0.2.7", b"192.0.2.8", None]
    scene = Scene()
    scene.ask(ALICE, "192.0.2.7")
    assert b"comet-address" not in scene.asked[0].headers


# -- what the answers mean ---------------------------------------------------------------------------------------------


def test_a_grant() -> None:
    """The claims of the answer are those of a token."""
    scene = Scene()
    comet = {"publish": ["chat/*"], "subscribe": ["news/**", "chat/*"], "consumers": ["alice-phone"], "admin": True}
    grant = scene.granted(reply=said({"sub": "alice", "jti": "s1", "ttl": 20, "comet": comet}))
    assert grant == Grant(
        subject="alice",
        token="s1",
        publish=(Pattern.parse("chat/*"),),
        subscribe=(Pattern.parse("news/**"), Pattern.parse("chat/*")),
        consumers=("alice-phone",),
        admin=True,
        expires=START + 20,
        issued=START,
    )
    assert scene.metrics.authorizations == {"granted": 1}


@pytest.mark.parametrize(
    ("answer", "expires"),
    [
        ({}, 60),
        ({"ttl": 1}, 1),
        ({"ttl": 1.5}, 1.5),
        ({"ttl": 1e300}, 86_400),
        ({"exp": START + 10, "ttl": 60}, 15),
        ({"exp": START + 1000}, 60),
    ],
)
def test_how_long(answer: Any, expires: float) -> None:
    """A grant is for the seconds of ttl: a minute if it is not said, and at most a day."""
    assert Scene().granted(reply=said(answer)).expires == START + expires


def test_a_grant_that_is_over() -> None:
    """What is over sooner than its ttl says (exp) is not given to anybody any more."""
    scene = Scene()
    grant = scene.granted(reply=said({"exp": START + 10, "ttl": 60}))
    scene.clock.advance(14.9)
    assert scene.ask() == [grant]
    scene.clock.advance(0.1)
    assert scene.ask() == []


def test_nobody() -> None:
    """An application that says nothing of somebody has granted nothing."""
    grant = Scene().granted(reply=said({}))
    assert (grant.subject, grant.publish, grant.subscribe, grant.admin) == ("", (), (), False)


def test_time_in_between() -> None:
    """A grant counts from when it came, but is as old as the question."""
    scene = Scene()
    waiting = scene.ask()
    scene.clock.advance(3)
    scene.answer(said({"ttl": 2}))
    assert (waiting[0].issued, waiting[0].expires) == (START, START + 5)


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
def test_refused(status: int, kind: type[CometError]) -> None:
    """What the application refuses is refused, at once and for some seconds."""
    scene = Scene()
    waiting = scene.ask()
    scene.answer(said(status=status))
    scene.clock.advance(REFUSED_FOR - 0.1)
    waiting += scene.ask()
    assert [type(each) for each in waiting] == [kind] * 2
    assert waiting[0] is not waiting[1]  # each has a traceback of its own
    scene.clock.advance(0.1)
    assert scene.ask() == []
    assert scene.metrics.authorizations == {"refused": 1}


@pytest.mark.parametrize("status", [100, 201, 204, 206, 301, 302, 307, 400, 404, 429, 500, 502, 503, 999])
def test_other_statuses(status: int) -> None:
    """No other status says anything: the client is refused, and the application is asked anew."""
    scene = Scene()
    scene.odd(said(status=status))
    scene.odd(said(status=status))
    assert scene.metrics.authorizations == {"failed": 2}


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"null",
        b"[]",
        b'"alice"',
        b"<!doctype html><title>Log in</title>",
        b'{"sub":"alice"',
        b'{"sub":"\xff"}',
        b"[" * 60_000,
        b'{"comet":' * 5_000,
        b'{"sub":7}',
        b'{"sub":null}',
        b'{"sub":"a\\nb"}',
        b'{"ttl":null}',
        b'{"ttl":true}',
        b'{"ttl":"60"}',
        b'{"ttl":0}',
        b'{"ttl":0.99}',
        b'{"ttl":-60}',
        b'{"ttl":1e999}',
        b'{"ttl":NaN}',
        b'{"comet":null}',
        b'{"comet":[]}',
        b'{"comet":{"publish":"**"}}',
        b'{"comet":{"publish":["a/**/b"]}}',
        b'{"comet":{"subscribe":[""]}}',
        b'{"comet":{"sub":["a"]}}',
        b'{"comet":{"admin":1}}',
        b'{"comet":{"everything":true}}',
        b'{"exp":1}',
        b'{"nbf":9e9}',
        b'{"aud":"other"}',
    ],
)
def test_nonsense(body: bytes | None, lines: list[str]) -> None:
    """An answer that cannot be understood is none, and the operator is told why, in one line."""
    scene = Scene()
    scene.odd(Reply(200, {}, body))
    (line,) = lines
    assert line.startswith("http://127.0.0.1:8000/comet/authorize does not say who may do what")
    assert "\n" not in line
    assert "geheim" not in line
    assert len(line) < 400


def test_no_answer(lines: list[str]) -> None:
    """An application that is not there has not allowed anything."""
    scene = Scene()
    scene.odd(NoReply("while waiting for a connection: Connection was refused"))
    assert "Connection was refused" in lines[0]
    assert scene.metrics.authorizations == {"failed": 1}


def test_a_mistake_of_ours(failures: list[Failure]) -> None:
    """Not even a mistake of the daemon's own opens anything; it is in the log."""
    scene = Scene()
    scene.odd(ZeroDivisionError())
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    failures.clear()


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_remembered() -> None:
    """The application is asked once in the seconds of ttl, for each client that it could tell from others."""
    scene = Scene(authorize_header=("cookie", "x-tenant"))
    grant = scene.granted(ALICE)
    assert scene.ask({**ALICE, b"referer": b"https://a.example/"}) == [grant]
    assert scene.ask(BOB) == []
    assert scene.ask({**ALICE, b"x-tenant": b"a"}) == []
    assert scene.ask({b"cookie": b"session=alice\nx-tenant 1 a"}) == []
    scene.clock.advance(59.9)
    assert scene.ask() == [grant]
    scene.clock.advance(0.1)
    assert scene.ask() == []
    assert len(scene.asked) == 5


def test_who_shows_nothing() -> None:
    """Of a client without any of the headers the application is asked, too; all of them are one."""
    scene = Scene()
    grant = scene.granted({})
    assert scene.ask({b"host": b"localhost"}) == scene.ask({b"accept": b"*/*"}) == [grant]
    assert len(scene.asked) == 1


def test_failures_are_not_remembered() -> None:
    """An application that answers again is believed at once."""
    scene = Scene()
    scene.odd(NoReply("gone"))
    assert scene.granted().subject == "alice"


def test_bound() -> None:
    """So much is remembered and no more; what was used last is kept."""
    scene = Scene()
    grant = scene.granted()
    for number in range(MOST_REMEMBERED):
        scene.granted({b"cookie": b"%d" % number})
        if number % 100 == 0:
            assert scene.ask() == [grant]
    assert len(scene.application._known) == MOST_REMEMBERED
    assert scene.ask({b"cookie": b"0"}) == []
    assert scene.ask() == [grant]


def test_nothing_of_a_client_is_kept() -> None:
    """What is remembered has no cookies in it."""
    scene = Scene()
    scene.granted()
    scene.asked.clear()
    assert "session" not in repr(scene.application._known)
    assert "session" not in repr(scene.application._questions)


def test_configuring() -> None:
    """Once the settings were read again nothing counts that was answered, or asked, before."""
    scene = Scene()
    scene.granted(ALICE)
    waiting = scene.ask(BOB)
    scene.application.configure(scene.config(authorize_url="http://127.0.0.1:8001/", authorize_timeout=2.0))
    assert scene.ask(ALICE) == []
    assert (scene.asked[-1].url, scene.bounds[-1].timeout) == ("http://127.0.0.1:8001/", 2.0)
    scene.answer(said())
    assert waiting[0].subject == "alice"
    assert scene.ask(BOB) == []
    assert len(scene.asked) == 4


def test_forgetting() -> None:
    """Of whoever was revoked the application is asked again, also if it was being asked just then."""
    scene = Scene()
    scene.granted(ALICE)
    bob = scene.granted(BOB, said({"sub": "bob"}))
    other = {b"cookie": b"session=alice2"}
    scene.ask(other)
    scene.application.forget(lambda grant: grant.subject == "alice")
    assert scene.ask(BOB) == [bob]
    assert scene.ask(ALICE) == []
    scene.answer(said())
    assert scene.ask(other) == []


# -- many at once ------------------------------------------------------------------------------------------------------


def test_equal_questions() -> None:
    """Who asks what is being asked waits for the same answer."""
    scene = Scene()
    waiting = [scene.ask() for _ in range(100)]
    assert len(scene.asked) == 1
    scene.answer(said())
    assert len({id(grant) for (grant,) in waiting}) == 1
    waiting = [scene.ask(BOB) for _ in range(3)]
    scene.answer(NoReply("gone"))
    assert [type(error) for (error,) in waiting] == [AuthorizationFailed] * 3
    assert len({id(error) for (error,) in waiting}) == 3


def test_leaving() -> None:
    """A client that leaves waits no longer; the others do, and what comes is remembered in any case."""
    scene = Scene()
    gone: Waiting = []
    leaving = scene.begin(ALICE, gone)
    assert leaving is not None
    waiting = scene.ask()
    leaving.cancel()
    assert isinstance(gone[0], CancelledError)
    scene.answer(said())
    assert waiting[0].subject == "alice"

    leaving = scene.begin(BOB, gone)
    assert leaving is not None
    leaving.cancel()
    scene.answer(said({"sub": "bob"}))
    assert scene.ask(BOB)[0].subject == "bob"


def test_the_line() -> None:
    """So many questions are under way at once; the others wait in the order in which they came."""
    scene = Scene()
    waiting = [scene.ask({b"cookie": b"%d" % number}) for number in range(AT_ONCE + 2)]
    assert len(scene.asked) == AT_ONCE
    scene.answer(said())
    scene.answer(NoReply("gone"))
    assert [asked.headers[b"cookie"] for asked in scene.asked[AT_ONCE:]] == [b"%d" % AT_ONCE, b"%d" % (AT_ONCE + 1)]
    for _ in range(AT_ONCE):
        scene.answer(said())
    assert all(waiting)


def test_a_long_line() -> None:
    """A line that is too long is not joined; who is in it already is not lost."""
    scene = Scene()
    waiting = [scene.ask({b"cookie": b"%d" % number}) for number in range(AT_ONCE + LONGEST_LINE)]
    assert [type(each) for each in scene.ask()] == [AuthorizationFailed]
    assert scene.ask({b"cookie": b"0"}) == []
    assert scene.metrics.authorizations == {"failed": 1}
    for _ in waiting:
        scene.answer(said())
    assert all(isinstance(each, Grant) for (each,) in waiting)
    assert scene.granted().subject == "alice"
    assert not scene.application._questions


def test_waiting_in_line(lines: list[str]) -> None:
    """The time in line is a part of the time that there is."""
    scene = Scene(authorize_timeout=4.0)
    for number in range(AT_ONCE):
        scene.ask({b"cookie": b"%d" % number})
    waiting, late = scene.ask(ALICE), scene.ask(BOB)
    scene.clock.advance(3)
    scene.answer(said())
    assert scene.bounds[-1].timeout == 1.0
    scene.clock.advance(1)
    assert waiting == []
    assert [type(each) for each in late] == [AuthorizationFailed]
    assert f"{AT_ONCE} questions are not answered yet after 4 s (authorize-timeout)" in lines[0]
    scene.answer(said())
    assert len(scene.asked) == AT_ONCE + 1


def test_leaving_the_line() -> None:
    """A question for which nobody waits any longer is not asked."""
    scene = Scene()
    for number in range(AT_ONCE):
        scene.ask({b"cookie": b"%d" % number})
    gone: Waiting = []
    first, second = scene.begin(ALICE, gone), scene.begin(ALICE, gone)
    assert first is not None
    assert second is not None
    first.cancel()
    assert len(scene.application._questions) == AT_ONCE + 1
    second.cancel()
    assert len(scene.application._questions) == AT_ONCE
    scene.answer(said())
    assert len(scene.asked) == AT_ONCE
    assert scene.metrics.authorizations == {"granted": 1}
    assert not scene.clock.getDelayedCalls()


def test_asking_within_an_answer() -> None:
    """Who asks again as soon as there is an answer gets the same one."""
    scene = Scene()
    again: Waiting = []
    granted = scene.application.grant(ALICE, START)
    assert isinstance(granted, Deferred)
    granted.addCallback(lambda _: scene.begin(ALICE, again))
    scene.answer(said())
    assert again[0].subject == "alice"
    assert again[0].expires < inf
