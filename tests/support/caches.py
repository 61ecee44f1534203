"""A cache over records that a test holds in its hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.store.cache import Cache, Load
from authz.store.link import Link
from authz.store.redis import RedisStore
from authz.store.target import Target
from authz.store.unknown import Allowance
from tests.support.valkey import free_port

#: Seconds; the time limit of a store that no test runs into.
PATIENT = 20.0


def away(timeout: float = 0.02) -> RedisStore:
    """A store that is not there."""
    return RedisStore(Target(f"redis://127.0.0.1:{free_port()}"), timeout, Silent())


def linked() -> Link:
    """A link that hears of every change."""
    link = Link(1000)
    link.begin(time.monotonic())
    return link


def make(load: Load, link: Link | None = None, **changes: Any) -> Cache:
    """A small cache; as many unknown names as one likes may be asked for."""
    options = {"size": 10, "misses": 3, "stale_seconds": 30.0, **changes}
    store, observer = options.pop("store", None) or away(), options.pop("observer", Silent())
    allowance = options.pop("allowance", None) or Allowance(1e9)
    return Cache(
        load, store, link or linked(), observer, allowance=lambda kind: allowance, **options
    )


class Source:
    """Records that can be changed, counted and taken away."""

    def __init__(self, **records: str) -> None:
        self.records = records
        self.reads: list[str] = []
        self.down = False

    def load(self, kind: str, keys: Sequence[str]) -> list[str | None]:
        self.reads.append(" ".join(keys))
        if self.down:
            raise StoreDown("store_unreachable")
        found: list[str | None] = []
        for key in keys:
            found.append(self.records.get(key))
            if found[-1] is not None:
                break
        return found
