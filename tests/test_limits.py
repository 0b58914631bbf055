"""Accounts: what each address and each subject may have and do, and what they are told when it is too much."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock

from comet.config import Config
from comet.errors import CometError, TooManyConnections, TooManyFromOne, TooManyRequests
from comet.limits.limits import RESERVE, Limits, Who, account_of
from comet.metrics import Metrics

HERE = "192.0.2.7"


class Accounts:
    """Limits whose time is at hand."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.limits = Limits(Config(**settings), self.metrics, self.clock)

    def configure(self, **settings: Any) -> None:
        """Change the settings."""
        self.limits.configure(Config(**settings))


def refusal(doing: Callable[[], object]) -> CometError:
    """What ``doing`` is refused with."""
    with pytest.raises(CometError) as caught:
        doing()
    return caught.value


# -- connections ------------------------------------------------------------------------------------------------------


def test_connections_in_all() -> None:
    """One more than allowed is refused, whoever it is of, until another has gone."""
    limits = Accounts(max_connections=2).limits
    limits.connected(HERE)
    limits.connected("")
    error = refusal(lambda: limits.connected(""))
    assert isinstance(error, TooManyConnections)
    assert "max-connections" in error.detail
    assert error.after
    limits.disconnected("")
    limits.connected(HERE)


def test_connections_of_one_address() -> None:
    """One address has a bound of its own; who was refused is not counted."""
    limits = Accounts(max_connections_per_address=2).limits
    for _ in range(2):
        limits.connected(HERE)
    for _ in range(3):
        error = refusal(lambda: limits.connected(HERE))
        assert isinstance(error, TooManyFromOne)
        assert HERE in error.detail
        assert "max-connections-per-address" in error.detail
    limits.connected("192.0.2.8")
    limits.disconnected(HERE)
    limits.connected(HERE)
    refusal(lambda: limits.connected(HERE))


def test_programs_of_this_machine_and_proxies_have_no_bound() -> None:
    """They have no address here, unless they are to be nobody special."""
    limits = Accounts(proxy=("198.51.100.0/24",)).limits
    assert [limits.address_of_peer(host) for host in ("127.0.0.1", "::1", "", "198.51.100.3")] == [""] * 4
    assert limits.address_of_peer(HERE) == HERE
    strict = Accounts(proxy=("198.51.100.0/24",), local="anonymous").limits
    assert strict.address_of_peer("127.0.0.1") == "127.0.0.1"
    assert [strict.address_of_peer(host) for host in ("", "198.51.100.3")] == [""] * 2


