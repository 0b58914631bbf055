"""On whose behalf something is done: what allows it, and on whose account it goes."""

from __future__ import annotations

from typing import NamedTuple

from comet.access.grant import EVERYTHING, Grant
from comet.limits.limits import Who


class Holder(NamedTuple):
    """Who stands behind a request or a connection."""

    grant: Grant = EVERYTHING
    who: Who = Who("")


LOCAL = Holder()
"""A program on this machine, or the daemon itself."""
