"""The demos that people use together: what is done in one window happens in the other."""

from __future__ import annotations

import json

import pytest

from tests.browsers.browser import Browser, Page
from tests.daemons import Daemon, running
from tests.e2e.held import publish
from tests.recipes.proxies import free_port

HOSTILE = "<img src=x onerror=document.title='run'> </textarea><b>\u2028--></b>"
SAID = "[...document.querySelectorAll('#messages .said p')].map((each) => each.textContent)"
NOTES = "[...document.querySelectorAll('.note:not([hidden])')]"
LIVE = "document.querySelector('.state').classList.contains('open')"


def opened(browser: Browser, daemon: Daemon, path: str) -> Page:
    """A window of a demo, once it is live."""
    page = browser.open(f"http://{daemon.http}/demo/{path}")
    page.until(LIVE)
    return page


def say(page: Page, text: str) -> None:
    """Say something in the chat, as people do."""
    page.fill("#text", text)
    page.press("Enter")


def test_chat(browser: Browser, daemon: Daemon) -> None:
    """What is said in either window is in both, once and in one order, as text; a reload shows it again."""
    one, two = (opened(browser, daemon, "chat.html#test-chat") for _ in range(2))
    said = ["hello", HOSTILE, "and back", "x" * 500]
    for number, text in enumerate(said):
        page = (one, two)[number % 2]
        say(page, text)
        page.until(f"{SAID}.length === {number + 1} && !document.querySelector('#drafts li')")
    two.reload()
    for page in (one, two):
        page.until(f"{SAID}.length === 4")
        assert page.run(SAID) == said
        assert page.run("document.querySelectorAll('#messages img').length") == 0
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.errors() == []
    one.until("document.querySelectorAll('.mine').length === 2")
    two.until("document.querySelectorAll('.mine').length === 2")


def test_chat_people(browser: Browser, daemon: Daemon) -> None:
    """A window says who is there and who is writing; what it is called, all windows of a browser are, from then on."""
    one = opened(browser, daemon, "chat.html#test-people")
    one.fill("#name", "Ada")
    one.press("Tab")
    two = opened(browser.another(), daemon, "chat.html#test-people")
    two.fill("#text", "w")
    one.until("people.textContent.endsWith(': writing …')")
    two.until("/\\bAda\\b/.test(people.textContent) && people.textContent.includes('(you)')")
    one.reload()
    assert one.run("document.getElementById('name').value") == "Ada"


def test_chat_rooms(browser: Browser, daemon: Daemon) -> None:
    """A room is named by the hash, whatever that is; what is said in another room is not heard."""
    page = opened(browser, daemon, "chat.html#test-first")
    say(page, "in the first")
    page.until(f"{SAID}.length === 1")
    page.fill("#room", "a/b*c ü'")
    page.press("Enter")
    page.until("document.querySelector('#rooms [aria-current]').textContent === \"a-b-c ü'\"")
    say(page, "in the other")
    page.until(f"{SAID}.join() === 'in the other'")
    for bad in ("#%", "#..", "#"):
        page.do(f"location.hash = '{bad}'")
        page.until("document.querySelector('#rooms [aria-current]').textContent === 'lobby'")
    page.do("location.hash = 'test-first'")
    page.until(f"{SAID}.join() === 'in the first'")
    assert page.errors() == []


def test_chat_from_elsewhere(browser: Browser, daemon: Daemon) -> None:
    """What is published by anything else is shown, too, as what it is."""
    page = opened(browser, daemon, "chat.html#test-shell")
    publish(daemon.http, "chat/test-shell", "from a shell")
    publish(daemon.http, "chat/test-shell", "[1, null]", "application/json")
    publish(daemon.http, "chat/test-shell", '{"text": "hi", "name": {"a": 1}, "by": 7}', "application/json")
    publish(daemon.http, "chat/test-shell/here/x", "null", "application/json")
    page.until(f"{SAID}.join('|') === 'from a shell|[1,null]|hi'")
    assert page.errors() == []


def test_chat_refused(browser: Browser) -> None:
    """What the daemon does not take stays where it was written, with the reason, and can be sent again."""
    with running("--max-payload", "200") as daemon:
        page = opened(browser, daemon, "chat.html")
        say(page, "x" * 300)
        page.until("document.querySelector('#drafts .wrong')?.textContent.includes('Not sent')")
        page.click("#drafts button")
        page.until("document.querySelector('#drafts .wrong')?.textContent.includes('Not sent')")
        say(page, "short")
        page.until(f"{SAID}.join() === 'short' && document.querySelectorAll('#drafts li').length === 1")
        page.close()


