"""What a proxy sends to Comet, byte for byte: a server that keeps every request head and answers each with ``ok``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tests.e2e.waiting import until

_PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nok"


class Recorded(NamedTuple):
    """A request: its first line, its header with names in lower case, and which connection it came on."""

    first: str
    header: dict[str, str]
    connection: int


class Recorder:
    """Listens on ``address``."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = socket.create_server((host, int(port)))
        self._requests: list[Recorded] = []
        self._connections = 0

    def run(self) -> None:
        """Accept until the server is closed."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections += 1
            threading.Thread(target=self._serve, args=(connection, self._connections), daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def requests(self, path: str, count: int) -> list[Recorded]:
        """Wait for ``count`` requests for ``path``; what the proxy asks by itself is for others."""

        def found() -> list[Recorded]:
            return [request for request in self._requests if f" {path} " in request.first]

        until(lambda: len(found()) >= count, f"{count} requests for {path}")
        return found()

    def _serve(self, connection: socket.socket, number: int) -> None:
        data = b""
        with connection, suppress(ConnectionError):  # health checks break off
            while more := connection.recv(65_536):
                data += more
                if data.startswith(_PROXY_2):
                    data = data[16 + int.from_bytes(data[14:16]) :]
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    self._requests.append(_recorded(head, number))
                    connection.sendall(_ANSWER)


def _recorded(head: bytes, number: int) -> Recorded:
    first, *lines = head.decode("latin-1").split("\r\n")
    rows = (line.partition(":") for line in lines)
    return Recorded(first, {name.lower(): value.strip() for name, _, value in rows}, number)


@contextmanager
def recording(address: str) -> Iterator[Recorder]:
    """A recorder in the daemon's place."""
    recorder = Recorder(address)
    thread = threading.Thread(target=recorder.run, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.close()
        thread.join()
