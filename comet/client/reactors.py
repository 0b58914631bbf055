"""The reactor that is taken if none is named.

The first import of it decides which one it is, so nobody here imports it before it is needed: a program that installs
another must have had its chance.
"""

from __future__ import annotations

from typing import Any


def chosen(reactor: Any) -> Any:
    """Return ``reactor``, or the global one if that is None."""
    if reactor is None:
        from twisted.internet import reactor as the_global_one  # noqa: PLC0415

        return the_global_one
    return reactor
