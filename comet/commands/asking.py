"""What the commands ask of the HTTP port, on the standard library alone."""

from __future__ import annotations

import argparse
import http.client
import json
import os
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from comet.commands.arguments import reason
from comet.commands.terminal import printable
from comet.sending.credentials import VARIABLE, authorization, of_environment

DEFAULT_URL = "http://127.0.0.1:7080/"
LONGEST_ANSWER = 4 * 1024**2
LONGEST_DETAIL = 300

_HINTS = {
    0: "start the daemon with comet serve, or say where it is with --url",
    401: f"it wants a token, which it is given in the variable {VARIABLE}",
    403: f"the token in {VARIABLE} is good, but not for this",
    503: "try again in a while",
}


class Unanswered(Exception):
    """There is no answer, or one that says no; the text says why, in a few words. ``status`` is that of the answer, 0
    if there is none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    def hint(self) -> str:
        """What to do next."""
        return _HINTS.get(self.status, "--url takes the HTTP port of Comet")


class Options(Protocol):
    """A parser, or a group of its arguments."""

    def add_argument(self, *flags: str, **further: Any) -> object:
        """See ``argparse``."""


def add_url(options: Options) -> None:
    """Add ``--url``, whose default the variable ``COMET_URL`` may be."""
    default = os.environ.get("COMET_URL") or DEFAULT_URL
    options.add_argument(
        "--url",
        type=http_url,
        default=default,
        metavar="URL",
        help="the HTTP port of the daemon, or where a proxy has it, such as https://shop.example/push/ [%(default)s]",
    )


def http_url(text: str) -> SplitResult:
    """Return the parts of the URL ``text``, as ``argparse`` wants it."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if usable and url.username is not None:
        raise argparse.ArgumentTypeError(f"a name or password in a URL is not used: write one such as {DEFAULT_URL}")
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write a URL such as {DEFAULT_URL}")
    return url


def base_of(url: SplitResult) -> str:
    """The path below which Comet is, without its last slash."""
    return url.path.rstrip("/")


def connection_to(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    """A connection that is made with the first request; nothing on it takes longer than ``timeout`` seconds."""
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return make(url.hostname or "", url.port, timeout=timeout)


def ask(url: SplitResult, path: str, timeout: float) -> Any:
    """Return what a GET of ``path`` answers, as JSON. Raises :exc:`Unanswered`."""
    connection = connection_to(url, timeout)
    try:
        connection.request("GET", base_of(url) + path, headers=authorization(of_environment()))
        response = connection.getresponse()
        return answer_of(response)
    except TimeoutError:
        raise Unanswered(f"no answer within {timeout:g} seconds") from None
    except OSError as error:
        raise Unanswered(reason(error)) from None
    except http.client.HTTPException:
        raise Unanswered("what answers does not speak HTTP") from None
    finally:
        connection.close()


def answer_of(response: http.client.HTTPResponse) -> Any:
    """Return the JSON that ``response`` holds. Raises :exc:`Unanswered` with its detail if it is a refusal."""
    body = response.read(LONGEST_ANSWER)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if response.status == 200 and isinstance(answer, dict):
        return answer
    detail = answer.get("detail") if isinstance(answer, dict) else None
    said = str(detail or f"the answer is {response.status} {response.reason}, not one of Comet")
    raise Unanswered(printable(" ".join(said.split()))[:LONGEST_DETAIL], response.status)
