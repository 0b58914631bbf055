"""What ``comet pub`` says: positions to stdout if they are wanted, all else to stderr, above the progress."""

from __future__ import annotations

import sys

from comet.commands.progress import Progress
from comet.commands.terminal import Live

NAMED = 10
"""Messages that are refused and named, each on a line; the others are counted."""

LOOK = 0.25
"""Seconds between two looks at the progress, while nothing else happens."""


class Report:
    """What has become of the messages of one call. A context manager: with its end the progress is left as it is."""

    def __init__(self, live: Live | None, verbose: bool) -> None:
        self._live = live
        self._verbose = verbose
        self._progress = Progress()
        self._troubled = False

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.show([self._progress.summary()], self._progress.figures())
            self._live.__exit__(None, None, None)
        if self.refusals > NAMED:
            self.say(f"{self.refusals:,} messages were refused")

    @property
    def refusals(self) -> int:
        """How many messages were refused."""
        return self._progress.refused

    def stored(self, position: str) -> None:
        """A message is stored."""
        self._progress.acknowledged += 1
        self._recovered()
        if self._verbose:
            print(position)

    def refused(self, name: str, reason: str) -> None:
        """A message is refused for good."""
        self._progress.refused += 1
        self._recovered()
        if self.refusals <= NAMED:
            self.say(f"{name}: {reason}" if name else reason)

    def trouble(self, reason: str) -> None:
        """Nothing is acknowledged for now. Said once, until something is again."""
        if not self._troubled:
            self._troubled = True
            self.say(f"{reason}; trying again")

    def look(self, outstanding: int) -> None:
        """Show the progress, if it is time to."""
        self._progress.outstanding = outstanding
        if self._live is not None and self._live.due():
            self._progress.sample()
            self._live.show([self._progress.line()], self._progress.figures())

    def wait(self) -> float | None:
        """The seconds until the next look."""
        return None if self._live is None else LOOK

    def say(self, text: str) -> None:
        """Say ``text`` in a line of its own."""
        if self._verbose:
            # The order of what is said and of positions is kept where both go to one terminal.
            sys.stdout.flush()
        if self._live is None:
            print(f"comet: {text}", file=sys.stderr)
        else:
            self._live.say(f"comet: {text}")

    def _recovered(self) -> None:
        if self._troubled:
            self._troubled = False
            self.say("it goes on")
