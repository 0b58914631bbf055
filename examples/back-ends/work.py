"""Do something for each message of a topic, and acknowledge it: python work.py TOPIC GROUP

The daemon keeps the place of GROUP. Ended in the middle, and begun again, it is given what is not acknowledged.
"""

import os
import sys

import redis

topic, group = sys.argv[1:]
client = redis.Redis.from_url(
    os.environ.get("COMET_TCP", "redis://127.0.0.1:7081"), protocol=2, decode_responses=True, socket_timeout=30
)
try:
    client.xgroup_create(topic, group, id="0")
except redis.ResponseError as refusal:
    if not str(refusal).startswith("BUSYGROUP"):  # there is one, which knows its place
        raise
while True:
    for _, entries in client.xreadgroup(group, "worker", {topic: ">"}, count=10, block=20_000):
        for position, fields in entries:
            print(fields.get("data", fields), flush=True)
            client.xack(topic, group, position)
