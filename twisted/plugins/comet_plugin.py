"""Tells twistd of the ``comet`` subcommand."""

from twisted.application.service import ServiceMaker

comet = ServiceMaker(
    "Comet",
    "comet.tap",
    "A push daemon: publish over TCP or HTTP, receive in browsers over held responses.",
    "comet",
)
