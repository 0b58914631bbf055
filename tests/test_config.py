"""Settings: where they come from, how they are written, and what is said of a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.config import BadSetting, Config, Setting, settings

BY_NAME = {setting.name: setting for setting in settings()}


def refusal(options: Mapping[str, object], environ: Mapping[str, str] | None = None) -> str:
    """Return what is said of settings that cannot be used."""
    with pytest.raises(BadSetting) as caught:
        Config.from_sources(options, environ or {})
    return str(caught.value)


def test_default() -> None:
    """Without flags and variables, every setting has its default."""
    assert Config.from_sources({}, {}) == Config()


def test_precedence() -> None:
    """A flag beats a variable, which beats the default."""
    environ = {"COMET_SILENCE": "10", "COMET_DRAIN": "3"}
    config = Config.from_sources({"silence": "20", "stall": None}, environ)
    assert (config.silence, config.drain, config.stall) == (20.0, 3.0, 60.0)


@pytest.mark.parametrize(
    ("text", "seconds"), [("25", 25.0), ("250ms", 0.25), ("0.5", 0.5), ("2m", 120.0), ("1h", 3600)]
)
def test_duration(text: str, seconds: float) -> None:
    """A duration is a number of seconds, or has its unit."""
    assert Config.from_sources({"silence": text}, {}).silence == seconds


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2 gib", 2 << 30)])
def test_size(text: str, size: int) -> None:
    """A size is a number of bytes, or has its unit."""
    assert Config.from_sources({"max-payload": text}, {}).max_payload == size


def test_milliseconds() -> None:
    """``retry`` is in milliseconds, as the field of Server-Sent Events is, but takes other units."""
    assert Config.from_sources({"retry": "500"}, {}).retry == 500
    assert Config.from_sources({"retry": "3s"}, {}).retry == 3000


def test_lists() -> None:
    """What repeats is a repeated flag, or is split at white space in a variable; an empty one means none."""
    config = Config.from_sources(
        {"http": ["tcp:1", "unix:/run/a b"]}, {"COMET_HOST": " a.example\tb.example ", "COMET_TCP": ""}
    )
    assert config.http == ("tcp:1", "unix:/run/a b")
    assert config.host == ("a.example", "b.example")
    assert config.tcp == ()


def test_origin_as_browsers_send_it() -> None:
    """An origin is compared as browsers write it: in lower case, without the default port."""
    config = Config.from_sources({"origin": ["HTTPS://Shop.example:443", "http://localhost:8000"]}, {})
    assert config.origin == ("https://shop.example", "http://localhost:8000")


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.name)
def test_defaults_read_back(setting: Setting) -> None:
    """Each default, as help and reference write it, is a value that can be typed."""
    assert setting.parse(setting.written(setting.default)) == setting.default


@given(st.integers(1, 86_400_000))
def test_written_durations_read_back(milliseconds: int) -> None:
    """However long a duration is, it reads back as it was written."""
    setting = BY_NAME["silence"]
    assert setting.parse(setting.written(milliseconds / 1000)) == milliseconds / 1000


@given(st.sampled_from(list(BY_NAME.values())), st.text(max_size=20))
def test_any_text(setting: Setting, text: str) -> None:
    """Whatever text a setting is given, it is taken, or refused in one line that names the setting."""
    try:
        Config.from_sources({}, {setting.variable: text})
    except BadSetting as refused:
        assert str(refused).startswith((setting.variable, "--http and --tcp are both empty"))
        assert str(refused).isprintable()


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("silence", "x", "250ms, 25s, 2m or 1h"),
        ("silence", "-1", "write a time"),
        ("silence", "0", "at least 1ms and at most 24h"),
        ("max-payload", "1MB", "KiB, MiB or GiB"),
        ("max-payload", "0", "at least 1 and at most 1024GiB"),
        ("max-patterns", "1.5", "a whole number"),
        ("page-messages", "10001", "at most 10000"),
        ("store", "redis:", "memory:"),
    ],
)
def test_refused(name: str, text: str, right: str) -> None:
    """A value that cannot be used is refused in one line: the flag, the value, and what is right."""
    said = refusal({name: text})
    assert said.startswith(f"--{name}: ")
    assert text in said
    assert right in said
    assert "\n" not in said


def test_refused_in_a_list() -> None:
    """A host with a port and an origin with a path are refused, with an example of what is right."""
    assert "push.example.org" in refusal({"host": ["a.example:80"]})
    assert "https://shop.example" in refusal({"origin": ["https://shop.example/cart"]})


def test_unknown_variable() -> None:
    """A variable that sets nothing is refused by name, with the nearest that does."""
    said = refusal({}, {"COMET_SILENSE": "1"})
    assert said == "COMET_SILENSE is not a setting of Comet; the nearest is COMET_SILENCE"


def test_unknown_option() -> None:
    """So is an option that sets nothing."""
    assert refusal({"max-waits": "1"}) == "--max-waits is not a setting of Comet; the nearest is --max-wait"


@pytest.mark.parametrize(
    "name", ["COMET_PORT", "COMET_SERVICE_HOST", "COMET_PORT_7080_TCP_ADDR", "COMET_HTTP_SERVICE_PORT"]
)
def test_kubernetes(name: str) -> None:
    """What Kubernetes puts into the environment for a service called comet is no setting, and no mistake."""
    assert Config.from_sources({}, {name: "tcp://10.0.0.1:7080"}) == Config()


def test_nothing_to_listen_on() -> None:
    """A daemon that listens nowhere is refused."""
    assert "--http and --tcp are both empty" in refusal({"http": [""], "tcp": [""]})


def test_code_is_checked_too() -> None:
    """A value that comes from code is held to the same range."""
    with pytest.raises(BadSetting, match="silence: 0ms cannot be used"):
        Config(silence=0)


def test_every_setting_explains_itself() -> None:
    """Each field has a help text of one sentence, and a name of its own."""
    assert [setting.field for setting in settings()] == [field.name for field in fields(Config)]
    for setting in settings():
        assert setting.help[0].isupper()
        assert setting.help.endswith(".")
