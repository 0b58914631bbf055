"""Keys that an issuer publishes at a URL: when they are fetched, which count, and who waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from comet.access import jwks as module
from comet.access.grant import Grant
from comet.access.jwks import AGAIN, MOST_KEYS, Issuer
from comet.access.keys import Keyring
from comet.config import Config
from comet.errors import AuthorizationFailed, BadToken, CometError, TokenExpired
from comet.exchange.values import Asked, Bounds, NoReply, Reply
from comet.topics import Pattern
from tests.minting import SECRET, jwk, jwks, minted, private

NOW = 1_790_000_000.0
URL = "https://user:geheim@login.example/jwks.json?secret=geheim"
GRANT = Grant(subscribe=(Pattern.parse("chat/*"),))

OLD, NEW = private("ES256", "old"), private("ES256", "new")
OLD_KEY, NEW_KEY = jwk(OLD, "ES256", kid="old"), jwk(NEW, "ES256", kid="new")


def old_token(**claims: Any) -> str:
    """A token of the key that there is at first."""
    return minted(OLD, "ES256", kid="old", **claims)


def new_token(**claims: Any) -> str:
    """A token of the key that there is later."""
    return minted(NEW, "ES256", kid="new", **claims)


class Scene:
    """A keyring with keys at one URL, or more, whose issuers answer when the test says so."""

    def __init__(self, *keys: str, **settings: Any) -> None:
        self.clock = Clock()
        self.asked: list[Asked] = []
        self.answers: list[Deferred[Reply]] = []
        self.lines: list[str] = []
        self.keyring = Keyring(Config(key=keys or (URL,), **settings), self.clock, self.request)

    def request(self, asked: Asked, bounds: Bounds) -> Deferred[Reply]:
        """Take a request."""
        assert 0 < bounds.timeout <= AGAIN
        self.asked.append(asked)
        answer: Deferred[Reply] = Deferred()
        self.answers.append(answer)
        return answer

    def answer(self, reply: bytes | Reply | Exception) -> None:
        """Answer the oldest request that waits for it; with a JWKS, if it is bytes."""
        answer = next(each for each in self.answers if not each.called)
        if isinstance(reply, Exception):
            answer.errback(reply)
        else:
            answer.callback(Reply(200, {}, reply) if isinstance(reply, bytes) else reply)

    def grant(self, token: str, now: float = NOW) -> list[Any]:
        """What is granted, or why it is refused, once it is known."""
        found: list[Any] = []
        try:
            granted = self.keyring.grant(token, now)
        except CometError as error:
            return [error]
        if isinstance(granted, Grant):
            return [granted]
        granted.addCallbacks(found.append, lambda failure: found.append(failure.value))
        return found


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines that are logged; no secret gets into them."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    assert not any("geheim" in line for line in lines)


def started(*keys: str, **settings: Any) -> Scene:
    """A keyring that has asked for its keys."""
    scene = Scene(*keys, **settings)
    scene.keyring.start()
    return scene


def ready(**settings: Any) -> Scene:
    """A keyring that has the old key."""
    scene = started(**settings)
    scene.answer(jwks(OLD_KEY))
    return scene


def kind(found: list[Any]) -> type:
    """What came of a token."""
    [one] = found
    return type(one)


# -- fetching ---------------------------------------------------------------------------------------------------------


def test_fetched_at_the_start(lines: list[str]) -> None:
    """The keys are fetched when the daemon starts, with a plain GET; a token that comes before waits for them."""
    scene = Scene()
    assert scene.asked == []
    scene.keyring.start()
    assert [asked.url for asked in scene.asked] == [URL]
    assert scene.asked[0].body is None
    found = scene.grant(old_token())
    assert found == []
    scene.answer(jwks(OLD_KEY))
    assert found == [GRANT]
    assert scene.grant(old_token()) == [GRANT]
    assert lines == ["https://login.example/jwks.json: keys for tokens: 1"]


def test_refreshed() -> None:
    """They are fetched again, every key-refresh; a key that is gone counts no more, for remembered tokens too."""
    scene, token = ready(key_refresh=100), old_token()
    assert scene.grant(token) == [GRANT]
    scene.clock.advance(99)
    assert len(scene.asked) == 1
    scene.clock.advance(1)
    scene.answer(jwks(NEW_KEY))
    assert scene.grant(new_token()) == [GRANT]
    assert kind(scene.grant(token)) is BadToken
    scene.clock.advance(100)
    assert len(scene.asked) == 3


def test_nothing_has_changed(lines: list[str]) -> None:
    """The same keys once more are no news: tokens stay remembered, and nothing is logged."""
    scene, token = ready(key_refresh=100), old_token()
    [grant] = scene.grant(token)
    lines.clear()
    scene.clock.advance(100)
    scene.answer(jwks(OLD_KEY))
    assert scene.grant(token)[0] is grant
    assert lines == []


def test_an_unknown_key_is_asked_for() -> None:
    """A token that names a key that is not there has the keys fetched, and waits; that is how keys are rotated."""
    scene = ready()
    scene.clock.advance(AGAIN)
    first, second = scene.grant(new_token()), scene.grant(new_token(sub="alice"))
    assert (first, second, len(scene.asked)) == ([], [], 2)
    scene.answer(jwks(OLD_KEY, NEW_KEY))
    assert first == [GRANT]
    assert second[0].subject == "alice"


def test_guessing_names_of_keys() -> None:
    """Who makes up names of keys has them fetched once in ten seconds, and is refused at once in between."""
    scene = ready()
    assert kind(scene.grant(minted(NEW, "ES256", kid="0"))) is BadToken
    assert len(scene.asked) == 1
    for number in range(1, 4):
        scene.clock.advance(AGAIN)
        found = [scene.grant(minted(NEW, "ES256", kid=f"{number}.{each}")) for each in range(50)]
        assert len(scene.asked) == number + 1
        scene.answer(jwks(OLD_KEY))
        found.append(scene.grant(minted(NEW, "ES256", kid="more")))
        assert {kind(each) for each in found} == {BadToken}
    assert len(scene.asked) == 4


def test_other_tokens_fetch_nothing() -> None:
    """A bad signature by a key that is there, a secret, and no signature at all have nothing fetched."""
    scene = ready()
    scene.clock.advance(AGAIN)
    for token in (minted(NEW, "ES256", kid="old"), minted(kid="new"), minted(None, "none", kid="new")):
        assert kind(scene.grant(token)) is BadToken
    assert len(scene.asked) == 1


def test_a_token_without_the_name_of_a_key() -> None:
    """It is checked with every key of its algorithm."""
    scene = started()
    scene.answer(jwks(NEW_KEY, jwk(private("EdDSA"), "EdDSA"), OLD_KEY))
    assert scene.grant(minted(OLD, "ES256")) == [GRANT]
    assert scene.grant(minted(private("EdDSA"), "EdDSA", kid="any")) == [GRANT]


def test_a_key_counts_for_its_own_algorithm() -> None:
    """A token that names a key of another algorithm is refused."""
    scene = started()
    scene.answer(jwks(jwk(private("RS256"), "RS256", kid="a"), jwk(OLD, "ES256", kid="b")))
    assert scene.grant(minted(private("RS256"), "RS256", kid="a")) == [GRANT]
    assert kind(scene.grant(minted(private("RS256"), "RS256", kid="b"))) is BadToken


def test_time_goes_on_while_a_token_waits() -> None:
    """A token that is over when the keys come is refused."""
    scene = started()
    found = scene.grant(old_token(exp=NOW - 3))
    scene.clock.advance(4)
    scene.answer(jwks(OLD_KEY))
    assert kind(found) is TokenExpired


def test_who_does_not_wait_any_longer() -> None:
    """A client that leaves takes its token along, and nobody else's."""
    scene = started()
    leaving = scene.keyring.grant(old_token(), NOW)
    found = scene.grant(old_token())
    assert isinstance(leaving, Deferred)
    failures: list[Failure] = []
    leaving.addErrback(failures.append)
    leaving.cancel()
    assert failures[0].check(CancelledError)
    scene.answer(jwks(OLD_KEY))
    assert found == [GRANT]


