"""Apache: what its recipe does beside carrying everything, and why it says what it says."""

from __future__ import annotations

from tests.e2e.held import publish
from tests.e2e.waiting import until
from tests.recipes.faces import HTTP_1, HTTP_2, tried
from tests.recipes.holding import TARGET, begun, held, held_on_connections
from tests.recipes.proxies import proxy

PATH = "apache/comet.conf"
SIX = 6


def test_room() -> None:
    """More responses are held than Debian's Apache has threads for."""
    with tried(PATH) as face, face.daemon(), face.proxy() as front:
        assert held_on_connections(face, front, HTTP_1, 200) == 200


def test_http_2_holds_six() -> None:
    """Of the responses that a browser holds on one connection of HTTP/2, Apache answers six; the next has to wait."""
    with tried(PATH) as face:
        text = face.text().replace("Protocols http/1.1", "Protocols h2")
        with face.daemon(), proxy("apache", text, face.upstream) as front, face.client(front, HTTP_2) as client:
            clients = begun(client, SIX + 1)
            until(lambda: held(face) == SIX, "six are held")
            publish(face.direct, "a", "one")
            for each in clients[:SIX]:
                each.arrive("sse").until_messages(1)
            assert held(face) == SIX
            clients[0].wire.leave()
            clients[SIX].arrive("sse").until_control("open")


def test_poll_is_held_on() -> None:
    """Apache does not notice that the client of a poll has left: the daemon holds it until its wait is over."""
    with tried(PATH) as face, face.daemon(), face.proxy() as front:
        client = face.client(front, HTTP_1).begin("/topics/a?transport=poll&wait=2", "poll")
        until(lambda: held(face) == 1, "the poll is held")
        client.wire.leave()
        with face.client(front, HTTP_1) as beside:
            beside.ask(TARGET, "sse").until_control("open")
            assert held(face) == 2
            until(lambda: held(face) == 1, "the poll is over")
