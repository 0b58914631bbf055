"""The memory for what clients are sending and is not whole yet, or not answered: bodies, and messages on WebSockets.

A few who take their time over large bodies must not keep all others from publishing. So what has grown beyond
:data:`SMALL` has half of the memory, and the other half is for small ones alone.
"""

from __future__ import annotations

from comet.errors import TooManyBodies

SMALL = 65_536


class Bodies:
    """Counts the bytes of all bodies: ``taken``, of ``most``."""

    def __init__(self) -> None:
        self.taken = 0
        self.most = 0

    def take(self, count: int, size: int) -> None:
        """``count`` bytes have come of a body that has ``size`` of them now. They are counted in any case; raises
        :exc:`~comet.errors.TooManyBodies` if there is no room for them, and the caller gives the whole body back."""
        self.taken += count
        if self.taken > (self.most if size <= SMALL else self.most // 2):
            raise TooManyBodies("what clients are sending takes all the memory it may (max-bodies); try again")

    def give_back(self, size: int) -> None:
        """A body of ``size`` bytes is no longer in memory, or is about to be so."""
        self.taken -= size
