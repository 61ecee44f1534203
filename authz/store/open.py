"""One place that makes the store's objects for a process that answers requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from authz.contracts import Observer
from authz.jose.key_set import KeySet
from authz.secrets import KeyRing
from authz.store.cache import Cache
from authz.store.counters import Counters
from authz.store.fetching import Fetcher
from authz.store.key_sets import KeySets
from authz.store.keys import Keys
from authz.store.link import Link
from authz.store.listener import Listener
from authz.store.lookups import CONSUMER, Memory, Records, Sources, Waiting
from authz.store.passwords import Passwords
from authz.store.records import Codec
from authz.store.redis import RedisStore
from authz.store.remembered import Remembered
from authz.store.target import Target
from authz.store.unknown import Allowance
from authz.store.used import Used


class StoreSettings(Struct, frozen=True):
    """Where the store is, and how far it may be trusted.

    `timeout` bounds one call, in seconds; a request waits no longer than for two.
    `stale_seconds` is how long a record is used while the store is away. `bound_seconds` is the
    silence of the link after which nothing is taken as current. `jwks_waiters` is how many threads
    may wait for key sets. `unknown_per_second` is how often the store may be asked for credentials
    that are not there; as often for consumers, whom only a proven credential names.
    `last_used_seconds` is how often it is written which credentials were used; 0 means never.
    """

    target: Target
    namespace: str
    timeout: float = 0.025
    stale_seconds: float = 30.0
    bound_seconds: float = 1.0
    cache_records: int = 100_000
    cache_misses: int = 20_000
    unknown_per_second: float = 500.0
    jwks_stale_seconds: float = 3600.0
    jwks_allow_private: bool = False
    jwks_ca_file: str | None = None
    jwks_waiters: int = 8
    last_used_seconds: float = 60.0


class Store(Struct, frozen=True):
    """The store as a worker uses it."""

    keys: Keys
    codec: Codec
    redis: RedisStore
    link: Link
    cache: Cache
    memory: Memory
    waiting: Waiting
    listener: Listener
    key_sets: KeySets
    used: Used | None

    def close(self) -> None:
        """Stop the threads, end the connections."""
        self.listener.stop()
        self.key_sets.close()
        self.redis.close()


def open_store(
    settings: StoreSettings,
    ring: KeyRing,
    forms: Mapping[str, type],
    observer: Observer,
    on_change: Callable[[list[str] | None], None],
    clock: Callable[[], float] = time.time,
) -> Store:
    """Make the objects; nothing is asked of the store until `listener.start()`. The store follows
    when `ring` adopts other keys. `clock` tells when credentials are used."""
    keys = Keys(settings.namespace)
    codec = Codec(ring, forms)
    redis = RedisStore(settings.target, settings.timeout, observer)
    link = Link(settings.bound_seconds)
    strangers, proven = (Allowance(settings.unknown_per_second) for _ in range(2))
    cache = Cache(
        Records(redis, keys, codec).load,
        redis,
        link,
        observer,
        size=settings.cache_records,
        misses=settings.cache_misses,
        stale_seconds=settings.stale_seconds,
        # A flood of unknown keys must not keep known ones from their consumers.
        allowance=lambda kind: proven if kind == CONSUMER else strangers,
    )
    fetcher = Fetcher(allow_private=settings.jwks_allow_private, ca_file=settings.jwks_ca_file)
    key_sets = KeySets(
        partial(KeySet.parse, forgiving=True),
        fetcher.get,
        observe=lambda _, reason: observer.key_set(reason),
        stale_seconds=settings.jwks_stale_seconds,
        waiters=settings.jwks_waiters,
    )
    counters = Counters(redis, keys, observer)
    used = Used(keys, clock) if settings.last_used_seconds else None
    seen = used.seen if used is not None else None
    sources = Sources(keys, ring, cache, Passwords(), Remembered(), key_sets, redis, counters, seen)
    return Store(
        keys=keys,
        codec=codec,
        redis=redis,
        link=link,
        cache=cache,
        memory=Memory(sources),
        waiting=Waiting(sources),
        listener=Listener(redis, keys, cache, link, observer, on_change),
        key_sets=key_sets,
        used=used,
    )
