"""Web servers that know nothing of Comet, for pages of another origin than the daemon's."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

EMPTY = "<!doctype html><meta charset=utf-8><title>Elsewhere</title><link rel=icon href=data:,>"
"""A page that does nothing, and asks for nothing."""


class _Answering(http.server.BaseHTTPRequestHandler):
    """Answers with the pages that it was made with, by their path."""

    timeout = 1

    def __init__(self, pages: Mapping[str, str], *args: object) -> None:
        self._pages = pages
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        found = self._pages.get(self.path)
        body = (found or "").encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@contextmanager
def elsewhere(pages: Mapping[str, str]) -> Iterator[str]:
    """A server of ``pages``, by path; yields its origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answering, pages)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
