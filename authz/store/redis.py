"""Commands on the store: reads, nonces, counters, notes, transactions, change notices.

Which server has a key is `authz.store.topology`'s matter, how one is spoken to
`authz.store.servers`'s; beside these only `authz.store.cluster` speaks to Redis or Valkey.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

from msgspec import Struct
from redis import exceptions as errors

from authz.contracts import Observer, StoreDown
from authz.store.cluster import Cluster
from authz.store.counting import Script
from authz.store.sentinels import Sentinels
from authz.store.servers import (
    BREAKER_OPEN,
    REASONS,
    Divided,
    Redirected,
    Server,
    StoreConflict,
    Unknown,
    connect,
    translated,
)
from authz.store.target import Target
from authz.store.topology import Single, Topology

__all__ = ("BREAKER_OPEN", "EMPTY", "REASONS", "Heard", "RedisStore", "StoreConflict")

EMPTY = "store_empty"
#: A connection for change notices may take longer to make than a request may wait.
LINK_TIMEOUT = 1.0
#: A key may be somewhere else, and asked for there on its way to a third server.
HOPS = 3
#: What stands for a change notice among answers.
_NOTICE = object()
#: What a URL's scheme says after its plus.
_KINDS: dict[str, type[Single | Sentinels | Cluster]] = {
    "": Single,
    "sentinel": Sentinels,
    "cluster": Cluster,
}


class Heard(NamedTuple):
    """What the link told: names of changed keys, or None when everything changed (FLUSHALL). The
    store was there at `at` or later (`time.monotonic`)."""

    at: float
    names: list[str] | None


class Writes(Struct):
    """What one transaction writes; `added` and `removed` are members of the set `names`."""

    names: str
    sets: dict[str, bytes] = {}
    deletes: list[str] = []
    added: list[str] = []
    removed: list[str] = []

    @property
    def size(self) -> int:
        """How many keys it writes and deletes."""
        return len(self.sets) + len(self.deletes)

    def commands(self) -> Iterator[tuple[Any, ...]]:
        """As the store is told them: few, of many keys."""
        if self.deletes:
            yield "DEL", *self.deletes
        if self.sets:
            yield "MSET", *chain.from_iterable(self.sets.items())
        if self.added:
            yield "SADD", self.names, *self.added
        if self.removed:
            yield "SREM", self.names, *self.removed


class RedisStore:
    """Commands on one store. Thread-safe. Every method raises `StoreDown`."""

    def __init__(self, target: Target, timeout: float, observer: Observer) -> None:
        self.target = target
        self.timeout = timeout
        self._observer = observer
        target.check()
        #: Whether keys of several slots cannot be had by one call.
        self.divided = target.kind == "cluster"
        self._topology: Topology = _KINDS[target.kind](target, timeout)

    def is_down(self, key: str) -> bool:
        """Whether a call about this key would be refused without asking the store."""
        server = self._topology.known(key)
        return server is None or server.is_down()

    def reopen(self, key: str) -> None:
        """Ask the server that has this key again at once: somebody saw it answer."""
        server = self._topology.known(key)
        if server is not None:
            server.reopen()

    def close(self) -> None:
        """End every connection. It may be used again all the same."""
        self._topology.close()

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under these keys, of one slot; None for those that are not there."""
        try:
            return cast("list[bytes | None]", self._call(keys[0], "mget", list(keys)))
        except Divided:
            return [self._call(key, "mget", [key])[0] for key in keys]

    def scan(self, key: str, count: int) -> Iterator[list[str]]:
        """The members of a set, some `count` at a time; one may come twice."""
        cursor: Any = 0
        while True:
            cursor, members = self._call(key, "sscan", key, cursor, count=count)
            yield [member.decode() for member in members]
            if int(cursor) == 0:
                return

    def delete(self, keys: Sequence[str]) -> None:
        self._call(keys[0], "delete", *keys)

    def evaluate(self, script: Script, keys: Sequence[str], numbers: Sequence[int]) -> Any:
        """The answer of a script about keys of one slot: it runs whole or not at all."""
        rest = (len(keys), *keys, *numbers)
        try:
            return self._call(keys[0], "evalsha", script.sha, *rest)
        except Unknown:
            return self._call(keys[0], "eval", script.text, *rest)

    def look(self, script: Script, keys: Sequence[str], numbers: Sequence[int]) -> Any:
        """The same of a script that writes nothing: the store sees to that."""
        return self._call(keys[0], "eval_ro", script.text, len(keys), *keys, *numbers)

    def claim(self, key: str, seconds: int) -> bool:
        """Record a key for so many seconds; False when it is recorded already. Atomic."""
        return self._call(key, "set", key, b"1", nx=True, ex=seconds) is not None

    def tell(self, key: str, field: str, value: bytes) -> None:
        """Set one field of a hash."""
        self._call(key, "hset", key, field, value)

    def told(self, key: str) -> dict[str, bytes]:
        """The fields of a hash."""
        fields = self._call(key, "hgetall", key)
        return {name.decode(errors="replace"): value for name, value in fields.items()}

    def untell(self, key: str, fields: Sequence[str]) -> None:
        """Remove fields of a hash."""
        self._call(key, "hdel", key, *fields)

    def note(self, values: Mapping[str, bytes], seconds: int) -> None:
        """Write keys of one slot for so many seconds, at once and each for itself. Whether the
        store is there for requests is not judged by it."""
        self._at(next(iter(values)), partial(_note, values, seconds))

    def clock(self, key: str) -> int:
        """The time by the clock of the server that holds `key`: microseconds since 1970."""
        seconds, microseconds = self._call(key, "time")
        return int(seconds) * 1_000_000 + int(microseconds)

    def _call(self, key: str, command: str, *args: Any, **options: Any) -> Any:
        started = time.monotonic()
        try:
            answer = self._ask(key, started, command, args, options)
        except StoreDown as down:
            self._topology.doubt()
            if down.reason != BREAKER_OPEN:
                self._observer.store(time.monotonic() - started, down.reason)
            raise
        self._observer.store(time.monotonic() - started, None)
        return answer

    def _ask(self, key: str, started: float, command: str, args: Any, options: Any) -> Any:
        server, asking = self._topology.server(key), False
        for _ in range(HOPS):
            try:
                return server.run(command, args, options, asking=asking)
            except Redirected as hint:
                server, asking = self._topology.follow(hint, server), hint.asking
                if time.monotonic() - started > self.timeout / 2:
                    raise
        raise StoreDown("store_unreachable", "the cluster's nodes point at each other")

    def transaction(
        self, guard: str, expected: bytes | None, marks: dict[str, bytes], writes: Writes
    ) -> None:
        """All or nothing, provided that `guard` still holds `expected`; `marks` are set last, the
        guard's new value among them. Raises `StoreConflict`."""
        self._at(guard, partial(_change, guard, expected, marks, writes))

    def _at(self, key: str, change: Callable[[Server], None]) -> None:
        """Make a change of many keys on the server that holds `key`. A slot that is on its way to
        another server takes none: single commands alone can ask there."""
        server = self._topology.server(key)
        try:
            change(server)
        except Redirected as hint:
            if hint.asking:
                raise
            change(self._topology.follow(hint, server))

    def changes(self, prefix: str, probe: str, heartbeat: float) -> Iterator[Heard]:
        """Names of changed keys, as they change; no names, about every `heartbeat` seconds, mean
        that the link is alive. `probe` is a key in their slot that nobody writes.

        Ends by raising `StoreDown` when the link is lost, or leads to a server that is not, or not
        alone, the one that is written to.
        """
        with translated():
            self._topology.find_out()
            server = self._topology.server(probe)
            # The client is held until the end: its last reference closes the connection.
            with connect(self.target, server.address, LINK_TIMEOUT, protocol=3) as client:
                connection: Any = client.connection_pool.get_connection()
                try:
                    ask = partial(_ask, connection)
                    confirm = partial(self._topology.confirm, server.address, ask, probe)
                    yield from _listen(connection, prefix, confirm, heartbeat)
                finally:
                    connection.disconnect()


