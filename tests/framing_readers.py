"""Readers of every transport's bytes, written from the specifications and strict: what they do not expect, they refuse.

Each is fed bytes in any pieces and gives back what they complete, as dictionaries: messages as their transport carries
them, and control objects, which have a member ``comet``. ``READERS`` makes one from the content type of a response.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, NamedTuple, NoReturn, Protocol
from urllib.parse import unquote

Object = dict[str, Any]


class Reader(Protocol):
    """Turns the bytes of one response into what they say."""

    def feed(self, data: bytes) -> list[Object]:
        """Take more bytes; give the messages and controls that they complete, in order."""


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def parse_object(text: bytes | str) -> Object:
    """Return the JSON object that ``text`` spells in UTF-8, without a byte order mark, NaN or Infinity."""
    if isinstance(text, bytes):
        text = text.decode()
    value = json.loads(text, parse_constant=_refuse_constant)
    assert isinstance(value, dict), value
    return value


class PollReader:
    """One JSON object: a gap, the messages and ``{"next": position}``, once all of it has come."""

    def __init__(self, content_type: str) -> None:
        assert content_type == "application/json"
        self._body = b""

    def feed(self, data: bytes) -> list[Object]:
        self._body += data
        try:
            answer = parse_object(self._body)
        except ValueError:
            return []
        self._body = b""
        assert answer.keys() - {"gap", "retry"} == {"messages", "next"}, answer
        gap = [{"comet": "gap", **answer["gap"]}] if "gap" in answer else []
        end = {name: answer[name] for name in ("next", "retry") if name in answer}
        return [*gap, *answer["messages"], end]


class LinesReader:
    """Newline-delimited JSON. Every line is parsed as it is: padding has to be white space of JSON."""

    def __init__(self, content_type: str) -> None:
        assert content_type == "application/x-ndjson"
        self._rest = b""

    def feed(self, data: bytes) -> list[Object]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        assert all(b"\r" not in line for line in lines)
        return [parse_object(line) for line in lines]


class SseEvent(NamedTuple):
    """What a listener of an EventSource gets."""

    type: str
    data: str
    last_event_id: str


class SseParser:
    """The algorithm of the HTML Standard, section 9.2.6."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("strict").decode
        self._rest = ""
        self._type = self._data = self._id = ""

    def feed(self, data: bytes) -> list[SseEvent]:
        # A CR at the end of what is there may yet turn out to be half of a CRLF.
        *lines, self._rest = re.split(r"\r\n|\n|\r(?!\Z)", self._rest + self._decode(data))
        events = []
        for line in lines:
            if line:
                self._take(line)
                continue
            self.last_event_id = self._id
            if self._data:
                events.append(SseEvent(self._type or "message", self._data[:-1], self.last_event_id))
            self._type = self._data = ""
        return events

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data += value + "\n"
        elif field == "event":
            self._type = value
        elif field == "id":
            if "\0" not in value:
                self._id = value
        elif field == "retry":
            if value.isascii() and value.isdigit():
                self.retry = int(value)
        else:
            assert field == "", f"the field {field!r} is none that Comet writes"


class SseReader:
    """Events whose data is JSON: a message under its own id, or an event ``comet`` that carries a control object."""

    def __init__(self, content_type: str) -> None:
        assert content_type == "text/event-stream"
        self.parser = SseParser()

    def feed(self, data: bytes) -> list[Object]:
        objects = []
        for event in self.parser.feed(data):
            found = parse_object(event.data)
            assert event.type == ("comet" if "comet" in found else "message"), event
            assert "comet" in found or event.last_event_id == found["id"], event
            objects.append(found)
        return objects


class FrameParser:
    """The unmasked, unfragmented text messages of a server (RFC 6455, section 5.2)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        self._rest += data
        payloads = []
        while len(self._rest) >= 2:
            if self._rest[0] == 0x88:  # a close frame, after which nothing counts
                self._rest = b""
                break
            assert self._rest[0] == 0x81, "a final text frame"
            assert self._rest[1] < 0x80, "a server does not mask"
            start, length = 2, self._rest[1]
            if length > 125:
                start = 4 if length == 126 else 10
                if len(self._rest) < start:
                    break
                length = int.from_bytes(self._rest[2:start])
                assert length > (125 if start == 4 else 0xFFFF), "the length is not in its shortest form"
            if len(self._rest) < start + length:
                break
            payloads.append(self._rest[start : start + length].decode())
            self._rest = self._rest[start + length :]
        return payloads


class TextReader:
    """A WebSocket's text messages, each a JSON object."""

    def __init__(self, content_type: str) -> None:
        assert content_type == ""
        self._parser = FrameParser()

    def feed(self, data: bytes) -> list[Object]:
        return [parse_object(payload) for payload in self._parser.feed(data)]


