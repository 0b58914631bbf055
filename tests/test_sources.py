"""Where settings come from, what is said of those that set nothing, and the settings file that is printed."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.config import BadSetting, Config, Setting, settings
from comet.sources import Settled, Sources, Spelt, printed

BY_NAME = {setting.name: setting for setting in settings()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a settings file may be written."""
    return tmp_path / "comet.toml"


def config(flags: Mapping[str, Spelt] | None = None, variables: Mapping[str, str] | None = None) -> Config:
    """Return the settings that these sources come to."""
    return Sources(flags or {}, variables or {}).settle().config


def from_text(file: Path, text: str) -> Config:
    """Return the settings of a file with ``text`` in it."""
    file.write_text(text, encoding="utf-8")
    return config({"config": str(file)})


def refusal(flags: Mapping[str, Spelt] | None = None, variables: Mapping[str, str] | None = None) -> str:
    """Return what is said of sources that cannot be used."""
    with pytest.raises(BadSetting) as caught:
        config(flags, variables)
    assert str(caught.value).isprintable()
    return str(caught.value)


def refusal_of(file: Path, text: str) -> str:
    """Return what is said of a file with ``text`` in it, without the name of the file at its beginning."""
    file.write_text(text, encoding="utf-8")
    said = refusal({"config": str(file)})
    assert said.startswith(str(file))
    return said.removeprefix(str(file))


# -- the order --------------------------------------------------------------------------------------------------------


def test_default() -> None:
    """Without anything said, every setting has its default."""
    assert config() == Config()


def test_precedence(file: Path) -> None:
    """A flag beats a variable, which beats the file, which beats the default."""
    file.write_text("silence = 1\nstall = 2\ndrain = 3\n")
    flags = {"config": str(file), "silence": "20"}
    settled = Sources(flags, {"COMET_SILENCE": "10", "COMET_STALL": "11"}).settle()
    found = settled.config
    assert (found.silence, found.stall, found.drain, found.idle_timeout) == (20.0, 11.0, 3.0, 75.0)
    assert settled.origins == {"silence": "--silence", "stall": "COMET_STALL", "drain": str(file)}


def test_a_list_is_not_added_to(file: Path) -> None:
    """A list that is given in two sources is that of the stronger one alone; an empty one is a list, too."""
    file.write_text('origin = ["https://a.example"]\nhost = ["a.example"]\n')
    found = config({"config": str(file), "origin": ["https://b.example"]}, {"COMET_HOST": ""})
    assert (found.origin, found.host) == (("https://b.example",), ())


def test_named_file(file: Path) -> None:
    """The file is named by ``--config`` or else by ``COMET_CONFIG``, from the directory of the start; empty is none."""
    file.write_text("silence = 7")
    variables = {"COMET_CONFIG": str(file)}
    assert config({}, variables).silence == 7
    assert config({"config": ""}, variables).silence == 25
    assert config({}, {"COMET_CONFIG": ""}).silence == 25
    assert Sources({"config": file.name}, {}, file.parent).settle().config.silence == 7


def test_nothing_to_listen_on(file: Path) -> None:
    """A daemon that listens nowhere is refused."""
    assert "--http and --tcp are both empty" in refusal({"http": [""], "tcp": [""]})
    file.write_text('http = []\ntcp = ""')
    assert "--http and --tcp are both empty" in refusal({"config": str(file)})


# -- the file ---------------------------------------------------------------------------------------------------------


def test_values_of_a_file(file: Path) -> None:
    """Numbers are numbers, texts are spelt as a flag is, what repeats is an array, or one text."""
    found = from_text(
        file,
        """
        max-patterns = 1_000            # a count
        max-payload = "2MiB"
        max-body = 0x100000
        silence = 2.5
        stall = "250ms"
        retry = 500
        http = ["tcp:1", "unix:/run/a b"]
        tcp = "unix:/run/c d"
        host = []
        'origin' = ['https://shop.example']
        """,
    )
    assert (found.max_patterns, found.max_payload, found.max_body) == (1000, 2 << 20, 1 << 20)
    assert (found.silence, found.stall, found.retry) == (2.5, 0.25, 500)
    assert (found.http, found.tcp) == (("tcp:1", "unix:/run/a b"), ("unix:/run/c d",))
    assert (found.host, found.origin) == ((), ("https://shop.example",))


