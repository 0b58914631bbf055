"""The entrance: where what is published goes.

Into the log, as a rule. While a successor takes this daemon's place publishers wait, then the successor is given what
they publish, so that none of them has to notice; and when there is none, they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail

from comet.errors import Draining
from comet.message import Draft

Publish = Callable[[Sequence[Draft]], Deferred[Sequence[int]]]
"""Stores drafts, all or none, and gives their offsets; see :meth:`comet.router.Router.publish`."""


class Entrance:
    """``publish`` is what publishers call now; ``inside`` leads to the log."""

    def __init__(self, inside: Publish) -> None:
        self.publish = self._inside = inside
        self._waiting: list[tuple[Sequence[Draft], Deferred[Sequence[int]]]] = []

    @property
    def is_open(self) -> bool:
        """Whether it leads to the log."""
        return self.publish == self._inside

    def hold(self) -> None:
        """Let publishers wait. Their number is bounded: each waits for its answer before it goes on."""
        self.publish = self._wait

    def open(self) -> None:
        """Lead to the log again."""
        self.lead_to(self._inside)

    def lead_to(self, publish: Publish) -> None:
        """Lead to ``publish``; who waited goes first, in the order of their coming."""
        self.publish = publish
        waiting, self._waiting = self._waiting, []
        for drafts, answer in waiting:
            publish(drafts).chainDeferred(answer)

    def shut(self) -> None:
        """Refuse everybody, unless another daemon takes what is published."""
        if self.publish in (self._inside, self._wait):
            self.lead_to(refuse)

    def _wait(self, drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:
        answer: Deferred[Sequence[int]] = Deferred()
        self._waiting.append((drafts, answer))
        return answer


def refuse(drafts: Sequence[Draft]) -> Deferred[Sequence[int]]:  # noqa: ARG001
    """Fail with :exc:`~comet.errors.Draining`."""
    return fail(Draining("the daemon is shutting down"))
