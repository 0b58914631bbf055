"""Where to look: the URL that clients use, taken apart once, and what is asked there."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A URL. ``host`` and ``port`` are where to connect, ``authority`` is what goes into ``Host``, ``base`` is the path
    without its last slash, ``authorization`` is a secret."""

    scheme: str
    host: str
    port: int
    base: str
    authority: str
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, text: str, authority: str = "") -> Target:
        """Take ``text`` apart; ``authority`` takes the place of its own. Raises ValueError if it is no URL of HTTP."""
        url = urlsplit(text)
        if url.scheme not in PORTS or not url.hostname:
            raise ValueError(text)
        secret = ""
        if url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            secret = "Basic " + base64.b64encode(pair.encode()).decode()
        # Who pastes the URL of a subscription means the daemon.
        base = quote(f"{url.path}/".partition("/topics/")[0].rstrip("/"), safe="/%:@!$&'()*+,;=~")
        host = url.hostname if url.hostname.isascii() else url.hostname.encode("idna").decode()
        port = url.port or PORTS[url.scheme]
        name = f"[{host}]" if ":" in host else host
        own = name if port == PORTS[url.scheme] else f"{name}:{port}"
        return cls(url.scheme, host, port, base, authority or own, secret)

    def shown(self, token: str) -> Target:
        """The same, to which ``token`` is shown, unless there is none or its URL has a secret."""
        return replace(self, authorization=f"Bearer {token}") if token and not self.authorization else self

    def moved_to(self, location: str) -> Target:
        """The target that a redirect leads to. Raises ValueError if it leads nowhere."""
        moved = Target.of(self.origin() + location if location.startswith("/") else location)
        if moved.name() != self.name():
            return moved
        secret = self.authorization if moved.scheme in (self.scheme, "https") else ""
        return replace(moved, host=self.host, authorization=secret)

    def name(self) -> str:
        """What the certificate is held against: the authority without its port."""
        return urlsplit(f"//{self.authority}").hostname or self.host

    def origin(self) -> str:
        """The origin that a page has which comes from here."""
        return f"{self.scheme}://{self.authority}"

    def url(self) -> str:
        """The URL as it may be shown."""
        return f"{self.origin()}{self.base}/"

    def request(
        self, path: str, fields: Mapping[str, str] | None = None, method: str = "GET", body: bytes = b""
    ) -> bytes:
        """Return a request for ``path`` below this URL."""
        lines = {"Host": self.authority, "User-Agent": "comet-doctor", **(fields or {})}
        if self.authorization:
            lines["Authorization"] = self.authorization
        if method == "POST":
            lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {self.base}{path} HTTP/1.1\r\n{head}\r\n".encode() + body
