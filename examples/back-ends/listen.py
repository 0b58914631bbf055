"""Hear what is published from now on: python listen.py PATTERN..."""

import os
import sys

import redis

client = redis.Redis.from_url(os.environ.get("COMET_TCP", "redis://127.0.0.1:7081"), decode_responses=True)
with client.pubsub(ignore_subscribe_messages=True) as listening:
    listening.psubscribe(*sys.argv[1:])
    listening.subscribe("$gap")
    for message in listening.listen():
        print(message["channel"], message["data"], flush=True)
