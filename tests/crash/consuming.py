"""Readers whose cursor the daemon keeps: they name no position, and acknowledge what they had.

What was not acknowledged comes again after a lost connection, and is not written down twice. What was, must not.
"""

from __future__ import annotations

import json
from random import Random

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
        self._last = ""
        self._acked = 0
        self._come = 0
        self._chance = Random(self.reading.name)

    def _target(self, transport: str) -> str:
        self._come = 0
        return f"/consumers/{self.reading.name}?transport={transport}&since=first&{self._query}"

    def _take(self, held: Held) -> bool:
        answered = super()._take(held)
        # Not each time: then something comes again, whenever the daemon dies.
        if self._come > self._acked and self._chance.random() < 0.5:
            self._acknowledge(self._last)
        return answered

    def _acknowledge(self, position: str) -> None:
        """Acknowledge; what is refused for a while is tried once more at once."""
        status, answer = self._answer(position)
        if status == 503:
            status, answer = self._answer(position)
        if status == 200:
            self._acked = max(self._acked, offset_of(json.loads(answer)["acked"]))
        elif status not in (0, 503):
            self.faults.append(f"{self.reading.name}: {position} was not acknowledged: {answer!r}")

    def _answer(self, position: str) -> tuple[int, bytes]:
        """The status and body of the answer; 0 if there is none, and it may have been heard or not."""
        body = json.dumps({"id": position}).encode()
        try:
            status, _, answer = asked(self._place, "POST", f"/consumers/{self.reading.name}/ack", body)
        except (OSError, IndexError, ValueError):
            return 0, b""
        return status, answer

    def _write_down(self, found: Object) -> None:
        if found.get("comet") == "gap" and offset_of(found["since"]) < self.reached():
            # It begins where the last acknowledgement was, and so does the next, if that is all that is read.
            if offset_of(found["until"]) <= self.reached():
                return
            found = found | {"since": self.end()}
        if "id" in found:
            self._last = found["id"]
            offset, before, self._come = offset_of(found["id"]), self._come, offset_of(found["id"])
            if offset <= before:
                self.faults.append(f"{self.reading.name}: {offset} came after {before}")
            if offset <= self._acked:
                self.faults.append(f"{self.reading.name}: {offset} came again, although {self._acked} was acknowledged")
            if offset <= self.reached():
                self.again += 1
                return
        super()._write_down(found)
