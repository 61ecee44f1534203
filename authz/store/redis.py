"""The only place that speaks to Redis or Valkey: reads, nonces, transactions, change notices.

Everything has a time limit. A call that fails opens a breaker for a moment, so that requests do
not queue up behind a store that is away; the errors are one class with a bounded reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from authz.contracts import Observer, StoreDown
from authz.store.target import Target, hosts_of, login_of

#: Why the store could not answer, the more special class first.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (errors.BusyLoadingError, "store_loading"),
    (errors.AuthenticationError, "store_auth_failed"),
    (errors.NoPermissionError, "store_auth_failed"),
    (errors.OutOfMemoryError, "store_full"),
    (errors.ReadOnlyError, "store_read_only"),
    (errors.TimeoutError, "store_timeout"),
    (errors.ConnectionError, "store_unreachable"),
    (errors.RedisError, "store_error"),
    (OSError, "store_unreachable"),
)
BREAKER_OPEN = "store_breaker_open"
EMPTY = "store_empty"
#: Refusals of one command that say nothing about the next.
_ANSWERED = ("store_full", "store_read_only", "store_error")

#: So many calls in a row must run out of time before the breaker opens: one may be bad luck, on a
#: machine that is busy. A refused connection opens it at once.
TIMEOUTS_IN_A_ROW = 3
#: How long the breaker stays open: it doubles with each failure in a row, from and up to this.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
#: A connection for change notices may take longer to make than a request may wait.
LINK_TIMEOUT = 1.0


class Heard(NamedTuple):
    """What the link told: names of changed keys, or None when everything changed (FLUSHALL). The
    store was there at `at` or later (`time.monotonic`)."""

    at: float
    names: list[str] | None


class StoreConflict(Exception):
    """Somebody else changed the store meanwhile; plan again."""


def connect(target: Target, timeout: float, *, protocol: int = 2) -> Any:
    """A client whose every call ends within its time limit and is never repeated by itself."""
    target.check()
    scheme = urlsplit(target.url).scheme
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": protocol,
        "client_name": "authz",
    }
    if scheme.endswith("+cluster"):
        return _cluster(target.url, options)
    options["retry"] = Retry(NoBackoff(), 0)
    if scheme.endswith("+sentinel"):
        return _sentinel(target.url, options)
    return redis.Redis.from_url(target.url, **options)


def _cluster(url: str, options: dict[str, Any]) -> Any:
    nodes = [ClusterNode(host, port) for host, port in hosts_of(url)]
    return RedisCluster(startup_nodes=nodes, **options, **login_of(url))


def _sentinel(url: str, options: dict[str, Any]) -> Any:
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    limits = {k: options[k] for k in ("socket_timeout", "socket_connect_timeout")}
    sentinel = Sentinel(hosts_of(url), sentinel_kwargs=limits)
    return sentinel.master_for(service, db=int(database or 0), **options, **login_of(url))


@contextmanager
def translated() -> Iterator[None]:
    """Redis's many errors as `StoreDown` with a reason."""
    try:
        yield
    except errors.WatchError:
        raise StoreConflict("the store was changed meanwhile") from None
    except tuple(kind for kind, _ in REASONS) as error:
        raise StoreDown(next(r for kind, r in REASONS if isinstance(error, kind))) from error