class IframeReader(HTMLParser):
    """A document of one prelude script, then of scripts that hand over arrays and nothing else."""

    def __init__(self, content_type: str) -> None:
        assert content_type == "text/html; charset=utf-8"
        super().__init__()
        self.prelude: str | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._script: str | None = None
        self._objects: list[Object] = []

    def feed(self, data: bytes) -> list[Object]:  # type: ignore[override]
        super().feed(self._decode(data))
        objects, self._objects = self._objects, []
        return objects

    def handle_decl(self, decl: str) -> None:
        assert decl == "doctype html"

    def handle_comment(self, data: str) -> None:
        assert self.prelude is None
        assert not data.strip(" "), data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            assert attrs == [("charset", "utf-8")]
            return
        assert (tag, attrs) == ("script", [])
        self._script = ""

    def handle_data(self, data: str) -> None:
        assert self._script is not None, f"text in the document: {data!r}"
        self._script += data

    def handle_endtag(self, tag: str) -> None:
        assert tag == "script"
        assert self._script is not None
        script, self._script = self._script, None
        if self.prelude is None:
            self.prelude = script
            return
        # Inert wherever an HTML or a JavaScript parser may be: no tag, no comment, one line.
        assert re.search("[<\r\n\u2028\u2029]", script) is None, script
        match = re.fullmatch(r'comet\(("(?:[^"\\]|\\.)*")\)', script)
        assert match is not None, script
        array = json.loads(json.loads(match[1]), parse_constant=_refuse_constant)
        assert array
        assert isinstance(array, list)
        self._objects += array


def _boundary(content_type: str, subtype: str) -> bytes:
    match = re.fullmatch(rf"multipart/{subtype}; boundary=([0-9A-Za-z]{{1,70}})", content_type)
    assert match is not None, content_type
    return match[1].encode()


def _header_line(line: bytes) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z-]+): ([!-~](?:[ -~]*[!-~])?)", line.decode("ascii"))
    assert match is not None, line
    return match[1], match[2]


class MixedReader:
    """Parts by their length (RFC 2046, section 5.1.1): ``{"id", "topic", "type", "payload"}`` or a control object."""

    def __init__(self, content_type: str) -> None:
        self._delimiter = b"--" + _boundary(content_type, "mixed")
        self._rest = b""
        self.closed = False

    def feed(self, data: bytes) -> list[Object]:
        self._rest += data
        objects = []
        while (found := self._part()) is not None:
            objects.append(found)
        if self._rest == self._delimiter + b"--\r\n":
            self.closed, self._rest = True, b""
        assert not (self.closed and self._rest), "nothing may follow the closing delimiter"
        return objects

    def _part(self) -> Object | None:
        head, found, body = self._rest.partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.split(b"\r\n")
        assert first == self._delimiter, first
        header = dict(map(_header_line, lines))
        assert len(header) == len(lines), "a header line came twice"
        length = int(header.pop("Content-Length"))
        if len(body) < length + 2:
            return None
        assert body[length : length + 2] == b"\r\n"
        self._rest = body[length + 2 :]
        if "Comet-Control" in header:
            assert (length, list(header)) == (0, ["Comet-Control"])
            return parse_object(header["Comet-Control"])
        assert header.keys() == {"Content-Type", "Comet-Id", "Comet-Topic"}
        return {
            "id": header["Comet-Id"],
            "topic": unquote(header["Comet-Topic"], errors="strict"),
            "type": header["Content-Type"],
            "payload": body[:length],
        }


class MultipartReader:
    """Parts as Chromium shows them: ``{"type", "payload"}`` once the next header is complete, then what it says.

    An empty part shows nothing. In a stream of images there must be none: it would crash the tab.
    """

    def __init__(self, content_type: str) -> None:
        self._delimiter = b"\r\n--" + _boundary(content_type, "x-mixed-replace")
        # As if a line had ended before the first delimiter.
        self._rest = b"\r\n"
        self._header: Object | None = None
        self._told: list[Object] = []
        self._part: Object | None = None

    def feed(self, data: bytes) -> list[Object]:
        self._rest += data
        objects: list[Object] = []
        while self._step(objects):
            pass
        return objects

    def _step(self, objects: list[Object]) -> bool:
        if self._header is None:
            payload, found, rest = self._rest.partition(self._delimiter + b"\r\n")
            if not found:
                return False
            self._finish(payload)
            self._header, self._rest = {}, rest
            return True
        line, found, rest = self._rest.partition(b"\r\n")
        if not found:
            return False
        self._rest = rest
        if line:
            self._take(line, objects)
            return True
        shown = [] if self._part is None else [self._part]
        objects += shown + self._told
        self._part, self._told = self._header, []
        self._header = None
        return True

    def _take(self, line: bytes, objects: list[Object]) -> None:
        assert self._header is not None
        name, value = _header_line(line)
        if name == "Content-Type":
            assert "type" not in self._header
            self._header["type"] = value
        elif name == "Comet-Control" and self._part is None:
            objects.append(parse_object(value))
        elif name == "Comet-Control":
            self._told.append(parse_object(value))
        else:
            assert name == "X-Padding", name

    def _finish(self, payload: bytes) -> None:
        if self._part is None:
            assert payload == b"", "a preamble"
        elif payload:
            self._part["payload"] = payload
        else:
            assert not self._part["type"].startswith("image/"), "an empty part of an image stream"
            self._part = None


READERS: dict[str, Callable[[str], Reader]] = {
    "poll": PollReader,
    "stream": LinesReader,
    "iframe": IframeReader,
    "multipart": MultipartReader,
    "mixed": MixedReader,
    "sse": SseReader,
    "websocket": TextReader,
}
"""From the name of a transport to what makes a reader of the content type of its response."""