def test_the_last_descriptors_are_for_refusing() -> None:
    """A connection whose descriptor is among the last is refused; the others are not."""
    limits = Accounts().limits
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    last = allowed - min(RESERVE, allowed // 4)
    limits.connected("", 3)
    limits.connected("", last - 1)
    for descriptor in (last, allowed - 1):
        error = refusal(lambda descriptor=descriptor: limits.connected("", descriptor))  # type: ignore[misc]
        assert isinstance(error, TooManyConnections)
        assert "descriptors" in error.detail
    limits.each_second()
    limits.connected("", last - 1)


def test_a_descriptor_limit_that_was_raised_is_noticed() -> None:
    """The daemon raises its limit after the accounts are made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = Accounts().limits
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        refusal(lambda: limits.connected("", 150))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits.connected("", 150)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- one client -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "account"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
        ("", ""),
    ],
)
def test_who_counts_as_one(address: str, account: str) -> None:
    """An IPv6 subscriber has 2^64 addresses, and is one; IPv4 written as IPv6 is IPv4."""
    assert account_of(address) == account


def test_one_network_is_one_client() -> None:
    """Taking another address of one's own network helps in nothing."""
    accounts = Accounts(max_streams_per_address=1, requests_per_address=1, burst=1, max_connections_per_address=1)
    limits = accounts.limits
    limits.opened(Who("2001:db8::1"))
    refusal(lambda: limits.opened(Who("2001:db8::2")))
    limits.opened(Who("2001:db8:0:1::2"))
    limits.request(Who("2001:db8::1"))
    refusal(lambda: limits.request(Who("2001:db8::2")))
    limits.connected(limits.address_of_peer("2001:db8::1"))
    refusal(lambda: limits.connected(limits.address_of_peer("2001:db8::2")))


# -- streams ----------------------------------------------------------------------------------------------------------


def test_streams_of_an_address_and_of_a_subject() -> None:
    """Either bound holds, and the text says which."""
    limits = Accounts(max_streams_per_address=3, max_streams_per_subject=2).limits
    limits.opened(Who(HERE, "anna"))
    limits.opened(Who("192.0.2.8", "anna"))
    error = refusal(lambda: limits.opened(Who("192.0.2.9", "anna")))
    assert isinstance(error, TooManyFromOne)
    assert "'anna'" in error.detail
    assert "max-streams-per-subject" in error.detail
    limits.opened(Who(HERE, "bert"))
    limits.opened(Who(HERE))
    error = refusal(lambda: limits.check_room(Who(HERE, "carl")))
    assert "max-streams-per-address" in error.detail
    limits.closed(Who(HERE, "anna"))
    limits.check_room(Who(HERE, "carl"))
    limits.opened(Who(HERE, "anna"))


def test_nobody_in_particular_may_open_any_number() -> None:
    """Programs of this machine are not counted."""
    limits = Accounts(max_streams_per_address=1, max_streams_per_subject=1).limits
    for _ in range(10):
        limits.opened(Who(""))
    for _ in range(10):
        limits.closed(Who(""))


@given(some.lists(some.tuples(some.booleans(), some.sampled_from("ab"), some.sampled_from(("", "x", "y")))))
def test_streams_are_counted_as_a_list_would(steps: list[tuple[bool, str, str]]) -> None:
    """However streams come and go, the bounds hold for those that are open, and nothing is kept of others."""
    limits = Accounts(max_streams_per_address=3, max_streams_per_subject=2).limits
    opened: list[Who] = []
    for opens, address, subject in steps:
        who = Who(address, subject)
        if opens:
            room = sum(each.address == address for each in opened) < 3 and (
                not subject or sum(each.subject == subject for each in opened) < 2
            )
            if room:
                limits.opened(who)
                opened.append(who)
            else:
                refusal(lambda who=who: limits.opened(who))  # type: ignore[misc]
        elif who in opened:
            opened.remove(who)
            limits.closed(who)
    for who in opened:
        limits.closed(who)
    assert set(limits.uses().values()) == {0.0}
    assert limits.addresses() == 0


# -- rates ------------------------------------------------------------------------------------------------------------


def test_requests_of_an_address() -> None:
    """After the burst it is told when to try again, and then it may."""
    accounts = Accounts(requests_per_address=10, burst=2.0)
    who = Who(HERE)
    for _ in range(20):
        accounts.limits.request(who)
    error = refusal(lambda: accounts.limits.request(who))
    assert isinstance(error, TooManyRequests)
    assert error.retry
    assert error.after == pytest.approx(0.1)
    assert "requests-per-address" in error.detail
    accounts.clock.advance(error.after or 0)
    accounts.limits.request(who)
    accounts.limits.request(Who("192.0.2.8"))


def test_a_refusal_says_how_long_to_wait() -> None:
    """In words, too."""
    accounts = Accounts(publishes_per_subject=1, burst=60.0)
    accounts.limits.publish(Who("", "anna"), 60)
    error = refusal(lambda: accounts.limits.publish(Who("", "anna"), 30))
    assert error.after == pytest.approx(30)
    assert error.detail.endswith("try again in 30 seconds")


def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    """And what the subject may not costs the address nothing."""
    limits = Accounts(publishes_per_address=10, publishes_per_subject=5, burst=1.0).limits
    error = refusal(lambda: limits.publish(Who(HERE, "anna"), 6))
    assert "publishes-per-subject" in error.detail
    limits.publish(Who(HERE), 10)
    refusal(lambda: limits.publish(Who(HERE), 1))


def test_a_batch_that_never_goes_is_not_told_to_try_again() -> None:
    """It is told how large it may be."""
    limits = Accounts(publishes_per_address=10, burst=1.0).limits
    error = refusal(lambda: limits.publish(Who(HERE), 11))
    assert isinstance(error, TooManyRequests)
    assert not error.retry
    assert "at most 10" in error.detail
    limits.publish(Who(HERE), 10)


def test_no_rate_is_no_bound() -> None:
    """0 lets as many through as come."""
    limits = Accounts(requests_per_address=0, publishes_per_address=0, max_streams_per_address=0).limits
    for _ in range(10_000):
        limits.request(Who(HERE))
    limits.publish(Who(HERE), 1_000_000)
    for _ in range(2_000):
        limits.opened(Who(HERE))


def test_programs_of_this_machine_are_not_held_up() -> None:
    """Whatever they do, and however often."""
    limits = Accounts(requests_per_address=1, publishes_per_address=1, burst=1.0).limits
    for _ in range(1_000):
        limits.request(Who(""))
        limits.publish(Who(""), 1_000)


def test_new_settings_hold_at_once() -> None:
    """Rates that stay go on as they stand; a new one begins afresh."""
    accounts = Accounts(requests_per_address=1, publishes_per_address=1, burst=5.0)
    limits = accounts.limits
    for _ in range(5):
        limits.request(Who(HERE))
        limits.publish(Who(HERE), 1)
    accounts.configure(requests_per_address=1, publishes_per_address=2, burst=5.0)
    refusal(lambda: limits.request(Who(HERE)))
    limits.publish(Who(HERE), 10)
    accounts.configure(requests_per_address=0, publishes_per_address=2, burst=5.0)
    limits.request(Who(HERE))


def test_memory_under_a_flood_of_addresses() -> None:
    """What is kept of addresses that come once is bounded, and gone when they do not come any more."""
    accounts = Accounts(requests_per_address=100, burst=10.0)
    for number in range(200_000):
        accounts.limits.request(Who(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert accounts.limits.addresses() <= 131_072
    for _ in range(30):
        accounts.clock.advance(1)
        accounts.limits.each_second()
    assert accounts.limits.addresses() == 0


# -- what an operator sees --------------------------------------------------------------------------------------------


def test_the_use_of_each_limit() -> None:
    """For each limit the share that is used, by whoever uses most of it, and of how many there are accounts."""
    accounts = Accounts(
        max_connections=10,
        max_connections_per_address=4,
        max_streams_per_address=0,
        max_streams_per_subject=5,
        requests_per_address=10,
        burst=1.0,
    )
    limits = accounts.limits
    for address in (HERE, HERE, "192.0.2.8", ""):
        limits.connected(address)
    limits.opened(Who(HERE, "anna"))
    for _ in range(3):
        limits.request(Who(HERE))
    uses = accounts.metrics.limit_use
    assert uses["max-connections"] == 0.4
    assert uses["max-connections-per-address"] == 0.5
    assert uses["max-streams-per-address"] == 0.0
    assert uses["max-streams-per-subject"] == 0.2
    assert uses["requests-per-address"] == pytest.approx(0.3)
    assert uses["publishes-per-address"] == 0.0
    assert accounts.metrics.addresses == 2
