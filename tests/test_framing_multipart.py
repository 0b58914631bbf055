"""What a browser that shows an image over multipart/x-mixed-replace gets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet.control import Beat, Bye, Open, Topics
from comet.framing.multipart import Multipart
from comet.message import Gap, Message, Page, Position
from tests.framing_readers import MultipartReader, Object

EPOCH = "5f0c1a2b"
BOUNDARY = "0123456789abcdef0123456789abcdef"
FRESH = Multipart(BOUNDARY)
OPENING = Open("c0ffee", Position(EPOCH, 0), 25.0)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def page_of(*published: tuple[bytes, str], start: int = 1, gap: Gap | None = None) -> Page:
    """A page of messages with these payloads and types, from offset ``start`` on."""
    messages = [Message("cam", *one, 0.0, start + at) for at, one in enumerate(published)]
    return Page(messages, Position(EPOCH, start + len(messages) - 1), gap)


def gap(since: int, until: int) -> Gap:
    """The gap between two offsets."""
    return Gap(Position(EPOCH, since), Position(EPOCH, until))


def told(since: int, until: int) -> Object:
    """What tells that gap."""
    return {"comet": "gap", "since": f"{EPOCH}-{since}", "until": f"{EPOCH}-{until}"}


def part(payload: bytes, kind: str) -> Object:
    """What shows that payload."""
    return {"type": kind, "payload": payload}


def read(*pages: Page) -> list[Object]:
    """What a browser sees of these pages, behind the opening."""
    framing, body = FRESH, FRESH.open(OPENING)
    for page in pages:
        body += framing.page(page)
        framing = framing.after(page)
    return MultipartReader(FRESH.content_type).feed(body)[1:]


def test_an_image_is_shown_at_once() -> None:
    """Each image is followed by the complete header of the next, because browsers show it only then."""
    page = page_of((b"\xff\xd8one", "image/jpeg"), (b"\xff\xd8two", "image/jpeg"))
    header = b"--%b\r\nContent-Type: image/jpeg\r\n\r\n" % BOUNDARY.encode()
    assert FRESH.page(page) == b"Content-Type: image/jpeg\r\n\r\n\xff\xd8one\r\n%b\xff\xd8two\r\n%b" % (header, header)


def test_the_next_image_fills_the_header_that_lies_open() -> None:
    """The second page of a stream is the image and the header behind it, and nothing else."""
    framing = FRESH.after(page_of((b"one", "image/png")))
    assert framing == Multipart(BOUNDARY, opened="image/png")
    assert framing.page(page_of((b"two", "image/png"))).startswith(b"two\r\n--")


def test_a_stream_that_stays_the_same_stays_shared() -> None:
    """As long as the type stays, the framing does, and all viewers share the same bytes."""
    framing = FRESH.after(page_of((b"one", "image/png")))
    assert framing.after(page_of((b"two", "image/png"))) is framing
    assert framing.after(page_of()) is framing


def test_a_first_response_is_long_enough_for_webkit_to_look_at() -> None:
    """The first bytes are at least 600 even for a tiny image, and the payload is as it was published."""
    assert len(FRESH.open(OPENING)) >= 600
    assert len(Multipart(BOUNDARY, padding=0).open(OPENING)) < 200
    assert read(page_of((b"tiny", "image/gif"))) == [part(b"tiny", "image/gif")]


def test_control_before_the_first_image_is_told() -> None:
    """Before anything is shown, heartbeats and changes of topics are lines of the header that is still incomplete."""
    body = FRESH.open(OPENING) + FRESH.control(Beat(Position(EPOCH, 7))) + FRESH.control(Beat(Position(EPOCH, 8)))
    body += FRESH.page(page_of((b"one", "image/png")))
    seen = MultipartReader(FRESH.content_type).feed(body)
    assert seen[1:] == [
        {"comet": "beat", "position": f"{EPOCH}-7"},
        {"comet": "beat", "position": f"{EPOCH}-8"},
        part(b"one", "image/png"),
    ]


@pytest.mark.parametrize("kind", ["image/png", "text/plain"])
def test_control_does_not_touch_what_is_shown(kind: str) -> None:
    """A heartbeat writes nothing over an image: an empty part would crash the tab, and blank a text."""
    framing = FRESH.after(page_of((b"one", kind)))
    where = Position(EPOCH, 7)
    assert [framing.control(control) for control in (Beat(where), Topics(("a",), where), Bye("end", 0))] == [b""] * 3


def test_a_gap_between_images_is_told_behind_the_next_image() -> None:
    """A viewer that fell behind is told so in the next header that is written, not by a part of its own."""
    first, second = page_of((b"1", "image/png")), page_of((b"9", "image/png"), start=9, gap=gap(1, 8))
    assert read(first, second) == [part(b"1", "image/png"), part(b"9", "image/png"), told(1, 8)]


def test_a_gap_without_an_image_stays_owed() -> None:
    """A gap with nothing to show behind it is told with the next image, as one with those that follow."""
    pages = [
        page_of((b"1", "image/png")),
        page_of(start=5, gap=gap(1, 4)),
        page_of(start=9, gap=gap(4, 8)),
        page_of((b"9", "image/png"), start=9),
        page_of((b"10", "image/png"), start=10),
    ]
    assert read(*pages) == [part(b"1", "image/png"), part(b"9", "image/png"), told(1, 8), part(b"10", "image/png")]


def test_images_of_another_type_take_the_open_header() -> None:
    """A camera may change from PNG to JPEG: browsers look at the bytes, and no empty part comes between."""
    pages = (
        page_of((b"\x89PNG", "image/png")),
        page_of((b"\xff\xd8", "image/jpeg"), (b"\xff\xd8", "image/jpeg"), start=2),
    )
    assert read(*pages) == [
        part(b"\x89PNG", "image/png"),
        part(b"\xff\xd8", "image/png"),
        part(b"\xff\xd8", "image/jpeg"),
    ]


def test_other_types_get_a_header_of_their_own() -> None:
    """A text that follows a text of another type, and an image that follows a text, come under their own type."""
    published = [(b"a", "text/plain"), (b"<p>", "text/html"), (b"\x89PNG", "image/png")]
    assert read(page_of(*published)) == [part(*one) for one in published]
    assert read(*[page_of(one, start=at) for at, one in enumerate(published)]) == [part(*one) for one in published]


@pytest.mark.parametrize(
    "published",
    [(b"hello", "text/plain"), (b"", "image/png"), (SVG, "image/svg+xml"), (b"--" + BOUNDARY.encode(), "image/png")],
    ids=["text", "empty", "vector", "boundary"],
)
def test_what_would_break_the_image_is_left_out_and_told(published: tuple[bytes, str]) -> None:
    """What would crash the tab that shows an image, or forge a part, is not written; the viewer is told of the gap."""
    image = (b"\x89PNG", "image/png")
    assert read(page_of(image, published, image)) == [part(*image), part(*image), told(1, 2)]
    assert read(page_of(image), page_of(published, start=2), page_of(image, start=3)) == [
        part(*image),
        part(*image),
        told(1, 2),
    ]


def test_vector_images_follow_each_other() -> None:
    """A drawing may replace a drawing, but not a photograph a drawing."""
    drawing = (SVG, "image/svg+xml; charset=utf-8")
    assert read(page_of(drawing, (b"\x89PNG", "image/png"), drawing)) == [part(*drawing), part(*drawing), told(1, 2)]


kinds = st.sampled_from(["image/png", "image/jpeg", "image/svg+xml", "text/plain", "", "application/json"])
published_messages = st.lists(
    st.tuples(st.sampled_from([b"", b"x", b"\r\n", b"\xff", b"--" + BOUNDARY.encode()]), kinds)
)


@given(published_messages, st.lists(st.integers(1, 3)))
def test_every_message_is_shown_or_told_as_a_gap(published: list[tuple[bytes, str]], cuts: list[int]) -> None:
    """However messages are cut into pages, the same parts come, no image stream has an empty part, and nothing is lost
    in silence."""
    pages, start = [], 1
    for length in itertools.chain(cuts, itertools.repeat(4)):
        if start > len(published):
            break
        pages.append(page_of(*published[start - 1 : start - 1 + length], start=start))
        start += length
    framing = FRESH
    for page in pages:
        framing = framing.after(page)
    once = page_of(*published)
    assert framing == FRESH.after(once)
    seen, whole = read(*pages), read(once)
    assert [one for one in seen if "payload" in one] == [one for one in whole if "payload" in one]
    owed = [] if framing.owed is None else [(framing.owed.since.offset, framing.owed.until.offset)]
    offsets = [[int(str(one[end]).split("-")[1]) for end in ("since", "until")] for one in seen if "comet" in one]
    missing = sum(until - since for since, until in [*offsets, *owed])
    blank = sum(payload == b"" and not kind.startswith("image/") for payload, kind in published)
    shown = sum("payload" in one for one in seen)
    assert shown + missing <= len(published) <= shown + missing + blank
