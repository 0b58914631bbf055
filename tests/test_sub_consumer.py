"""``comet sub --consumer``: what was printed does not come again."""

from __future__ import annotations

import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from tests.comets import begun, comet, pub, sub
from tests.daemons import Daemon
from tests.e2e.held import asked, asked_json
from tests.e2e.waiting import until
from tests.test_sub import streamed


def consumer(daemon: Daemon, name: str) -> dict[str, object]:
    """What the daemon says of it; empty if there is none of that name."""
    listed = asked_json(daemon.http, "/consumers")["consumers"]
    return next((each for each in listed if each["name"] == name), {})


def test_goes_on_where_it_was(daemon: Daemon) -> None:
    """Each run prints what those before it have not printed; topics are named once."""
    for text in ("one", "two", "three"):
        pub(daemon, "cli/consumed", text)
    first = sub(daemon, "cli/consumed", "--consumer", "a b", "--since", "first", "--count", "1")
    assert (first.code, first.out) == (0, "cli/consumed  one\n")
    assert sub(daemon, "--consumer", "a b", "--count", "2").out == "cli/consumed  two\ncli/consumed  three\n"
    assert consumer(daemon, "a b")["behind"] == {"messages": 0, "more": False, "offsets": 0}


def test_replaced(daemon: Daemon) -> None:
    """Who is replaced by a newer reader ends, and says why; who is interrupted leaves nothing behind."""
    arguments = ("sub", "cli/replaced", "--consumer", "replaced", "--url", f"http://{daemon.http}")
    with begun(*arguments) as older:
        until(lambda: consumer(daemon, "replaced").get("reader"), "the first has come")
        with begun(*arguments) as newer:
            assert older.stderr is not None
            assert "another reader has come" in older.stderr.read()
            assert older.wait() == 1
            newer.send_signal(signal.SIGINT)
            assert newer.wait() == 130
    until(lambda: not consumer(daemon, "replaced").get("reader"), "both have gone")


def test_refused(daemon: Daemon) -> None:
    """What the daemon refuses is told in its words, in one line."""
    assert "there is no consumer 'none' yet" in sub(daemon, "--consumer", "none").err
    assert "cannot name a consumer" in sub(daemon, "a", "--consumer", "a/b").err
    assert "name a topic or a pattern" in sub(daemon).err


def test_deleted(daemon: Daemon) -> None:
    """A consumer that is deleted is made anew by a reader that names its topics, and goes on where that was."""
    with begun("sub", "cli/deleted", "--consumer", "deleted", "--url", f"http://{daemon.http}") as reader:
        until(lambda: consumer(daemon, "deleted").get("reader"), "it has come")
        before = consumer(daemon, "deleted")["created"]
        asked(daemon.http, "DELETE", "/consumers/deleted")
        until(lambda: consumer(daemon, "deleted").get("created", before) != before, "it has come again")
        pub(daemon, "cli/deleted", "one")
        assert reader.stdout is not None
        assert reader.stdout.readline() == "cli/deleted  one\n"


class Unwilling(BaseHTTPRequestHandler):
    """Gives one message, loses the first acknowledgement, and refuses the second."""

    asked: ClassVar[list[tuple[str, bytes]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, b""))
        self.wfile.write(streamed({"id": "00000000-7", "topic": "a", "time": 1.0, "data": "one"}))

    def do_POST(self) -> None:
        self.asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        refusal = b'{"code":"unknown_consumer","detail":"there is no consumer"}'
        if len(self.asked) > 2:
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(refusal), refusal))

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_acknowledgement_that_is_refused() -> None:
    """After a lost connection it is sent once more; a refusal ends the command with the daemon's reason."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Unwilling) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        ended = comet("sub", "--consumer", "ü", "--url", f"http://127.0.0.1:{server.server_port}/push/")
        server.shutdown()
        serving.join()
    assert (ended.code, ended.out, ended.err) == (1, "a  one\n", "comet: not acknowledged: there is no consumer\n")
    assert Unwilling.asked == [
        ("/push/consumers/%C3%BC?transport=stream&since=now", b""),
        *[("/push/consumers/%C3%BC/ack", b'{"id": "00000000-7"}')] * 2,
    ]
