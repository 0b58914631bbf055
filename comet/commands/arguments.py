"""What the client commands share. Nothing here or in them is of Twisted, so that they start fast."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """As in the standard library, but a mistake is one line with a hint, and exit code 1."""

    def error(self, message: str) -> NoReturn:
        """End the process with what is wrong with the arguments."""
        raise SystemExit(f"{self.prog}: {message}; see {self.prog} --help")


def reason(error: OSError) -> str:
    """Return what the system says is wrong, as it stands within a line."""
    return (error.strerror or str(error) or type(error).__name__).lower()
