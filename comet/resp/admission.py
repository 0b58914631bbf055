"""Admission: where a connection comes from, under which address it is counted, and what it may do before it AUTHs.

Behind a proxy that says whose the connection is (the PROXY protocol) that is known only with the first bytes; until
then it is taken for the proxy's own.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress

from comet.errors import CometError
from comet.resp.replies import failure
from comet.resp.session import Intake, Session


def peer_of(address: IAddress) -> str:
    """Return where a client is, for people; a UNIX socket has no address worth showing."""
    host = getattr(address, "host", None)
    return "local" if host is None else f"{host}:{address.port}"


class Admission:
    """The place of one connection among all."""

    __slots__ = ("_address", "_announced", "_host", "_intake", "_is_counted")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._address = ""
        self._host = ""
        self._announced = False
        self._is_counted = False

    def admit(self, transport: Any, session: Session, announced: bool) -> None:
        """Count the connection of ``transport``, or raise :exc:`~comet.errors.TooManyConnections` or
        :exc:`~comet.errors.TooManyFromOne`, and tell ``session`` where it comes from. Who was counted is counted
        anew."""
        self.leave()
        peer = transport.getPeer()
        session.peer = peer_of(peer)
        self._address = self._intake.limits.admit(transport)
        self._is_counted = True
        self._host, self._announced = getattr(peer, "host", ""), announced
        self.look_again(session)

    def look_again(self, session: Session) -> None:
        """Go by the settings as they are now."""
        session.come_from(self._address, self._intake.unnamed(self._host, self._announced))

    def leave(self) -> None:
        """The connection is gone."""
        if self._is_counted:
            self._is_counted = False
            self._intake.limits.disconnected(self._address)


def too_many(refusal: CometError) -> bytes:
    """The answer to a connection that is one too many, in the words that Redis has for it."""
    return failure("ERR", f"max number of clients reached: {refusal.code} {refusal.detail}")
