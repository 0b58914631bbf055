"""Subscribe from a program on Twisted: ``python subscribe.py [URL]``. It ends after the message "that is all"."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from comet.client import Client, Gap

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7080/"


async def main(reactor):
    async with Client(URL, reactor=reactor) as client:
        async for item in client.subscribe("auction/*", "chat/lobby", since="first"):
            if isinstance(item, Gap):
                print("messages after", item.since, "may be missing")
                continue
            print(item.topic, item.data)
            if item.data == "that is all":
                break
        await changing(client)


async def changing(client):
    async with client.subscribe("auction/7") as subscription:
        await subscription.change(subscribe=["chat/lobby"], unsubscribe=["auction/7"], since="-1")
        async for item in subscription:
            print(item.topic, item.data, "- to go on from:", subscription.cursor)
            break


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
