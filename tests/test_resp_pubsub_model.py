"""Whatever is subscribed to, ended and published, in whichever order, each client hears what a plain model says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comet.topics import Pattern
from tests.resp_ports import Port

TOPICS = ("a", "b", "a/b", "$stats/a")
PATTERNS = ("*", "**", "a/*", "$stats/**", "b")

topics = st.lists(st.sampled_from(TOPICS), max_size=3)
patterns = st.lists(st.sampled_from(PATTERNS), max_size=3)
actions = st.one_of(
    st.tuples(st.just("SUBSCRIBE"), topics.filter(bool)),
    st.tuples(st.just("PSUBSCRIBE"), patterns.filter(bool)),
    st.tuples(st.just("UNSUBSCRIBE"), topics),
    st.tuples(st.just("PUNSUBSCRIBE"), patterns),
    st.tuples(st.just("publish"), topics),
)


class Model:
    """A client that is told everything at once."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, None]] = {"": {}, "P": {}}

    def obey(self, command: str, names: list[str]) -> list[Any]:
        """Return the confirmations of a command."""
        kind = "P" if command.startswith("P") else ""
        mine = self.names[kind]
        ends = "UN" in command
        confirmed: list[Any] = []
        for name in names or (list(mine) if ends else []):
            if ends:
                mine.pop(name, None)
            else:
                mine[name] = None
            confirmed.append([command.lower().encode(), name.encode(), self._count()])
        return confirmed or [[command.lower().encode(), None, self._count()]]

    def hear(self, topic: str, payload: bytes) -> list[Any]:
        """Return what a message is for the client."""
        exact = [[b"message", topic.encode(), payload]] if topic in self.names[""] else []
        matching = [name for name in sorted(self.names["P"]) if Pattern.parse(name).matches(topic)]
        return exact + [[b"pmessage", name.encode(), topic.encode(), payload] for name in matching]

    def _count(self) -> int:
        return sum(map(len, self.names.values()))


@given(st.lists(st.tuples(st.integers(0, 2), actions), max_size=30))
def test_what_each_client_hears(steps: list[tuple[int, tuple[str, list[str]]]]) -> None:
    """Confirmations count the names, and messages come to those who have the name, once for each."""
    port = Port()
    clients = [port.connect(2), port.connect(3), port.connect(2)]
    models = [Model() for _ in clients]
    for number, (who, (what, names)) in enumerate(steps):
        if what != "publish":
            assert clients[who].send(" ".join([what, *names])) == models[who].obey(what, names)
            continue
        messages = [(name, b"%d" % number) for name in names]
        port.publish(*messages)
        for client, model in zip(clients, models, strict=True):
            assert client.arrived() == [each for message in messages for each in model.hear(*message)]
    subscribed = sum(any(model.names.values()) for model in models)
    assert len(port.router.streams) == subscribed
    wanted = {name for model in models for name in model.names["P"] if "*" in name}
    assert clients[1].send("PUBSUB NUMPAT") == [len(wanted)]
