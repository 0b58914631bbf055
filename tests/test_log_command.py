"""``comet log`` on files that no daemon has open: what it prints, and with which exit code."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.msgpack import encode

import comet.store.disk
from comet.cli import main
from comet.config import Config
from comet.consumer import Kept as KeptConsumer
from comet.message import Message, Position
from comet.store.lock import Lock
from comet.store.opening import open_disk
from tests.daemons import command
from tests.log_files import BEGUN, change, fill, messages, opened

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is not there yet, in which few messages are a block."""
    monkeypatch.setattr(comet.store.disk, "TAIL_MESSAGES", 10)
    return tmp_path / "comet.db"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """What runs ``comet log``; gives exit code, output and what it said."""

    def runs(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            code = main(["log", *map(str, arguments)])
        except SystemExit as end:
            assert isinstance(end.code, str), "a mistake is one line"
            code, line = 1, f"{end.code}\n"
        else:
            line = ""
        out, err = capsys.readouterr()
        return code, out, err + line

    return runs


def filled(path: Path, count: int = 34) -> str:
    """A file with messages in blocks and after them; returns its epoch."""
    return fill(path, (messages(1, first=first) for first in range(1, count + 1)))


# -- verify ---------------------------------------------------------------------------------------------------------


def test_verify_whole_file(run: Run, path: Path) -> None:
    """A file that is whole gets one line with what is in it, and exit code 0."""
    epoch = filled(path)
    code, out, err = run("verify", path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{path} is good: 34 messages of 2 topics in 7 blocks, ")
    assert out.endswith(f", {epoch}-1 to {epoch}-34\n")


def test_verify_for_programs(run: Run, path: Path) -> None:
    """With ``--json`` it is an object; the path may be written as for ``--store``."""
    epoch = filled(path)
    code, out, _ = run("verify", f"sqlite:{path}", "--json")
    verdict = json.loads(out)
    assert code == 0
    assert (verdict["good"], verdict["faults"], verdict["messages"], verdict["epoch"]) == (True, [], 34, epoch)
    assert (verdict["first"], verdict["last"], verdict["topics"]) == (f"{epoch}-1", f"{epoch}-34", 2)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE blocks SET checksum = 1 WHERE last = 20", "messages after E-10 up to E-20 cannot be read"),
        ("DELETE FROM blocks WHERE last = 20", "messages after E-10 up to E-20 cannot be read"),
        ("UPDATE places SET size = size + 1 WHERE block = 20 AND topic = 1", "the block up to E-20: its topics"),
        ("DELETE FROM places WHERE block = 10", "the block up to E-10: its topics"),
        ("INSERT INTO places VALUES (0, 1, 7, 1, 1, 1)", "the block up to E-7: its topics"),
        ("UPDATE topics SET newest = 10 WHERE name = 'a'", "'a' is listed with E-10, and not E-30"),
        ("INSERT INTO topics VALUES (9, 'c', 30)", "'c' is listed with E-30, and not E-0"),
        ("UPDATE keys SET body = x'01'", "the idempotency keys from E-2 on are damaged"),
        ("UPDATE log SET epoch = 'none'", "its epoch is 'none', which is none"),
        ("UPDATE log SET trimmed = 'x'", "trimmed is 'x', and not an offset"),
        ("UPDATE records SET body = ''", "the hook 'shop' is damaged"),
    ],
)
def test_verify_finds(run: Run, path: Path, statement: str, fault: str) -> None:
    """Whatever is wrong is said, and the exit code is 1."""
    epoch = fill(path, [messages(1, first=first) for first in range(1, 35)], {("hook", "shop"): b"x"})
    change(path, statement)
    code, out, _ = run("verify", path)
    assert code == 1
    assert f"{path} is damaged: " in out
    assert fault in out.replace(epoch, "E")
    assert not json.loads(run("verify", path, "--json")[1])["good"]


