"""Idempotency keys: the offset that a key's first publish got, for as long as repeating it must be safe.

A key belongs to its topic. Forgetting one early would break its promise, so a full memory refuses new keys instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from comet.errors import TooManyKeys
from comet.kept import Entry
from comet.message import Draft


class Keys:
    """What is remembered: at most ``most`` keys, each for ``window`` seconds."""

    def __init__(self, window: float, most: int) -> None:
        self._offsets: dict[tuple[str, str], tuple[int, float]] = {}
        self.bound(window, most)

    def bound(self, window: float, most: int) -> None:
        """Remember at most ``most`` keys from now on, and each, those of before too, for ``window`` seconds."""
        self._window = window
        self._most = most

    def __len__(self) -> int:
        return len(self._offsets)

    def known(self, draft: Draft) -> int | None:
        """The offset that the draft's key got before, or None."""
        found = self._offsets.get((draft.topic, draft.key))
        return None if found is None else found[0]

    def remember(self, draft: Draft, offset: int, now: float) -> None:
        """Note that the draft's key got ``offset``. Raises :exc:`~comet.errors.TooManyKeys`."""
        if len(self._offsets) >= self._most:
            raise TooManyKeys(f"{self._most} idempotency keys are remembered already (max-keys); try again later")
        self._offsets[draft.topic, draft.key] = (offset, now)

    def forget(self, draft: Draft, offset: int) -> None:
        """Undo ``remember``, unless the key has got another offset since."""
        if self.known(draft) == offset:
            del self._offsets[draft.topic, draft.key]

    def entries(self) -> Iterator[Entry]:
        """Yield what is remembered, the oldest first."""
        for (topic, key), (offset, time) in self._offsets.items():
            yield Entry(topic, key, offset, time)

    def restore(self, entries: Iterable[Entry]) -> None:
        """Remember what others have remembered, before anything else."""
        self._offsets.update(((each.topic, each.key), (each.offset, each.time)) for each in entries)

    def expire(self, now: float) -> None:
        """Let go of the keys whose window is over: they stand in the order in which they came."""
        limit = now - self._window
        old = []
        for key, (_, time) in self._offsets.items():
            if time > limit:
                break
            old.append(key)
        for key in old:
            del self._offsets[key]
