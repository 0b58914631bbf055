"""A script: what a client does, one step after the other. Hypothesis makes them up, and the corpus keeps them as text::

    # A length bomb, byte by byte.
    send b'*2147483647\\r\\n'
    wait 2.5
    stall
    resume
    end

``send`` brings bytes, as a literal of Python; for a target that reads words, each is one input. ``wait`` lets so many
seconds pass. ``stall`` reads no more, until ``resume``. ``end`` is the FIN of the client. Whoever plays a script leaves
at its end.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st


class Step(NamedTuple):
    """One step. ``data`` is what is sent, ``seconds`` how long is waited."""

    verb: str
    data: bytes = b""
    seconds: float = 0.0

    def __str__(self) -> str:
        argument = {"send": f" {self.data!r}", "wait": f" {self.seconds:g}"}
        return self.verb + argument.get(self.verb, "")


Script = tuple[Step, ...]

STALL, RESUME, END = Step("stall"), Step("resume"), Step("end")
_BARE = {step.verb: step for step in (STALL, RESUME, END)}


def send(data: bytes) -> Step:
    """Send ``data``."""
    return Step("send", data)


def wait(seconds: float) -> Step:
    """Let ``seconds`` pass."""
    return Step("wait", seconds=seconds)


def parse(text: str) -> Script:
    """Return the script that ``text`` spells."""
    return tuple(_step(line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def written(script: Script) -> str:
    """Return how ``script`` is spelt."""
    return "".join(f"{step}\n" for step in script)


def _step(line: str) -> Step:
    verb, _, argument = line.partition(" ")
    if verb == "send":
        data = ast.literal_eval(argument)
        assert isinstance(data, bytes), line
        return send(data)
    return wait(float(argument)) if verb == "wait" else _BARE[verb]


# -- splits -----------------------------------------------------------------------------------------------------------


def in_pieces(script: Script, size: int) -> Script:
    """Return ``script`` with everything sent in pieces of ``size`` bytes."""
    return tuple(piece for step in script for piece in _pieces(step, range(0, len(step.data), size)))


def joined(script: Script) -> Script:
    """Return ``script`` with everything that is sent in a row sent at once."""
    steps: list[Step] = []
    for step in script:
        if step.verb == "send" and steps and steps[-1].verb == "send":
            steps[-1] = send(steps[-1].data + step.data)
        else:
            steps.append(step)
    return tuple(steps)


def _pieces(step: Step, cuts: Iterable[int]) -> Iterator[Step]:
    if step.verb != "send" or not step.data:
        yield step
        return
    places = sorted({0, *cuts, len(step.data)})
    for begin, end in pairwise(places):
        yield send(step.data[begin:end])


# -- strategies -------------------------------------------------------------------------------------------------------

_CUTS = 4


@st.composite
def split(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> Script:
    """What ``data`` gives, cut at up to four places, with other steps now and then in between."""
    step = send(draw(data))
    cuts = draw(st.lists(st.integers(0, len(step.data)), max_size=_CUTS))
    script: list[Step] = []
    for piece in _pieces(step, cuts):
        script.append(piece)
        script += draw(_BETWEEN)
    return tuple(script)


_BETWEEN: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
    st.just(()),
    st.just(()),
    st.sampled_from(((wait(0.5),), (wait(3.0),), (STALL,), (RESUME,), (STALL, wait(30.0), RESUME), (END,))),
)


def words(word: st.SearchStrategy[bytes], most: int = 8) -> st.SearchStrategy[Script]:
    """Some inputs, each on its own."""
    return st.lists(word.map(send), min_size=1, max_size=most).map(tuple)
