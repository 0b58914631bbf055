"""Hooks of real daemons, posted to real receivers, some of which misbehave; and daemons that are killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import LONGEST, Daemon, running
from tests.e2e.held import asked, asked_json, publish
from tests.e2e.waiting import until
from tests.receivers import Act, Receiver, receiving, reply, verified

HURRIED = ("--hook-private", "127.0.0.0/8", "--hook-backoff", "50ms", "--hook-timeout", "1s")


@pytest.fixture(scope="module")
def hooked() -> Iterator[Daemon]:
    """A daemon that may post to the loopback, and is in a hurry."""
    with running(*HURRIED) as daemon:
        yield daemon
        assert daemon.end() == 0
        assert "Traceback" not in "".join(daemon.log), "".join(daemon.log)


def hook(daemon: Daemon, url: str, topic: str, **further: Any) -> Any:
    """Make a hook; returns the answer."""
    status, _, body = asked(daemon.http, "POST", "/hooks", json.dumps({"topic": topic, "url": url, **further}).encode())
    assert status == 201, body
    return json.loads(body)


def refused(daemon: Daemon, **wanted: Any) -> tuple[int, str, str]:
    """The status, code and detail of the refusal of a hook."""
    status, _, body = asked(daemon.http, "POST", "/hooks", json.dumps(wanted).encode())
    problem = json.loads(body)
    return status, problem["code"], problem["detail"]


def shown(daemon: Daemon, name: str) -> Any:
    """What the daemon says of a hook."""
    return asked_json(daemon.http, f"/hooks/{name}")


def state(daemon: Daemon, name: str) -> str:
    """What a hook does."""
    return str(shown(daemon, name)["state"])


def test_messages_are_posted(hooked: Daemon, topic: str) -> None:
    """What is published is posted, signed with the secret that was given away once."""
    with receiving() as receiver:
        made = hook(hooked, receiver.url("/in?token=geheim"), topic)
        position = publish(hooked.http, topic, '{"paid":true}', "application/json")
        until(lambda: receiver.posts, "a post")
        [post] = receiver.posts
        assert post.target == "/in?token=geheim"
        assert post.json()["hook"] == made["name"]
        assert post.json()["next"] == position
        [message] = post.json()["messages"]
        assert (message["id"], message["topic"], message["data"]) == (position, topic, {"paid": True})
        assert message == asked_json(hooked.http, f"/topics/{topic}?since=first&wait=0")["messages"][0]
        assert verified(post.headers, post.body, made["secret"])
        until(lambda: state(hooked, made["name"]) == "live", "everything to be acknowledged")
        assert shown(hooked, made["name"])["acked"] == position
    said = json.dumps(asked_json(hooked.http, "/hooks?limit=10000")) + "".join(hooked.log)
    assert made["secret"] not in said
    assert "geheim" not in said


def test_a_secret_of_ones_own(hooked: Daemon, topic: str) -> None:
    """A secret that is given is used, and not repeated; a name is the hook's and the consumer's."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    with receiving() as receiver:
        made = hook(hooked, receiver.url(), topic, secret=secret, name=f"own-{topic.rpartition('/')[2]}")
        assert "secret" not in made
        publish(hooked.http, topic, "a")
        until(lambda: receiver.posts, "a post")
        assert verified(receiver.posts[0].headers, receiver.posts[0].body, secret)


def test_since(hooked: Daemon, topic: str) -> None:
    """A hook can begin with what is there already."""
    for text in "abc":
        publish(hooked.http, topic, text)
    with receiving() as receiver:
        hook(hooked, receiver.url(), topic, since="-2")
        until(lambda: receiver.data() == ["b", "c"], "the newest two")


