"""Readers whose cursor the daemon keeps: they name no position, and acknowledge what they had.

What was not acknowledged comes again after a lost connection, and is not written down twice. What was, must not.
"""

from __future__ import annotations

import json

from tests.crash.accounts import offset_of
from tests.crash.readers import Reader
from tests.e2e.held import Held, asked
from tests.framing_readers import Object


class Consumer(Reader):
    """Reads as the consumer of its name."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.again = 0
        """How many messages came again."""
        self._acked = 0
        self._come = 0
        self._turns = 0

    def _target(self, transport: str) -> str:
        self._come = 0
        return f"/consumers/{self.reading.name}?transport={transport}&since=first&{self._query}"

    def _take(self, held: Held) -> bool:
        answered = super()._take(held)
        self._turns += 1
        # Every other time it dies before it has acknowledged, so to speak.
        if self._come > self._acked and self._turns % 2:
            self._acknowledge()
        return answered

    def _acknowledge(self) -> None:
        body = json.dumps({"id": self.reading.items[-1][0]}).encode()
        try:
            status, _, answer = asked(self._place, "POST", f"/consumers/{self.reading.name}/ack", body)
        except (OSError, IndexError, ValueError):
            return  # it may have been heard or not
        if status == 200:
            self._acked = max(self._acked, offset_of(json.loads(answer)["acked"]))
        elif status != 503:
            self.faults.append(f"{self.reading.name}: {body!r} was not acknowledged: {answer!r}")

    def _write_down(self, found: Object) -> None:
        if found.get("comet") == "gap" and offset_of(found["until"]) <= self.reached():
            return
        if "id" in found:
            offset, before, self._come = offset_of(found["id"]), self._come, offset_of(found["id"])
            if offset <= before:
                self.faults.append(f"{self.reading.name}: {offset} came after {before}")
            if offset <= self._acked:
                self.faults.append(f"{self.reading.name}: {offset} came again, although {self._acked} was acknowledged")
            if offset <= self.reached():
                self.again += 1
                return
        super()._write_down(found)
