"""Every message of a topic, in order, from where this program was when it last ran: python follow.py TOPIC PLACE

PLACE is a file in which it keeps its place.
"""

import os
import sys
from pathlib import Path

import redis

topic, place = sys.argv[1], Path(sys.argv[2])
since = place.read_text() if place.exists() else "0"
client = redis.Redis.from_url(
    os.environ.get("COMET_TCP", "redis://127.0.0.1:7081"), protocol=2, decode_responses=True, socket_timeout=30
)
while True:
    for _, entries in client.xread({topic: since}, block=20_000):
        for since, fields in entries:
            if "gap" in fields:
                print("some messages are gone:", fields["gap"], file=sys.stderr, flush=True)
            else:
                print(fields["data"], flush=True)
            place.write_text(since)
