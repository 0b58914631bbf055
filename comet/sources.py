"""Where settings come from: a flag beats a ``COMET_*`` variable, that the settings file, and that the default.

The file is TOML, and has a setting under the name that its flag has: ``max-payload = "2MiB"``. The trap is a setting
that is misspelt and so silently not in force: whatever sets nothing is refused, wherever it stands, with the nearest
name that does; and a value that cannot be used is refused even where another source beats it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from comet.config import PREFIX, BadSetting, Config, Setting, parsed, settings
from comet.errors import shown
from comet.kinds import Kind

FILE = "config"
"""The flag that names the settings file; ``COMET_CONFIG`` is the variable."""

FILE_VARIABLE = PREFIX + FILE.upper()

# What Kubernetes sets in every container when a service has a name like "comet" or "comet-http": none of it is ours.
_KUBERNETES = re.compile(r"COMET_(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\w+)?)", re.ASCII)

CLIENT_VARIABLES = (f"{PREFIX}SERVER", f"{PREFIX}URL")
"""What tells the commands for clients, and ``comet.publish``, where the daemon is. The daemon leaves them alone."""

_BARE = re.compile(r"[0-9]+|true|false", re.ASCII)
_ESCAPES = {'"': '\\"', "\\": "\\\\"}

Spelt = str | Sequence[str]
"""A value as people write it; a list of them for what repeats."""


class Given(NamedTuple):
    """That ``setting`` is given as ``text`` in the source ``origin``, where it is called ``name``."""

    setting: Setting
    text: Spelt
    origin: str
    name: str


class Settled(NamedTuple):
    """The settings that are in force, and where each comes from, by field."""

    config: Config
    origins: Mapping[str, str]


class Sources(NamedTuple):
    """What a daemon is told. ``flags`` have names as they are written after ``--``, of settings and of :data:`FILE`."""

    flags: Mapping[str, Spelt]
    variables: Mapping[str, str]
    directory: Path = Path("/")
    """Where the path of the settings file begins, if it is not absolute; twistd changes the directory later."""

    @property
    def path(self) -> Path | None:
        """The settings file, if one is named."""
        named = self.flags.get(FILE, self.variables.get(FILE_VARIABLE, ""))
        assert isinstance(named, str)
        return self.directory / named if named else None

    def settle(self) -> Settled:
        """Read the sources and return what they come to. Raises :exc:`~comet.config.BadSetting`."""
        values: dict[str, object] = {}
        origins: dict[str, str] = {}
        for given in (*self._from_file(), *self._from_variables(), *self._from_flags()):
            values[given.setting.field] = parsed(given.setting, given.text, given.name)
            origins[given.setting.field] = given.origin
        config = Config(**values)  # type: ignore[arg-type]
        if not config.http and not config.tcp:
            raise BadSetting("--http and --tcp are both empty: name an endpoint to listen on, such as tcp:7080")
        return Settled(config, origins)

    def _from_file(self) -> Iterator[Given]:
        path = self.path
        if path is None:
            return
        place = _printable(str(path))
        known = {setting.name: setting for setting in settings()}
        for name, value in _read(path, f"--{FILE}" if FILE in self.flags else FILE_VARIABLE).items():
            if name not in known:
                raise BadSetting(f"{place}: {unknown(_printable(name), known)}")
            try:
                yield Given(known[name], _spelt(known[name], value), place, f"{place}: {name}")
            except ValueError as error:
                raise BadSetting(f"{place}: {name}: {shown(str(value))} cannot be used: {error}") from None

    def _from_variables(self) -> Iterator[Given]:
        known = {setting.variable: setting for setting in settings()}
        for name, text in self.variables.items():
            if name in known:
                yield Given(known[name], text, name, name)
            elif _is_misspelt(name):
                raise BadSetting(unknown(_printable(name), [*known, FILE_VARIABLE]))

    def _from_flags(self) -> Iterator[Given]:
        known = {setting.name: setting for setting in settings()}
        for name, text in self.flags.items():
            if name in known:
                yield Given(known[name], text, f"--{name}", f"--{name}")
            elif name != FILE:
                raise BadSetting(unknown(f"--{name}", [f"--{each}" for each in (*known, FILE)]))


def unknown(name: str, known: Iterable[str]) -> str:
    """Return what to say of ``name``, which is none of ``known``."""
    folded = {_folded(each): each for each in known}
    [near] = difflib.get_close_matches(_folded(name), folded, 1, 0)
    return f"{name} is not a setting of Comet; the nearest is {folded[near]}"


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


def printed(settled: Settled) -> str:
    """Return the settings as a settings file that says of each where it comes from."""
    lines = []
    for setting in settings():
        value = getattr(settled.config, setting.field)
        lines.append(f"{setting.name} = {_toml(setting, value)}  # {settled.origins.get(setting.field, 'default')}\n")
    return "".join(lines)


# -- TOML -------------------------------------------------------------------------------------------------------------


def _read(path: Path, named: str) -> Mapping[str, object]:
    """Return what the file at ``path`` says; ``named`` is what has named it."""
    place = _printable(str(path))
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BadSetting(f"{named}: {place} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise BadSetting(f"{place} is not TOML: it is not UTF-8") from None
    except RecursionError:
        raise BadSetting(f"{place} is not TOML that a setting could be in: it is nested too deeply") from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise BadSetting(f'{place} is not TOML: {reason}; texts are in quotes, such as silence = "25s"') from None


def _spelt(setting: Setting, value: object) -> Spelt:
    """Return TOML's ``value`` as a flag spells it, or raise ValueError with what is right."""
    if isinstance(value, dict):
        raise ValueError(f"it is a table; {_advice(setting)}")
    if not isinstance(value, list):
        return [_spelt_one(setting, value)] if setting.repeats else _spelt_one(setting, value)
    if not setting.repeats:
        raise ValueError(f"it is an array; {_advice(setting)}")
    return [_spelt_one(setting, each) for each in value]


def _spelt_one(setting: Setting, value: object) -> str:
    if isinstance(value, str):
        return value
    if setting.kind.bare and isinstance(value, bool):
        return "true" if value else "false"
    if setting.kind.bare and isinstance(value, int | float):
        return format(Decimal(repr(value)), "f")  # without an exponent
    raise ValueError(_advice(setting))


def _advice(setting: Setting) -> str:
    advice = "write texts in quotes, in an array" if setting.repeats else "write one text in quotes"
    return f"{advice}, such as {setting.name} = {_toml(setting, setting.default)}" if setting.default else advice


def _toml(setting: Setting, value: object) -> str:
    if setting.repeats:
        assert isinstance(value, tuple)
        return f"[{', '.join(_toml_one(setting.kind, each) for each in value)}]"
    return _toml_one(setting.kind, value)


def _toml_one(kind: Kind, value: object) -> str:
    text = kind.write(value)
    if kind.bare and _BARE.fullmatch(text):
        return text
    return '"' + "".join(_ESCAPES.get(letter) or _printed(letter) for letter in text) + '"'


def _printed(letter: str) -> str:
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"


def _printable(text: str) -> str:
    """Return ``text`` as it may stand in a line and in a comment."""
    return text if text.isprintable() else ascii(text)


def _is_misspelt(variable: str) -> bool:
    """Whether ``variable``, which is none of a setting, looks as if it were to be one."""
    known = variable in (FILE_VARIABLE, *CLIENT_VARIABLES) or _KUBERNETES.fullmatch(variable) is not None
    return variable.startswith(PREFIX) and not known
