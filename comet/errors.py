"""Every refusal that a peer can meet: its code, its HTTP status, and whether trying again can help.

The core raises these; each face (HTTP, RESP, WebSocket) maps them in one place. The detail shows the offending value,
shortened, and says what to do next; it never shows a secret. Our own mistakes are not here: they are assertions.
"""

from __future__ import annotations

from collections.abc import Iterator


class CometError(Exception):
    """A request that is refused.

    ``code`` is stable and meant for programs, ``status`` is the HTTP status, ``retry`` says whether the same request
    may succeed later, and ``after`` in how many seconds, if that is known.
    """

    code = "error"
    status = 400
    retry = False
    after: float | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadTopic(CometError):
    """The topic breaks a rule of what a topic is, or belongs to the daemon."""

    code = "bad_topic"


class BadPattern(CometError):
    """The pattern breaks a rule of what a pattern is, or none was given."""

    code = "bad_pattern"


class TooManyPatterns(CometError):
    """The subscription names more patterns than ``max-patterns``."""

    code = "too_many_patterns"


class BadSince(CometError):
    """``since`` is none of ``now``, ``first``, ``last``, ``-N`` and a position."""

    code = "bad_since"


class BadParameter(CometError):
    """A parameter of the request is unknown, malformed or out of its range."""

    code = "bad_parameter"


class UnknownTransport(CometError):
    """There is no transport of that name."""

    code = "unknown_transport"


class BadJSON(CometError):
    """A payload or a body that says it is JSON is not."""

    code = "bad_json"


class BadContentType(CometError):
    """The content type of a message could not travel in a header."""

    code = "bad_content_type"


class BadKey(CometError):
    """The idempotency key is empty, too long, or has control characters."""

    code = "bad_key"


class TooManyKeys(CometError):
    """More idempotency keys are remembered than ``max-keys``; forgetting one early would break its promise."""

    code = "too_many_keys"
    status = 429
    retry = True


class StillReading(CometError):
    """The stream is still being given the histories that earlier changes of its topics asked for."""

    code = "still_reading"
    status = 429
    retry = True


class BadRequest(CometError):
    """The HTTP request is malformed, or could be read in two ways."""

    code = "bad_request"


class OriginRefused(CometError):
    """The page that asks comes from an origin that is not listed."""

    code = "origin_refused"
    status = 403


class HostRefused(CometError):
    """The ``Host`` is none that this daemon answers to (a guard against DNS rebinding)."""

    code = "host_refused"
    status = 421


class Unauthorized(CometError):
    """Nothing says who asks, and nobody unknown may do that."""

    code = "unauthorized"
    status = 401


class BadToken(CometError):
    """The token is malformed, of another issuer or audience, not valid yet, or revoked; or no key fits it."""

    code = "bad_token"
    status = 401


class TokenExpired(CometError):
    """The token was valid once; its client asks its application for a new one."""

    code = "token_expired"
    status = 401


class Forbidden(CometError):
    """Who asks is known, and may not do that."""

    code = "forbidden"
    status = 403


class AuthorizationFailed(CometError):
    """The application that decides (``authorize-url``), or the issuer of the keys, does not answer."""

    code = "authorization_failed"
    status = 503
    retry = True


class TooManyRequests(CometError):
    """Requests or publishes come faster from there than allowed."""

    code = "too_many_requests"
    status = 429
    retry = True


class TooManyFromOne(CometError):
    """One address or one subject has as many streams or connections open as allowed."""

    code = "too_many_from_one"
    status = 429
    retry = True


class TooManyConnections(CometError):
    """As many connections are open as allowed, or as the system has descriptors for."""

    code = "too_many_connections"
    status = 503
    retry = True


class TooManyBodies(CometError):
    """The bodies of the requests that are under way take as much memory as ``max-bodies`` allows."""

    code = "too_many_bodies"
    status = 503
    retry = True


class NotFound(CometError):
    """There is nothing at that path."""

    code = "not_found"
    status = 404


class BadName(CometError):
    """The name cannot be that of a consumer, or of what is revoked."""

    code = "bad_name"


