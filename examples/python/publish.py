"""Publish from a program on Twisted, over HTTP and over TCP: ``python publish.py [URL [HOST:PORT]]``"""

import sys

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from comet.client import Client, Refused, TCPPublisher

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7080/"
SERVER = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:7081"


async def publish_over_http(reactor):
    async with Client(URL, reactor=reactor) as client:
        position = await client.publish("auction/7", {"bid": 120})
        print("stored under", position)
        await client.publish("news", "text, as it is")
        await client.publish("camera/7", b"\xff\xd8", content_type="image/jpeg")

        # Many in one request, all of them or none.
        positions = await client.publish_many([("auction/7", {"bid": 130}), ("news", "sold")])
        print("stored under", *positions)

        try:
            await client.publish("no//topic", "x")
        except Refused as refused:
            print(refused.code, "-", refused.detail)


async def publish_over_tcp(reactor):
    async with TCPPublisher(SERVER, reactor=reactor) as publisher:
        acknowledged = []
        for number in range(10_000):
            acknowledged.append(publisher.publish("load", str(number)))
            await publisher.drained()
        positions = await gatherResults(acknowledged)
    print(len(positions), "are stored, the last under", positions[-1])


async def main(reactor):
    await publish_over_http(reactor)
    await publish_over_tcp(reactor)


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