def test_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of tokens that wait has an end."""
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    scene = started()
    first = [scene.grant(old_token()) for _ in range(2)]
    assert kind(scene.grant(old_token())) is AuthorizationFailed
    scene.answer(jwks(OLD_KEY))
    assert first == [[GRANT], [GRANT]]


# -- an issuer that is down -------------------------------------------------------------------------------------------

TROUBLES = [
    (NoReply("while waiting for a connection: refused"), "while waiting for a connection: refused"),
    (Reply(302, {"location": "http://127.0.0.1/"}, b""), "it answers 302, and redirects are not followed"),
    (Reply(503, {}, b""), "it answers 503"),
    (Reply(200, {}, None), "its answer is too long"),
    (Reply(200, {}, b"<html>"), "what is there is no JWKS"),
    (Reply(200, {}, b"[]"), "what is there is no JWKS"),
    (Reply(200, {}, b'{"keys":{}}'), "what is there is no JWKS"),
    (Reply(200, {}, b"[" * 60_000), "what is there is no JWKS"),
    (Reply(200, {}, jwks(*[OLD_KEY] * (MOST_KEYS + 1))), "it has 65 keys, and 64 are the most"),
]


@pytest.mark.parametrize(("trouble", "said"), TROUBLES)
def test_keys_are_kept_when_the_issuer_is_down(trouble: Any, said: str, lines: list[str]) -> None:
    """Whatever an issuer does, tokens of the keys that are known count on; it is asked again, and one line says so."""
    scene = ready(key_refresh=100)
    lines.clear()
    scene.clock.advance(100)
    for _ in range(3):
        scene.answer(trouble)
        scene.clock.advance(AGAIN)
    assert scene.grant(old_token(sub="bob"))[0].subject == "bob"
    assert len(lines) == 1
    assert "those from before count on" in lines[0]
    assert said in lines[0]
    scene.answer(jwks(NEW_KEY))
    assert scene.grant(new_token()) == [GRANT]
    scene.clock.advance(99)
    assert len(scene.asked) == 5


@pytest.mark.parametrize(("trouble", "said"), TROUBLES)
def test_an_issuer_that_was_never_up(trouble: Any, said: str, lines: list[str]) -> None:
    """Its tokens are refused, as something that passes, and not for good."""
    scene = started()
    found = scene.grant(old_token())
    scene.answer(trouble)
    assert kind(found) is AuthorizationFailed
    assert kind(scene.grant(old_token())) is AuthorizationFailed
    assert len(lines) == 1
    assert f"tokens that need them are refused: {said}" in lines[0]
    scene.clock.advance(AGAIN)
    scene.answer(jwks(OLD_KEY))
    assert scene.grant(old_token()) == [GRANT]


def test_a_new_key_while_the_issuer_is_down() -> None:
    """A token of a key that nobody knows may be good: that passes, too. One with a bad signature is refused."""
    scene = ready(key_refresh=100)
    scene.clock.advance(100)
    scene.answer(NoReply("gone"))
    assert kind(scene.grant(new_token())) is AuthorizationFailed
    assert kind(scene.grant(minted(NEW, "ES256", kid="old"))) is BadToken


def test_a_mistake_of_ours_is_logged(failures: list[Failure]) -> None:
    """What nobody thought of keeps the daemon from nothing, and its traceback is in the log."""
    scene = started()
    scene.answer(ZeroDivisionError())
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    failures.clear()
    scene.clock.advance(AGAIN)
    scene.answer(jwks(OLD_KEY))
    assert scene.grant(old_token()) == [GRANT]


def test_stop() -> None:
    """Nothing is fetched after the end, and who waits is told so."""
    scene = started()
    found = scene.grant(old_token())
    scene.keyring.stop()
    assert kind(found) is AuthorizationFailed
    assert kind(scene.grant(new_token())) is AuthorizationFailed
    scene = ready()
    scene.keyring.stop()
    assert scene.clock.getDelayedCalls() == []


# -- settings that change ---------------------------------------------------------------------------------------------


def test_a_url_that_stays() -> None:
    """Its keys count on after a reload, though its issuer is down; only the pause between two fetches changes."""
    scene = ready()
    scene.keyring.configure(Config(key=(URL,), key_refresh=50))
    assert scene.grant(old_token()) == [GRANT]
    assert len(scene.asked) == 1
    scene.clock.advance(50)
    assert len(scene.asked) == 2


def test_urls_that_come_and_go() -> None:
    """Keys at a new URL are fetched at once; those of one that is gone count no more, and are not fetched again."""
    scene = ready()
    assert scene.grant(old_token()) == [GRANT]
    scene.keyring.configure(Config(key=("http://127.0.0.1:1/b",)))
    assert [asked.url for asked in scene.asked] == [URL, "http://127.0.0.1:1/b"]
    found = scene.grant(old_token())
    scene.answer(jwks(NEW_KEY))
    assert kind(found) is BadToken
    assert scene.grant(new_token()) == [GRANT]
    scene.keyring.configure(Config())
    assert kind(scene.grant(new_token())) is BadToken
    assert scene.clock.getDelayedCalls() == []


def test_two_issuers() -> None:
    """A token waits for whichever has its key; one that is down is no matter to the tokens of the other."""
    scene = started(URL, "http://127.0.0.1:1/b")
    found = scene.grant(new_token())
    scene.answer(NoReply("gone"))
    assert found == []
    scene.answer(jwks(NEW_KEY))
    assert found == [GRANT]
    assert kind(scene.grant(old_token())) is AuthorizationFailed


def test_an_issuer_is_started_once() -> None:
    """To start what has started is nothing."""
    scene = Scene()
    issuer = Issuer(URL, scene.clock, lambda: None, scene.request)
    issuer.start()
    issuer.start()
    assert len(scene.asked) == 1


def test_a_secret_in_a_public_place() -> None:
    """A token that is signed with a secret that an issuer publishes lets nobody in."""
    scene = started()
    secret = {"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "kid": "s"}
    scene.answer(jwks(secret, OLD_KEY))
    assert kind(scene.grant(minted(SECRET, kid="s"))) is BadToken
