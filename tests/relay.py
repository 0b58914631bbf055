"""A wire between a client and a server that a test can cut."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable

ABORT = struct.pack("ii", 1, 0)


class Relay:
    """Forwards connections to ``target``. What the server says passes ``cut``: when it returns False, the connection is
    broken off at once, and what it was asked about never reaches the client."""

    def __init__(self, target: str, cut: Callable[[bytes], bool]) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._cut = cut
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Relay:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would not wake the thread that waits in accept().
        self._server.shutdown(socket.SHUT_RDWR)
        self._accepting.join(20)
        self._server.close()

    def hang_up(self) -> None:
        """End the newest connection as a server would that has nothing more to say."""
        self._clients[-1].shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._clients.append(client)
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target, 20) as server:
            try:
                while self._forward_some(client, server):
                    pass
            except OSError:
                pass

    def _forward_some(self, client: socket.socket, server: socket.socket) -> bool:
        readable, _, _ = select.select([client, server], [], [])
        data = readable[0].recv(65_536)
        if readable[0] is server and not self._cut(data):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            return False
        (client if readable[0] is server else server).sendall(data)
        return bool(data)
