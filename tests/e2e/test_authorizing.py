"""Daemons that ask the application who may do what, and whose administrators revoke."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemons import Daemon, running
from tests.e2e.held import Held, asked, subscribe
from tests.receivers import Receiver, receiving, reply

CHAT = {"publish": ["chat/*"], "subscribe": ["chat/*"]}


def grant(subject: str, **claims: Any) -> bytes:
    """The application's answer that ``subject`` may do what the claims say."""
    return reply(200, json.dumps({"sub": subject, **claims}).encode())


ALICE = grant("alice", comet=CHAT)
ADMIN = grant("root", comet={"admin": True})


@contextmanager
def deciding(*answers: bytes, options: tuple[str, ...] = ()) -> Iterator[tuple[Daemon, Receiver]]:
    """A daemon to which nobody is local, and its application, which gives these answers, one after the other."""
    with receiving(*answers) as receiver, daemon_of(receiver, options) as daemon:
        yield daemon, receiver


@contextmanager
def daemon_of(receiver: Receiver, options: tuple[str, ...] = ()) -> Iterator[Daemon]:
    """A daemon that asks ``receiver``."""
    with running("--local", "anonymous", "--authorize-url", receiver.url("/authorize"), *options) as daemon:
        yield daemon
        assert daemon.end() == 0
        assert "Traceback" not in "".join(daemon.log), "".join(daemon.log)


def ours(session: str) -> dict[str, str]:
    """What a browser sends with the request of a page of the daemon's own origin."""
    return {"Cookie": f"session={session}", "Origin": "http://localhost"}


def tell(daemon: Daemon, method: str, target: str, said: Any = None, **header: str) -> tuple[int, Any]:
    """Make a request; returns the status, and the answer if there is one."""
    body = b"" if said is None else json.dumps(said).encode()
    status, _, answer = asked(daemon.http, method, target, body, **header)
    return status, json.loads(answer) if answer else None


def problem(daemon: Daemon, target: str, **header: str) -> tuple[int, str]:
    """Ask for what is refused; returns the status and the code."""
    status, answer = tell(daemon, "GET", f"{target}?wait=0", **header)
    return status, answer["code"]


def listening(daemon: Daemon, session: str) -> Held:
    """A stream of the chat, held in that session."""
    return subscribe(daemon.http, "/topics/chat/1?transport=stream", "stream", **ours(session))


def test_the_application_decides() -> None:
    """A browser that is logged in at the application may do what that says, and nothing else; all others nothing."""
    with deciding(ALICE, reply(403), reply(401)) as (daemon, receiver):
        with listening(daemon, "alice") as held:
            assert tell(daemon, "POST", "/topics/chat/1", "hello", **ours("alice"))[0] == 201
            assert len(held.until_messages(1)) == 1
        assert problem(daemon, "/topics/news", **ours("alice")) == (403, "forbidden")
        assert problem(daemon, "/topics/**", **ours("alice")) == (403, "forbidden")
        assert problem(daemon, "/stats", **ours("alice"))[0] == 403
        assert problem(daemon, "/topics/chat/1", **ours("mallory")) == (403, "forbidden")
        # Nobody knows whose page has the browser ask, so its cookie does not count.
        assert problem(daemon, "/topics/chat/1", Cookie="session=alice") == (401, "unauthorized")
        assert [post.headers.get("cookie") for post in receiver.posts] == ["session=alice", "session=mallory", None]


def test_the_application_is_gone() -> None:
    """While the application is not there nobody new gets in; who is in stays, and nobody is let in by mistake."""
    with deciding(ALICE) as (daemon, receiver), listening(daemon, "alice") as held:
        receiver.down()
        status, header, answer = asked(daemon.http, "GET", "/topics/chat/1?wait=0", b"", **ours("bob"))
        assert (status, json.loads(answer)["code"]) == (503, "authorization_failed")
        assert "retry-after" in header
        assert tell(daemon, "POST", "/topics/chat/1", "still here", **ours("alice"))[0] == 201
        assert len(held.until_messages(1)) == 1
        assert "does not say who may do what" in "".join(daemon.log)


def test_its_word_counts_for_a_while() -> None:
    """A stream ends when what the application said is over, and the next one is asked about again."""
    short = grant("alice", ttl=1, comet=CHAT)
    with deciding(short, reply(403)) as (daemon, _):
        with listening(daemon, "alice") as held:
            assert held.until_control("bye")["reason"] == "expired"
            held.until_end()
        assert problem(daemon, "/topics/chat/1", **ours("alice")) == (403, "forbidden")


def test_revoking_a_subject() -> None:
    """A subject that is revoked loses its streams, and the application is asked anew."""
    with deciding(ALICE, ADMIN, reply(403)) as (daemon, receiver):
        with listening(daemon, "alice") as first, listening(daemon, "alice") as second:
            assert problem(daemon, "/revocations", **ours("alice")) == (403, "forbidden")
            status, answer = tell(daemon, "POST", "/revocations", {"subject": "alice"}, **ours("root"))
            assert (status, answer["ended"]) == (201, 2)
            for held in (first, second):
                assert held.until_control("bye")["reason"] == "revoked"
                held.until_end()
        assert problem(daemon, "/topics/chat/1", **ours("alice")) == (403, "forbidden")
        assert len(receiver.posts) == 3


def test_revocations_outlive_the_daemon(tmp_path: Path) -> None:
    """A token that is revoked stays so when the daemon is started again, until that is taken back."""
    options = ("--store", f"sqlite:{tmp_path}/comet.db")
    alice = grant("alice", jti="t1", comet=CHAT)
    with receiving(alice, ADMIN, alice, alice, ADMIN) as receiver:
        with daemon_of(receiver, options) as daemon, listening(daemon, "alice") as held:
            assert tell(daemon, "POST", "/revocations", {"token": "t1"}, **ours("root"))[1]["ended"] == 1
            held.until_end()
            assert problem(daemon, "/topics/chat/1", **ours("alice")) == (401, "bad_token")
        with daemon_of(receiver, options) as daemon:
            assert problem(daemon, "/topics/chat/1", **ours("alice")) == (401, "bad_token")
            listed = tell(daemon, "GET", "/revocations", **ours("root"))[1]["revocations"]
            assert [each["token"] for each in listed] == ["t1"]
            assert tell(daemon, "DELETE", "/revocations/tokens/t1", **ours("root"))[0] == 204
            listening(daemon, "alice").socket.close()
