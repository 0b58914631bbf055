"""THE table of what is fuzzed: what a script for it looks like, and what plays it, and fails if something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis.strategies import SearchStrategy

from tests.fuzz import http_targets, parser_targets, resp_targets, token_targets, word_targets
from tests.fuzz.scripts import Script


class Target(NamedTuple):
    """A row. ``examples`` are as many as the gate has time for, ``sizes`` the pieces that its corpus is cut into, if
    what a script sends are bytes of one stream."""

    scripts: SearchStrategy[Script]
    play: Callable[[Script], None]
    examples: int
    sizes: Sequence[int] = ()


_PIECES = (1, 2, 3, 7)

TARGETS = {
    "positions": Target(word_targets.positions, word_targets.read_positions, 400),
    "topics": Target(word_targets.topics, word_targets.read_topics, 400),
    "queries": Target(word_targets.queries, word_targets.read_queries, 600),
    "heads": Target(word_targets.heads, word_targets.read_heads, 800),
    "tokens": Target(token_targets.tokens, token_targets.read_tokens, 800),
    "requests": Target(parser_targets.requests, parser_targets.read_requests, 600),
    "resp": Target(resp_targets.runs, resp_targets.play, 350, _PIECES),
    "http": Target(http_targets.requests, http_targets.play_both, 500, _PIECES),
    "websocket": Target(http_targets.frames, http_targets.play_both, 300, _PIECES),
}