class RedisStore:
    """Commands on one store. Thread-safe. Every method raises `StoreDown`."""

    def __init__(self, target: Target, timeout: float, observer: Observer) -> None:
        self.target = target
        self.timeout = timeout
        self._observer = observer
        self._client: Any = None
        self._closed_until = 0.0
        self._pause = FIRST_PAUSE
        self._timeouts = 0

    def is_down(self) -> bool:
        """Whether a call would be refused without asking the store."""
        return time.monotonic() < self._closed_until

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under these keys; None for those that are not there."""
        return cast("list[bytes | None]", self._call("mget", list(keys)))

    def members(self, key: str) -> set[str]:
        found = cast("set[bytes]", self._call("smembers", key))
        return {member.decode() for member in found}

    def delete(self, keys: Sequence[str]) -> None:
        self._call("delete", *keys)

    def claim(self, key: str, seconds: int) -> bool:
        """Record a key for so many seconds; False when it is recorded already. Atomic."""
        return self._call("set", key, b"1", nx=True, ex=seconds) is not None

    def clock(self, key: str) -> int:
        """The time by the clock of the server that holds `key`: microseconds since 1970."""
        with translated():
            client = self._connected()
            there = (
                {"target_nodes": client.get_node_from_key(key)}
                if isinstance(client, RedisCluster)
                else {}
            )
        seconds, microseconds = self._call("time", **there)
        return int(seconds) * 1_000_000 + int(microseconds)

    def _call(self, command: str, *args: Any, **options: Any) -> Any:
        started = time.monotonic()
        if started < self._closed_until:
            raise StoreDown(BREAKER_OPEN)
        try:
            with translated():
                answer = self._attempt(command, args, options)
        except StoreDown as down:
            self._failed(down.reason)
            self._observer.store(time.monotonic() - started, down.reason)
            raise
        self.reopen()
        self._observer.store(time.monotonic() - started, None)
        return answer

    def _failed(self, reason: str) -> None:
        if reason in _ANSWERED:
            return
        self._timeouts += 1
        if reason == "store_timeout" and self._timeouts < TIMEOUTS_IN_A_ROW:
            return
        self._closed_until = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _attempt(self, command: str, args: Any, options: Any) -> Any:
        """Once, and once more if a pooled connection turns out to be dead at once: the server
        restarted, and nothing was executed on the new connection yet."""
        started = time.monotonic()
        try:
            return getattr(self._connected(), command)(*args, **options)
        except errors.TimeoutError:
            raise
        except errors.ConnectionError:
            if time.monotonic() - started > self.timeout / 2 or command == "set":
                raise
            return getattr(self._connected(), command)(*args, **options)

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connect(self.target, self.timeout)
        return self._client

    def reopen(self) -> None:
        """Ask the store again at once: somebody saw it answer."""
        self._pause, self._closed_until, self._timeouts = FIRST_PAUSE, 0.0, 0

    def transaction(
        self,
        guard: str,
        expected: bytes | None,
        writes: dict[str, bytes],
        deletes: Sequence[str],
        members: tuple[str, Sequence[str], Sequence[str]],
    ) -> None:
        """All or nothing, provided that `guard` still holds `expected`.

        `members` is (set, names to add, names to take out). Raises `StoreConflict`.
        """
        with translated(), self._connected().pipeline(transaction=True) as pipe:
            pipe.watch(guard)
            if pipe.get(guard) != expected:
                raise StoreConflict("the store was changed meanwhile")
            pipe.multi()
            for key, value in writes.items():
                pipe.set(key, value)
            if deletes:
                pipe.delete(*deletes)
            name, added, removed = members
            if added:
                pipe.sadd(name, *added)
            if removed:
                pipe.srem(name, *removed)
            pipe.execute()

    def changes(self, prefix: str, slot_key: str, heartbeat: float) -> Iterator[Heard]:
        """Names of changed keys, as they change; no names, at least every `heartbeat` seconds, mean
        that the link is alive.

        Ends by raising `StoreDown` when the link is lost.
        """
        with translated():
            # The client is held until the end: its last reference closes the connection.
            client = self._link_client(slot_key)
            connection = client.connection_pool.get_connection()
            try:
                at = time.monotonic()
                connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
                connection.read_response()
                yield Heard(at, [])
                yield from _listen(connection, heartbeat)
            finally:
                connection.disconnect()
                client.close()

    def _link_client(self, slot_key: str) -> Any:
        client = connect(self.target, LINK_TIMEOUT, protocol=3)
        if isinstance(client, RedisCluster):
            return client.get_redis_connection(client.get_node_from_key(slot_key))
        return client


def _listen(connection: Any, heartbeat: float) -> Iterator[Heard]:
    heard: list[list[str] | None] = []

    def on_push(message: list[Any]) -> None:
        names = message[1]
        heard.append(None if names is None else [name.decode() for name in names])

    connection._parser.set_invalidation_push_handler(on_push)
    socket = connection._sock
    while True:
        # Before, not after: a thread that gets no turn reads late what was said in time.
        at = time.monotonic()
        if connection.can_read(timeout=heartbeat):
            connection.read_response(push_request=True)
        else:
            at = time.monotonic()
            connection.send_command("PING")
            while connection.read_response(push_request=True) not in (b"PONG", "PONG"):
                pass
        # A connection that was lost is made anew without a word, and hears nothing.
        if connection._sock is not socket:
            raise errors.ConnectionError("the link was lost")
        while heard:
            yield Heard(at, heard.pop(0))
        yield Heard(at, [])
