"""THE table of what is fuzzed: what a script for it looks like, and what plays it, and fails if something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis.strategies import SearchStrategy

from tests.fuzz import http_targets, parser_targets, token_targets, word_targets
from tests.fuzz.scripts import Script


class Target(NamedTuple):
    """A row. ``examples`` are as many as the gate has time for."""

    scripts: SearchStrategy[Script]
    play: Callable[[Script], None]
    examples: int


TARGETS = {
    "positions": Target(word_targets.positions, word_targets.read_positions, 400),
    "topics": Target(word_targets.topics, word_targets.read_topics, 400),
    "queries": Target(word_targets.queries, word_targets.read_queries, 400),
    "heads": Target(word_targets.heads, word_targets.read_heads, 400),
    "tokens": Target(token_targets.tokens, token_targets.read_tokens, 400),
    "requests": Target(parser_targets.requests, parser_targets.read_requests, 300),
    "http": Target(http_targets.requests, http_targets.play_both, 100),
    "websocket": Target(http_targets.frames, http_targets.play_local, 100),
}
