"""What is sent to the TCP port: commands as people type them and as client libraries spell them, and mutations."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.http_input import ADMIN, ALICE
from tests.fuzz.mutations import mutated

_TOPICS = (b"news", b"news/1", b"news/*", b"chat/**", b"$stats", b"", b"a" * 256, b"a//b", b"\xff", "é".encode())
_IDS = (b"0", b"$", b"+", b"-", b">", b"*", b"5f0c1a2b-1", b"1-1", b"(5f0c1a2b-1", b"5f0c1a2b-0", b"0-0", b"last")

_COMMANDS = (
    *(b"PUBLISH news hi", b"XADD news * data hi", b"XADD news * data {} type application/json key k1"),
    *(b"SUBSCRIBE news news/1", b"PSUBSCRIBE news/* **", b"UNSUBSCRIBE", b"UNSUBSCRIBE news", b"PUNSUBSCRIBE"),
    *(b"XREAD COUNT 10 STREAMS news 0", b"XREAD BLOCK 100 STREAMS news $", b"XREAD BLOCK 0 STREAMS news news/1 $ 0"),
    *(b"XRANGE news - + COUNT 3", b"XREVRANGE news + - COUNT 1", b"XLEN news", b"XINFO STREAM news"),
    *(b"XGROUP CREATE news g $ MKSTREAM", b"XGROUP CREATE news g 0", b"XGROUP DESTROY news g", b"XINFO GROUPS news"),
    *(b"XREADGROUP GROUP g me COUNT 2 STREAMS news >", b"XREADGROUP GROUP g me BLOCK 50 NOACK STREAMS news >"),
    *(b"XREADGROUP GROUP g me STREAMS news 0", b"XACK news g 5f0c1a2b-1", b"XPENDING news g"),
    *(b"PUBSUB CHANNELS", b"PUBSUB NUMSUB news", b"PUBSUB NUMPAT", b"MULTI", b"EXEC", b"DISCARD"),
    *(b"HELLO", b"HELLO 2", b"HELLO 3", b"HELLO 3 AUTH default token SETNAME me", b"AUTH token", b"AUTH user token"),
    *(b"AUTH " + ALICE, b"AUTH " + ADMIN, b"HELLO 3 AUTH default " + ALICE),
    *(b"PING", b"PING hi", b"ECHO hi", b"QUIT", b"RESET", b"SELECT 0", b"SELECT 1", b"CLIENT SETNAME me"),
    *(b"CLIENT GETNAME", b"CLIENT LIST", b"CLIENT INFO", b"CLIENT ID", b"CLIENT SETINFO lib-name x", b"CLIENT NO"),
    *(b"COMMAND", b"COMMAND COUNT", b"COMMAND DOCS publish", b"COMMAND INFO publish", b"INFO", b"INFO server"),
    *(b"GET news", b"SET a b", b"EVAL x 0", b"FLUSHALL", b"DEBUG SLEEP 1", b"PUBLISH \"a b\" 'c'", b'ECHO "\\x00\\n"'),
)

SPECIAL = (
    *(
        b"*1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1025\r\n",
        b"*2147483647\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$999999999999\r\n",
    ),
    *(b"$1048577\r\n", b"$4294967296\r\n", b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$2000\r\n" + b"x" * 2000 + b"\r\n"),
    *(b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"Host: a\r\n", b"\x16\x03\x01\x02\x00\x01"),
    *(
        b"+OK\r\n",
        b"-ERR\r\n",
        b":1\r\n",
        b"_\r\n",
        b"%1\r\n",
        b"~1\r\n",
        b">1\r\n",
        b"|1\r\n",
        b"=5\r\ntxt:a\r\n",
        b"$?\r\n",
    ),
)


def spelt(words: list[bytes]) -> bytes:
    """A command as client libraries send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


@st.composite
def _command(draw: st.DrawFn) -> bytes:
    """One command, perhaps about another topic or position, in one of both spellings."""
    words = draw(st.sampled_from(_COMMANDS)).split(b" ")
    for kind in (_TOPICS, _IDS):
        if len(words) > 1 and draw(st.integers(0, 3)) == 0:
            words[draw(st.integers(1, len(words) - 1))] = draw(st.sampled_from(kind))
    if draw(st.booleans()):
        return spelt(words)
    return b" ".join(words) + draw(st.sampled_from((b"\r\n", b"\n")))


commands = mutated(
    st.lists(st.one_of(_command(), _command(), _command().map(lambda it: it * 30)), max_size=8).map(b"".join), SPECIAL
)