@pytest.mark.parametrize("text", ["", "# nothing\r\n", "\ufeffsilence = 25\r\n"])
def test_files_of_editors(file: Path, text: str) -> None:
    """An empty file sets nothing; other line ends and a byte order mark are no mistake."""
    assert from_text(file, text) == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("silense = 1", ": silense is not a setting of Comet; the nearest is silence"),
        ("max_payload = 1", ": max_payload is not a setting of Comet; the nearest is max-payload"),
        ("MaxPayload = 1", ": MaxPayload is not a setting of Comet; the nearest is max-payload"),
        ("[server]\nsilence = 1", ": server is not a setting of Comet; the nearest is "),
        ("[silence]\n", ": silence: '{}' cannot be used: it is a table; write one text in quotes, such as silence = "),
        ("silence.s = 1", ": silence: \"{'s': 1}\" cannot be used: it is a table"),
        ("silence = 'x'", ": silence: 'x' cannot be used: write a time in seconds"),
        ("silence = 0", ": silence: 0ms cannot be used: it is at least 1ms"),
        ("silence = -1", ": silence: '-1' cannot be used: write a time"),
        ("silence = inf", ": silence: 'Infinity' cannot be used: write a time"),
        ("silence = 1e300", ": silence: '1000000000"),
        (
            "silence = [1]",
            ": silence: '[1]' cannot be used: it is an array; write one text in quotes, such as silence =",
        ),
        (
            "silence = 2026-01-01",
            ": silence: '2026-01-01' cannot be used: write one text in quotes, such as silence = ",
        ),
        ("max-keys = 1.5", ": max-keys: '1.5' cannot be used: write a whole number"),
        ("max-keys = true", ": max-keys: 'true' cannot be used: write a whole number"),
        (
            "http = 7080",
            ": http: '7080' cannot be used: write texts in quotes, in an array, such as http = [\"tcp:7080",
        ),
        ("host = ['a', 1]", ": host: \"['a', 1]\" cannot be used: write texts in quotes, in an array"),
        ("host = true", ": host: 'True' cannot be used: write texts in quotes, in an array"),
    ],
)
def test_mistake_in_a_file(file: Path, text: str, said: str) -> None:
    """What a file says wrongly is refused in one line: the file, the name, and the nearest name or what is right."""
    assert refusal_of(file, text).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("silence = 1\nstall = 10s\n", "(at line 2, column 11); texts are in quotes, such as silence ="),
        ("silence = 1\nsilence = 2\n", "Cannot overwrite a value (at line 2, column 12)"),
        ("silence", "(at end of document)"),
        ("silence = \x00", "(at line 1, column 11)"),
        (f"silence = {'[' * 9000}", "it is nested too deeply"),
        (f"silence = {'9' * 5000}", "4300 digits"),
    ],
)
def test_no_toml(file: Path, text: str, said: str) -> None:
    """What is not TOML is refused in one line, with the place if it is known."""
    refused = refusal_of(file, text)
    assert refused.startswith(" is not TOML")
    assert said in refused


def test_file_that_cannot_be_read(file: Path) -> None:
    """A file that is not there, or is none, is one line that says who has named it."""
    assert refusal({"config": "/nowhere/c"}) == "--config: /nowhere/c cannot be read: no such file or directory"
    directory = str(file.parent)
    assert refusal({}, {"COMET_CONFIG": directory}) == f"COMET_CONFIG: {directory} cannot be read: is a directory"
    file.write_bytes(b"host = ['\xff']")
    assert refusal({"config": str(file)}) == f"{file} is not TOML: it is not UTF-8"
    assert "cannot be read" in refusal({"config": f"{file}\n\udcff"})


def test_overruled_mistakes(file: Path) -> None:
    """A value that cannot be used is refused even if another source beats it: some day that will be gone."""
    file.write_text("silence = 'x'")
    assert "'x' cannot be used" in refusal({"config": str(file), "silence": "10"})
    assert "COMET_SILENCE: 'y' cannot be used" in refusal({"silence": "10"}, {"COMET_SILENCE": "y"})


