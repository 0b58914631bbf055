"""Comet for programs on Twisted: publish over HTTP or TCP, and subscribe with resume.

::

    async def main(reactor):
        async with Client(reactor=reactor) as client:
            await client.publish("auction/7", {"bid": 120})
            async for item in client.subscribe("auction/*", since="first"):
                print(item)

    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))

For programs without Twisted there is :mod:`comet.publish`.
"""

from __future__ import annotations

from comet.client.client import Client
from comet.client.errors import ClientError, Closed, Refused, Unreachable
from comet.client.subscription import Subscription
from comet.client.tcp import TCPPublisher
from comet.client.values import Gap, Message, State
from comet.publish import Draft

__all__ = [
    "Client",
    "ClientError",
    "Closed",
    "Draft",
    "Gap",
    "Message",
    "Refused",
    "State",
    "Subscription",
    "TCPPublisher",
    "Unreachable",
]