def test_verify_what_sqlite_finds(run: Run, path: Path) -> None:
    """Damage to the file's structure is said in SQLite's words, without a line for each page behind it."""
    fill(path, (messages(3, first=first, size=2_000) for first in range(1, 60, 3)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    code, out, _ = run("verify", path)
    assert code == 1
    assert "structure" in out
    assert len(out.splitlines()) < 30


# -- what is no such file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "export", "info"])
def test_no_such_file(run: Run, tmp_path: Path, command: str) -> None:
    """What cannot be a log is told in a line with what to do, and nothing is made."""
    other = tmp_path / "other.db"
    assert run(command, other) == (
        1,
        "",
        f"comet: there is no file {other}; name the one that the daemon has after --store sqlite:\n",
    )
    assert not other.exists()
    assert run(command, tmp_path)[2] == f"comet: {tmp_path} is a directory; name the file of a log\n"
    other.write_bytes(b"")
    assert f"comet: {other} is no log of Comet; " in run(command, other)[2]
    other.write_bytes(b"hello" * 1000)
    assert run(command, other)[2] == f"comet: {other} is no database, or nothing is left of it\n"


@pytest.mark.parametrize("command", ["verify", "export", "info"])
def test_newer_file(run: Run, path: Path, command: str) -> None:
    """A file of a newer version is left to that."""
    filled(path)
    with path.open("r+b") as file:
        file.seek(60)
        file.write((99).to_bytes(4, "big"))
    code, out, err = run(command, path)
    assert (code, out) == (1, "")
    assert "is of a newer version of Comet (99, this one knows 1); use that one" in err


# -- export -----------------------------------------------------------------------------------------------------------


def offsets(out: str) -> list[int]:
    """The offsets of the messages among the lines."""
    lines = [json.loads(line) for line in out.splitlines()]
    return [Position.parse(line["id"]).offset for line in lines if "id" in line]


def test_export(run: Run, path: Path) -> None:
    """Every message is a line, with its position, topic, time and data."""
    epoch = filled(path)
    code, out, err = run("export", path)
    assert (code, err) == (0, "")
    assert offsets(out) == list(range(1, 35))
    assert json.loads(out.splitlines()[0]) == {"id": f"{epoch}-1", "topic": "b/1", "time": BEGUN + 1, "data": "1"}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--topic", "a"), range(2, 35, 2)),
        (("--topic", "b/*"), range(1, 35, 2)),
        (("--topic", "a", "--topic", "b/**"), range(1, 35)),
        (("--topic", "c"), ()),
        (("--since", "E-30"), range(31, 35)),
        (("--until", "E-12"), range(1, 13)),
        (("--since", "E-4", "--until", "E-8"), range(5, 9)),
        (("--since", str(BEGUN + 30)), range(30, 35)),
        (("--until", str(BEGUN + 3)), range(1, 3)),
        (("--since", "1s"), ()),
        (("--since", "E-99"), ()),
    ],
)
def test_export_part(run: Run, path: Path, options: tuple[str, ...], wanted: range) -> None:
    """A part of it by topic, position or time; a time is the first that is wanted, or no more."""
    epoch = filled(path)
    code, out, err = run("export", path, *(option.replace("E-", f"{epoch}-") for option in options))
    assert (code, err) == (0, "")
    assert offsets(out) == list(wanted)


def test_export_of_a_damaged_file(run: Run, path: Path) -> None:
    """What cannot be read is told among the lines and on standard error, and the exit code is 1."""
    epoch = filled(path)
    change(path, "UPDATE blocks SET checksum = 1 WHERE last = 20")
    code, out, err = run("export", path)
    assert code == 1
    assert offsets(out) == [*range(1, 11), *range(21, 35)]
    gap = [json.loads(line) for line in out.splitlines()][10]
    assert gap == {"comet": "gap", "since": f"{epoch}-10", "until": f"{epoch}-20"}
    assert err == f"comet: messages after {epoch}-10 up to {epoch}-20 are missing: their block is damaged\n"
    assert run("export", path, "--until", f"{epoch}-10")[::2] == (0, "")