# -- what sets nothing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("COMET_SILENSE", "COMET_SILENCE"),
        ("COMET_MAX-PAYLOAD", "COMET_MAX_PAYLOAD"),
        ("COMET_max_payload", "COMET_MAX_PAYLOAD"),
        ("COMET_CONF", "COMET_CONFIG"),
    ],
)
def test_unknown_variable(name: str, near: str) -> None:
    """A variable that sets nothing is refused by name, with the nearest that does."""
    assert refusal({}, {name: "1"}) == f"{name} is not a setting of Comet; the nearest is {near}"


def test_unknown_option() -> None:
    """So is an option that sets nothing."""
    assert refusal({"max-waits": "1"}) == "--max-waits is not a setting of Comet; the nearest is --max-wait"


@pytest.mark.parametrize(
    "name", ["COMET_PORT", "COMET_SERVICE_HOST", "COMET_PORT_7080_TCP_ADDR", "COMET_HTTP_SERVICE_PORT"]
)
def test_kubernetes(name: str) -> None:
    """What Kubernetes puts into the environment for a service called comet is no setting, and no mistake."""
    assert config({}, {name: "tcp://10.0.0.1:7080"}) == Config()


@pytest.mark.parametrize("name", ["COMET_SERVER", "COMET_URL"])
def test_variables_of_clients(name: str) -> None:
    """What tells clients where the daemon is, is nothing to the daemon."""
    assert config({}, {name: "127.0.0.1:1"}) == Config()


# -- printing ---------------------------------------------------------------------------------------------------------


def test_printed(file: Path) -> None:
    """Each setting is a line, which says where its value comes from."""
    file.write_text("max-patterns = 5\nhost = ['a.example', 'b.example']")
    flags: dict[str, Spelt] = {"config": str(file), "silence": "1500ms", "http": ["tcp:1"]}
    lines = printed(Sources(flags, {"COMET_MAX_PAYLOAD": "2MiB", "COMET_STALL": "0.75"}).settle()).splitlines()
    assert len(lines) == len(BY_NAME)
    assert set(lines) >= {
        'silence = "1500ms"  # --silence',
        'http = ["tcp:1"]  # --http',
        'max-payload = "2MiB"  # COMET_MAX_PAYLOAD',
        'stall = "750ms"  # COMET_STALL',
        f"max-patterns = 5  # {file}",
        f'host = ["a.example", "b.example"]  # {file}',
        "origin = []  # default",
        'retry = "2s"  # default',
    }


def some(setting: Setting) -> st.SearchStrategy[Any]:
    """Values that ``setting`` may have."""
    default = setting.default
    if setting.repeats:
        texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=10)
        known = {
            "host": "a.example",
            "origin": "http://[::1]:1",
            "hook-private": "10.0.0.0/8",
            "proxy": "10.0.0.0/8",
            "anonymous": "subscribe:news/**",
            "authorize-header": "cookie",
            "key": "/etc/comet/key",
        }
        unlike = st.just(known[setting.name]) if setting.name in known else texts
        return st.lists(unlike.filter(str.isprintable), min_size=1, max_size=3).map(tuple)
    if isinstance(default, int | float) and not isinstance(default, bool):
        least, most = (round(bound * 1000) for bound in setting.range)
        if isinstance(default, float):
            return st.integers(least, most).map(lambda thousandths: thousandths / 1000)
        return st.integers(least // 1000, most // 1000)
    return st.just(default)


@given(st.fixed_dictionaries({}, optional={setting.field: some(setting) for setting in settings()}))
def test_printed_settings_are_a_settings_file(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    """What is printed can be the settings file, and comes to the same settings; the second time each is from there."""
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    wanted = Config(**values)
    file.write_text(printed(Settled(wanted, dict.fromkeys(values, "/etc/a 'b' \"c\" ü.toml"))), encoding="utf-8")
    assert list(tomllib.loads(file.read_text(encoding="utf-8"))) == list(BY_NAME)
    found = Sources({"config": str(file)}, {}).settle()
    assert found.config == wanted
    assert set(found.origins.values()) == {str(file)}


def test_strange_paths_are_printed(tmp_path: Path) -> None:
    """The path of a file may have anything in it, and what is printed is a settings file all the same."""
    file = tmp_path / os.fsdecode(b"a\nb\xff # c.toml")
    file.write_text("silence = 1")
    text = printed(Sources({"config": str(file)}, {}).settle())
    assert tomllib.loads(text)["silence"] == "1s"
    assert text.isascii()
