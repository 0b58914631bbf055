"""Records: the little that must survive beside the messages, such as consumers and hooks.

Whoever owns a kind of them reads it once, after the start, and has it kept anew when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from twisted.internet.defer import Deferred, fail

from comet.errors import Draining
from comet.interfaces import Store
from comet.kept import Record


class Records:
    """What the store has of each kind, by name. While it ``stands_still`` a successor takes them as they are."""

    def __init__(self, store: Store, stands_still: Callable[[], bool]) -> None:
        self._store = store
        self._stands_still = stands_still
        self._bodies: dict[str, dict[str, bytes]] = {}

    def restore(self, records: Iterable[Record]) -> None:
        """Take over what a store or a predecessor has kept, before anything else."""
        for record in records:
            self._bodies.setdefault(record.kind, {})[record.name] = record.body

    def of(self, kind: str) -> Mapping[str, bytes]:
        """The bodies of one kind, by name."""
        return MappingProxyType(self._bodies.setdefault(kind, {}))

    def all(self) -> list[Record]:
        """Every record, for a successor."""
        return [Record(kind, name, body) for kind, bodies in self._bodies.items() for name, body in bodies.items()]

    def put(self, record: Record) -> Deferred[None]:
        """Keep ``record`` in the place of that of its name. Fires once it is stored; fails with
        :exc:`~comet.errors.StoreFailed` or :exc:`~comet.errors.Draining`, and then the old one stands."""
        if self._stands_still():
            return fail(_draining())
        return self._store.put(record).addCallback(self._take_in, record)

    def remove(self, kind: str, name: str) -> Deferred[None]:
        """Forget a record. Fires and fails as ``put``."""
        if self._stands_still():
            return fail(_draining())
        return self._store.remove(kind, name).addCallback(self._let_go, kind, name)

    def _take_in(self, _: None, record: Record) -> None:
        self._bodies.setdefault(record.kind, {})[record.name] = record.body

    def _let_go(self, _: None, kind: str, name: str) -> None:
        self._bodies.get(kind, {}).pop(name, None)


def _draining() -> Draining:
    return Draining("the daemon is shutting down, or another takes its place; try again")
