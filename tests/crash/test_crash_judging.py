"""The judge of the crashes: it lets a good history pass, and finds what is wrong with a forged one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.crash.accounts import History, Publication, Reading, Seen, Told, wants
from tests.crash.judging import MOST, faults


def publication(number: int, *positions: str, writer: str = "tcp") -> Publication:
    """One that was published at its number, and acknowledged at once, if it was."""
    topic = f"t/{number % 2}"
    return Publication(writer, number, topic, f"{writer} {number}", number, number + 0.5, positions=list(positions))


def seen(offset: int, number: int | None = None) -> Seen:
    """The message at ``offset``, as a reader gets it."""
    number = offset if number is None else number
    return Seen(f"e-{offset}", f"t/{number % 2}", f"tcp {number}")


def good() -> History:
    """Eight messages; the fifth was answered twice, the sixth never, the seventh without a position; the ninth was
    refused, and the tenth is lost, which nobody had acknowledged."""
    publications = [publication(number, f"e-{number}") for number in range(1, 9)]
    publications[4].positions.append("e-5")
    publications[4].repeated = True
    publications[5].positions.clear()
    publications[6].positions[:] = [""]
    publications += [publication(9), publication(10)]
    publications[8].refusals.append("store_failed")
    every = [seen(offset) for offset in range(1, 9)]
    one = Reading("exact", ["t/1"], [item for item in every if item.topic == "t/1"])
    return History(publications, [Reading("all", ["**"], [*every]), one], Reading("log", ["**"], [*every]))


def trimmed() -> History:
    """The same, of which the first three were forgotten on purpose, two of them before a slow reader had them."""
    history = good()
    history.trims = True
    del history.log.items[:3]
    history.readings = [
        *history.readings,
        Reading("slow", ["t/*"], [seen(1), Told("e-1", "e-3"), *history.log.items]),
        Reading("late", ["**"], [*history.log.items]),
    ]
    return history


@pytest.mark.parametrize("history", [good(), trimmed(), History([], [], Reading("log", ["**"]))])
def test_good(history: History) -> None:
    """Nothing is wrong with what is as it should be."""
    assert faults(history) == []


def lose_from_log(history: History) -> None:
    """number 2 of tcp was acknowledged as e-2, and is lost"""
    del history.log.items[1]


def lose_without_position(history: History) -> None:
    """number 7 of tcp was acknowledged, and is lost"""
    for reading in (history.log, *history.readings):
        reading.items[:] = [item for item in reading.items if item != seen(7)]


def lose_doubtful_from_log(history: History) -> None:
    """e-6 (t/0): 'tcp 6' was delivered, and is not in the log"""
    del history.log.items[5]


def lose_from_reader(history: History) -> None:
    """exact: e-3 (t/1): 'tcp 3' was not delivered"""
    del history.readings[1].items[1]


def lose_end(history: History) -> None:
    """all: e-8 (t/0): 'tcp 8' was not delivered"""
    del history.readings[0].items[-1]


def repeat_to_reader(history: History) -> None:
    """all: e-2 came after e-3"""
    history.readings[0].items.insert(3, seen(2))


def give_twice(history: History) -> None:
    """all: e-8 came after e-8"""
    history.readings[0].items.append(seen(8))


def swap(history: History) -> None:
    """exact: e-1 came after e-3"""
    items = history.readings[1].items
    items[0], items[1] = items[1], items[0]


def store_twice(history: History) -> None:
    """is in the log twice"""
    for reading in (history.readings[0], history.log):
        reading.items.append(seen(9, 4))


def answer_two_positions(history: History) -> None:
    """number 5 of tcp was answered with 2 positions"""
    history.publications[4].positions.append("e-6")


def answer_of_another(history: History) -> None:
    """number 3 of tcp was acknowledged as e-4, which is e-4 (t/0): 'tcp 4'"""
    history.publications[2].positions[:] = ["e-4"]


def lie_about_refusal(history: History) -> None:
    """number 9 of tcp was refused (store_failed), and is in the log"""
    for reading in (history.log, history.readings[0], history.readings[1]):
        reading.items.append(seen(9))


def change_payload(history: History) -> None:
    """nobody has published e-4 (t/0): 'tcp 4…'"""
    for reading in (history.log, history.readings[0]):
        reading.items[3] = Seen("e-4", "t/0", "tcp 4…")


def differ(history: History) -> None:
    """all has e-4 (t/0): 'tcp 6', others have e-4 (t/0): 'tcp 4'"""
    history.readings[0].items[3] = seen(4, 6)


def draw_epoch(history: History) -> None:
    """there are 2 epochs: e, f"""
    history.publications[7].positions[:] = ["f-8"]


def draw_epoch_for_reader(history: History) -> None:
    """there are 2 epochs: e, f"""
    history.readings[0].items.append(Told("e-8", "f-0"))


def tell_gap(history: History) -> None:
    """exact: a gap was told from e-1 to e-2, of what is not lost"""
    history.readings[1].items.insert(1, Told("e-1", "e-2"))


def go_back(history: History) -> None:
    """number 8 of tcp got e-9, after number 7 of tcp had e-10"""
    history.publications[6].positions[:] = ["e-10"]
    history.publications[7].positions[:] = ["e-9"]
    for reading in (history.log, *history.readings):
        reading.items[:] = [item for item in reading.items if item not in (seen(7), seen(8))]
    history.log.items += [seen(9, 8), seen(10, 7)]


def disorder_of_writer(history: History) -> None:
    """tcp: number 8 is at 7, before number 6 at 8"""
    for reading in (history.log, *history.readings):
        reading.items[:] = [item for item in reading.items if item not in (seen(6), seen(7), seen(8))]
    history.log.items += [seen(7, 8), seen(8, 6)]


@pytest.mark.parametrize(
    "forge",
    [
        lose_from_log,
        lose_without_position,
        lose_doubtful_from_log,
        lose_from_reader,
        lose_end,
        repeat_to_reader,
        give_twice,
        swap,
        store_twice,
        answer_two_positions,
        answer_of_another,
        lie_about_refusal,
        change_payload,
        differ,
        draw_epoch,
        draw_epoch_for_reader,
        tell_gap,
        go_back,
        disorder_of_writer,
    ],
)
def test_forged(forge: Callable[[History], None]) -> None:
    """What was forged is found, and named."""
    history = good()
    forge(history)
    assert_named(history, str(forge.__doc__))


def gap_beyond(history: History) -> None:
    """slow: a gap was told from e-1 to e-4, of what is not lost"""
    history.readings[2].items[1] = Told("e-1", "e-4")


def no_gap(history: History) -> None:
    """slow: e-2 (t/0): 'tcp 2' was not delivered"""
    del history.readings[2].items[1]


def gap_short(history: History) -> None:
    """slow: e-3 (t/1): 'tcp 3' was not delivered"""
    history.readings[2].items[1] = Told("e-1", "e-2")


def gap_over_seen(history: History) -> None:
    """all: e-3 came, although a gap up to 3 was told"""
    history.readings[0].items.insert(2, Told("e-2", "e-3"))


def gap_behind(history: History) -> None:
    """all: a gap was told from e-1, behind 4, which had come"""
    history.readings[0].items.insert(4, Told("e-1", "e-3"))


@pytest.mark.parametrize("forge", [gap_beyond, no_gap, gap_short, gap_over_seen, gap_behind])
def test_forged_gap(forge: Callable[[History], None]) -> None:
    """Where messages are forgotten on purpose, the gaps have to say which."""
    history = trimmed()
    forge(history)
    assert_named(history, str(forge.__doc__))


def assert_named(history: History, what: str) -> None:
    """One of the faults says ``what``."""
    before = deepcopy(history)
    said = faults(history)
    assert any(what in fault for fault in said), said
    assert history == before


def test_few() -> None:
    """Of one kind a few are told, and how many more there are."""
    history = good()
    history.readings[0].items.clear()
    said = faults(history)
    assert len(said) == MOST + 1
    assert said[-1] == "all: … and 3 more of that kind"


@pytest.mark.parametrize(
    ("pattern", "topic", "wanted"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("*/b", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**", "a/b", True),
    ],
)
def test_wants(pattern: str, topic: str, wanted: bool) -> None:
    """Patterns are read as the documentation says."""
    assert wants([pattern], topic) is wanted
