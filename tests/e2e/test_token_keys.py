"""Daemons whose keys change while they run."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.daemons import Daemon, running
from tests.e2e.held import asked, subscribe
from tests.e2e.waiting import until
from tests.minting import SECRET, jwk, jwks, minted, private
from tests.receivers import Act, receiving, reply

OLD, NEW = private("EdDSA", "old"), private("EdDSA", "new")


def status(daemon: Daemon, token: str) -> int:
    """How the daemon answers to who reads the chat with a token."""
    return asked(daemon.http, "GET", "/topics/chat/1?wait=0", Authorization=f"Bearer {token}")[0]


def ended_well(daemon: Daemon, *secrets: str) -> None:
    """End the daemon. Nothing went wrong in it, and nothing in its log is a secret."""
    assert daemon.end() == 0
    log = "".join(daemon.log)
    assert "Traceback" not in log, log
    assert not [secret for secret in secrets if secret in log]


def test_keys_at_a_url() -> None:
    """Keys are fetched, kept while the issuer is down, and changed when it has others."""
    old, new = minted(OLD, "EdDSA", kid="old"), minted(NEW, "EdDSA", kid="new")
    with receiving(reply(503), reply(200, jwks(jwk(OLD, "EdDSA", kid="old")))) as issuer:
        url = issuer.url("/jwks.json?secret=geheim")
        with running("--local", "anonymous", "--key", url, "--key-refresh", "100ms") as daemon:
            until(lambda: status(daemon, old) == 200, "the daemon has the key")
            asked_for = len(issuer.posts)
            until(lambda: len(issuer.posts) > asked_for + 2, "the issuer is asked again, and is of no help")
            assert (status(daemon, old), status(daemon, new)) == (200, 503)
            issuer.acts.append(Act(reply(200, jwks(jwk(NEW, "EdDSA", kid="new")))))
            until(lambda: status(daemon, new) == 200, "the daemon has the new key")
            until(lambda: status(daemon, old) != 200, "the old key counts no more")
            until(lambda: any("it answers 503" in line for line in daemon.log), "the log says that the issuer was down")
            ended_well(daemon, old, new, "geheim")


def test_rotation_by_signal(tmp_path: Path) -> None:
    """A key is changed in its file and by SIGHUP, and the streams that are open stay open."""
    key, settings = tmp_path / "comet.key", tmp_path / "comet.toml"
    key.write_text(SECRET)
    settings.write_text(f'key = ["{key}"]\nlocal = "anonymous"\n')
    old, new = minted(sub="alice"), minted("n" * 40, sub="alice")
    with running("--config", str(settings)) as daemon:
        bearer = {"Authorization": f"Bearer {old}"}
        with subscribe(daemon.http, "/topics/chat/1?transport=stream", "stream", **bearer) as held:
            assert (status(daemon, old), status(daemon, new)) == (200, 401)
            key.write_text("n" * 40)
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: status(daemon, new) == 200, "the new key counts")
            assert status(daemon, old) == 401
            allowed = minted("n" * 40, comet={"publish": ["chat/*"]})
            published = asked(daemon.http, "POST", "/topics/chat/1", b"hi", Authorization=f"Bearer {allowed}")
            assert published[0] == 201
            assert [message["data"] for message in held.until_messages(1)] == ["hi"]
        ended_well(daemon, old, new, SECRET, "n" * 40)
