"""What the client commands share. Nothing here or in them is of Twisted, so that they start fast."""

from __future__ import annotations

import argparse
import math
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """As in the standard library, but a mistake is one line with a hint, and exit code 1.

    Description and epilog keep their line ends, and there are no abbreviations: a flag that is added later must not
    change what a script means.
    """

    def __init__(self, prog: str, **further: Any) -> None:
        shape = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(prog, **{**shape, **further})

    def error(self, message: str) -> NoReturn:
        """End the process with what is wrong with the arguments."""
        raise SystemExit(f"{self.prog}: {message}; see {self.prog} --help")


def reason(error: OSError) -> str:
    """Return what the system says is wrong, as it stands within a line."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def number_above_zero(text: str) -> float:
    """Return the number that ``text`` spells; for arguments."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a number above 0")
    return number
