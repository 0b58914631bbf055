"""THE table of the commands that the TCP port knows, and what each does.

A command is a function from the session and its words to a reply, or to a :class:`~comet.message.Draft`; then the row's
``acknowledge`` makes the reply once the message is stored. A command that must not run ahead of the replies to earlier
ones, or whose answer takes its time, returns a function, which is called in its turn. A new command is a function and a
row; families of them have modules of their own.

The trap: a short command with a long reply, a thousand times in one packet. No reply here grows with what others do.
"""

# Every row's function has the same arguments, whether it needs them or not.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from comet.errors import UnknownCommand, WrongArguments
from comet.message import Draft
from comet.resp import about, auth, groups, needs, publishing, pubsub, reading, xinfo
from comet.resp.about import OK, shown_text
from comet.resp.guard import Guard, Need, anybody
from comet.resp.replies import array, bulk, failure, integer, mapping, simple
from comet.resp.session import Ending, Later, Session, SubscribedMode, Transaction, Words
from comet.resp.subscribing import Connection
from comet.router import Router

Answer = bytes | Draft | list[Words] | Later
"""A reply; or a message, replied to once it is stored; or commands, whose replies become one array; or a function that
is called once everything before it is replied to, and gives the reply, then or later."""

Run = Callable[[Session, Words], Answer]
Acknowledge = Callable[[Router, Draft, int], bytes]


class Command(NamedTuple):
    """One row. ``arity`` is as in Redis: the number of words, the name included; negative means at least so many.
    ``keys`` too: which word is the first topic, which the last, the step. ``late`` if it is answered in its turn.
    ``needs`` is what its sender must be allowed, if that is more than to be here."""

    name: str
    arity: int
    run: Run
    help: str
    acknowledge: Acknowledge | None = None
    late: bool = False
    keys: tuple[int, int, int] = (0, 0, 0)
    needs: Need | None = None

    def check_arity(self, words: Words) -> None:
        """Raise :exc:`~comet.errors.WrongArguments` unless the command takes so many."""
        if self.arity >= 0 or len(words) < -self.arity:
            raise WrongArguments(
                f"{self.name}: {len(words) - 1} arguments, where {_wanted(self.arity)} wanted ({self.help})"
            )


def _wanted(arity: int) -> str:
    return f"{arity - 1} are" if arity >= 0 else f"at least {-arity - 1} are"


# -- transactions: what client libraries wrap a pipeline in ----------------------------------------------------------


def _multi(session: Session, words: Words) -> bytes:
    if session.mode is not None:
        raise WrongArguments("MULTI: transactions cannot be nested; EXEC or DISCARD comes first")
    session.mode = Transaction()
    return OK


def _exec(session: Session, words: Words) -> Answer:
    """All messages of a transaction are in one batch, which the store takes whole or not at all."""
    transaction = _transaction(session, "EXEC")
    if transaction.spoilt:
        return failure("EXECABORT", "nothing was executed, because a command of the transaction was refused")
    return transaction.commands


def _discard(session: Session, words: Words) -> bytes:
    _transaction(session, "DISCARD")
    return OK


def _transaction(session: Session, name: str) -> Transaction:
    """End the transaction, and return it."""
    transaction, session.mode = session.mode, None
    if not isinstance(transaction, Transaction):
        raise WrongArguments(f"{name}: there was no MULTI before it")
    return transaction


# -- the connection --------------------------------------------------------------------------------------------------


def _ping(session: Session, words: Words) -> bytes:
    if len(words) > 2:
        raise WrongArguments("PING: at most one argument is wanted")
    if isinstance(session.mode, SubscribedMode):
        return array((bulk("pong"), bulk(b"".join(words[1:]))))
    return bulk(words[1]) if len(words) == 2 else simple("PONG")


def _echo(session: Session, words: Words) -> bytes:
    return bulk(words[1])


def _quit(session: Session, words: Words) -> bytes:
    session.ending = Ending.AFTER_REPLIES
    return OK


def _reset(session: Session, words: Words) -> Answer:
    def forget(connection: Connection) -> bytes:
        if session.subscriber is not None:
            session.subscriber.leave()
        session.version, session.name, session.mode = 2, b"", None
        if session.forget():
            connection.regard()
        return simple("RESET")

    return forget


def _select(session: Session, words: Words) -> bytes:
    if words[1] != b"0":
        raise WrongArguments(
            f"SELECT: there is no database {shown_text(words[1])}, only 0; tell topics apart by their names"
        )
    return OK


# -- about the commands ----------------------------------------------------------------------------------------------


def _command(session: Session, words: Words) -> bytes:
    return array(_row(command) for command in COMMANDS.values())


def _command_count(session: Session, words: Words) -> bytes:
    return integer(len(COMMANDS))


def _command_docs(session: Session, words: Words) -> bytes:
    wanted = {word.upper() for word in words[2:]} or COMMANDS.keys()
    return mapping(
        {
            command.name.lower(): mapping(
                {"summary": bulk(command.help), "since": bulk("0.1.0"), "group": bulk("generic")}, session.version
            )
            for name, command in COMMANDS.items()
            if name in wanted
        },
        session.version,
    )


