"""A courier: takes a hook's messages to its receiver, in order, each until it is taken.

It waits for news, posts what there is, acknowledges it, and begins again. What failed is tried again after a pause that
grows, and once that has gone on for too long the hook is parked: nothing is lost, because the cursor stays. The traps:
what is kept while it waits. A thousand receivers that are down must not mean a thousand pages in memory, so a page that
cannot be posted at once is let go and read again; only how many messages it had is kept, so that the same ones are
posted under the same id. And a post that is cancelled may fail with anything, so what counts is ``_leaving``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from comet.config import Config
from comet.consumer import Consumer
from comet.errors import CometError
from comet.hooks.answers import Answer, PostFailed, Terms, judge
from comet.hooks.hook import Hook
from comet.hooks.signing import signed_headers
from comet.interfaces import Clock
from comet.message import Page
from comet.metrics import Metrics
from comet.slots import Slots

WAIT = 300.0
"""Seconds that one look for news takes at most. At least half of it, so that hooks that began together do not all look
again at the same time."""

NOTED = 3600.0
"""Seconds after which it is kept how far was looked in vain. A cursor that stays behind would be held to have lost what
was never for it, once that is no longer kept."""

FIRST_PAUSE = 1.0
"""The most seconds before the second try; it doubles with each, up to ``hook-backoff``."""

LONGEST_ASKED = 3600.0
"""The most seconds that a receiver can ask to be left alone (``Retry-After``)."""

TRANSPORT = "hook"
"""What reading is counted as."""

DONE, FAILED = "done", "failed"
"""What posts are counted as."""

_log = Logger()


class State(Enum):
    """What a hook does."""

    LIVE = "live"
    BEHIND = "behind"
    RETRYING = "retrying"
    PARKED = "parked"


Post = Callable[[str, Mapping[str, str], bytes, Terms], Deferred[Answer]]
"""Posts a body to a URL; see :meth:`comet.hooks.posting.Poster.post`."""


@dataclass(frozen=True, slots=True)
class Means:
    """What couriers share. ``chance`` gives a number from 0 to 1; ``keep`` stores a hook that has changed; ``steady``
    fires once the log does not stand still, which it does while a successor takes over."""

    config: Callable[[], Config]
    clock: Clock
    now: Callable[[], float]
    chance: Callable[[], float]
    post: Post
    keep: Callable[[Hook], Deferred[None]]
    steady: Callable[[], Deferred[None]]
    slots: Slots
    metrics: Metrics


class Courier:
    """Works for ``hook``, once it is started, until it parks or is told to leave."""

    def __init__(self, hook: Hook, consumer: Consumer, means: Means) -> None:
        self.hook = hook
        self.trouble = ""
        """Why the last try failed; empty if it did not."""
        self.tries = 0
        """How many have failed since one did not."""
        self.next_try = 0.0
        """When the next one is, on the wall clock, if there is a trouble."""
        self.consumer = consumer
        self._reached = consumer.acked
        self._noted = means.clock.seconds()
        self._means = means
        self._due: int | None = None
        self._failing_since = 0.0
        self._busy = False
        self._leaving = False
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None

    @property
    def state(self) -> State:
        """What it does now."""
        if self.hook.parked:
            return State.PARKED
        if self.trouble:
            return State.RETRYING
        return State.LIVE if self._due is None else State.BEHIND

    # -- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, unless the hook is parked."""
        if not self.hook.parked:
            self._leaving = False
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._ended_badly)

    def leave(self) -> Deferred[None]:
        """Begin nothing more. Fires once what is being posted now is done, or has failed."""
        self._leaving = True
        if not self._busy:
            return self.abandon()
        return self._gone()

    def abandon(self) -> Deferred[None]:
        """Drop everything. Fires once it is."""
        self._leaving = True
        gone = self._gone()
        if self._running is not None:
            self._running.cancel()
        return gone

    def hurry(self) -> None:
        """Make the next try now."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()

    def _gone(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        if self._running is None:
            gone.callback(None)
        else:
            self._running.addBoth(lambda _: gone.callback(None))
        return gone

    def _ended_badly(self, failure: Failure) -> None:
        if not self._leaving:
            _log.failure("the courier of hook {name} ended", failure, name=self.hook.name)

    # -- its work ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not (self._leaving or self.hook.parked):
            try:
                await self._deliver()
            except PostFailed as failed:
                await self._try_again(failed)
            except CometError as trouble:  # the store's or the log's: no fault of the receiver
                await self._wait(f"the daemon cannot go on: {trouble.detail}")
            except Exception:  # ours; the hook must not stand still for it without a word
                if self._leaving:
                    return  # it was cancelled
                _log.failure("hook {name} met a mistake of Comet", name=self.hook.name)
                await self._wait("the daemon made a mistake; its log says more")

    async def _deliver(self) -> None:
        """Have the receiver take the next messages. If there is none yet, wait for some."""
        page: Page | None = None
        if self._due is None:
            page = await self._read(self._means.config().hook_batch, WAIT * (1 + self._means.chance()) / 2)
            if not page.messages and page.gap is None:
                await self._note(page)
                return
            self._due = len(page.messages)
        if not self._means.slots.is_free:
            page = None
        await self._means.slots.take()
        try:
            await self._hand_over(page)
        finally:
            self._means.slots.give_back()
            self._busy = False
        self._went_well()

    async def _hand_over(self, page: Page | None) -> None:
        """Post ``page``, or, if it is None, what it was; and acknowledge it."""
        if page is None:
            page = await self._read(self._due or 1, 0.0)
        await self._means.steady()
        self._busy = not self._leaving
        if page.messages or page.gap is not None:
            await self._post(page)
        await self._acknowledge(page)

    async def _acknowledge(self, page: Page) -> None:
        await self._means.steady()
        await self.consumer.ack(page.position)
        self._reached, self._noted = page.position, self._means.clock.seconds()

    async def _note(self, page: Page) -> None:
        """There was nothing up to the end of ``page``."""
        if self._means.clock.seconds() - self._noted >= NOTED:
            await self._acknowledge(page)
        self._reached = page.position

    def _read(self, limit: int, wait: float) -> Deferred[Page]:
        return self.consumer.read(self._reached, limit, wait, TRANSPORT)

    async def _post(self, page: Page) -> None:
        config, now = self._means.config(), self._means.now()
        body = self.hook.body(page)
        headers = signed_headers(self.hook.key, self.hook.identity(body), int(now), body)
        terms = Terms(config.hook_timeout, config.hook_private)
        try:
            judge(await self._means.post(self.hook.url, headers, body, terms), now)
        except PostFailed:
            self._count(FAILED)
            raise
        self._count(DONE)

    def _count(self, result: str) -> None:
        counts = self._means.metrics.hook_posts
        counts[result] = counts.get(result, 0) + 1

    # -- what goes wrong --------------------------------------------------------------------------------------------

    def _went_well(self) -> None:
        if self.trouble:
            _log.info("hook {name} posts again", name=self.hook.name)
        self._due, self.trouble, self.tries, self.next_try = None, "", 0, 0.0

    async def _try_again(self, failed: PostFailed) -> None:
        """Wait, or park."""
        if self._leaving:
            return
        now, config = self._means.clock.seconds(), self._means.config()
        if not self.tries:
            self._failing_since = now
            _log.warn("hook {name} fails, and is tried again: {reason}", name=self.hook.name, reason=str(failed))
        self.tries += 1
        lasted = now - self._failing_since
        if failed.final:
            await self._park(str(failed))
        elif lasted >= config.hook_patience:
            await self._park(f"{failed} (after {self.tries} tries in {lasted:.0f} s)")
        else:
            longest = min(config.hook_backoff, FIRST_PAUSE * 2.0 ** min(self.tries - 1, 30))
            await self._wait(str(failed), max(self._means.chance() * longest, min(failed.pause, LONGEST_ASKED)))

    async def _wait(self, trouble: str, seconds: float = FIRST_PAUSE) -> None:
        """Do nothing for a while, because of ``trouble``."""
        self.trouble, self.next_try = trouble, self._means.now() + seconds
        self._pause = deferLater(self._means.clock, seconds)
        try:
            await self._pause
        except CancelledError:
            if self._leaving:
                raise
        finally:
            self._pause = None

    async def _park(self, reason: str) -> None:
        parked = structs.replace(self.hook, parked=reason, parked_at=self._means.now())
        try:
            await self._means.steady()
            await self._means.keep(parked)
        except CometError as trouble:
            await self._wait(f"the daemon cannot park it: {trouble.detail}")
            return
        self.hook = parked
        _log.warn(
            "hook {name} is parked: {reason}; it keeps its place, and POST /hooks/{name}/resume has it go on",
            name=self.hook.name,
            reason=reason,
        )
