"""The gate: whose page asks, who that is, and whether it may ask here at all. Nothing behind it looks at a header for
that again; what somebody may do in particular, the resources ask the grant.

The traps. A web page can have its visitor's browser ask a daemon on the visitor's own machine: by a name that resolves
to 127.0.0.1 (DNS rebinding), by a form, an image, a WebSocket; so who asks without a token is a program of this machine
only if nothing says otherwise. A reverse proxy on this machine speaks for the whole world; one that is not listed shows
by what it adds (nginx, if it is told nothing, says ``Connection: close`` in HTTP/1.0), or by the name that the daemon
was given for it. A cookie comes along whoever's page asks, so it counts only if the page is known to be ours. And a
token in a query must not get any further.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred

from comet.access.access import Access
from comet.access.grant import Grant
from comet.access.who import FORWARDING, client_of, is_listed, is_local_peer
from comet.config import Config
from comet.errors import BadToken, HostRefused, OriginRefused, shown
from comet.holder import LOCAL, Holder
from comet.limits.limits import Limits, Who
from comet.web.pages import PUBLIC, static_names

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LOOPBACK_ADDRESSES = ("127.", "::1", "::ffff:127.")

HEALTH = frozenset({b"healthz", b"readyz"})

ADMIN = {
    b"": "see the console",
    b"stats": "see the figures",
    b"metrics": "see the metrics",
    b"hooks": "see or make hooks",
    b"revocations": "see or make revocations",
}
"""What only an administrator may do, by the first segment of the path."""

_READING = (b"GET", b"HEAD")
_CREDENTIALS = frozenset((b"authorization", b"cookie"))


class Place(NamedTuple):
    """Where a request comes from: the address of its client, and whether that is a program of this machine; the address
    again if a proxy has said it."""

    address: str
    local: bool
    client: str = ""


class Gate:
    """Says of each request whose it is, or refuses it."""

    def __init__(self, config: Config, access: Access, limits: Limits) -> None:
        self.access = access
        self.limits = limits
        # What anybody may see: whether the daemon is up, and files that are the same everywhere.
        self._open = HEALTH | static_names()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """See :class:`~comet.reloading.Part`."""
        self._proxies = config.proxy
        self._hosts = frozenset(host.encode() for host in (*LOOPBACK, *config.host))
        self._loopback = frozenset(host.encode() for host in LOOPBACK)
        self._origins = frozenset(origin.encode() for origin in config.origin)
        self._cookie = b"" if config.cookie == "none" else config.cookie.encode()
        self._exempt = config.local == "all"
        # With a name of its own the daemon is somewhere in the world, by a proxy that may pass on any Host: unless it
        # is known which that is, nobody here is known to be a program of this machine.
        self._is_private = bool(config.proxy) or not config.host

    # -- whose page -------------------------------------------------------------------------------------------------

    def origin(self, request: Any) -> bytes:
        """The other origin whose page makes the request, if one does that may; raises
        :exc:`~comet.errors.HostRefused` or :exc:`~comet.errors.OriginRefused`."""
        head = request.head
        # Only HTTP/1.0 may go without a Host, which no browser does.
        if (
            head.host
            and head.host not in self._hosts
            and getattr(request.host, "host", "").startswith(_LOOPBACK_ADDRESSES)
        ):
            raise HostRefused(
                f"this daemon does not answer to {shown(head.host)}; the operator can name it with --host"
            )
        origin = head.known.get(b"origin")
        if origin is None or (request.path in PUBLIC and request.method in _READING):
            return b""
        if origin in self._origins:
            return bytes(origin)
        scheme, _, host = origin.partition(b"://")
        if scheme not in (b"http", b"https") or host != head.known.get(b"host"):
            raise OriginRefused(f"pages of {shown(origin)} may not ask; the operator can list it with --origin")
        return b""

    # -- who --------------------------------------------------------------------------------------------------------

    def holder(self, request: Any) -> Holder | Deferred[Holder]:
        """On whose behalf the request is made; its query has no token in it any more. Raises, or fails with, what
        refuses it."""
        segment = request.postpath[0] if request.path == b"/" or request.postpath[0] else b"/"
        token = self._token(request)
        place = self._place(request)
        request.client_address = place.client
        if place.local and self._exempt and not token:
            return LOCAL
        address = "" if place.local and self._exempt else place.address
        self.limits.request(Who(address))
        if segment in self._open:
            return Holder(self.access.unnamed(place.local), Who(address))
        granted = self._grant(request, token, place)
        if isinstance(granted, Grant):
            return self._held(granted, segment, address)
        return granted.addCallback(self._held, segment, address)

    def _held(self, grant: Grant, segment: bytes, address: str) -> Holder:
        if segment in ADMIN:
            grant.check_admin(ADMIN[segment])
        if grant.subject:
            self.limits.request(Who("", grant.subject))
        return Holder(grant, Who(address, grant.subject))

    def _grant(self, request: Any, token: str, place: Place) -> Grant | Deferred[Grant]:
        if token:
            return self.access.of_token(token)
        if place.local and self._exempt:
            return self.access.unnamed(place.local)
        known = request.head.known
        if b"cookie" in known and not self._is_ours(request):
            known = {name: value for name, value in known.items() if name != b"cookie"}
        return self.access.of_stranger(known, place.address)

    def _place(self, request: Any) -> Place:
        known = request.head.known
        peer = getattr(request.channel.transport.getPeer(), "host", "")
        local = (
            self._is_private
            and is_local_peer(peer, self._proxies)
            and not request.channel.announced
            and request.head.host in self._loopback
            and (request.head.version == b"HTTP/1.1" or b"connection" not in known)
            and FORWARDING.isdisjoint(known)
            and self._is_near(request)
        )
        if local:
            return Place(peer, True)
        if peer and not is_listed(peer, self._proxies):
            return Place(peer, False)
        client = client_of(peer, known.get(b"x-forwarded-for", b"").decode("latin-1"), self._proxies)
        return Place(client, False, "" if client == peer else client)

    def _is_near(self, request: Any) -> bool:
        """Whether no page of another site asks (Fetch Metadata), but for one that may, and a link to the console."""
        known = request.head.known
        if known.get(b"sec-fetch-site") != b"cross-site" or request.origin:
            return True
        if request.method not in _READING:
            return False
        if request.path == b"/":
            return bool(known.get(b"sec-fetch-dest") == b"document")
        return self._is_framed(request)

    def _is_ours(self, request: Any) -> bool:
        """Whether the page that asks is certainly of this origin, or of a listed one."""
        known = request.head.known
        if b"origin" in known:  # else it would have been refused
            return True
        if request.method not in _READING:
            return False
        return known.get(b"sec-fetch-site") in (b"same-origin", b"none") or self._is_framed(request)

    def _is_framed(self, request: Any) -> bool:
        """Whether the answer is for an iframe that only a listed origin can show, and whose messages only that gets."""
        items = request.query.split(b"&")
        if request.head.known.get(b"sec-fetch-dest") != b"iframe" or b"transport=iframe" not in items:
            return False
        asked = [unquote_to_bytes(item[7:]) for item in items if item.startswith(b"origin=")]
        return len(asked) == 1 and asked[0] in self._origins

    # -- its token --------------------------------------------------------------------------------------------------

    def _token(self, request: Any) -> str:
        """The token that the request carries, or nothing."""
        in_query = _taken_out(request) if b"token" in request.query or b"%" in request.query else []
        known = request.head.known
        if not in_query and _CREDENTIALS.isdisjoint(known):
            return ""
        scheme, _, credentials = known.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            token = credentials.strip()
        elif self._cookie and self._cookie in known.get(b"cookie", b"") and self._is_ours(request):
            token = self._cookie_of(known[b"cookie"]) or b"".join(in_query)
        elif len(in_query) > 1:
            raise BadToken("there is more than one token")
        else:
            token = b"".join(in_query)
        if not token.isascii():
            raise BadToken("the token is malformed")
        return str(token, "ascii")

    def _cookie_of(self, cookies: bytes) -> bytes:
        found = set()
        for item in cookies.replace(b",", b";").split(b";"):
            name, _, value = item.strip().partition(b"=")
            if name == self._cookie:
                found.add(value.strip(b'"'))
        if len(found) > 1:
            raise BadToken("the cookie of the token is there more than once")
        return found.pop() if found else b""


def _taken_out(request: Any) -> list[bytes]:
    """Take the tokens out of the query, so that nothing behind sees them, and return them."""
    items = request.query.split(b"&")
    tokens = [item for item in items if unquote_to_bytes(item.partition(b"=")[0]) == b"token"]
    if tokens:
        request.query = b"&".join(item for item in items if item not in tokens)
    return [token for token in (unquote_to_bytes(item.partition(b"=")[2]) for item in tokens) if token]