def test_export_without_a_beginning(run: Run, path: Path) -> None:
    """If only the beginning of the file is destroyed all messages are saved; their epoch is not known then."""
    filled(path)
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])
    code, out, err = run("export", path)
    assert code == 1
    assert offsets(out) == list(range(1, 35))
    assert err.startswith("comet: the epoch of the positions cannot be read; 00000000 stands for it\n")
    assert run("verify", path)[1].startswith(f"{path} is damaged: 34 messages of 2 topics in ")
    assert "'comet log export' saves the rest" in run("info", path)[2]


def test_export_after_trimming(run: Run, path: Path) -> None:
    """What retention took is no damage; who asks for it is told."""
    epoch = filled(path)
    change(path, "DELETE FROM blocks WHERE last <= 20")
    change(path, "UPDATE log SET trimmed = 20")
    assert run("export", path)[::2] == (0, "")
    code, out, err = run("export", path, "--since", f"{epoch}-3")
    assert code == 0
    assert offsets(out) == list(range(21, 35))
    assert (
        err
        == f"comet: messages after {epoch}-3 up to {epoch}-20 are missing: they were trimmed, as the retention says\n"
    )


def test_export_of_another_epoch(run: Run, path: Path) -> None:
    """A position of another log is refused."""
    epoch = filled(path)
    code, out, err = run("export", path, "--since", "00000001-4")
    assert (code, out) == (1, "")
    assert err == f"comet: 00000001-4 is no position of this file, whose positions begin with {epoch}-\n"


# -- import -----------------------------------------------------------------------------------------------------------


def kept(path: Path) -> list[Message]:
    """What a daemon would find in the file."""
    disk = comet.store.disk.Disk(path, "commit")
    found = open_disk(disk, 10**9, 0.0, succeeding=False)
    disk.close()
    assert not found.damage
    return list(found.kept.messages)


def test_import_into_a_new_file(run: Run, path: Path) -> None:
    """The messages are there with their times, under positions of a log of its own."""
    epoch = filled(path)
    new = path.with_name("new.db")
    code, out, _ = run("import", new, stdin=run("export", path, "--since", f"{epoch}-4")[1])
    assert code == 0
    first, last = out.strip().split(", ")[-1].split(" to ")
    assert out.startswith(f"30 messages imported into {new}, ")
    assert (Position.parse(first).offset, Position.parse(last).offset) == (1, 30)
    assert Position.parse(first).epoch != epoch
    found = kept(new)
    assert [(each.payload, each.time) for each in found] == [(b"%d" % n, BEGUN + n) for n in range(5, 35)]
    assert [each.offset for each in found] == list(range(1, 31))
    assert run("verify", new)[0] == 0


def test_import_into_a_file_with_messages(run: Run, path: Path) -> None:
    """Behind those that are there."""
    epoch = filled(path)
    assert run("import", path, stdin='{"topic":"c","data":{"n":1}}\n\n{"topic":"c","data":"x"}\n')[0] == 0
    found = kept(path)[-2:]
    assert [(each.offset, each.payload) for each in found] == [(35, b'{"n":1}'), (36, b"x")]
    assert all(time.time() - 60 < each.time <= time.time() for each in found)
    assert offsets(run("export", path, "--since", f"{epoch}-34")[1]) == [35, 36]