def test_restart(browser: Browser) -> None:
    """A daemon that comes back without what it had is found again: the chat says so, the board shows what there is."""
    port = free_port()
    endpoint = ("--http", f"tcp:{port}:interface=127.0.0.1")
    anywhere = ("--tcp", "tcp:0:interface=127.0.0.1")
    with running(*endpoint, "--retry", "50ms", anywhere=anywhere) as before:
        chat, board = opened(browser, before, "chat.html"), opened(browser, before, "board.html")
        say(chat, "before")
        board.click("#add")
        board.until(f"{NOTES}.length === 1 && !document.querySelector('.note.mine')")
        chat.until(f"{SAID}.length === 1")
        before.end()
    chat.until(f"!{LIVE}")
    with running(*endpoint, "--retry", "50ms", anywhere=anywhere) as after:
        for page in (chat, board):
            page.do("document.querySelector('.state button')?.click()")
            page.until(LIVE)
        chat.until("document.querySelector('#messages .gap') !== null")
        board.until(f"{NOTES}.length === 0 && !document.getElementById('empty').hidden")
        publish(after.http, "chat/lobby", "after")
        chat.until(f"{SAID}.join() === 'before,after'")
        chat.close()
        board.close()


BIDS = "[...document.querySelectorAll('#%s .bids li')].map((row) => row.querySelector('b').textContent + row.className)"
PAPER = "/demo/auction-rules.js"


def test_auction(browser: Browser, daemon: Daemon) -> None:
    """Two windows that bid the same at the same time come to the same winner; so does one that comes later."""
    one, two = (opened(browser, daemon, "auction.html") for _ in range(2))
    one.click("#ice .opening")
    for page in (one, two):
        page.until("ice.dataset.state === 'open'")
    for page in (one, two):
        page.do("document.querySelector('#ice input').value = 50; document.querySelector('#ice form').requestSubmit()")
    three = opened(browser, daemon, "auction.html")
    for page in (one, two, three):
        page.until(f"{BIDS % 'ice'}.length === 2")
        assert page.run(BIDS % "ice") == ["50refused", "50"]
        assert page.run("document.querySelector('#ice input').value") == "55"
    told = sorted(page.run("document.querySelector('#ice .told').textContent") for page in (one, two))
    assert told == ["Your 50 came too low.", "Yours is the highest bid."]
    two.fill("#ice input", "90")
    two.click("#ice form button")
    for page in (one, two, three):
        page.until("document.querySelector('#ice .price').textContent === '90'")
        assert page.errors() == []


def test_auction_again(browser: Browser, daemon: Daemon) -> None:
    """A lot that two open at once is opened once; what makes no sense is passed over; a reload shows the same."""
    page = opened(browser, daemon, "auction.html")
    opening = '{"open": true}'
    odds = ("null", "7", '"text"', '{"amount": "70"}', '{"amount": 1e300}')
    ids = [publish(daemon.http, "auction/chart", odd, "application/json") for odd in (opening, opening, *odds)]
    bid = {"amount": 70, "by": HOSTILE, "round": ids[0]}
    publish(daemon.http, "auction/chart", json.dumps(bid), "application/json")
    page.until("document.querySelector('#chart .price').textContent === '70'")
    page.reload()
    page.until("document.querySelector('#chart .price').textContent === '70'")
    assert page.run(BIDS % "chart") == ["70"]
    assert page.errors() == []


def test_auction_rules(browser: Browser, daemon: Daemon) -> None:
    """The rules go by the daemon's time and the order of the log: a late bid extends, one after the end is none."""
    page = opened(browser, daemon, "auction.html")
    page.do(f"window.rules = await import('{PAPER}')")
    page.do(
        """window.play = (...told) => told.reduce((lot, [time, data], number) =>
            rules.after(lot, { id: `e-${number}`, time, data }), rules.closed);
        window.bid = (amount, by, round = "e-0") => ({ amount, by, round });"""
    )
    late = "play([100, { open: true }], [155, bid(60, 'a')], [166, bid(65, 'b')])"
    assert page.run(f"{late}.deadline") == 165
    assert page.run(f"{late}.best.by") == "a"
    assert page.run(f"{late}.bids.map((bid) => bid.refused)") == ["", "too late"]
    again = "play([100, { open: true }], [101, { open: true }], [170, { open: true }], [171, bid(80, 'a')])"
    assert page.run(f"{again}.round") == "e-2"
    assert page.run(f"{again}.bids.map((bid) => bid.refused)") == ["too late"], "it was meant for the round before"
    assert page.run("play([1, { open: true }], [1, bid(50, 'a')], [1, bid(50, 'b')]).best.by") == "a"


def test_clock(browser: Browser, daemon: Daemon) -> None:
    """A window whose clock is wrong goes by the daemon's, as the message says that was the quickest."""
    page = opened(browser, daemon, "auction.html")
    page.do("window.clock = await import('/demo/clock.js?another'); window.right = Date.now; window.at = right()")
    page.do("Date.now = () => right() + 3_600_000")
    page.do("for (const old of [50, 0.02, 20]) clock.hear({ time: at / 1000 - old })")
    off = page.run("clock.now() - right()")
    assert -10_000 < off <= 0
    page.do("Date.now = right")


