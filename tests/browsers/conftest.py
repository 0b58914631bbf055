"""The daemon and the topics of the tests in ``tests/e2e``, for those that show what comes in a browser."""

from __future__ import annotations

from tests.e2e.conftest import daemon, topic

__all__ = ["daemon", "topic"]  # fixtures: pytest finds them here by their names