@pytest.mark.parametrize("since", [0, 4])
def test_import_with_positions(run: Run, path: Path, since: int) -> None:
    """With ``--keep-ids`` a new file goes on where the old one stands; what is not in it counts as lost."""
    epoch = filled(path)
    new = path.with_name("new.db")
    assert run("import", new, "--keep-ids", stdin=run("export", path, "--since", f"{epoch}-{since}")[1])[0] == 0
    assert kept(new) == kept(path)[since:]
    disk = opened(new)
    assert (disk.epoch, disk.last, disk.trimmed) == (epoch, 34, since)
    disk.close()
    assert run("verify", new)[0] == 0


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('{"topic":"a","data":1}', "a message has no id to keep; leave out --keep-ids"),
        (
            '{"id":"5f0c1a2b-7","topic":"a","data":1}\n{"id":"5f0c1a2b-7","topic":"a","data":1}',
            "5f0c1a2b-7 does not come after 5f0c1a2b-7; leave out --keep-ids; what is before that, 1 message, is "
            "imported",
        ),
        (
            '{"id":"5f0c1a2b-7","topic":"a","data":1}\n{"id":"00000001-8","topic":"a","data":1}',
            "00000001-8 is of another epoch than the first message (5f0c1a2b); leave out --keep-ids; what is",
        ),
        (
            '{"id":"5f0c1a2b-7","topic":"a","data":1}\n{"comet":"gap","since":"5f0c1a2b-7","until":"5f0c1a2b-9"}',
            "messages up to 5f0c1a2b-9 are missing, of which nobody would be told; leave out --keep-ids, or export "
            "again with --since 5f0c1a2b-9",
        ),
    ],
)
def test_import_of_positions_that_cannot_be_kept(run: Run, path: Path, lines: str, error: str) -> None:
    """Positions that would come to mean something else, or hide a loss, are refused."""
    code, out, err = run("import", path, "--keep-ids", stdin=lines)
    assert (code, out) == (1, "")
    assert err.startswith(f"comet: {error}")
    assert err.count("\n") == 1


def test_import_with_positions_into_a_used_file(run: Run, path: Path) -> None:
    """Positions are kept in a file without any."""
    filled(path)
    code, _, err = run("import", path, "--keep-ids", stdin='{"id":"5f0c1a2b-7","topic":"a","data":1}')
    assert code == 1
    assert err == f"comet: {path} has had messages; leave out --keep-ids, or name a new file\n"


def test_import_of_a_gap_before_the_first(run: Run, path: Path) -> None:
    """A gap before the first message is kept as what was lost."""
    lines = (
        '{"comet":"gap","since":"5f0c1a2b-0","until":"5f0c1a2b-90"}\n{"id":"5f0c1a2b-99","topic":"a","data":1}\n'
        '{"comet":"beat","position":"5f0c1a2b-99"}\n'
    )
    assert run("import", path, "--keep-ids", stdin=lines)[0] == 0
    disk = opened(path)
    assert (disk.epoch, disk.last, disk.trimmed) == ("5f0c1a2b", 99, 98)
    disk.close()


def test_import_of_a_wrong_line(run: Run, path: Path) -> None:
    """A line that is no message ends it; what was before that is there, and that is said."""
    code, out, err = run("import", path, stdin='{"topic":"a","data":1}\n{"topic":"a","dta":1}\n{"topic":"a","data":3}')
    assert (code, out) == (1, "")
    assert err.startswith("comet: line 2: it is no message: Object contains unknown field `dta`")
    assert err.endswith("; what is before that, 1 message, is imported\n")
    assert [each.payload for each in kept(path)] == [b"1"]


def test_import_while_a_daemon_has_the_file(run: Run, path: Path) -> None:
    """Who has the file is named."""
    filled(path)
    lock = Lock(path)
    lock.take()
    code, _, err = run("import", path, stdin='{"topic":"a","data":1}')
    lock.release()
    assert code == 1
    assert f"comet: {path} is in use by another daemon (process " in err
    assert err.count("\n") == 1


def test_import_into_nowhere(run: Run, path: Path) -> None:
    """A directory that is not there is not made."""
    code, _, err = run("import", path / "new.db", stdin='{"topic":"a","data":1}')
    assert code == 1
    assert f"there is no directory {path}; make it" in err


def test_import_of_nothing(run: Run, path: Path) -> None:
    """Nothing is fine."""
    assert run("import", path) == (0, f"no messages imported into {path}\n", "")
    assert run("verify", path)[1].startswith(f"{path} is good: no messages of no topics in no blocks")


