"""``AUTH`` and ``HELLO``: who a connection is of.

A token may come with a user, because many clients cannot leave it out: ``default``, or the subject of the token. What
stands behind waits until it is known what the token allows, which takes a while if the keys of its issuer have to be
fetched. A token that is refused leaves the connection as it was; one that renews another lets a subscription go on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, succeed

from comet import __version__
from comet.access.grant import Grant
from comet.errors import BadToken, Unauthorized, WrongArguments
from comet.resp.about import OK, checked_name, shown_text
from comet.resp.replies import array, bulk, failure, integer, mapping
from comet.resp.session import Later, Session, Words
from comet.resp.subscribing import Connection

_ANY_USER = (b"", b"default")


def auth(session: Session, words: Words) -> Later:
    """``AUTH [user] token``."""
    if len(words) > 3:
        raise WrongArguments("AUTH: a token is wanted, or a user and a token")
    user, token = (b"", words[1]) if len(words) == 2 else (words[1], words[2])
    return _naming(session, user, token, lambda: OK)


def _naming(session: Session, user: bytes, token: bytes, reply: Callable[[], bytes]) -> Later:
    """Have the connection be of whom ``token`` says, then ``reply``. Fails with :exc:`~comet.errors.BadToken`,
    :exc:`~comet.errors.TokenExpired`, :exc:`~comet.errors.Forbidden` or :exc:`~comet.errors.AuthorizationFailed`."""
    access = session.intake.access
    if access is None:
        raise WrongArguments("AUTH: no authentication is configured here; connect without user and token")

    def name(connection: Connection) -> Deferred[bytes]:
        granted = access.of_token(token.decode(errors="backslashreplace"))
        waiting = succeed(granted) if isinstance(granted, Grant) else granted
        return waiting.addCallback(partial(_granted, session, connection, user)).addCallback(lambda _: reply())

    return name


def _granted(session: Session, connection: Connection, user: bytes, grant: Grant) -> None:
    if user not in _ANY_USER and user != grant.subject.encode():
        raise BadToken("the token is not of that user; AUTH without a user, as its subject, or as default")
    if session.subscriber is not None:
        session.subscriber.renew(grant)
    session.become(grant)
    connection.regard()


# -- HELLO -----------------------------------------------------------------------------------------------------------


def hello(session: Session, words: Words) -> bytes | Later:
    """``HELLO [2|3 [AUTH user token] [SETNAME name]]``."""
    version = words[1] if len(words) > 1 else b"%d" % session.version
    if version not in (b"2", b"3"):
        return failure("NOPROTO", f"there is no version {shown_text(version)} of the protocol here, only 2 and 3")
    if session.is_subscribed and int(version) != session.version:
        raise WrongArguments("HELLO: this connection has subscribed in another version; UNSUBSCRIBE or RESET first")
    options = _options(words[2:])
    name = checked_name(options[b"SETNAME"][0]) if b"SETNAME" in options else session.name
    if b"AUTH" in options:
        user, token = options[b"AUTH"]
        return _naming(session, user, token, lambda: _greeting(session, int(version), name))
    if session.guard is not None and session.guard.locked:
        raise Unauthorized(session.guard.locked)
    return _greeting(session, int(version), name)


def _options(words: Words) -> dict[bytes, Words]:
    """What stands behind the version: each option with its values."""
    options: dict[bytes, Words] = {}
    while words:
        option = words[0].upper()
        end = 1 + {b"AUTH": 2, b"SETNAME": 1}.get(option, len(words))
        if len(words) < end:
            raise WrongArguments(f"HELLO: {shown_text(words[0])} where AUTH user token or SETNAME name was expected")
        options[option], words = words[1:end], words[end:]
    return options


def _greeting(session: Session, version: int, name: bytes) -> bytes:
    session.version, session.name = version, name
    greeting = {
        "server": bulk("comet"),
        "version": bulk(__version__),
        "proto": integer(session.version),
        "id": integer(session.number),
        "mode": bulk("standalone"),
        "role": bulk("master"),
        "modules": array(()),
    }
    return mapping(greeting, session.version)
