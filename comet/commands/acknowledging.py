"""Telling the daemon that a consumer's messages are done: what ``comet sub --consumer`` does after printing them.

An acknowledgement that does not get through is not repeated: the next one says more, and without one the messages come
again.
"""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from urllib.parse import SplitResult, quote

from comet.commands.asking import Unanswered, answer_of, base_of, connection_to
from comet.sending.credentials import authorization, of_environment

TIMEOUT = 20.0
"""Seconds that an answer may take."""


def path_of(name: str) -> str:
    """Where the consumer is, below the daemon's URL."""
    return f"/consumers/{quote(name, safe='')}"


def _header() -> dict[str, str]:
    return {"Content-Type": "application/json", **authorization(of_environment())}


class Acknowledging:
    """Acknowledges for the consumer ``name`` of the daemon at ``url``. To be used in a ``with`` statement."""

    def __init__(self, url: SplitResult, name: str) -> None:
        self._path = f"{base_of(url)}{path_of(name)}/ack"
        self._connection = connection_to(url, TIMEOUT)

    def __enter__(self) -> Acknowledging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def done(self, position: str) -> None:
        """Say that everything up to ``position`` is done. Ends the process if the daemon will not hear of it."""
        # The connection that was kept may have been closed meanwhile.
        if not self._tried(position):
            self._tried(position)

    def _tried(self, position: str) -> bool:
        body = json.dumps({"id": position}).encode()
        try:
            self._connection.request("POST", self._path, body, _header())
            answer_of(self._connection.getresponse())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        except Unanswered as refused:
            if 400 <= refused.status < 500:
                raise SystemExit(f"comet: not acknowledged: {refused}") from None
        return True