def test_import_of_old_messages(run: Run, path: Path) -> None:
    """Who imports what a daemon would let go of at once is told so."""
    old = time.time() - Config().keep_seconds - 60
    code, _, err = run("import", path, stdin=f'{{"topic":"a","data":1,"time":{old}}}')
    assert code == 0
    assert err == (
        "comet: some of them are older than 7 days, and go when a daemon starts, unless it is told to keep them by "
        "--keep-seconds\n"
    )


# -- info -------------------------------------------------------------------------------------------------------------


def test_info(run: Run, path: Path) -> None:
    """What is in a file, without going through all of it."""
    epoch = filled(path)
    mailer = encode(KeptConsumer(["a", "b/*"], epoch, 4, BEGUN))
    fill(path, (), {("consumer", "mailer"): mailer, ("hook", "shop"): b"x"})
    code, out, err = run("info", path)
    assert (code, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["epoch"] == epoch
    assert rows["messages"].startswith("34 of 2 topics, ")
    assert rows["oldest"].startswith(f"{epoch}-1, published 20")
    assert rows["newest"].startswith(f"{epoch}-34, published 20")
    assert (rows["durability"], rows["state"], rows["hook"]) == ("commit", "closed", "shop")
    assert rows["consumer"] == f"mailer has acknowledged a, b/* up to {epoch}-4, 30 behind"


def test_info_for_programs(run: Run, path: Path) -> None:
    """With ``--json`` it is an object."""
    epoch = filled(path)
    found = json.loads(run("info", path, "--json")[1])
    assert found["oldest"] == {"id": f"{epoch}-1", "time": BEGUN + 1}
    assert (found["messages"], found["topics"], found["trimmed"], found["open"]) == (34, 2, None, False)
    assert found["file_bytes"] == path.stat().st_size


def test_info_of_an_empty_log(run: Run, path: Path) -> None:
    """A file that has nothing yet."""
    fill(path, ())
    code, out, _ = run("info", path)
    assert code == 0
    assert "0 of no topics, 0 B" in out
    assert "oldest" not in out


def test_info_of_a_damaged_file(run: Run, path: Path) -> None:
    """Damage is told with what to do."""
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * 4096 + whole[12288:])
    code, out, err = run("info", path)
    assert (code, out) == (1, "")
    assert "'comet log verify' says how much is" in err


# -- renew ------------------------------------------------------------------------------------------------------------


def test_renew(run: Run, path: Path) -> None:
    """The messages stay, under positions of another epoch."""
    epoch = filled(path)
    code, out, _ = run("renew", path)
    disk = opened(path)
    disk.close()
    assert disk.epoch != epoch
    assert (code, out) == (0, f"the positions of {path} begin with {disk.epoch}- now, and not with {epoch}-\n")
    assert offsets(run("export", path)[1]) == list(range(1, 35))


def test_renew_what_is_not_there(run: Run, path: Path) -> None:
    """No file is made, and none that a daemon has is touched."""
    assert run("renew", path) == (1, "", f"comet: there is no file {path}\n")
    assert not path.exists()
    disk = opened(path)
    assert "is in use by another daemon" in run("renew", path)[2]
    disk.close()


# -- the command ------------------------------------------------------------------------------------------------------


def test_nothing_of_twisted() -> None:
    """It starts at once: it has the store's files, and no reactor."""
    program = "import sys, comet.commands.log.main; sys.exit('twisted' in sys.modules)"
    assert command("-c", program).code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "comet log: the following arguments are required: COMMAND; see comet log --help"),
        (("verify",), "comet log verify: the following arguments are required: PATH; see comet log verify --help"),
        (("export", "x", "--topic", "a**"), "comet log export: argument --topic: 'a**' is not a pattern: "),
        (("export", "x", "--since", "soon"), "comet log export: argument --since: 'soon' cannot be used: write a "),
        (("tidy", "x"), "comet log: argument COMMAND: invalid choice: 'tidy'"),
    ],
)
def test_mistakes(run: Run, arguments: tuple[str, ...], error: str) -> None:
    """A mistake is one line with a hint."""
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(error)
    assert err.count("\n") == 1
