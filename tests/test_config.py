"""Settings: how they are written, what they may be, and what is said of a value that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.config import BadSetting, Config, Setting, parsed, settings

BY_NAME = {setting.name: setting for setting in settings()}


def value(name: str, text: str | Sequence[str]) -> object:
    """Return what ``text`` comes to, given as the flag ``name``."""
    return parsed(BY_NAME[name], text, f"--{name}")


def refusal(name: str, text: str | Sequence[str]) -> str:
    """Return what is said of ``text``, given as the flag ``name``."""
    with pytest.raises(BadSetting) as caught:
        value(name, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("25", 25.0), ("250ms", 0.25), ("0.5", 0.5), ("2m", 120.0), ("1h", 3600)]
)
def test_duration(text: str, seconds: float) -> None:
    """A duration is a number of seconds, or has its unit."""
    assert value("silence", text) == seconds


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2 gib", 2 << 30)])
def test_size(text: str, size: int) -> None:
    """A size is a number of bytes, or has its unit."""
    assert value("max-payload", text) == size


def test_milliseconds() -> None:
    """``retry`` is in milliseconds, as the field of Server-Sent Events is, but takes other units."""
    assert (value("retry", "500"), value("retry", "3s")) == (500, 3000)


def test_lists() -> None:
    """What repeats is a list of texts, or is split at white space; an empty one means none."""
    assert value("http", ["tcp:1", "unix:/run/a b"]) == ("tcp:1", "unix:/run/a b")
    assert value("host", " a.example\tb.example ") == ("a.example", "b.example")
    assert value("tcp", "") == value("tcp", [""]) == ()


def test_origin_as_browsers_send_it() -> None:
    """An origin is compared as browsers write it: in lower case, without the default port."""
    origins = value("origin", ["HTTPS://Shop.example:443", "http://localhost:8000"])
    assert origins == ("https://shop.example", "http://localhost:8000")


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.name)
def test_defaults_read_back(setting: Setting) -> None:
    """Each default, as help and reference write it, is a value that can be typed."""
    assert setting.parse(setting.written(setting.default)) == setting.default


@given(st.integers(1, 86_400_000_000))
def test_written_durations_read_back(microseconds: int) -> None:
    """However long a duration is, it reads back as it was written."""
    setting = BY_NAME["silence"]
    seconds = setting.parse(f"{microseconds / 1000:.3f}ms")
    assert setting.parse(setting.written(seconds)) == seconds


@given(st.sampled_from(list(BY_NAME.values())), st.text(max_size=20) | st.from_regex(r"[0-9]{1,400}(\.[0-9]+)?[hKs]?"))
def test_any_text(setting: Setting, text: str) -> None:
    """Whatever text a setting is given, it is taken, or refused in one line that names the setting."""
    try:
        parsed(setting, text, setting.variable)
    except BadSetting as refused:
        assert str(refused).startswith(f"{setting.variable}: ")
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
    said = refusal(name, text)
    assert said.startswith(f"--{name}: ")
    assert text in said
    assert right in said
    assert "\n" not in said


def test_refused_in_a_list() -> None:
    """A host with a port and an origin with a path are refused, with an example of what is right."""
    assert "push.example.org" in refusal("host", ["a.example:80"])
    assert "https://shop.example" in refusal("origin", ["https://shop.example/cart"])
    assert "without control characters" in refusal("http", ["unix:/run/\udcff"])


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
