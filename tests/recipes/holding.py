"""Many held responses at once."""

from __future__ import annotations

from contextlib import ExitStack

from tests.e2e.held import publish, streams
from tests.e2e.waiting import until
from tests.recipes.clients import Client
from tests.recipes.faces import HTTP_2, Face
from tests.recipes.proxies import Front

TARGET = "/topics/a?transport=sse"


def held(face: Face) -> int:
    """How many the daemon holds."""
    return len(streams(face.direct, "a"))


def begun(client: Client, count: int) -> list[Client]:
    """So many requests on the connection of ``client``, that one among them."""
    clients = [client, *(client.beside() for _ in range(count - 1))]
    for each in clients:
        each.begin(TARGET, "sse")
    return clients


def held_on_one_connection(face: Face, front: Front, count: int) -> int:
    """Hold so many responses on one connection of HTTP/2; returns how many get a message."""
    with face.client(front, HTTP_2) as client:
        clients = begun(client, count)
        until(lambda: held(face) == count, f"{count} are held")
        publish(face.direct, "a", "hello")
        return sum(each.arrive("sse").until_messages(1)[0]["data"] == "hello" for each in clients)


def held_on_connections(face: Face, front: Front, protocol: str, count: int) -> int:
    """Hold so many responses, each on a connection of its own; returns how many get a message."""
    with ExitStack() as stack:
        clients = [stack.enter_context(face.client(front, protocol)).begin(TARGET, "sse") for _ in range(count)]
        until(lambda: held(face) == count, f"{count} are held")
        publish(face.direct, "a", "hello")
        return sum(each.arrive("sse").until_messages(1)[0]["data"] == "hello" for each in clients)