PLACE = "['--x', '--y'].map((name) => Number({note}.style.getPropertyValue(name)).toFixed(6)).join()"


def place(page: Page, number: int = 0) -> str:
    """Where a note is."""
    found: str = page.run(PLACE.format(note=f"{NOTES}[{number}]"))
    return found


def at_rest(page: Page, count: int) -> None:
    """Wait until there are so many notes, and all that was changed in the window has come back to it."""
    page.until(f"{NOTES}.length === {count} && !document.querySelector('.note.mine')")


def test_board(browser: Browser, daemon: Daemon) -> None:
    """Notes are added, written on, moved and removed in both windows, and are there after a reload."""
    one, two = (opened(browser, daemon, "board.html#test-board") for _ in range(2))
    one.click("#add")
    one.type(HOSTILE)
    two.until(f"{NOTES}[0]?.querySelector('textarea').value === {json.dumps(HOSTILE)}")
    two.click("#add")
    two.type("second")
    for page in (one, two):
        at_rest(page, 2)
    before = place(one)
    one.drag(".note .grip", 120, 90)
    at_rest(one, 2)
    dragged = place(one)
    assert dragged != before
    two.until(f"{PLACE.format(note=f'{NOTES}[0]')} === '{dragged}'")
    two.do(f"{NOTES}[0].querySelector('.grip').focus()")
    two.press("ArrowLeft")
    two.press("ArrowUp")
    at_rest(two, 2)
    one.until(f"{PLACE.format(note=f'{NOTES}[0]')} === '{place(two)}'")
    one.reload()
    at_rest(one, 2)
    words = f"{NOTES}.map((note) => note.querySelector('textarea').value).sort()"
    one.until(f"{words}.every(Boolean)")
    assert one.run(words) == sorted([HOSTILE, "second"])
    second = f"{NOTES}.find((note) => note.querySelector('textarea').value === 'second')"
    one.do(f"{second}.querySelector('.remove').click()")
    for page in (one, two):
        page.until(f"{NOTES}.length === 1")
        assert page.errors() == []


def test_board_moved_by_both(browser: Browser, daemon: Daemon) -> None:
    """A note that two drag at once is at the same place in both windows in the end; writing on it is not in the way."""
    one, two = (opened(browser, daemon, "board.html#test-both") for _ in range(2))
    one.click("#add")
    at_rest(two, 1)
    for page, right in ((one, 1), (two, -1)):
        box = page.run("(({ x, y }) => [x + 20, y + 10])(document.querySelector('.grip').getBoundingClientRect())")
        page.mouse("move", *box)
        page.mouse("down", *box)
        page.mouse("move", box[0] + 150 * right, box[1] + 80)
    for step in range(10):
        two.do(f"const text = document.querySelector('.note textarea'); text.value += {step}; "
               "text.dispatchEvent(new Event('input'))")  # fmt: skip
        one.mouse("move", 300 + 9 * step, 300)
        two.mouse("move", 700 - 9 * step, 350)
    for page, x in ((one, 381), (two, 619)):
        page.mouse("up", x, 350)
        at_rest(page, 1)
    one.until("document.querySelector('.note textarea').value === '0123456789'")
    one.until(f"{PLACE.format(note=f'{NOTES}[0]')} === '{place(two)}'")
    assert place(one) == place(two)
    assert one.errors() == two.errors() == []


def test_board_pointers(browser: Browser, daemon: Daemon) -> None:
    """A window shows where the other points, with the name, and not for long."""
    one = opened(browser, daemon, "board.html#test-pointers")
    two = opened(browser.another(), daemon, "board.html#test-pointers")
    two.fill("#name", "Grace")
    two.press("Tab")
    two.mouse("move", 400, 400)
    two.mouse("move", 420, 420)
    one.until("document.querySelector('.pointer span')?.textContent === 'Grace'")
    assert two.run("document.querySelectorAll('.pointer').length") == 0
    two.mouse("move", 400, 20)
    one.until("!document.querySelector('.pointer')")


@pytest.mark.parametrize("odd", ["null", "7", '"text"', '{"x": "0", "y": []}', '{"x": 9, "y": -9, "hue": "red"}'])
def test_board_from_elsewhere(browser: Browser, daemon: Daemon, odd: str) -> None:
    """What is no note is none, or is brought back onto the board."""
    page = opened(browser, daemon, "board.html#test-odd")
    for aspect in ("place", "text", "pointer"):
        publish(daemon.http, f"board/test-odd/odd/{aspect}", odd, "application/json")
    publish(daemon.http, "board/test-odd/good/place", '{"x": 0.5, "y": 0.5}', "application/json")
    page.until(f"{NOTES}.some((note) => note.style.getPropertyValue('--x') === '0.5')")
    assert page.run("document.querySelector('#board').scrollWidth <= document.querySelector('#board').clientWidth")
    assert page.errors() == []
