"""Guessing stream ids: whoever knows the id of a stream may change or end it, so nobody can guess one."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from contextlib import ExitStack

from tests.daemons import Daemon
from tests.e2e.held import asked, asked_json, publish, subscribe
from tests.e2e.waiting import until


def test_entropy(daemon: Daemon, topic: str) -> None:
    """The ids of three hundred streams, opened one after the other, are all of 96 random bits: no two are alike, each
    letter is as frequent as another, and none says anything of the next."""
    with ExitStack() as stack:
        ids = []
        for _ in range(300):
            held = stack.enter_context(subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream"))
            ids.append(held.until_control("open")["stream"])
    assert all(re.fullmatch("[A-Za-z0-9_-]{16}", each) for each in ids)
    letters = Counter("".join(ids))
    bits = -sum(count / 4800 * math.log2(count / 4800) for count in letters.values())
    assert bits > 5.9, "each of the 64 letters comes as often"
    assert len({each[:4] for each in ids}) > 295
    assert len({each[-4:] for each in ids}) > 295


def test_guesses(daemon: Daemon, topic: str) -> None:
    """A thousand guesses of an id are answered alike, whether they are near or far, with nothing in the answer that
    would help; the stream goes on."""
    with subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream") as held:
        stream = held.until_control("open")["stream"]
        guesses = [stream[:-1] + letter for letter in "ABCDEFGHIJ" if letter != stream[-1]]
        guesses += [stream.swapcase(), stream[::-1], stream[:15], f"{stream}x", "*", "**", "%00", "a" * 300]
        guesses += [f"{number:016x}" for number in range(1000)]
        answers: Counter[tuple[int, str]] = Counter()
        for number, guess in enumerate(guesses):
            method, body = (("DELETE", b""), ("POST", b'{"subscribe":["evil"]}'))[number % 2]
            status, _, answer = asked(daemon.http, method, f"/streams/{guess}", body)
            answers[status, json.loads(answer)["code"]] += 1
            assert stream in guess or stream not in answer.decode()
        assert answers == {(404, "unknown_stream"): len(guesses)}
        publish(daemon.http, topic, "on")
        assert held.until_messages(1)[0]["data"] == "on"
        assert not held.controls("topics")


def test_ids_are_shown_to_nobody_else(daemon: Daemon, topic: str) -> None:
    """Neither ``/stats``, nor ``/metrics``, nor ``$stats``, nor the log tells the whole of an id."""
    with (
        subscribe(daemon.http, f"/topics/{topic}?transport=stream", "stream") as held,
        subscribe(daemon.http, "/topics/$stats/**?transport=stream&since=last", "stream") as listener,
    ):
        stream = held.until_control("open")["stream"]
        listener.until_messages(2)
        told = json.dumps(listener.objects)
        for path in ("/stats", "/stats/streams?limit=10000", "/stats/topics?limit=10000"):
            told += json.dumps(asked_json(daemon.http, path))
        told += asked(daemon.http, "GET", "/metrics")[2].decode()
        asked(daemon.http, "POST", f"/streams/{stream}", b"no JSON")
        until(lambda: any("no JSON" in line or "bad_json" in line or "400" in line for line in daemon.log), "a line")
    assert stream not in told
