"""A server that says what a test wants it to."""

from __future__ import annotations

import socket
import threading

from tests.daemons import LONGEST


class Stage:
    """A server that plays ``acts``: it answers one connection with each, and remembers what it was sent."""

    def __init__(self, *acts: bytes) -> None:
        self._acts = acts
        self._server = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Stage:
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(LONGEST)
        self._server.close()

    def _play(self) -> None:
        for act in self._acts:
            connection, _ = self._server.accept()
            with connection:
                self.requests.append(connection.recv(65_536))
                connection.sendall(act)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
