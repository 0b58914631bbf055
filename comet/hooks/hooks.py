"""All hooks: made, kept, looked at, ended. Each is a consumer, a record beside that of the consumer, and a courier.

A hook is made after its consumer and forgotten before it, so that a daemon that is killed in between leaves at most a
consumer that nobody reads, and never a hook without a cursor.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import structs
from twisted.internet.defer import Deferred, DeferredList, succeed

from comet.consumer import Consumer
from comet.consumers import Consumers
from comet.errors import CometError, Draining, HookExists, TooManyHooks, UnknownHook, shown
from comet.hooks.answers import Answer, Terms
from comet.hooks.courier import Courier, Means, Post, State
from comet.hooks.hook import KIND, Hook, check_url
from comet.hooks.signing import key_of, secret_of
from comet.log import Since
from comet.router import Router
from comet.slots import Slots
from comet.topics import Pattern

KEY_BYTES = 32


class Wanted(NamedTuple):
    """What somebody asks for. Without a ``name`` or a ``secret`` they are made up."""

    url: str
    patterns: tuple[Pattern, ...]
    name: str | None = None
    secret: str | None = None
    since: Since = "now"


class Hooks:
    """The hooks of a daemon. ``reactor`` keeps the time; it connects, too, if no ``post`` is given."""

    def __init__(self, router: Router, consumers: Consumers, reactor: Any, post: Post | None = None) -> None:
        self._router = router
        self._consumers = consumers
        self._reactor = reactor
        self._couriers: dict[str, Courier] = {}
        self._reserved: set[str] = set()
        self._waiting: list[Deferred[None]] = []
        self._running = False
        self._poster = post
        self._means = Means(
            config=lambda: router.config,
            clock=reactor,
            now=router.time,
            chance=random.random,
            post=self._post,
            keep=lambda hook: router.records.put(hook.record()),
            steady=self._steady,
            slots=Slots(lambda: router.config.hook_posts),
            metrics=router.metrics,
        )
        router.metrics.hook_states = self.states
        router.each_second.append(self._look_whether_steady)

    # -- their life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with the hooks that are kept."""
        self._running = True
        for name, body in self._router.records.of(KIND).items():
            self._begin(Hook.parse(body), self._consumers.found(name))

    def stop(self) -> Deferred[None]:
        """Post nothing more. Fires once what is on its way has arrived, at the latest after the seconds of ``drain``.
        If a successor has taken over, what is on its way is its affair."""
        self._running = False
        drain = 0.0 if self._router.stands_still else self._router.config.drain
        return Deferred.fromCoroutine(self._leave(drain))

    async def _leave(self, drain: float) -> None:
        couriers = list(self._couriers.values())
        overdue = self._reactor.callLater(drain, lambda: [each.abandon() for each in couriers])
        await DeferredList([each.leave() for each in couriers])
        if overdue.active():
            overdue.cancel()

    def _begin(self, hook: Hook, consumer: Consumer) -> Courier:
        courier = Courier(hook, consumer, self._means)
        self._couriers[hook.name] = courier
        if self._running:
            courier.start()
        return courier

    # -- what people ask --------------------------------------------------------------------------------------------

    def make(self, wanted: Wanted) -> Deferred[dict[str, Any]]:
        """Make a hook. Fires with what is to be answered, once it is kept. Fails with the
        :exc:`~comet.errors.CometError` that says what is wrong with it."""
        return Deferred.fromCoroutine(self._make(wanted))

    async def _make(self, wanted: Wanted) -> dict[str, Any]:
        self._check_room()
        check_url(wanted.url, self._router.config.hook_private)
        key = secrets.token_bytes(KEY_BYTES) if wanted.secret is None else key_of(wanted.secret)
        name = f"hook-{secrets.token_hex(6)}" if wanted.name is None else wanted.name
        if name in self._couriers or name in self._reserved:
            raise HookExists(f"there is a hook {shown(name)} already; DELETE it first, or choose another name")
        self._reserved.add(name)
        try:
            consumer = await self._consumers.create(name, wanted.patterns, wanted.since, KIND)
            hook = Hook(name, wanted.url, key, self._router.time())
            try:
                await self._router.records.put(hook.record())
            except Exception:
                await self._consumers.remove(name)
                raise
        finally:
            self._reserved.discard(name)
        answer = self.described(self._begin(hook, consumer))
        return answer if wanted.secret is not None else {**answer, "secret": secret_of(key)}

    def _check_room(self) -> None:
        if not self._running:
            raise Draining("the daemon is shutting down")
        if len(self._couriers) + len(self._reserved) >= self._router.config.max_hooks:
            raise TooManyHooks(f"there are {len(self._couriers)} hooks (max-hooks); delete one first")

    def remove(self, name: str) -> Deferred[None]:
        """End a hook, and its consumer. Fires once both are forgotten; fails with :exc:`~comet.errors.UnknownHook`."""
        return Deferred.fromCoroutine(self._remove(self._found(name)))

    async def _remove(self, courier: Courier) -> None:
        name = courier.hook.name
        del self._couriers[name]
        self._reserved.add(name)
        try:
            await courier.abandon()  # first: it might park, and so keep what was forgotten
            await self._router.records.remove(KIND, name)
            await self._consumers.remove(name)
        except CometError:
            self._begin(courier.hook, courier.consumer)
            raise
        finally:
            self._reserved.discard(name)

    def resume(self, name: str) -> Deferred[dict[str, Any]]:
        """Have a parked hook go on, and one that waits for its next try make it now. Fires with what is to be answered;
        fails with :exc:`~comet.errors.UnknownHook`."""
        return Deferred.fromCoroutine(self._resume(self._found(name)))

    async def _resume(self, courier: Courier) -> dict[str, Any]:
        hook = courier.hook
        if hook.parked:
            going = structs.replace(hook, parked="", parked_at=0.0)
            await self._router.records.put(going.record())
            if courier is self._found(hook.name):
                self._begin(going, courier.consumer)
        courier.hurry()
        return self.look_at(hook.name)

    def look_at(self, name: str) -> dict[str, Any]:
        """What there is to say of a hook. Raises :exc:`~comet.errors.UnknownHook`."""
        return self.described(self._found(name))

    def every(self, state: str = "") -> Iterator[Courier]:
        """Yield what serves each hook, of those in ``state`` if it says one."""
        for courier in self._couriers.values():
            if state in ("", courier.state.value):
                yield courier

    def states(self) -> Mapping[str, int]:
        """How many hooks there are in each state."""
        counts = dict.fromkeys((state.value for state in State), 0)
        for courier in self._couriers.values():
            counts[courier.state.value] += 1
        return counts

    def _found(self, name: str) -> Courier:
        try:
            return self._couriers[name]
        except KeyError:
            raise UnknownHook(f"there is no hook {shown(name)}; GET /hooks lists them") from None

    def described(self, courier: Courier) -> dict[str, Any]:
        """What there is to say of the hook that it serves."""
        hook = courier.hook
        described: dict[str, Any] = {
            "name": hook.name,
            "url": hook.shown_url(),
            "state": courier.state.value,
            "tries": courier.tries,
        }
        if hook.parked:
            described |= {"error": hook.parked, "parked": round(hook.parked_at, 3)}
        elif courier.trouble:
            described |= {"error": courier.trouble, "next_try": round(courier.next_try, 3)}
        return described | courier.consumer.described()

    # -- what couriers need -----------------------------------------------------------------------------------------

    def _post(self, url: str, headers: Mapping[str, str], body: bytes, terms: Terms) -> Deferred[Answer]:
        if self._poster is None:
            from comet.hooks.posting import Poster  # noqa: PLC0415 (18 MB that a daemon without hooks does not need)

            self._poster = Poster(self._reactor).post
        return self._poster(url, headers, body, terms)

    def _steady(self) -> Deferred[None]:
        if not self._router.stands_still:
            return succeed(None)
        steady: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(steady)
        return steady

    def _look_whether_steady(self) -> None:
        """The successor may have failed to take over."""
        if self._waiting and not self._router.stands_still:
            waiting, self._waiting = self._waiting, []
            for steady in waiting:
                steady.callback(None)
