"""What is counted against a limit, and how it stands: what those who limit and the store say to
each other. Times are whole milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Quota(Struct, frozen=True, gc=False):
    """So many requests (`most`) in a window that begins with the first of them. With a `burst` a
    bucket of so many instead, empty at first use and drained at the rate of `most` a window.

    `name` is the counter's, one of its tenant's. With a `lease` a process takes so many at once,
    and counts them by itself. `service` and `limit` are for metrics, each of a bounded set.
    """

    name: str
    most: int
    window: int
    burst: int = 0
    lease: int = 0
    service: str = ""
    limit: str = ""


class Standing(Struct, frozen=True, gc=False):
    """How a quota stands after a request: how many more it lets in now, when it is whole again, and
    how long the request would have to wait (0: it is let in)."""

    remaining: int
    reset: int
    wait: int = 0


class Spent(Struct, frozen=True, gc=False):
    """What became of a request that wanted one of each of some quotas, and to use what may be used
    once: all was taken, or nothing. A standing is None where nobody had to ask for it. `replayed`
    is the index of what was used before."""

    standings: Sequence[Standing | None] = ()
    replayed: int | None = None

    @property
    def refused(self) -> bool:
        return self.replayed is not None or any(
            each is not None and each.wait for each in self.standings
        )


#: What is kept of a quota: since when its window lasts, and how many it let in; of a bucket 0, and
#: when it is empty, in a `most`th of a millisecond.
Count = tuple[int, int]


def reckon(quota: Quota, count: Count | None, now: int) -> tuple[Standing, Count]:
    """How a quota stands after one more request at `now`, and what is to be kept. It says what the
    store's script says, for those who have no store."""
    since, used = count or (now, 0)
    if not quota.burst:
        if now >= since + quota.window:
            since, used = now, 0
        reset = since + quota.window - now
        if used >= quota.most:
            return Standing(0, reset, reset), (since, used)
        return Standing(quota.most - used - 1, reset), (since, used + 1)
    full = now * quota.most + quota.burst * quota.window
    empty = max(used, now * quota.most)
    over = empty + quota.window - full
    if over > 0:
        return Standing(0, _up(empty, quota.most) - now, _up(over, quota.most)), (0, empty)
    return Standing(-over // quota.window, _up(empty + quota.window, quota.most) - now), (
        0,
        empty + quota.window,
    )


def _up(number: int, by: int) -> int:
    """Divided, and rounded up."""
    return -(-number // by)
