"""Where a daemon and its successor find each other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

from twisted.logger import Logger

from comet.config import Config
from comet.handover.taking import CannotTakeOver, Predecessor

_log = Logger()


class Start(Enum):
    """How a daemon begins."""

    AFRESH = "with its own sockets and log"
    REPLACING = "with those of the daemon that runs, if one does"


# An endpoint of which nobody knows the address beforehand, or whose socket is another's.
_NOWHERE = re.compile(r"(?:^|:)(?:tcp6?|ssl|tls):(?:port=)?0(?::|$)|^systemd:")


def addresses_of(config: Config) -> Sequence[str]:
    """Where a daemon of these settings offers itself to its successor. Left to itself, it does so under a name for each
    of its endpoints, so that it is found by one that has some other endpoints too."""
    if config.handover != "auto":
        return () if config.handover == "none" else (config.handover,)
    known = (text for text in (*config.http, *config.tcp) if not _NOWHERE.search(text))
    return tuple(f"@comet-{os.geteuid()}-{sha256(text.encode()).hexdigest()[:16]}" for text in known)


def find_predecessor(config: Config, start: Start) -> Predecessor | None:
    """The daemon that is to be replaced, or None if there is none. Raises
    :exc:`~comet.handover.taking.CannotTakeOver`."""
    if start is Start.AFRESH:
        return None
    addresses = addresses_of(config)
    if not addresses:
        raise CannotTakeOver("--replace: name the daemon to replace by the socket of its setting --handover")
    for address in addresses:
        found = Predecessor.at(address)
        if found is not None:
            return found
    _log.info("no daemon to replace at {addresses}: starting afresh", addresses=" or ".join(addresses))
    return None
