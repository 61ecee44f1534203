"""Limits as one process keeps them: counted in the store, and remembered where that is exact.

Two things are remembered of a window that is counted there. That it is used up: nothing gives a
request back, so that it stays so until its end, and a flood of refused requests costs the store
nothing. And the share of it that this process has taken, where a limit is leased: what is left of
that is served from memory, and lost when the window ends. So a leased limit lets in no request too
many, and at the most one share less one for each process too few.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from msgspec import Struct

from authz.contracts import NotCached, Observer, StoreDown
from authz.quotas import Quota, Spent, Standing
from authz.store import counting
from authz.store.counting import Taken, Use
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.values import Once

#: Windows that are remembered. What is forgotten is asked again, and a share of it is lost.
MOST = 20_000

ALLOWED, REFUSED, AWAY = "allowed", "refused", "away"


class _Share(Struct):
    """What is remembered of a window: how many may be let in from here, or that it is used up.

    `until` (`time.monotonic`) is never after its end, as it is reckoned from before it was asked.
    `beyond` is how many the store had left then.
    """

    most: int
    until: float
    left: int
    beyond: int
    used_up: bool = False

    def standing(self, now: float) -> Standing:
        reset = max(1, round((self.until - now) * 1000))
        if self.used_up:
            return Standing(0, reset, reset)
        return Standing(self.left + self.beyond, reset)


class Counters:
    """Thread-safe."""

    def __init__(
        self,
        store: RedisStore,
        keys: Keys,
        observer: Observer,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._observer = observer
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._lock = threading.Lock()

    def recall(self, tenant: str, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        """What memory alone can say: that one is used up, or that all were taken from shares.
        Raises `NotCached`."""
        names = self._names(tenant, quotas)
        now = self._clock()
        with self._lock:
            spent = self._used_up(names, quotas, now)
            if spent is None:
                held = self._held(names, quotas, now)
                if onces or len(held) < len(quotas):
                    raise NotCached
                for share in held.values():
                    share.left -= 1
                spent = Spent([held[index].standing(now) for index in range(len(quotas))])
        return self._told(quotas, spent)

    def spend(self, tenant: str, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        """The same, asking the store for what memory does not have. Raises `StoreDown`."""
        try:
            return self.recall(tenant, quotas, onces)
        except NotCached:
            pass
        names = self._names(tenant, quotas)
        uses = [Use(self._keys.nonce(tenant, once.nonce), once.seconds) for once in onces]
        now = self._clock()
        held = self._hold(names, quotas, now)
        asked = [index for index in range(len(quotas)) if index not in held]
        try:
            replayed, taken = self._ask(uses, names, quotas, asked)
        except StoreDown:
            self._release(held.values())
            self._count(quotas, AWAY)
            raise
        found = dict(zip(asked, taken, strict=True)) if replayed is None else {}
        spent = Spent((), replayed)
        if replayed is None:
            spent = Spent(_standings(found, held, len(quotas), now))
            self._keep(names, quotas, found, refused=spent.refused, now=now)
        if spent.refused:
            self._release(held.values())
        return spent if replayed is not None else self._told(quotas, spent)

    def look(self, tenant: str, quotas: Sequence[Quota]) -> Spent:
        """What would become of one more request; nothing is taken. For commands."""
        argv = counting.arguments((), quotas, [1] * len(quotas), looking=True)
        answer = self._store.look(counting.SPEND, self._names(tenant, quotas), argv)
        return Spent([taken.standing for taken in counting.result(answer)[1]])

    def _names(self, tenant: str, quotas: Sequence[Quota]) -> list[str]:
        return [self._keys.counter(tenant, quota.name) for quota in quotas]

    # -- the store ---------------------------------------------------------------------------------

    def _ask(
        self, uses: list[Use], names: list[str], quotas: Sequence[Quota], asked: list[int]
    ) -> tuple[int | None, list[Taken]]:
        """One script for all, unless a cluster has what is used once in other slots than counters:
        there each is used first, and given back where a limit refuses."""
        if asked and not self._store.divided:
            return self._run(uses, names, quotas, asked)
        for index, use in enumerate(uses):
            if not self._store.claim(use.key, use.seconds):
                self._give_back(uses[:index])
                return index, []
        taken = self._run([], names, quotas, asked)[1] if asked else []
        if any(each.standing.wait for each in taken):
            self._give_back(uses)
        return None, taken

    def _give_back(self, uses: Sequence[Use]) -> None:
        for use in uses:
            self._store.delete([use.key])

    def _run(
        self, uses: list[Use], names: list[str], quotas: Sequence[Quota], asked: list[int]
    ) -> tuple[int | None, list[Taken]]:
        wanted = [quotas[index].lease or 1 for index in asked]
        argv = counting.arguments(uses, [quotas[index] for index in asked], wanted)
        keys = [use.key for use in uses] + [names[index] for index in asked]
        return counting.result(self._store.evaluate(counting.SPEND, keys, argv))

    # -- what is remembered ------------------------------------------------------------------------

    def _share(self, name: str, quota: Quota, now: float) -> _Share | None:
        share = self._shares.get(name)
        if share is None or now >= share.until or share.most != quota.most:
            return None
        return share

    def _used_up(self, names: list[str], quotas: Sequence[Quota], now: float) -> Spent | None:
        """The refusal, if one of them is known to be used up."""
        shares = [self._share(*each, now) for each in zip(names, quotas, strict=True)]
        if not any(share is not None and share.used_up for share in shares):
            return None
        return Spent([None if share is None else share.standing(now) for share in shares])

    def _held(self, names: list[str], quotas: Sequence[Quota], now: float) -> dict[int, _Share]:
        """By index, the shares that have one left."""
        shares = (self._share(*each, now) for each in zip(names, quotas, strict=True))
        return {n: s for n, s in enumerate(shares) if s is not None and s.left > 0}

    def _hold(self, names: list[str], quotas: Sequence[Quota], now: float) -> dict[int, _Share]:
        """Take one of each share that has one."""
        with self._lock:
            held = self._held(names, quotas, now)
            for share in held.values():
                share.left -= 1
            return held

    def _release(self, held: Iterable[_Share]) -> None:
        with self._lock:
            for share in held:
                share.left += 1

    def _keep(
        self,
        names: list[str],
        quotas: Sequence[Quota],
        found: dict[int, Taken],
        *,
        refused: bool,
        now: float,
    ) -> None:
        """Remember what the store said of windows; `now` is from before it was asked."""
        with self._lock:
            for index, taken in found.items():
                quota, standing = quotas[index], taken.standing
                if quota.burst or not (standing.wait or (quota.lease and not refused)):
                    continue
                until, left = now + standing.reset / 1000, 0 if refused else taken.given - 1
                known = self._share(names[index], quota, now)
                if known is None:
                    known = _Share(quota.most, until, 0, 0)
                    self._shares.pop(names[index], None)
                    self._shares[names[index]] = known
                # Of the same window, if another thread took a share, too.
                known.until = min(until, known.until)
                known.left, known.beyond = known.left + left, standing.remaining
                known.used_up = bool(standing.wait) and not known.left
            while len(self._shares) > MOST:
                del self._shares[next(iter(self._shares))]

    # -- what is told ------------------------------------------------------------------------------

    def _told(self, quotas: Sequence[Quota], spent: Spent) -> Spent:
        if not spent.refused:
            self._count(quotas, ALLOWED)
            return spent
        waits = zip(quotas, spent.standings, strict=True)
        self._count([quota for quota, standing in waits if standing and standing.wait], REFUSED)
        return spent

    def _count(self, quotas: Iterable[Quota], result: str) -> None:
        for quota in quotas:
            self._observer.limited(quota.service, quota.limit, result)


def _standings(
    found: dict[int, Taken], held: dict[int, _Share], count: int, now: float
) -> list[Standing | None]:
    return [
        found[index].standing if index in found else held[index].standing(now)
        for index in range(count)
    ]
