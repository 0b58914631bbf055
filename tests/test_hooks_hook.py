"""What a hook may be, and what of it is shown."""

from __future__ import annotations

import pytest

from comet.errors import AddressRefused, BadHook
from comet.hooks.hook import Hook, check_url

GOOD = """
https://example.org
https://example.org/
http://example.org:8080/a/b%20c?d=e&f=[g]
https://xn--bcher-kva.example/
http://my_receiver:8000/hook
https://a--b.example.
https://[2606:4700::1111]/hook
HTTPS://EXAMPLE.ORG/
"""

BAD = {
    "": "in ASCII",
    "example.org": "begins with https:// or http://",
    "/hook": "begins with",
    "http://": "begins with",
    "http:///hook": "begins with",
    "ftp://example.org/": "'ftp:' cannot be posted to",
    "file:///etc/passwd": "'file:' cannot be posted to",
    "gopher://example.org/": "cannot be posted to",
    "https://user:geheim@example.org/": "cannot have a user and a password",
    "https://geheim@example.org/": "cannot have a user and a password",
    "https://example.org/#a": "leave out the fragment",
    "https://example.org:0/": "a port above 0",
    "https://example.org:99999/": "malformed",
    "https://example.org:http/": "malformed",
    "https://[::1/": "malformed",
    "https://a..b/": "not the name of a host",
    "https://.example.org/": "not the name of a host",
    f"https://{'a' * 64}.example/": "not the name of a host",
    "https://-a.example/": "not the name of a host",
    "https://exa mple.org/": "in ASCII",
    "https://example.org/\r\nX: y": "in ASCII",
    "https://bücher.example/": "in ASCII",
    "https://example.org\\@127.0.0.1/": "in ASCII",
    "https://１２７.0.0.1/": "in ASCII",
    f"https://example.org/{'a' * 2000}": "2020 characters",
}


@pytest.mark.parametrize("url", GOOD.split())
def test_good(url: str) -> None:
    """URLs that can be posted to."""
    check_url(url, ())


@pytest.mark.parametrize("url", BAD)
def test_bad(url: str) -> None:
    """What cannot be posted to is refused with what is wrong, and shows no password."""
    with pytest.raises(BadHook) as refusal:
        check_url(url, ())
    assert BAD[url] in refusal.value.detail
    assert "geheim" not in refusal.value.detail


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://2130706433:80/", "http://localhost", "https://[::ffff:10.0.0.1]/"],
)
def test_private(url: str) -> None:
    """An address that is not public is refused at once, unless it is allowed."""
    with pytest.raises(AddressRefused):
        check_url(url, ())
    check_url(url, ("127.0.0.0/8", "::1/128", "10.0.0.0/8"))


def test_record() -> None:
    """What is kept reads back."""
    hook = Hook("näme", "https://example.org/?token=t", b"k" * 32, 1.5, "why", 2.5)
    assert (hook.record().kind, hook.record().name) == ("hook", "näme")
    assert Hook.parse(hook.record().body) == hook


def test_shown_url() -> None:
    """The query of a URL, where tokens are, is not shown."""
    assert Hook("h", "https://example.org/a?token=t&b", b"", 0).shown_url() == "https://example.org/a?…"
    assert Hook("h", "https://example.org/a", b"", 0).shown_url() == "https://example.org/a"
