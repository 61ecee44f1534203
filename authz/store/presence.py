"""What the workers of a namespace tell of themselves: that they live, and which keys they know.

It stands in the store unsealed: it guides an operator's command, and no decision rests on it.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Struct

from authz.contracts import StoreDown
from authz.secrets import KeyRing
from authz.store.keys import Keys
from authz.store.redis import RedisStore

#: Seconds between two reports, and after which a worker that told nothing is not there.
EVERY, LIVE = 2.0, 10.0
#: Seconds after which what a dead worker told is removed.
FORGOTTEN = 3600.0


class Report(Struct, frozen=True):
    """`at` is by the store's clock, in Unix seconds; `keys` are the marks of the ring's keys by
    their ids. `watched`: it rereads its ring by itself, from a file."""

    at: float
    writer: str
    keys: dict[str, str]
    watched: bool


def report(store: RedisStore, keys: Keys, worker: str, ring: KeyRing, *, watched: bool) -> None:
    """Tell what a worker knows. Raises `StoreDown`."""
    told = ring.keys
    made = Report(_now(store, keys), told[0].id, {key.id: key.mark for key in told}, watched)
    store.tell(keys.workers, worker, msgspec.json.encode(made))


def living(store: RedisStore, keys: Keys) -> dict[str, Report]:
    """What the workers told that are there, by their names. Raises `StoreDown`."""
    now = _now(store, keys)
    return {name: told for name, told in _all(store, keys).items() if now - told.at < LIVE}


def leave(store: RedisStore, keys: Keys, worker: str) -> None:
    """This worker ends."""
    with suppress(StoreDown):
        store.untell(keys.workers, [worker])


def sweep(store: RedisStore, keys: Keys) -> None:
    """Remove what workers told that ended without a word. Raises `StoreDown`."""
    now = _now(store, keys)
    gone = [name for name, told in _all(store, keys).items() if now - told.at > FORGOTTEN]
    if gone:
        store.untell(keys.workers, gone)


def _now(store: RedisStore, keys: Keys) -> float:
    return store.clock(keys.workers) / 1e6


def _all(store: RedisStore, keys: Keys) -> dict[str, Report]:
    found: dict[str, Report] = {}
    for name, raw in store.told(keys.workers).items():
        with suppress(msgspec.DecodeError):
            found[name] = msgspec.json.decode(raw, type=Report)
    return found