class BadAcknowledgement(CometError):
    """The position that is acknowledged is none of this log."""

    code = "bad_acknowledgement"
    status = 409


class ConsumerExists(CometError):
    """There is a consumer of that name, for other topics or of another owner."""

    code = "consumer_exists"
    status = 409


class UnknownConsumer(CometError):
    """There is no consumer of that name."""

    code = "unknown_consumer"
    status = 404


class TooManyConsumers(CometError):
    """There are as many consumers as ``max-consumers`` allows."""

    code = "too_many_consumers"
    status = 503
    retry = True


class UnknownStream(CometError):
    """There is no open stream of that id."""

    code = "unknown_stream"
    status = 404


class MethodNotAllowed(CometError):
    """The path exists, but not with that method."""

    code = "method_not_allowed"
    status = 405


class TooSlow(CometError):
    """The request did not arrive in the time it is given."""

    code = "too_slow"
    status = 408
    retry = True


class PayloadTooLarge(CometError):
    """The payload or the body is larger than allowed."""

    code = "payload_too_large"
    status = 413


class UpgradeRequired(CometError):
    """The transport ``websocket`` was asked for without an upgrade."""

    code = "upgrade_required"
    status = 426


class UrlTooLong(CometError):
    """The path with its query is longer than ``max-url``."""

    code = "url_too_long"
    status = 414


class HeadTooLarge(CometError):
    """The request line and headers are larger than ``max-head``."""

    code = "head_too_large"
    status = 431


class Internal(CometError):
    """The daemon made a mistake; its log has the traceback."""

    code = "internal"
    status = 500


class TooManyStreams(CometError):
    """As many streams are open as ``max-streams`` allows."""

    code = "too_many_streams"
    status = 503
    retry = True


class StoreFailed(CometError):
    """The store could not take the message; nothing was published."""

    code = "store_failed"
    status = 503
    retry = True


class Draining(CometError):
    """The daemon is on its way out."""

    code = "draining"
    status = 503
    retry = True


class BadHook(CometError):
    """The URL, the secret or the topics of a hook cannot be used."""

    code = "bad_hook"


class AddressRefused(CometError):
    """A hook may not post to that address, which is not of the public internet."""

    code = "address_refused"
    status = 403


class UnknownHook(CometError):
    """There is no hook of that name."""

    code = "unknown_hook"
    status = 404


class HookExists(CometError):
    """There is a hook of that name already."""

    code = "hook_exists"
    status = 409


class TooManyHooks(CometError):
    """There are as many hooks as ``max-hooks`` allows."""

    code = "too_many_hooks"
    status = 429


class TooManyRevocations(CometError):
    """As many tokens and subjects are revoked as are remembered; to forget one early would let it in again."""

    code = "too_many_revocations"
    status = 503
    retry = True


class CannotOpen(Exception):
    """A store cannot be opened. No peer meets it: its text, one line with what to do, is for who starts the daemon."""


class UnknownCommand(CometError):
    """RESP: there is no such command."""

    code = "unknown_command"


class NoGroup(CometError):
    """RESP: there is no group of that name for that topic."""

    code = "no_group"


class Replaced(CometError):
    """RESP: another reader has come, and a group has one at a time."""

    code = "replaced"


class WrongArguments(CometError):
    """RESP: the command does not take these arguments."""

    code = "wrong_arguments"


class SubscribedOnly(CometError):
    """RESP2: a connection that has subscribed takes only commands that change that."""

    code = "subscribed_only"


class ProtocolViolation(CometError):
    """RESP: the bytes are not RESP; the connection is closed after the reply."""

    code = "protocol"


def shown(value: str | bytes, length: int = 64) -> str:
    """Return ``value`` as it may stand in a detail: its repr, at most about ``length`` characters."""
    text = repr(value[: length + 1])
    if len(value) > length:
        return f"{value[:length]!r}…"
    return text


def every() -> Iterator[type[CometError]]:
    """Yield each kind of refusal, in the order of this module (the reference page is held against it)."""
    yield from CometError.__subclasses__()
