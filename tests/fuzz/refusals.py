"""What a refusal may look like, whatever was refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from comet.errors import CometError

T = TypeVar("T")
P = ParamSpec("P")

LONGEST_DETAIL = 2_000

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def outcome(ask: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | CometError:
    """Return what ``ask`` gives, or the refusal that it raises, which must be fit to be shown. All else escapes."""
    try:
        return ask(*arguments, **named)
    except CometError as refusal:
        check_refusal(refusal)
        return refusal


def check_refusal(refusal: CometError) -> None:
    """Fail unless ``refusal`` says something, in one line that does not grow with what was sent."""
    assert refusal.detail, refusal
    assert _UNFIT.search(refusal.detail) is None, refusal
    assert len(refusal.detail) <= LONGEST_DETAIL, refusal
    assert 400 <= refusal.status <= 599, refusal
