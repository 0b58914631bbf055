"""Transport ``iframe``: a document that never ends, whose scripts hand messages to the page around it::

    <!doctype html><meta charset=utf-8><!-- padding --><script>…</script>
    <script>comet("[{\\"id\\":\\"5f0c1a2b-1042\\",…}]")</script>

(without the line breaks, which would pile up as text in the document). Each script hands over an array of the JSON
objects of ``stream``, and removes its own element, so that memory does not grow. A parent of the same origin is
called by the name it asked for, one of another origin gets a message for that origin alone.

The traps, all of them ways for a payload to run or to break the script:

- ``<`` never appears in a script, so ``</script>`` and ``<!--`` cannot (HTML Standard, section 4.12.1.3); ``-->``
  is a comment only at the start of a line of JavaScript (ECMA-262, B.1.1), and there is one line only;
- U+2028 and U+2029 end a line of JavaScript, in older browsers even in a string: they are escaped;
- JSON is not quite JavaScript: a member ``__proto__`` sets the prototype, and two of them are a syntax error which
  would lose the whole block. So the array travels as a string, and the browser's ``JSON.parse`` reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from comet.control import Control, Open, gap_json
from comet.errors import BadParameter, shown
from comet.framing.objects import encode, message_objects
from comet.message import Page

_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z_$][A-Za-z0-9_$]*){0,7}", re.ASCII)
_ORIGIN = re.compile(r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?", re.ASCII)

# The element goes first: a callback that throws must not keep it.
_PRELUDE = (
    "<!doctype html><meta charset=utf-8><!--%s--><script>function comet(text){"
    "var script=document.currentScript;script.parentNode.removeChild(script);%s}</script>"
)


def check_callback(text: str) -> str:
    """Return ``text`` if it is a path of JavaScript names, or raise :exc:`~comet.errors.BadParameter`.

    It is copied into a script: anything else would run there.
    """
    if len(text) > 128 or _CALLBACK.fullmatch(text) is None:
        raise BadParameter(f"{shown(text)} is not a callback: it looks like app.received, in ASCII")
    return text


def check_origin(text: str) -> str:
    """Return ``text`` if a browser would spell an origin so, or raise :exc:`~comet.errors.BadParameter`."""
    if len(text) > 255 or _ORIGIN.fullmatch(text) is None:
        raise BadParameter(f"{shown(text)} is not an origin: it looks like https://app.example:8443, in lower case")
    return text


@dataclass(frozen=True, slots=True)
class Iframe:
    """A document for the page at ``origin``, or of the same origin if that is empty, whose ``callback`` is called.

    Both were checked (:func:`check_callback`, :func:`check_origin`). ``padding`` is the length of a comment in front:
    older browsers render nothing before one or two KiB have come.
    """

    callback: str = "comet"
    origin: str = ""
    padding: int = 2048
    content_type: ClassVar[str] = "text/html; charset=utf-8"
    repeats: ClassVar[bool] = False

    def open(self, opening: Open) -> bytes:
        """The document's beginning, and the script of ``opening``."""
        hand_over = f"parent.{self.callback}(JSON.parse(text))"
        if self.origin:
            hand_over = f"parent.postMessage(JSON.parse(text),{_literal(self.origin)})"
        prelude = _PRELUDE % (" " * self.padding, hand_over)
        return prelude.encode() + _script([opening.json()])

    def page(self, page: Page) -> bytes:
        """One script for the gap, if there is one, and the messages; nothing if there are none."""
        objects = message_objects(page)
        if page.gap is not None:
            objects.insert(0, gap_json(page.gap))
        return _script(objects) if objects else b""

    def control(self, control: Control) -> bytes:
        """The script of ``control``."""
        return _script([control.json()])

    def after(self, _page: Page) -> Iframe:
        """Itself: a script stands alone."""
        return self


def _script(objects: list[bytes]) -> bytes:
    array = b"[%b]" % b",".join(objects)
    return b"<script>comet(%b)</script>" % _literal(array.decode()).encode()


def _literal(text: str) -> str:
    """Return ``text`` as a string of JavaScript that is inert inside a script element."""
    literal = encode(text).decode()
    return literal.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
