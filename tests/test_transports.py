"""The table of transports, and each of them from publisher to reader."""

from __future__ import annotations

import pytest

from comet.delivery import ONE_SHOT
from comet.errors import BadParameter, UnknownTransport
from comet.message import Draft
from comet.transports import BY_NAME, TRANSPORTS, Wishes, accepted, check_format, named
from tests.fakes import House, Subscriber
from tests.framing_readers import READERS

CHROME_IMAGE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
CHROME_PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", "poll"),
        ("*/*", "poll"),
        ("application/json", "poll"),
        ("text/event-stream", "sse"),
        ("Text/Event-Stream; charset=utf-8", "sse"),
        ("application/x-ndjson", "stream"),
        ("multipart/x-mixed-replace", "multipart"),
        ("multipart/mixed", "mixed"),
        ("image/png", "multipart"),
        (CHROME_IMAGE, "multipart"),
        (CHROME_PAGE, "iframe"),
        ("application/json, text/event-stream", "sse"),
        (" , ;;, text/html", "iframe"),
        ("nonsense", "poll"),
    ],
)
def test_accept_header_names_a_transport(accept: str, name: str) -> None:
    """What browsers and programs send by themselves gets them the transport that they can read."""
    assert accepted(accept).name == name


def test_transport_by_name() -> None:
    """Each transport is found under its name; another name is refused with the names that there are."""
    assert [named(transport.name) for transport in TRANSPORTS] == list(TRANSPORTS)
    with pytest.raises(UnknownTransport, match="websocket"):
        named("carrier pigeon")


def test_table_is_complete() -> None:
    """Every transport has a reader in the tests, and no media type means two of them."""
    assert set(BY_NAME) == set(READERS)
    accepts = [media_type for transport in TRANSPORTS for media_type in transport.accepts]
    assert len(accepts) == len(set(accepts))


def test_format_is_checked() -> None:
    """A format that a transport does not have is refused."""
    assert check_format(named("sse"), "raw") == "raw"
    with pytest.raises(BadParameter, match="json or raw"):
        check_format(named("sse"), "xml")


def test_equal_wishes_share_an_audience() -> None:
    """Two requests that ask for the same get equal framings, or they could not share their bytes."""
    for row in TRANSPORTS:
        assert row.framing(Wishes()) == row.framing(Wishes())
        assert hash(row.framing(Wishes())) == hash(row.framing(Wishes()))


PAYLOADS = ["", "one", "line\nbreak\r\n", "</script><!--", "\u2028 é 😀", "--boundary", "x" * 100_000]


@pytest.mark.parametrize("name", BY_NAME)
def test_round_trip(name: str) -> None:
    """What is published comes out of every transport as it went in, live and from history."""
    house = House()
    live = [Subscriber(house, "news", transport=name, wait=10.0, conflate=False)]
    got: list[str] = []
    shown = [payload for payload in PAYLOADS if payload or name != "multipart"]
    for payload in PAYLOADS:
        house.publish(Draft("news", payload.encode(), "text/plain"))
        if BY_NAME[name].delivery is ONE_SHOT:
            got += live[-1].messages()
            live.append(Subscriber(house, "news", transport=name, wait=10.0))
    assert (got or live[0].messages()) == shown
    late = Subscriber(house, "news", transport=name, since="first", conflate=False)
    house.turn()
    if name == "poll":
        assert late.messages() == PAYLOADS[: len(late.messages())]
    else:
        assert late.messages() == shown


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "poll"])
def test_controls_come_through(name: str) -> None:
    """Every stream opens with its id, tells of a gap, of changed topics and of its end; an image, of which only the
    newest matters, has no gap while that is there."""
    house = House(retain_messages=1)
    house.publish(("news", "1"), ("news", "2"))
    subscriber = Subscriber(house, "news", transport=name, since=house.position(0))
    house.turn()
    subscriber.change("news", "é/*")
    house.router.end(subscriber.subscription, "ended")
    said = [found["comet"] for found in subscriber.read() if "comet" in found]
    assert said == (["open"] if name == "multipart" else ["open", "gap", "topics", "bye"])
    assert subscriber.messages() == ["2"]
