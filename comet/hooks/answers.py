"""What came of a post, and what it means. Pure.

A post is done if the receiver has answered it with a 2xx status, and whole. Everything else is a failure, and so are
redirects: to follow them would be to let a receiver choose where the daemon connects to. ``410 Gone`` says that nothing
more is wanted, for good. ``Retry-After`` is taken at its word, within bounds (RFC 9110, section 10.2.3).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple


class Terms(NamedTuple):
    """How a post may be made: within ``timeout`` seconds, to public addresses and to the networks ``private``."""

    timeout: float
    private: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What a receiver answered. ``retry_after`` is the header of that name, empty if there was none."""

    status: int
    retry_after: str = ""


class PostFailed(Exception):
    """A post that is not done. Its text is one line for people; ``pause`` is the least number of seconds to wait before
    the next try; ``final`` if there is to be none."""

    def __init__(self, text: str, pause: float = 0.0, *, final: bool = False) -> None:
        super().__init__(text)
        self.pause = pause
        self.final = final


def judge(answer: Answer, now: float) -> None:
    """Raise :exc:`PostFailed` unless ``answer``, which came at ``now`` (seconds since 1970), says that it is done."""
    status = answer.status
    if 200 <= status < 300:
        return
    text = f"the receiver answered {status} {_phrase(status)}".rstrip()
    if status == HTTPStatus.GONE:
        raise PostFailed(f"{text}: it wants no more", final=True)
    if 300 <= status < 400:
        raise PostFailed(f"{text}, and redirects are not followed; make the hook anew with the right URL")
    raise PostFailed(text, _seconds(answer.retry_after, now))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds(retry_after: str, now: float) -> float:
    """For how long to wait: a number of seconds, or until a date; 0 if it is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0
