"""What a client asks of the daemon and of its own connection: ``INFO``, ``CLIENT``.

No reply here grows with what others do.
"""

# Every row's function has the same arguments, whether it needs them or not.
# ruff: noqa: ARG001

from __future__ import annotations

from comet import __version__
from comet.errors import WrongArguments, shown
from comet.resp.replies import NULL, bulk, failure, integer, simple
from comet.resp.session import Session, Words

LONGEST_NAME = 255
"""Bytes of the name that a connection gives itself."""

OK = simple("OK")


def info(session: Session, words: Words) -> bytes:
    """``INFO``: the daemon; what all its clients do together, only for administrators."""
    intake = session.intake
    lines: tuple[str, ...] = (
        "# Server",
        "server_name:comet",
        f"comet_version:{__version__}",
        "redis_mode:standalone",
        f"epoch:{intake.router.epoch}",
        "# Persistence",
        # Clients that wait until a server has read its disk ask for this one.
        "loading:0",
        "# Replication",
        "role:master",
    )
    if session.grant.everything or session.grant.admin:
        clients = "# Clients", f"connected_clients:{intake.metrics.tcp_connections}"
        lines = *lines, *clients, "# Stats", f"total_commands_processed:{intake.metrics.commands}"
    return bulk("\r\n".join((*lines, "")))


def checked_name(name: bytes) -> bytes:
    """Return ``name``, or raise :exc:`~comet.errors.WrongArguments` if it cannot be that of a connection."""
    if len(name) > LONGEST_NAME or any(not 33 <= byte <= 126 for byte in name):
        raise WrongArguments(
            f"{shown_text(name)} cannot name a connection: at most {LONGEST_NAME} visible ASCII characters can"
        )
    return name


def client_setname(session: Session, words: Words) -> bytes:
    """``CLIENT SETNAME name``."""
    session.name = checked_name(words[2])
    return OK


def client_setinfo(session: Session, words: Words) -> bytes:
    """``CLIENT SETINFO attribute value``: noted by nobody."""
    return OK


def client_maint_notifications(session: Session, words: Words) -> bytes:
    """``CLIENT MAINT_NOTIFICATIONS ON …``: redis-py asks for it at each connection, and goes without. It is not refused
    as other commands are, because nobody would want to read that in the log."""
    return failure("ERR", "unknown_command there are no notifications of maintenance here")


def client_getname(session: Session, words: Words) -> bytes:
    """``CLIENT GETNAME``."""
    return bulk(session.name) if session.name else NULL[session.version]


def client_id(session: Session, words: Words) -> bytes:
    """``CLIENT ID``."""
    return integer(session.number)


def client_list(session: Session, words: Words) -> bytes:
    """This connection alone: a line for each would make a short command a reply of any length."""
    return bulk(f"id={session.number} addr={session.peer} name={session.name.decode()} resp={session.version}\n")


def shown_text(raw: bytes) -> str:
    """Return what a client sent as it may stand in an error."""
    return shown(raw.decode(errors="backslashreplace"))