def test_refusals(hooked: Daemon) -> None:
    """What cannot be a hook is refused, and why."""
    url = "http://127.0.0.1:1/"
    assert refused(hooked, url=url)[:2] == (400, "bad_hook")
    assert refused(hooked, url=url, topic="a", topics=["b"])[:2] == (400, "bad_hook")
    assert refused(hooked, url=url, topics=[])[:2] == (400, "bad_pattern")
    assert refused(hooked, url=url, topic="a//b")[:2] == (400, "bad_pattern")
    assert refused(hooked, url="ftp://a/", topic="a")[:2] == (400, "bad_hook")
    assert refused(hooked, url=url, topic="a", secret="geheim")[:2] == (400, "bad_hook")
    assert refused(hooked, url=url, topic="a", since="never")[:2] == (400, "bad_since")
    assert refused(hooked, url=url, topic="a", colour="red")[:2] == (400, "bad_json")
    assert refused(hooked, url="http://169.254.169.254/latest/meta-data", topic="a")[:2] == (403, "address_refused")
    assert refused(hooked, url="http://0x0a000001/", topic="a")[:2] == (403, "address_refused")
    for name in ("", "a/b", "a\nb"):
        assert refused(hooked, url=url, topic="a", name=name)[0] == 400, name
    assert asked(hooked.http, "GET", "/hooks/nobody")[0] == 404
    assert asked(hooked.http, "DELETE", "/hooks/nobody")[0] == 404
    assert asked(hooked.http, "POST", "/hooks/nobody/resume")[0] == 404
    assert asked(hooked.http, "POST", "/hooks/nobody/explode")[0] == 404
    assert asked(hooked.http, "PUT", "/hooks")[0] == 405
    assert asked(hooked.http, "GET", "/hooks?colour=red")[0] == 400


def test_names_are_taken_once(hooked: Daemon, topic: str) -> None:
    """A name that is taken, by a hook or by a consumer, is refused until that is deleted."""
    with receiving() as receiver:
        hook(hooked, receiver.url(), topic, name="taken")
        assert refused(hooked, url=receiver.url(), topic=topic, name="taken")[:2] == (409, "hook_exists")
        assert asked(hooked.http, "DELETE", "/hooks/taken")[0] == 204
        assert asked(hooked.http, "GET", "/hooks/taken")[0] == 404
        publish(hooked.http, topic, "nobody hears this")
        hook(hooked, receiver.url(), topic, name="taken")
        publish(hooked.http, topic, "a")
        until(lambda: receiver.data() == ["a"], "only what came after")
        asked(hooked.http, "GET", f"/consumers/reader?topic={topic}&wait=0")
        assert refused(hooked, url=receiver.url(), topic=topic, name="reader")[0] == 409


def test_private_addresses(tmp_path: Path) -> None:
    """The loopback is posted to only while the operator allows it, which can change while the daemon runs."""
    settings = tmp_path / "comet.toml"
    settings.write_text('hook-backoff = "50ms"\n')

    def allow(networks: str) -> None:
        settings.write_text(f'hook-backoff = "50ms"\nhook-private = {networks}\n')
        told = len(daemon.log)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: any("hook-private" in line for line in daemon.log[told:]), "the settings to be read")

    with running("--config", str(settings)) as daemon, receiving() as receiver:
        for host in ("127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"):
            url = f"http://{host}:{receiver.port}/"
            assert refused(daemon, url=url, topic="a")[:2] == (403, "address_refused")
        allow('["127.0.0.0/8"]')
        made = hook(daemon, f"http://localhost:{receiver.port}/", "a")
        publish(daemon.http, "a", "one")
        until(lambda: receiver.data() == ["one"], "a post")
        allow("[]")
        publish(daemon.http, "a", "two")
        until(lambda: shown(daemon, made["name"])["tries"] > 2, "failures")
        assert "is loopback, and hooks post to public addresses" in shown(daemon, made["name"])["error"]
        assert receiver.data() == ["one"]
        allow('["127.0.0.0/8"]')
        until(lambda: receiver.data() == ["one", "two"], "the next post")
        assert daemon.end() == 0


