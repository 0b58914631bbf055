"""How a block is spent on a row: streams and polls, on sockets and on writers without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from comet.message import Draft
from tests.fakes import FakeWriter, House, SocketWriter, Subscriber, until

LARGE = "x" * 500_000


@pytest.fixture
def house() -> House:
    return House(silence=5.0, stall=20.0, page_messages=100)


@pytest.fixture
def sockets() -> Iterator[Callable[[], SocketWriter]]:
    made: list[SocketWriter] = []

    def make() -> SocketWriter:
        made.append(SocketWriter())
        return made[-1]

    yield make
    for writer in made:
        writer.close()


Sockets = Callable[[], SocketWriter]


def test_everybody_gets_the_very_same_bytes(house: House) -> None:
    """A message is encoded once for all who ask for the same, stream or poll."""
    for transport in ("stream", "sse", "poll"):
        crowd = [Subscriber(house, "news", transport=transport, wait=10.0) for _ in range(5)]
        house.publish(("news", transport))
        blocks = [each.writer.blocks[-1] for each in crowd]
        assert all(block is blocks[0] for block in blocks)


@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_full_socket_in_a_row_hurts_nobody_else(house: House, sockets: Sockets, transport: str) -> None:
    """Of several clients one cannot take a byte: the others have everything at once, and that one when it reads on."""
    crowd = [Subscriber(house, "news", transport=transport, wait=10.0, writer=sockets()) for _ in range(5)]
    for each in crowd:
        each.read()
    full = crowd[2]
    assert isinstance(full.writer, SocketWriter)
    full.writer.fill()
    house.publish(("news", "one"))
    assert [each.messages() for each in crowd if each is not full] == [["one"]] * 4
    full.writer.unfill()
    full.drain()
    house.turn()
    assert full.messages() == ["one"]
    assert house.metrics.slow == (1 if transport == "stream" else 0)


@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_short_write_in_a_row_goes_on_where_it_stopped(house: House, sockets: Sockets, transport: str) -> None:
    """A client that took a part of a block gets the rest of it, and what follows."""
    crowd = [Subscriber(house, "news", transport=transport, wait=10.0, writer=sockets()) for _ in range(3)]
    house.publish(("news", LARGE))
    assert all(each.writer.kept for each in crowd)
    house.publish(("news", "two"))
    for each in crowd:
        while each.writer.kept:
            each.drain()
        house.turn()
        assert each.messages() == ([LARGE, "two"] if transport == "stream" else [LARGE])


@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_broken_pipe_in_a_row_drops_that_client(house: House, sockets: Sockets, transport: str) -> None:
    """A client that has gone without a word is dropped when it is written to; the others lose nothing."""
    crowd = [Subscriber(house, "news", transport=transport, wait=10.0, writer=sockets()) for _ in range(5)]
    for broken in (crowd[1], crowd[4]):
        assert isinstance(broken.writer, SocketWriter)
        broken.writer.break_()
    house.publish(("news", "one"))
    assert [each.writer.ended == "aborted" for each in crowd] == [False, True, False, False, True]
    assert [crowd[index].messages() for index in (0, 2, 3)] == [["one"]] * 3
    assert len(house.router.streams) == (3 if transport == "stream" else 0)
    house.publish(("news", "two"))
    if transport == "stream":
        assert crowd[3].messages() == ["one", "two"]


def test_all_mishaps_in_one_row(house: House, sockets: Sockets) -> None:
    """Full, broken and slow clients side by side, again and again: whoever stays has everything in order."""
    crowd = [Subscriber(house, "news", writer=sockets() if number % 5 else FakeWriter()) for number in range(20)]
    for each in crowd:
        each.read()
    for number in range(1, 30):
        house.publish(("news", str(number) + "." * (number * 731 % 5000)))
        if number % 7 == 0:
            crowd.pop(number % len(crowd)).leave()
        crowd[number % len(crowd)].drain()
        broken = crowd[3].writer
        if number == 15 and isinstance(broken, SocketWriter):
            broken.break_()
            crowd.pop(3)
    for each in crowd:
        while each.writer.kept or not each.live:
            each.drain()
            house.turn()
        assert [int(data.rstrip(".")) for data in each.messages()] == list(range(1, 30))


def test_slow_writer_without_a_socket(house: House) -> None:
    """A TLS client that cannot take a block goes back to reading; when drained it has missed nothing."""
    quick, slow = Subscriber(house, "news"), Subscriber(house, "news")
    slow.writer.room = 10
    house.publish(("news", "one"))
    house.publish(("news", "two"), ("other", "x"))
    assert quick.messages() == ["one", "two"]
    assert not slow.live
    assert house.metrics.slow == 1
    slow.drain()
    house.turn()
    assert slow.messages() == ["one", "two"]
    assert slow.live


def test_stalled_client_is_dropped(house: House, sockets: Sockets) -> None:
    """A write that stays stuck for longer than ``stall`` ends the connection."""
    stalled, other = Subscriber(house, "news", writer=sockets()), Subscriber(house, "news")
    house.publish(("news", LARGE))
    house.wait(18)
    assert house.metrics.stalled == 0
    house.wait(4)
    assert stalled.writer.ended == "aborted"
    assert house.metrics.stalled == 1
    assert other.subscription.stream in house.router.streams
    assert stalled.subscription.stream not in house.router.streams


def test_changing_topics_does_not_keep_a_stalled_client(house: House) -> None:
    """A stuck write stays stuck however often the stream's topics are changed, and holds up no other's end."""
    first, second = (Subscriber(house, "news") for _ in range(2))
    for each in (first, second):
        each.writer.room = 0
    house.publish(("news", "x"))
    for _ in range(10):
        house.wait(2)
        first.change("news", f"other/{house.clock.seconds()}")
    house.wait(2)
    assert (first.writer.ended, second.writer.ended) == ("aborted", "aborted")


def test_slow_but_reading_client_stays(house: House) -> None:
    """A client that takes long for a block, but goes on taking it, is not taken for stuck."""
    slow = Subscriber(house, "news")
    slow.writer.room = 10
    house.publish(("news", "x" * 1000))
    for _ in range(30):
        house.wait(1)
        slow.writer.drain(10)
        house.router.progressed(slow.subscription)
    assert not slow.writer.ended


def test_multipart_client_that_is_slow_at_its_first_image(house: House, sockets: Sockets) -> None:
    """The format has state: a client that took a part of the first image goes on in the state behind it."""
    slow = Subscriber(house, "camera", transport="multipart", writer=sockets())
    quick = Subscriber(house, "camera", transport="multipart", writer=FakeWriter())
    images = [Draft("camera", b"1" * 300_000, "image/png"), Draft("camera", b"2", "image/png")]
    house.publish(images[0])
    assert slow.writer.kept
    until(lambda: not slow.writer.kept, slow.drain)
    house.publish(images[1])
    assert slow.live
    assert slow.messages() == quick.messages() == ["1" * 300_000, "2"]


def test_multipart_clients_of_both_states_share_a_topic(house: House) -> None:
    """One who comes later starts with a header, one who is there goes on; both see each image."""
    early = Subscriber(house, "camera", transport="multipart")
    house.publish(Draft("camera", b"1", "image/png"))
    late = Subscriber(house, "camera", transport="multipart")
    house.publish(Draft("camera", b"2", "image/png"))
    house.publish(Draft("camera", b"3", "image/gif"))
    assert early.messages() == ["1", "2", "3"]
    assert late.messages() == ["2", "3"]


def test_multipart_client_that_is_stuck_changes_topics(house: House) -> None:
    """A change that the format cannot say in-band does not let news overtake what is still to be sent."""
    slow = Subscriber(house, "camera", transport="multipart")
    house.publish(Draft("camera", b"1", "image/png"))
    slow.writer.room = 1
    house.publish(Draft("camera", b"2" * 50, "image/png"))
    slow.change("camera", "other")
    assert not slow.live
    house.publish(Draft("other", b"3", "image/png"))
    slow.drain()
    house.turn()
    assert slow.messages() == ["1", "2" * 50, "3"]
    assert slow.live