def _row(command: Command) -> bytes:
    """How COMMAND describes a command: name, arity, flags, first key, last key, step, categories, tips, specs, subs."""
    none = array(())
    keys = map(integer, command.keys)
    arity = b":%d\r\n" % command.arity
    return array((bulk(command.name.lower()), arity, none, *keys, none, none, none, none))


# -- the tables ------------------------------------------------------------------------------------------------------


def _by_name(*commands: Command) -> dict[bytes, Command]:
    return {command.name.split()[-1].encode(): command for command in commands}


def _family(name: str, members: Mapping[bytes, Command]) -> Run:
    """Return a command whose first argument names one of ``members``."""

    def run(session: Session, words: Words) -> Answer:
        member = members.get(words[1].upper())
        if member is None:
            known = ", ".join(other.name for other in members.values())
            raise WrongArguments(f"{name}: no {shown_text(words[1])} here; there are {known}")
        if len(words) != member.arity:
            member.check_arity(words)
        return member.run(session, words)

    return run


def _of_member(members: Mapping[bytes, Command]) -> Need:
    """What a command needs whose first argument names one of ``members``."""

    def need(guard: Guard, words: Words) -> None:
        member = members.get(words[1].upper())
        if member is not None and member.needs is not None:
            if len(words) != member.arity:
                member.check_arity(words)
            member.needs(guard, words)

    return need


_CLIENT = _by_name(
    Command("CLIENT SETNAME", 3, about.client_setname, "CLIENT SETNAME name"),
    Command("CLIENT GETNAME", 2, about.client_getname, "CLIENT GETNAME"),
    Command("CLIENT SETINFO", 4, about.client_setinfo, "CLIENT SETINFO attribute value"),
    Command("CLIENT MAINT_NOTIFICATIONS", -3, about.client_maint_notifications, "CLIENT MAINT_NOTIFICATIONS ON|OFF"),
    Command("CLIENT ID", 2, about.client_id, "CLIENT ID"),
    Command("CLIENT LIST", -2, about.client_list, "CLIENT LIST"),
    Command("CLIENT INFO", 2, about.client_list, "CLIENT INFO"),
)

_COMMAND = _by_name(
    Command("COMMAND COUNT", 2, _command_count, "COMMAND COUNT"),
    Command("COMMAND DOCS", -2, _command_docs, "COMMAND DOCS [name ...]"),
)
_command_member = _family("COMMAND", _COMMAND)


def _command_or_member(session: Session, words: Words) -> Answer:
    return _command_member(session, words) if len(words) > 1 else _command(session, words)


_SECOND = (1, 1, 1)
"""The second word is the topic."""


_late = partial(Command, late=True)

_XGROUP = _by_name(
    Command(
        "XGROUP CREATE", -5, groups.xgroup_create, "XGROUP CREATE topic group id [MKSTREAM]", needs=needs.group(2, 3)
    ),
    Command("XGROUP DESTROY", 4, groups.xgroup_destroy, "XGROUP DESTROY topic group", needs=needs.group(2, 3)),
)

_XINFO = _by_name(
    Command("XINFO STREAM", 3, xinfo.stream, "XINFO STREAM topic", needs=needs.topic(2)),
    Command("XINFO GROUPS", 3, xinfo.groups, "XINFO GROUPS topic", needs=needs.topic(2)),
)

_LISTENERS = needs.admin("see what others subscribe to")
_PUBSUB = _by_name(
    Command("PUBSUB CHANNELS", -2, pubsub.channels, "PUBSUB CHANNELS [pattern]", needs=_LISTENERS),
    Command("PUBSUB NUMSUB", -2, pubsub.numsub, "PUBSUB NUMSUB [topic ...]", needs=needs.numsub),
    Command("PUBSUB NUMPAT", 2, pubsub.numpat, "PUBSUB NUMPAT", needs=_LISTENERS),
)

