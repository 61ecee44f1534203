"""Limits as one process keeps them: counted in the store, and remembered where that is exact.

Two things are remembered of a window that is counted there. That it is used up: nothing gives a
request back, so that it stays so until its end, and a flood of refused requests costs the store
nothing. And the share of it that this process has taken, where a limit is leased: what is left of
that is served from memory, and lost when the window ends. So a leased limit lets in no request too
many, and at the most one share less one for each process too few.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        #: Of which a thread fetches a share.
        self._fetching: set[str] = set()
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
        held, wanted = self._hold(names, quotas, now)
        spent = None
        try:
            replayed, taken = self._ask(uses, names, quotas, wanted)
            if replayed is not None:
                spent = Spent(replayed=replayed)
                return spent
            spent = Spent(_standings(taken, held, len(quotas), now))
            self._keep(names, quotas, taken, refused=spent.refused, now=now)
            return self._told(quotas, spent)
        except StoreDown:
            self._count(quotas, AWAY)
            raise
        finally:
            self._release(names, held, wanted, unused=spent is None or spent.refused)

    def look(self, tenant: str, quotas: Sequence[Quota]) -> Spent:
        """What would become of one more request; nothing is taken. For commands."""
        argv = counting.arguments((), quotas, [1] * len(quotas), looking=True)
        answer = self._store.look(counting.SPEND, self._names(tenant, quotas), argv)
        return Spent([taken.standing for taken in counting.result(answer)[1]])

    def _names(self, tenant: str, quotas: Sequence[Quota]) -> list[str]:
        return [self._keys.counter(tenant, quota.name) for quota in quotas]

    # -- the store ---------------------------------------------------------------------------------

    def _ask(
        self, uses: list[Use], names: list[str], quotas: Sequence[Quota], wanted: dict[int, int]
    ) -> tuple[int | None, dict[int, Taken]]:
        """One script for all, unless a cluster has what is used once in other slots than counters:
        there each is used first, and given back where a limit refuses."""
        if wanted and not self._store.divided:
            return self._run(uses, names, quotas, wanted)
        for index, use in enumerate(uses):
            if not self._store.claim(use.key, use.seconds):
                self._give_back(uses[:index])
                return index, {}
        taken = self._run([], names, quotas, wanted)[1] if wanted else {}
        if any(each.standing.wait for each in taken.values()):
            self._give_back(uses)
        return None, taken

    def _give_back(self, uses: Sequence[Use]) -> None:
        for use in uses:
            self._store.delete([use.key])

    def _run(
        self, uses: list[Use], names: list[str], quotas: Sequence[Quota], wanted: dict[int, int]
    ) -> tuple[int | None, dict[int, Taken]]:
        asked = [quotas[index] for index in wanted]
        argv = counting.arguments(uses, asked, list(wanted.values()))
        keys = [use.key for use in uses] + [names[index] for index in wanted]
        replayed, taken = counting.result(self._store.evaluate(counting.SPEND, keys, argv))
        return replayed, dict(zip(wanted, taken, strict=False))

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

    def _hold(
        self, names: list[str], quotas: Sequence[Quota], now: float
    ) -> tuple[dict[int, _Share], dict[int, int]]:
        """(shares of which one was taken, how many are to be asked for of the others), by index.
        While one thread fetches a share, others ask for no more than they need: a process never
        has more than one."""
        with self._lock:
            held = self._held(names, quotas, now)
            for share in held.values():
                share.left -= 1
            wanted = {}
            for index, (name, quota) in enumerate(zip(names, quotas, strict=True)):
                if index not in held:
                    fetching = quota.lease > 1 and name not in self._fetching
                    wanted[index] = quota.lease if fetching else 1
                    if fetching:
                        self._fetching.add(name)
            return held, wanted

    def _release(
        self,
        names: list[str],
        held: dict[int, _Share],
        wanted: dict[int, int],
        *,
        unused: bool,
    ) -> None:
        """The end of what `_hold` began."""
        with self._lock:
            for index, count in wanted.items():
                if count > 1:  # else another thread fetches it
                    self._fetching.discard(names[index])
            for share in held.values() if unused else ():
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
    found: Mapping[int, Taken], held: dict[int, _Share], count: int, now: float
) -> list[Standing | None]:
    return [
        found[index].standing if index in found else held[index].standing(now)
        for index in range(count)
    ]
