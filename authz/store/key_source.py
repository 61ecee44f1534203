"""One remote JWK Set: what is held of it, whether it still serves, and when to fetch it again.

The rules alone, without threads: every instant is an argument, in seconds that never go back.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from authz.contracts import Fault
from authz.jose.key_set import KeySet

UNAVAILABLE = "keys_unavailable"

#: How long a set is fresh, in seconds: at least, at most, and when its answer does not say.
SHORTEST, LONGEST, DEFAULT = 60.0, 3600.0, 300.0
#: The part of that time after which a set is fetched anew, less up to `SPREAD` of it, so that
#: processes which began together do not go on together.
AHEAD, SPREAD = 0.8, 0.1
#: Seconds between two fetches for the sake of key ids that the set does not hold.
FORCED_EVERY = 30.0
#: For how long such an id causes no further fetch, and how many of them are remembered.
UNKNOWN_FOR, UNKNOWN_KIDS = 60.0, 100
#: How many may wait for one fetch at the wish of strangers, who must not occupy every thread.
WAITERS = 4
#: After a failure the next attempt waits so long, and twice as long after each further one.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
NEVER = float("inf")


class _Held(NamedTuple):
    """A good set, and until when it is what."""

    key_set: KeySet
    ids: frozenset[str | None]
    ahead_at: float
    fresh_until: float
    good_until: float


class Source:
    """One URL. `stale_seconds` is how long its set serves after its fresh time, while there is no
    new one. Asked without a lock, changed under its owner's."""

    def __init__(self, url: str, stale_seconds: float, now: float) -> None:
        self.url = url
        self.asked_at = self.tried_at = now
        self.failures = 0
        self.flight: Future[None] | None = None
        self.waiters = 0
        self._stale = stale_seconds
        self._held: _Held | None = None
        self._retry_at = self._forced_until = -NEVER
        self._forced_for: str | None = None
        self._unknown: OrderedDict[str, float] = OrderedDict()

    # -- asking ------------------------------------------------------------------------------------

    def answer(self, kid: str | None, now: float) -> KeySet:
        """The set that is held. Raises a `Fault` where there is no good one, and for an unknown key
        while the issuer does not answer: it may be a new one."""
        held = self._good(now)
        silent = self.failures > 0 or self.flight is not None
        if held is None or (silent and self._is_news(kid, now)):
            raise Fault(UNAVAILABLE)
        return held.key_set

    def worth_waiting(self, kid: str | None, now: float) -> bool:
        """Whether a fetch, under way or to be begun, may give a better answer soon."""
        crowded = self.flight is not None and self.waiters >= WAITERS
        may_fetch = self.flight is not None or now >= self._retry_at
        held = self._good(now)
        if held is None:
            return may_fetch and not (self.failures and crowded)
        if now >= held.fresh_until:
            return not self.failures  # what failed a moment ago is waited for by nobody
        if not self._is_news(kid, now) or crowded:
            return False
        return self.flight is not None or (may_fetch and now >= self._forced_until)

    def next_at(self) -> float:
        """When to fetch again by itself, provided that somebody asked since the last time."""
        if self.flight is not None or self._held is None:
            return NEVER
        return self._retry_at if self.failures else self._held.ahead_at

    def _good(self, now: float) -> _Held | None:
        return self._held if self._held is not None and now < self._held.good_until else None

    def _is_news(self, kid: str | None, now: float) -> bool:
        """Whether a key id is not in the set, and was not asked for in vain lately."""
        if kid is None or self._held is None or kid in self._held.ids:
            return False
        return self._unknown.get(kid, -NEVER) <= now

    # -- fetching ----------------------------------------------------------------------------------

    def begin(self, kid: str | None, now: float) -> Future[None]:
        """A fetch is to be made, be it for this key id alone; its end is the future's."""
        if self._held is not None and now < self._held.fresh_until and self._is_news(kid, now):
            self._forced_for, self._forced_until = kid, now + FORCED_EVERY
        self.flight = Future()
        return self.flight

    def land(self, key_set: KeySet, max_age: float | None, now: float, chance: float) -> None:
        """A fetch gave a new set, fresh for so many seconds from when it was asked for. `chance` is
        random, from 0 to 1."""
        fresh = min(max(DEFAULT if max_age is None else max_age, SHORTEST), LONGEST)
        began = self.tried_at
        ids = frozenset(key.id for key in key_set.keys)
        ahead_at = began + fresh * (AHEAD - SPREAD * chance)
        self._held = _Held(key_set, ids, ahead_at, began + fresh, began + fresh + self._stale)
        self.failures, self._retry_at = 0, -NEVER
        if self._forced_for is not None and self._forced_for not in ids:
            self._unknown[self._forced_for] = now + UNKNOWN_FOR
            if len(self._unknown) > UNKNOWN_KIDS:
                self._unknown.popitem(last=False)
        self._forced_for = None

    def fail(self, now: float, chance: float) -> None:
        """A fetch gave no set; what is held stays. `chance` as above."""
        pause = min(FIRST_PAUSE * 2.0 ** min(self.failures, 10), LONGEST_PAUSE)
        self.failures += 1
        self._retry_at = now + pause * (1 - chance / 2)
        self._forced_for = None
