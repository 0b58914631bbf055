"""Signatures, held against the specification's own example and a few lines of another's making."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comet.errors import BadHook
from comet.hooks.signing import key_of, secret_of, signed_headers
from tests.daemons import ROOT
from tests.receivers import verified
from tests.shown.blocks import blocks


def test_known_signature() -> None:
    """The example that the libraries of the specification are tested with."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_verified() -> None:
    """A receiver finds the signature right, and any other body, id, time or secret wrong."""
    secret = secret_of(bytes(range(32)))
    headers = signed_headers(key_of(secret), "msg_1", 1_790_000_000, b"{}")
    assert verified(headers, b"{}", secret)
    assert not verified(headers, b"{} ", secret)
    assert not verified({**headers, "webhook-id": "msg_2"}, b"{}", secret)
    assert not verified({**headers, "webhook-timestamp": "1790000001"}, b"{}", secret)
    assert not verified(headers, b"{}", secret_of(bytes(32)))


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets(size: int) -> None:
    """A secret reads back as its key."""
    assert key_of(secret_of(bytes(size))) == bytes(size)


@pytest.mark.parametrize(
    "secret",
    ["", "geheim", "whsec_", "whsec_!!!!", "whsec_geheim", secret_of(bytes(23)), secret_of(bytes(65)), "whsec_ä"],
)
def test_bad_secrets(secret: str) -> None:
    """A secret that is none, too short or too long is refused, and not shown."""
    with pytest.raises(BadHook, match="24 to 64 random bytes") as refusal:
        key_of(secret)
    assert "geheim" not in refusal.value.detail


def test_the_documented_check() -> None:
    """The few lines of the documentation find out what is signed, by whom, and whether it is fresh."""
    [block] = [block for block in blocks(ROOT / "docs/webhooks.rst") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(block.text(), names)
    secret, now = secret_of(bytes(32)), int(time.time())
    headers = signed_headers(key_of(secret), "msg_1", now, b"{}")
    assert names["is_from_comet"](headers, b"{}", secret)
    assert not names["is_from_comet"](headers, b"[]", secret)
    assert not names["is_from_comet"](headers, b"{}", secret_of(bytes(range(32))))
    assert not names["is_from_comet"](signed_headers(key_of(secret), "msg_1", now - 3600, b"{}"), b"{}", secret)
