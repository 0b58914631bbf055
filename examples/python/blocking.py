"""Publish from any program, without Twisted: ``python blocking.py [SERVER]``"""

import sys

from comet.publish import Draft, Publisher, PublishFailed, PublishRefused

SERVER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7081"


def publish_one():
    publisher = Publisher(SERVER)
    position = publisher.publish("auction/7", {"bid": 120})
    print("stored under", position)
    publisher.publish("news", "text, as it is")
    publisher.publish("camera/7", b"\xff\xd8", content_type="image/jpeg")
    publisher.close()


def publish_many():
    with Publisher(SERVER) as publisher:
        positions = publisher.publish_many(("load", str(number)) for number in range(10_000))
        print(len(positions), "are stored, the last under", positions[-1])


def publish_once():
    bid = {"id": 1042, "price": 120}
    with Publisher(SERVER, patience=2) as publisher:
        try:
            publisher.publish_many([Draft("auction/7", bid, key=f"bid-{bid['id']}"), ("no//topic", "x")])
        except PublishRefused as refused:
            print(refused.code, "-", refused.detail)
        except PublishFailed as failed:
            print(len(failed.unacknowledged), "may not be stored")


if __name__ == "__main__":
    publish_one()
    publish_many()
    publish_once()