def _change(
    guard: str, expected: bytes | None, marks: dict[str, bytes], writes: Writes, server: Server
) -> None:
    with translated(), server.client.pipeline(transaction=True) as pipe:
        pipe.watch(guard)
        if pipe.get(guard) != expected:
            raise StoreConflict("the store was changed meanwhile")
        pipe.multi()
        for command in (*writes.commands(), ("MSET", *chain(*marks.items()))):
            pipe.execute_command(*command)
        pipe.execute()


def _note(values: Mapping[str, bytes], seconds: int, server: Server) -> None:
    with translated(), server.client.pipeline(transaction=False) as pipe:
        for key, value in values.items():
            pipe.set(key, value, ex=seconds)
        pipe.execute()


def _ask(connection: Any, *command: str) -> Any:
    """Its answer; change notices that come before it are noted."""
    connection.send_command(*command)
    answer = _NOTICE
    while answer is _NOTICE:
        answer = connection.read_response(push_request=True)
    return answer


def _listen(
    connection: Any, prefix: str, confirm: Callable[[], None], heartbeat: float
) -> Iterator[Heard]:
    heard: list[list[str] | None] = []

    def on_push(message: list[Any]) -> object:
        names = message[1]
        heard.append(None if names is None else [name.decode() for name in names])
        return _NOTICE

    connection._parser.set_invalidation_push_handler(on_push)
    socket = connection._sock
    _ask(connection, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
    seen = float("-inf")
    while True:
        # A notice is no sign of life: who was replaced hears of changes, too, but late.
        left = seen + heartbeat - time.monotonic()
        if left > 0 and connection.can_read(timeout=left):
            connection.read_response(push_request=True)
        else:
            # Before, not after: a thread that gets no turn reads late what was said in time.
            at = time.monotonic()
            confirm()
            seen = at
        # A connection that was lost is made anew without a word, and hears nothing.
        if connection._sock is not socket:
            raise errors.ConnectionError("the link was lost")
        while heard:
            yield Heard(seen, heard.pop(0))
        yield Heard(seen, [])
