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
