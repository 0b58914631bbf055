"""``comet token``: tokens for trying things out, and what tokens say."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from twisted.internet.task import Clock

from comet.access.grant import Grant
from comet.access.keys import Keyring
from comet.commands import token
from comet.config import Config
from comet.topics import Pattern
from tests.comets import comet
from tests.daemons import command
from tests.minting import SECRET, minted, private, private_pem, public_pem

Said = tuple[int, str]
Run = Callable[..., Said]


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a secret. Nothing in the environment names another."""
    for name in ("COMET_KEY", "COMET_AUDIENCE", "COMET_ISSUER"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "push.key"
    path.write_text(SECRET + "\n")
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: its exit code and what it prints, or the line it ends with."""

    def run(*arguments: str) -> Said:
        try:
            code = token.main(arguments)
        except SystemExit as ended:
            assert capsys.readouterr().out == ""
            return 1, str(ended.code)
        return code, capsys.readouterr().out

    return run


def claims_of(said: Said, path: str, **further: Any) -> dict[str, Any]:
    """What a token says that was printed, alone, and that the key in a file has signed."""
    code, out = said
    assert (code, out.count("\n")) == (0, 1)
    claims: dict[str, Any] = jwt.decode(out.strip(), Path(path).read_text().strip(), algorithms=["HS256"], **further)
    return claims


def rows(out: str) -> dict[str, str]:
    """The rows of what is shown."""
    return {line[:10].strip(): line[11:] for line in out.splitlines()}


# -- signing ----------------------------------------------------------------------------------------------------------


def test_token(key: str, run: Run) -> None:
    """What the options say is what the token allows, for an hour; it has an id, by which it can be revoked."""
    arguments = ("--sub", "chat/*", "--sub", "news/**", "--pub", "chat/7", "--consumer", "mail", "--subject", "alice")
    claims = claims_of(run("--key", key, *arguments), key)
    assert claims.pop("jti")
    assert abs(claims["iat"] - time.time()) < 10
    assert claims.pop("exp") - claims.pop("iat") in (3600, 3601)
    assert claims == {
        "sub": "alice",
        "comet": {"subscribe": ["chat/*", "news/**"], "publish": ["chat/7"], "consumers": ["mail"]},
    }


def test_a_daemon_takes_it(key: str, run: Run) -> None:
    """A daemon with the key grants what was asked for."""
    _, out = run("--key", key, "--sub", "chat/*", "--admin", "--ttl", "none", "--id", "t1")
    grant = Keyring(Config(key=(key,)), Clock()).grant(out.strip(), time.time())
    assert isinstance(grant, Grant)
    assert (grant.subscribe, grant.admin, grant.token) == ((Pattern.parse("chat/*"),), True, "t1")
    assert grant.expires == float("inf")


@pytest.mark.parametrize(("ttl", "seconds"), [("90", 90), ("15m", 900), ("24h", 86_400), ("500ms", 1)])
def test_ttl(key: str, run: Run, ttl: str, seconds: int) -> None:
    """A token counts as long as it is told to."""
    claims = claims_of(run("--key", key, "--sub", "a", "--ttl", ttl), key)
    assert claims["exp"] - claims["iat"] in (seconds, seconds + 1)


def test_audience_and_issuer(key: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it is for and who signs it come from options, or from the variables that the daemon reads too."""
    monkeypatch.setenv("COMET_KEY", key)
    monkeypatch.setenv("COMET_AUDIENCE", "push")
    claims = claims_of(run("--sub", "a", "--issuer", "app"), key, audience="push")
    assert (claims["aud"], claims["iss"]) == ("push", "app")


def test_the_option_beats_the_variable(key: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key that is named is the one that signs."""
    monkeypatch.setenv("COMET_KEY", key)
    other = tmp_path / "other"
    other.write_text("n" * 40)
    assert claims_of(run("--key", str(other), "--sub", "a"), str(other))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_private_keys(run: Run, key: str, tmp_path: Path, algorithm: str) -> None:
    """The algorithm is the key's; of several keys the first that can sign does."""
    paths = [tmp_path / "public.pem", tmp_path / "private.pem"]
    paths[0].write_bytes(public_pem(private(algorithm)))
    paths[1].write_bytes(private_pem(private(algorithm)))
    urls = ("--key", "https://login.example/jwks.json", "--key", str(paths[0]))
    code, out = run(*urls, "--key", str(paths[1]), "--key", key, "--pub", "a")
    assert code == 0
    assert jwt.get_unverified_header(out.strip())["alg"] == algorithm
    assert jwt.decode(out.strip(), private(algorithm).public_key(), algorithms=[algorithm])
    assert run(*urls, "--pub", "a") == (
        1,
        "comet token: https://login.example/jwks.json has no private key, and a token is signed with that",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "comet token: say what it allows: --sub, --pub, --consumer or --admin; see comet token --help"),
        (["--sub", "a"], "comet token: name the file of a key with --key, or in COMET_KEY; make one with comet token "),
        (["--sub", "a*"], "comet token: argument --sub: 'a*' is not a pattern: '*' stands for a whole segment"),
        (["--pub", ""], "comet token: argument --pub: '' is not a pattern: it is empty; see"),
        (["--sub", "a", "--ttl", "0"], "comet token: argument --ttl: '0' cannot be used: write a time such as 15m"),
        (["--sub", "a", "--ttl", "1d"], "comet token: argument --ttl: '1d' cannot be used: write a time such as 15m"),
        (["--sub", "a", "--key", "/none"], "comet token: /none cannot be used: it cannot be read: no such file"),
        (["--sub", "a", "--key", "KEY", "--id", "a\nb"], "comet token: the id (jti) of the token has a control chara"),
        (["--admin", "--key", "KEY", "--subject", "é" * 5000], "comet token: the token is longer than 8192 bytes"),
    ],
)
def test_mistakes(key: str, run: Run, arguments: list[str], said: str) -> None:
    """A mistake is one line with a hint; no token is made that no daemon would take."""
    code, line = run(*(key if each == "KEY" else each for each in arguments))
    assert code == 1
    assert line.startswith(said)
    assert "\n" not in line


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_new_key(key: str, run: Run, tmp_path: Path) -> None:
    """A new secret is for its owner alone, is long enough, is text, and is another each time."""
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        said = f"{path} has a new secret; start the daemon with --key {path}\n"
        assert run("--new-key", str(path)) == (0, said)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(path.read_text().strip()) == 43
        assert claims_of(run("--key", str(path), "--sub", "a"), str(path))
    assert len({path.read_text() for path in (*paths, Path(key))}) == 3


