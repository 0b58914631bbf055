"""Target: the parser of the TCP port. However its input is cut, it reads the same requests, and holds little of it."""

from __future__ import annotations

from comet.errors import CometError, PayloadTooLarge, ProtocolViolation
from comet.resp.wire import MOST_ARGUMENTS, OTHER_ARGUMENTS, RequestParser
from tests.fuzz.refusals import check_refusal
from tests.fuzz.resp_input import commands
from tests.fuzz.scripts import Script, in_pieces, joined, split

LARGEST = 1_000
"""The ``max-payload`` of this target."""

Seen = list[list[bytes] | str]

requests = split(commands)


def read_requests(script: Script) -> None:
    """The requests are the same in the pieces of ``script``, at once, byte by byte, and in threes."""
    seen = _read(script)
    for other in (joined(script), in_pieces(script, 1), in_pieces(script, 3)):
        assert _read(other) == seen


def _read(script: Script) -> Seen:
    parser = RequestParser(LARGEST)
    seen: Seen = []
    for step in script:
        if step.verb == "send":
            for request in parser.feed(step.data):
                assert not seen or not str(seen[-1]).startswith("ProtocolViolation"), "read on after a violation"
                seen.append(_checked(request))
            assert parser.held() <= LARGEST + OTHER_ARGUMENTS + len(step.data)
    return seen


def _checked(request: object) -> list[bytes] | str:
    if isinstance(request, CometError):
        check_refusal(request)
        assert isinstance(request, (PayloadTooLarge, ProtocolViolation))
        kind = "ProtocolViolation" if isinstance(request, ProtocolViolation) else "PayloadTooLarge"
        return f"{kind}: {request.detail}"
    assert isinstance(request, (list, tuple))
    assert 1 <= len(request) <= MOST_ARGUMENTS
    assert all(type(word) is bytes for word in request)
    assert sum(map(len, request)) <= LARGEST + OTHER_ARGUMENTS
    return list(request)