@pytest.mark.parametrize(
    "acts",
    [
        [reply(500)] * 3,
        [Act()] * 2,
        [Act(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")] * 2,
        [Act(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", hangs=True)],
        [Act(hangs=True)],
        [reply(302, location="/elsewhere")] * 2,
        [reply(503, retry_after="0")] * 2,
        [Act(b"not HTTP\r\n\r\n")] * 2,
    ],
    ids=["500", "closes", "breaks-off", "hangs-in-the-body", "hangs", "redirects", "retry-after", "garbage"],
)
def test_failures(hooked: Daemon, topic: str, acts: list[Act | bytes]) -> None:
    """Whatever a receiver does, it gets the same post under the same id until it has answered, and then the next."""
    with receiving(*acts) as receiver:
        made = hook(hooked, receiver.url(), topic)
        publish(hooked.http, topic, "a")
        until(lambda: receiver.posts, "a try")
        publish(hooked.http, topic, "b")
        until(lambda: receiver.data()[-1] == "b", "both")
        assert receiver.data() == ["a"] * (len(acts) + 1) + ["b"]
        assert len({post.headers["webhook-id"] for post in receiver.posts}) == 2
        assert len({post.body for post in receiver.posts}) == 2
        assert all(post.target == "/hook" for post in receiver.posts)
        assert all(verified(post.headers, post.body, made["secret"]) for post in receiver.posts)
        until(lambda: state(hooked, made["name"]) == "live", "it to be live")


def test_huge_answers(hooked: Daemon, topic: str) -> None:
    """A receiver that answers with megabytes has answered."""
    with receiving(reply(200, bytes(20_000_000))) as receiver:
        made = hook(hooked, receiver.url(), topic)
        publish(hooked.http, topic, "a")
        until(lambda: receiver.posts and state(hooked, made["name"]) == "live", "it to be taken")
        assert receiver.data() == ["a"]


def test_away_and_back(hooked: Daemon, topic: str) -> None:
    """A receiver that is down for a while misses nothing, and gets it in order."""
    with receiving() as receiver:
        made = hook(hooked, receiver.url(), topic)
        for number in range(300):
            publish(hooked.http, topic, str(number))
            if number == 50:
                until(lambda: receiver.posts, "a post")
                receiver.down()
            elif number == 250:
                until(lambda: state(hooked, made["name"]) == "retrying", "a failure")
                told = shown(hooked, made["name"])
                assert "refused" in told["error"]
                assert told["tries"] >= 1
                assert told["next_try"] > 0
                assert told["behind"]["messages"] > 0
                receiver.up()
        until(lambda: state(hooked, made["name"]) == "live", "everything")
        assert once(receiver) == [str(number) for number in range(300)]
        assert all(len(post.json()["messages"]) <= 100 for post in receiver.posts)
        assert receiver.most_at_once == 1


def once(receiver: Receiver) -> list[str]:
    """The data of what came, in its order, each message once; fails for what came out of order."""
    found: dict[str, str] = {}
    for post in receiver.posts:
        for message in post.json()["messages"]:
            found.setdefault(message["id"], message["data"])
    offsets = [int(position.rpartition("-")[2]) for position in found]
    assert all(one < other for one, other in pairwise(offsets))
    return list(found.values())


def test_parking_and_resuming() -> None:
    """A hook that fails for too long is parked and says so; resumed, it goes on where it was."""
    with running(*HURRIED, "--hook-patience", "200ms") as daemon, receiving(*[reply(500)] * 1000) as receiver:
        made = hook(daemon, receiver.url(), "a")
        publish(daemon.http, "a", "one")
        until(lambda: state(daemon, made["name"]) == "parked", "it to be parked")
        told = shown(daemon, made["name"])
        assert told["error"].startswith("the receiver answered 500 Internal Server Error (after ")
        assert asked_json(daemon.http, "/stats")["hooks"] == {"live": 0, "behind": 0, "retrying": 0, "parked": 1}
        assert b'comet_hooks{state="parked"} 1' in asked(daemon.http, "GET", "/metrics")[2]
        assert [each["name"] for each in asked_json(daemon.http, "/hooks?state=parked")["hooks"]] == [made["name"]]
        assert asked_json(daemon.http, "/hooks?state=live")["hooks"] == []
        publish(daemon.http, "a", "two")
        receiver.acts.clear()
        receiver.posts.clear()
        assert asked(daemon.http, "POST", f"/hooks/{made['name']}/resume")[0] == 200
        until(lambda: state(daemon, made["name"]) == "live", "everything")
        assert once(receiver) == ["one", "two"]
        assert any("is parked" in line for line in daemon.log)
        assert daemon.end() == 0


def test_gone(hooked: Daemon, topic: str) -> None:
    """410 parks at once, and says why."""
    with receiving(reply(410)) as receiver:
        made = hook(hooked, receiver.url(), topic)
        publish(hooked.http, topic, "a")
        until(lambda: state(hooked, made["name"]) == "parked", "it to be parked")
        assert "410 Gone" in shown(hooked, made["name"])["error"]
        assert len(receiver.posts) == 1


def test_resuming_hurries() -> None:
    """Resuming a hook that is waiting for its next try makes that try now."""
    with (
        running("--hook-private", "127.0.0.1") as daemon,
        receiving(reply(429, retry_after="3000")) as receiver,
    ):
        made = hook(daemon, receiver.url(), "a")
        publish(daemon.http, "a", "one")
        until(lambda: state(daemon, made["name"]) == "retrying", "a failure")
        assert shown(daemon, made["name"])["next_try"] > shown(daemon, made["name"])["created"] + 2000
        assert asked(daemon.http, "POST", f"/hooks/{made['name']}/resume")[0] == 200
        until(lambda: receiver.data() == ["one", "one"], "another try")
        assert daemon.end() == 0


def test_gaps(topic: str) -> None:
    """A receiver that was away for longer than messages are kept is told what it missed."""
    with running(*HURRIED, "--retain-messages", "2") as daemon, receiving() as receiver:
        made = hook(daemon, receiver.url(), topic)
        receiver.down()
        positions = [publish(daemon.http, topic, str(number)) for number in range(6)]
        until(lambda: state(daemon, made["name"]) == "retrying", "a failure")
        receiver.up()
        until(lambda: receiver.data()[-1:] == ["5"], "the rest")
        until(lambda: state(daemon, made["name"]) == "live", "everything")
        [gap] = [post.json()["gap"] for post in receiver.posts if "gap" in post.json()]
        assert gap["until"] == positions[3]
        assert once(receiver)[-2:] == ["4", "5"]
        assert daemon.end() == 0


def test_stopping_waits_for_what_is_on_its_way() -> None:
    """A daemon that stops lets a post that is on its way be answered, and makes no other."""
    with running(*HURRIED, "--drain", "10s", "--hook-timeout", "15s") as daemon, receiving(Act(hangs=True)) as receiver:
        hook(daemon, receiver.url(), "a")
        publish(daemon.http, "a", "one")
        until(lambda: receiver.posts, "a post")
        daemon.process.send_signal(signal.SIGTERM)
        publish_is_refused(daemon)
        assert daemon.process.poll() is None
        receiver.let_go(reply(200))
        assert daemon.process.wait(LONGEST) == 0
        assert receiver.data() == ["one"]


def publish_is_refused(daemon: Daemon) -> None:
    """Wait until nobody can connect any more."""

    def gone() -> bool:
        try:
            asked(daemon.http, "GET", "/healthz")
        except OSError:
            return True
        return False

    until(gone, "the daemon to listen no more")


def test_stopping_does_not_wait_for_ever() -> None:
    """A receiver that hangs holds a daemon that stops for no longer than it drains."""
    with (
        running(*HURRIED, "--drain", "300ms", "--hook-timeout", "60s") as daemon,
        receiving(Act(hangs=True)) as receiver,
    ):
        hook(daemon, receiver.url(), "a")
        publish(daemon.http, "a", "one")
        until(lambda: receiver.posts, "a post")
        assert daemon.end() == 0
        assert "Traceback" not in "".join(daemon.log)


@pytest.mark.parametrize("kind", ["memory:", "sqlite:"])
def test_handing_over(tmp_path: Path, kind: str) -> None:
    """The successor has the hooks, and it alone posts from then on."""
    store = f"{kind}{tmp_path / 'store'}" if kind == "sqlite:" else kind
    place = ("--handover", str(tmp_path / "handover"), "--store", store)
    with receiving(Act(hangs=True)) as receiver, running(*HURRIED, *place, "--hook-timeout", "60s") as old:
        made = hook(old, receiver.url(), "a")
        publish(old.http, "a", "one")
        until(lambda: receiver.posts, "a post")
        with running(*HURRIED, *place, "--replace") as new:
            assert old.process.wait(LONGEST) == 0
            publish(new.http, "a", "two")
            until(lambda: state(new, made["name"]) == "live", "everything")
            assert once(receiver) == ["one", "two"]
            assert all(verified(post.headers, post.body, made["secret"]) for post in receiver.posts)
            assert len(receiver.posts) <= 3
            assert new.end() == 0


def test_killed_between_post_and_ack(tmp_path: Path) -> None:
    """A daemon that is killed while a post is on its way makes the same one again after its restart."""
    store = ("--store", f"sqlite:{tmp_path / 'store'}")
    with receiving(Act(hangs=True)) as receiver:
        with running(*HURRIED, *store, "--hook-timeout", "60s") as daemon:
            made = hook(daemon, receiver.url(), "a")
            publish(daemon.http, "a", "one")
            until(lambda: receiver.posts, "a post")
            daemon.process.kill()
            daemon.process.wait(LONGEST)
        with running(*HURRIED, *store) as daemon:
            until(lambda: len(receiver.posts) == 2, "the same post")
            first, second = receiver.posts
            assert first.body == second.body
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert verified(second.headers, second.body, made["secret"])
            publish(daemon.http, "a", "two")
            until(lambda: state(daemon, made["name"]) == "live", "everything")
            assert once(receiver) == ["one", "two"]
            assert daemon.end() == 0


def test_parked_over_a_restart(tmp_path: Path) -> None:
    """A parked hook stays parked over a restart, and keeps its place."""
    store = ("--store", f"sqlite:{tmp_path / 'store'}")
    with receiving(reply(410)) as receiver:
        with running(*HURRIED, *store) as daemon:
            made = hook(daemon, receiver.url(), "a")
            publish(daemon.http, "a", "one")
            until(lambda: state(daemon, made["name"]) == "parked", "it to be parked")
            assert daemon.end() == 0
        with running(*HURRIED, *store) as daemon:
            assert state(daemon, made["name"]) == "parked"
            assert asked(daemon.http, "POST", f"/hooks/{made['name']}/resume")[0] == 200
            until(lambda: receiver.data() == ["one", "one"], "it to go on")
            assert daemon.end() == 0


def test_a_thousand() -> None:
    """A thousand hooks wait without work, all get a message, and the daemon stops at once."""
    with running(*HURRIED, "--hook-timeout", "20s") as daemon, receiving() as receiver:
        names = [
            hook(daemon, receiver.url(), f"a/{number % 10}", name=f"hook-{number}")["name"] for number in range(1000)
        ]
        before = asked_json(daemon.http, "/stats")
        assert before["hooks"]["live"] == 1000
        publish(daemon.http, "a/3", "x")
        until(lambda: len(receiver.posts) == 100, "those of one topic")
        for number in range(10):
            publish(daemon.http, f"a/{number}", "y")
        until(lambda: asked_json(daemon.http, "/stats")["hooks"]["live"] == 1000, "everything")
        assert len(receiver.posts) == 1100
        assert {post.json()["hook"] for post in receiver.posts} == set(names)
        listed = asked_json(daemon.http, "/hooks?limit=10")
        assert len(listed["hooks"]) == 10
        assert listed["more"]
        assert daemon.end() == 0