def test_a_key_is_not_overwritten(key: str, run: Run, tmp_path: Path) -> None:
    """A key that is in use stays; so does what a link points to."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for path in (key, str(link)):
        assert run("--new-key", path) == (
            1,
            f"comet token: {path} is there already; remove it first, or name another file",
        )
    assert Path(key).read_text() == SECRET + "\n"
    assert not (tmp_path / "elsewhere").exists()
    assert run("--new-key", str(tmp_path / "no" / "key"))[1].endswith("key: no such file or directory")


# -- showing ----------------------------------------------------------------------------------------------------------


def test_show(key: str, run: Run) -> None:
    """What a token allows, for whom, until when, and that it counts."""
    allowed = {"subscribe": ["chat/*", "news"], "consumers": ["mail"], "admin": True}
    shown = minted(sub="alice", jti="t1", aud=["push"], iss="app", exp=4_000_000_000, iat=1_790_000_000, comet=allowed)
    code, out = run("--show", shown, "--key", key)
    assert code == 0
    assert rows(out).pop("issued").startswith("2026-09-21 14:13:20 UTC, ")
    assert rows(out).pop("expires").startswith("2096-10-02 07:06:40 UTC, in ")
    assert {name: value for name, value in rows(out).items() if name not in ("issued", "expires")} == {
        "subject": "alice",
        "id": "t1",
        "issuer": "app",
        "audience": "push",
        "subscribe": "chat/* news",
        "publish": "nothing",
        "consumers": "mail",
        "admin": "yes",
        "signed": "HS256",
        "counts": "yes",
    }


def test_a_token_that_says_nothing(run: Run, key: str) -> None:
    """Whatever is not said is as little as possible, but for the time."""
    assert rows(run("--show", jwt.encode({}, SECRET), "--key", key)[1]) == {
        "subject": "nobody in particular",
        "expires": "never",
        "subscribe": "nothing",
        "publish": "nothing",
        "admin": "no",
        "signed": "HS256",
        "counts": "yes",
    }


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (minted("n" * 40), "no: it is signed with another key"),
        (minted(None, "none"), "no: it is signed with another key"),
        (minted(exp=1_000_000_000), "no: the token expired "),
        (minted(nbf=4_000_000_000), "no: the token is not valid yet (nbf)"),
        (minted(comet={"subscribe": ["a**"]}), "no: what the token allows to subscribe cannot be used: "),
        (minted(exp=1e300), "yes"),
    ],
)
def test_tokens_that_do_not_count(key: str, run: Run, shown: str, said: str) -> None:
    """What keeps a token from counting is said, and is the exit code."""
    code, out = run("--show", shown, "--key", key)
    assert rows(out)["counts"].startswith(said)
    assert code == (said != "yes")


def test_show_without_a_key(key: str, run: Run) -> None:
    """Without a key it is not known whether a token counts; one at a URL is for the daemon to fetch."""
    for arguments in ((), ("--key", "https://login.example/jwks.json")):
        code, out = run("--show", minted(), *arguments)
        assert (code, rows(out)["counts"]) == (0, "unknown: name the file of a key with --key")
    code, out = run("--show", minted(aud="push"), "--audience", "other", "--key", key)
    assert rows(out)["counts"].startswith("no: the token is not for this daemon")


def test_a_hostile_token(key: str, run: Run) -> None:
    """What a stranger writes into a token does not drive the terminal, or forge a row."""
    _, out = run("--show", minted("n" * 40, sub="a\nadmin      yes\x1b[2J", iss="\u202e"), "--key", key)
    assert rows(out)["subject"] == "a\\nadmin      yes\\x1b[2J"
    assert rows(out)["issuer"] == "\\u202e"
    for shown in ("abc", "..", "eyJhbGciOiJIUzI1NiJ9.e30", "a" * 9000):
        code, line = run("--show", shown)
        assert (code, line.startswith("comet token: the token is ")) == (1, True)
        assert len(line) < 120


def test_show_from_stdin(key: str) -> None:
    """A token that is not to stand in a list of processes comes through a pipe."""
    ended = comet("token", "--show", "-", "--key", key, stdin=minted(sub="alice") + "\n")
    assert (ended.code, ended.err) == (0, "")
    assert rows(ended.out)["subject"] == "alice"


def test_help() -> None:
    """The command says what it does, and how it is used; it and others import nothing of Twisted."""
    ended = comet("token", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "\nexamples:\n" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 120
    program = "import sys, comet.cli, comet.commands.{}; print(*(name.partition('.')[0] for name in sys.modules))"
    imported = {name: set(command("-c", program.format(name)).out.split()) for name in ("token", "pub", "sub")}
    assert not imported["token"] & {"twisted", "zope", "asyncio"}
    assert not (imported["pub"] | imported["sub"]) & {"jwt", "cryptography"}
