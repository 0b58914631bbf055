"""``python -m bench.browser`` measures; that its figures are good is not tested here, where other things run too."""

from __future__ import annotations

import re

import pytest

from bench.browser import main, quantile
from tests.browsers.pages import TRANSPORTS

ROW = re.compile(r"\| (\w+) \| by [\w ,]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| 0 \|")


def test_each_transport_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """There is a row for each transport and each way to publish, and every message came."""
    assert main(["--messages", "10", "--rate", "50"]) == 0
    _, _, *rows = capsys.readouterr().out.splitlines()
    found = [ROW.fullmatch(row) for row in rows]
    assert all(found), rows
    assert [match[1] for match in found if match] == [name for name in TRANSPORTS for _ in range(2)]
    for match in found:
        assert match is not None
        p50, p99, most = map(float, match.groups()[1:])
        assert 0 <= p50 <= p99 <= most < 20_000


def test_quantiles() -> None:
    """A quantile is the delay that so many do not exceed."""
    delays = [float(number) for number in range(100, 0, -1)]
    assert [quantile(delays, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert quantile([7], 0.5) == 7


def test_unknown_transport(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no transport is refused, with a list of those that are."""
    with pytest.raises(SystemExit):
        main(["--transports", "carrier-pigeon"])
    assert "'carrier-pigeon' is not one of websocket, stream" in capsys.readouterr().err