COMMANDS = _by_name(
    Command(
        "PUBLISH",
        3,
        publishing.publish,
        "PUBLISH topic payload: publishes a text or bytes",
        publishing.receivers,
        needs=needs.publish,
    ),
    Command(
        "XADD",
        -5,
        publishing.xadd,
        "XADD topic * data payload [type t] [key k]: publishes, gives the position",
        publishing.position,
        keys=_SECOND,
        needs=needs.publish,
    ),
    Command(
        "SUBSCRIBE",
        -2,
        pubsub.subscribe,
        "SUBSCRIBE topic [topic ...]: brings what is published there",
        needs=needs.subscribe,
    ),
    Command(
        "PSUBSCRIBE",
        -2,
        pubsub.psubscribe,
        "PSUBSCRIBE pattern [pattern ...]: the same for patterns",
        needs=needs.psubscribe,
    ),
    Command("UNSUBSCRIBE", -1, pubsub.unsubscribe, "UNSUBSCRIBE [topic ...]: ends it, for all if none is named"),
    Command("PUNSUBSCRIBE", -1, pubsub.punsubscribe, "PUNSUBSCRIBE [pattern ...]: the same for patterns"),
    _late(
        "XREAD",
        -4,
        reading.xread,
        "XREAD [COUNT n] [BLOCK ms] STREAMS topic ... id ...: reads what follows the ids",
        needs=needs.xread,
    ),
    _late(
        "XRANGE",
        -4,
        reading.xrange,
        "XRANGE topic start end [COUNT n]: reads what is between two ids",
        needs=needs.topic(1),
        keys=_SECOND,
    ),
    _late(
        "XREVRANGE",
        -4,
        reading.xrevrange,
        "XREVRANGE topic end start [COUNT n]: the same, newest first",
        needs=needs.topic(1),
        keys=_SECOND,
    ),
    _late("XLEN", 2, reading.xlen, "XLEN topic: how many messages are kept", needs=needs.topic(1), keys=_SECOND),
    _late(
        "XGROUP",
        -2,
        _family("XGROUP", _XGROUP),
        "XGROUP CREATE|DESTROY: makes and forgets consumers",
        needs=_of_member(_XGROUP),
    ),
    _late(
        "XREADGROUP",
        -7,
        groups.xreadgroup,
        "XREADGROUP GROUP group name [COUNT n] [BLOCK ms] [NOACK] STREAMS topic >|id: reads as a consumer",
        needs=needs.xreadgroup,
    ),
    _late(
        "XACK",
        -4,
        groups.xack,
        "XACK topic group id [id ...]: these messages are done",
        needs=needs.group(1, 2),
        keys=_SECOND,
    ),
    _late(
        "XPENDING",
        3,
        groups.xpending,
        "XPENDING topic group: what is delivered and not acknowledged",
        needs=needs.group(1, 2),
        keys=_SECOND,
    ),
    _late(
        "XINFO", -3, _family("XINFO", _XINFO), "XINFO STREAM|GROUPS topic: describes a topic", needs=_of_member(_XINFO)
    ),
    Command(
        "PUBSUB",
        -2,
        _family("PUBSUB", _PUBSUB),
        "PUBSUB CHANNELS|NUMSUB|NUMPAT: what is subscribed to",
        needs=_of_member(_PUBSUB),
    ),
    Command("MULTI", 1, _multi, "MULTI: begins commands that are executed together"),
    Command("EXEC", 1, _exec, "EXEC: executes the commands since MULTI"),
    Command("DISCARD", 1, _discard, "DISCARD: forgets the commands since MULTI"),
    Command(
        "HELLO",
        -1,
        auth.hello,
        "HELLO [2|3 [AUTH user token] [SETNAME name]]: chooses the protocol's version",
        needs=anybody,
    ),
    _late("AUTH", -2, auth.auth, "AUTH [user] token: says who this is", needs=anybody),
    Command("PING", -1, _ping, "PING [text]: answers PONG, or the text"),
    Command("ECHO", 2, _echo, "ECHO text: answers the text"),
    Command("QUIT", -1, _quit, "QUIT: ends the connection after all replies", needs=anybody),
    Command("RESET", 1, _reset, "RESET: makes the connection as new", needs=anybody),
    Command("SELECT", 2, _select, "SELECT 0: for clients that insist on it"),
    Command("CLIENT", -2, _family("CLIENT", _CLIENT), "CLIENT SETNAME|GETNAME|SETINFO|ID|LIST|INFO: this connection"),
    Command("COMMAND", -1, _command_or_member, "COMMAND [COUNT|DOCS]: describes the commands"),
    Command("INFO", -1, about.info, "INFO: describes the daemon"),
)

_RETENTION = "retention takes messages away, not a command; its settings are retain-* and keep-*"
_ONE_READER = "a group has one reader; whoever reads next is given what is not acknowledged"
ELSEWHERE = {
    b"SSUBSCRIBE": "there are no shards, so SUBSCRIBE does it",
    b"XDEL": _RETENTION,
    b"XTRIM": _RETENTION,
    b"XCLAIM": _ONE_READER,
    b"XAUTOCLAIM": _ONE_READER,
    b"GET": "XREVRANGE topic + - COUNT 1 gives the newest message of a topic",
}
"""What to do instead of a command of Redis that is likely to be tried."""

BY_SPELLING = {spelling: command for name, command in COMMANDS.items() for spelling in (name, name.lower())}
"""The table by each name as it is usually written, so that the hot path need not change case."""


def command_named(name: bytes) -> Command:
    """Return the row of ``name``, in any case, or raise :exc:`~comet.errors.UnknownCommand`."""
    command = COMMANDS.get(name.upper())
    if command is None:
        instead = ELSEWHERE.get(name.upper(), "COMMAND lists those that there are")
        raise UnknownCommand(f"there is no command {shown_text(name)} here; {instead}")
    return command
