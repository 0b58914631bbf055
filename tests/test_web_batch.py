"""Many messages in one request."""

from __future__ import annotations

import json

import pytest

from comet.errors import BadContentType, BadJSON, BadKey, BadRequest, BadTopic, CometError, PayloadTooLarge
from comet.message import Draft
from comet.web.batch import MOST, read_batch
from tests.web_faces import Face


def read(body: str | bytes) -> list[Draft]:
    """Read a batch with payloads of up to 100 bytes."""
    return read_batch(body.encode() if isinstance(body, str) else body, "", 100)


@pytest.mark.parametrize(
    "body",
    [
        '{"topic":"a","data":1}\n{"topic":"b","data":2}',
        '{"topic":"a","data":1}\r\n\r\n{"topic":"b","data":2}\r\n',
        '\n  {"topic":"a","data":1}\n\n {"topic":"b","data":2} \n',
        '[{"topic":"a","data":1},{"topic":"b","data":2}]',
        '  [\n{"topic":"a",\n"data":1},\n{"topic":"b","data":2}\n]\n',
    ],
)
def test_a_batch_is_lines_or_an_array(body: str) -> None:
    """A batch is one object a line, blank lines allowed, or a JSON array."""
    assert [(draft.topic, draft.payload) for draft in read(body)] == [("a", b"1"), ("b", b"2")]


@pytest.mark.parametrize(
    ("members", "payload", "content_type"),
    [
        ('"data":"text"', b"text", ""),
        ('"data":"\\u00e4 \\n \\ud83d\\ude00"', "ä \n 😀".encode(), ""),
        ('"data":"<b>","type":"text/html"', b"<b>", "text/html"),
        ('"data":"[1]","type":"application/json"', b"[1]", "application/json"),
        ('"data":{"b": 1.10}', b'{"b": 1.10}', "application/json"),
        ('"data":null', b"null", "application/json"),
        ('"data": false ', b"false", "application/json"),
        ('"data":[1],"type":"application/geo+json"', b"[1]", "application/geo+json"),
        ('"data64":"AP8="', b"\x00\xff", ""),
        ('"data64":"","type":"image/png"', b"", "image/png"),
    ],
)
def test_data_is_text_or_json_or_bytes(members: str, payload: bytes, content_type: str) -> None:
    """A string is published as that text, other JSON as it was written, data64 as the bytes that it spells."""
    (draft,) = read(f'{{"topic":"a",{members}}}')
    assert (draft.payload, draft.content_type) == (payload, content_type)


def test_a_message_may_have_a_key() -> None:
    """A key makes a message of a batch safe to repeat."""
    assert read('{"topic":"a","data":1,"key":"k1"}')[0].key == "k1"


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ('{"topic":"a"}', BadRequest),
        ('{"topic":"a","data":1,"data64":"AP8="}', BadRequest),
        ('{"topic":"a","data":1,"key":""}', BadRequest),
        ('{"topic":"a","data64":"AP8"}', BadRequest),
        ('{"topic":"a","data64":"A P8="}', BadRequest),
        ('{"topic":"a","data64":"ä"}', BadRequest),
        ('{"topic":"a","data":1,"typ":"x"}', BadJSON),
        ('{"topic":"a","data":1,"type":null}', BadJSON),
        ('{"topic":"a","data":"\\ud800"}', BadJSON),
        ('{"topic":"a","data":"no","type":"application/json"}', BadJSON),
        ('{"data":1}', BadJSON),
        ("1", BadJSON),
        ('{"topic":"a","data":}', BadJSON),
        ('{"topic":"$a","data":1}', BadTopic),
        ('{"topic":"a","data":1,"type":"a\\nb"}', BadContentType),
        ('{"topic":"a","data":1,"key":"\\u0000"}', BadKey),
        (f'{{"topic":"a","data":"{"x" * 101}"}}', PayloadTooLarge),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(entry: str, error: type[CometError]) -> None:
    """A message that is wrong refuses the batch, and the detail says which line or element it is."""
    good = '{"topic":"a","data":1}'
    with pytest.raises(error, match=r"^line 2: "):
        read(f"{good}\n{entry}\n{good}")
    with pytest.raises(error, match=r"\$\[1\]|JSON is malformed"):
        read(f"[{good},{entry},{good}]")


@pytest.mark.parametrize("body", ["", "\n\n", "[]"])
def test_a_batch_without_messages_is_refused(body: str) -> None:
    """An empty batch is a mistake of the publisher, who is told what a batch looks like."""
    with pytest.raises(BadRequest, match="one JSON object a line"):
        read(body)


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"topic":"a\xff","data":1}', b'{"topic":"a","data":["\xff"]}', b"[" * 100_000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Bytes that are not UTF-8, and JSON nested without end, are refused."""
    with pytest.raises(BadJSON):
        read(body)


def test_a_batch_is_bounded() -> None:
    """A batch of more messages than are taken at once is refused, as lines and as an array."""
    entry = '{"topic":"a","data":1}'
    assert len(read("\n".join([entry] * MOST))) == MOST
    with pytest.raises(BadRequest, match="at most"):
        read("\n".join([entry] * (MOST + 1)) + "\n")
    with pytest.raises(BadRequest, match="at most"):
        read(f"[{','.join([entry] * (MOST + 1))}]")


def test_a_batch_is_published_whole_and_in_order() -> None:
    """POST /topics answers with the id of each message, in the order of the batch."""
    face = Face()
    answer = face.ask("POST", "/topics", b'{"topic":"a","data":"x"}\n{"topic":"b","data":"y"}')
    epoch = face.router.epoch
    assert (answer.status, answer.json()) == (201, {"ids": [f"{epoch}-1", f"{epoch}-2"]})
    history = face.ask("GET", "/topics/*?since=first").json()["messages"]
    assert [(message["topic"], message["data"]) for message in history] == [("a", "x"), ("b", "y")]


def test_a_batch_is_all_or_nothing() -> None:
    """If one message is refused none is published."""
    face = Face()
    answer = face.ask("POST", "/topics", b'{"topic":"a","data":"x"}\n{"topic":"*","data":"y"}')
    assert (answer.status, answer.json()["code"]) == (400, "bad_topic")
    assert answer.json()["detail"].startswith("line 2: ")
    assert face.metrics.published == 0


def test_a_repeated_batch_publishes_what_is_new() -> None:
    """A batch whose keys are known gets the ids that they first got."""
    face = Face()
    batch = [{"topic": "a", "data": number, "key": str(number)} for number in range(3)]
    first = face.ask("POST", "/topics", json.dumps(batch[:2]).encode()).json()["ids"]
    second = face.ask("POST", "/topics", json.dumps(batch).encode()).json()["ids"]
    assert second[:2] == first
    assert face.metrics.published == 3
