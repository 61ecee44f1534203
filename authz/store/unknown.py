"""What a flood of unknown keys may cost the store.

Nobody can say whether a key is known without asking for it, so what is limited is how often the
store's answer may be "there is no such thing": a read that finds something costs nothing here. A
restart, after which every known key is asked for once, is therefore never slowed down, and while
few unknown keys come, neither is anything else. A flood spends the allowance, and then names that
this process has never seen are not asked for. They are neither known nor unknown, hence a fault.

Of the allowance a quarter is kept for names that were refused a moment ago: a client comes again
with its key, as `Retry-After` told it to, and a flood of invented keys does not. Whoever sends each
invented key twice spends that, too, so it helps against the common flood and not against every one.

Client addresses are left out on purpose. Behind a load balancer all clients have one, and whoever
floods from IPv6 has as many as there are keys. A limit for each address belongs before us, where
addresses are known: Envoy's local rate limit.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

#: The reason of a fault: too much was asked for that is not there.
TOO_MANY = "too_many_unknown"
#: The share of the allowance that is for names that come again.
AGAIN = 0.25
#: Names that were refused and are recognized: what some seconds of a flood bring.
REFUSED = 20_000


class Bucket:
    """Fills at `per_second` up to a second's worth. Whoever spends was let in while it was not
    empty, several perhaps at once: what they owe is filled up first."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._level = per_second
        self._at = clock()

    def is_empty(self) -> bool:
        now = self._clock()
        filled = self._level + (now - self._at) * self._per_second
        self._level, self._at = min(self._per_second, filled), now
        return self._level <= 0

    def spend(self) -> None:
        self._level -= 1


class Allowance:
    """How many names that are not there may be asked for: `per_second`, and a second's worth at
    once. Those that are being asked for while it runs out come on top. Thread-safe."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = Bucket(per_second * (1 - AGAIN), clock)
        self._again = Bucket(per_second * AGAIN, clock)
        self._refused: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, name: str) -> Bucket | None:
        """What to `charge` if the name turns out not to be there; None: it must not be asked
        for."""
        # Of names only hashes are kept: strangers choose how long these are.
        mark = hash(name)
        with self._lock:
            if not self._first.is_empty():
                return self._first
            if mark in self._refused and not self._again.is_empty():
                return self._again
            self._refused[mark] = None
            self._refused.move_to_end(mark)
            if len(self._refused) > REFUSED:
                self._refused.popitem(last=False)
            return None

    def charge(self, bucket: Bucket) -> None:
        """The name was not there."""
        with self._lock:
            bucket.spend()
