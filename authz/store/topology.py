"""Which server to ask: the one of the URL, the primary that Sentinels name, or a cluster's node.

What can change is found out on threads that may wait, never on a request's: a request waits for it
no longer than for a call of the store, and mostly not at all.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from redis import exceptions as errors
from redis.crc import key_slot

from authz.contracts import StoreDown
from authz.store.servers import Redirected, Server, connect, translated
from authz.store.target import Address, Target

UNREACHABLE = "store_unreachable"
#: Finding out may take longer than a request may wait, in seconds a server that is asked.
SEARCH_TIMEOUT = 0.3
#: Seconds between attempts to find out.
SEARCH_PAUSE = 0.1
#: The Sentinels' word on who is the primary holds for so long: as long as the link's silence may
#: last before nothing remembered is taken as current any more.
VOUCHED = 1.0

#: Sends one command on a connection and returns its answer.
Ask = Callable[..., Any]


class Topology(Protocol):
    """Thread-safe. Every method raises `StoreDown`."""

    def known(self, key: str) -> Server | None:
        """Who has this key, if that is known. Waits for nothing, raises nothing."""
        ...

    def server(self, key: str) -> Server:
        """Who has this key. Waits no longer than a call of the store may take."""
        ...

    def follow(self, hint: Redirected, asked: Server) -> Server:
        """Who has it according to the server that was asked."""
        ...

    def doubt(self) -> None:
        """Something went wrong: find out anew, meanwhile."""
        ...

    def find_out(self) -> None:
        """Find out anew, now. Not for requests."""
        ...

    def confirm(self, address: Address, ask: Ask, key: str) -> None:
        """Make sure that the server on whose connection we `ask` is still the one with this key,
        which nobody writes. Not for requests."""
        ...

    def close(self) -> None:
        """End every connection."""
        ...


def topology(target: Target, timeout: float) -> Topology:
    """As the URL says. `timeout` bounds one call, in seconds."""
    target.check()
    kinds: dict[str, type[Any]] = {"": Single, "sentinel": Sentinels, "cluster": Cluster}
    made: Topology = kinds[target.kind](target, timeout)
    return made


class Single:
    """One server, which nothing changes."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._server = Server(target, target.addresses[0], timeout)

    def known(self, key: str) -> Server | None:
        return self._server

    def server(self, key: str) -> Server:
        return self._server

    def follow(self, hint: Redirected, asked: Server) -> Server:
        raise StoreDown("store_error", "this is a node of a cluster: use redis+cluster://")

    def doubt(self) -> None: ...

    def find_out(self) -> None: ...

    def confirm(self, address: Address, ask: Ask, key: str) -> None:
        ask("PING")

    def close(self) -> None:
        self._server.client.close()


class _Searching:
    """Finds out by asking others, on one thread at a time."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._lock = threading.Lock()
        #: Set when the last search has ended; then there is its failure, if it failed.
        self._search = threading.Event()
        self._search.set()
        self._began = float("-inf")
        self._failure: tuple[str, str] | None = None

    def known(self, key: str) -> Server | None:
        raise NotImplementedError

    def find_out(self) -> None:
        raise NotImplementedError

    def server(self, key: str) -> Server:
        server = self.known(key)
        if server is not None:
            return server
        search, failure = self._searching(), self._failure
        # Nobody waits for what failed a moment ago, and all together wait for one search no longer
        # than one call may take.
        left = self._began + self._timeout - time.monotonic()
        if failure is None and not search.wait(max(0.0, left)):
            raise StoreDown("store_timeout")
        if self._failure is not None:
            raise StoreDown(*self._failure)
        server = self.known(key)
        if server is None:
            raise StoreDown(UNREACHABLE, "nobody in the cluster has this key's slot")
        return server

    def doubt(self) -> None:
        self._searching()

    def _searching(self) -> threading.Event:
        """The search under way, or a new one; the last one if that began a moment ago."""
        with self._lock:
            now = time.monotonic()
            if self._search.is_set() and now >= self._began + SEARCH_PAUSE:
                self._search, self._began = threading.Event(), now
                threading.Thread(
                    target=self._run, args=(self._search,), name="store-search", daemon=True
                ).start()
            return self._search

    def _run(self, search: threading.Event) -> None:
        try:
            self.find_out()
            self._failure = None
        except StoreDown as down:
            self._failure = down.reason, down.detail
        except Exception as error:
            self._failure = "store_error", repr(error)
        finally:
            search.set()


class Sentinels(_Searching):
    """The server that more than half of the URL's Sentinels name as the primary.

    A few might not have heard of a failover, or be cut off together with the old primary: it is
    asked nothing once the majority's word is older than `VOUCHED`.
    """

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout)
        self._sentinels = [
            connect(target, address, SEARCH_TIMEOUT, login=target.sentinel_login)
            for address in target.addresses
        ]
        self._primary: Server | None = None
        self._vouched = float("-inf")

    def known(self, key: str) -> Server | None:
        return self._primary if time.monotonic() - self._vouched < VOUCHED else None

    def follow(self, hint: Redirected, asked: Server) -> Server:
        raise StoreDown("store_error", "this is a node of a cluster: use redis+cluster://")

    def find_out(self) -> None:
        asked = time.monotonic()
        address = self._elected()
        with self._lock:
            if asked < self._vouched:  # somebody asked later, and was quicker
                return
            before = self._primary
            if before is None or before.address != address:
                self._primary = Server(self._target, address, self._timeout)
                if before is not None:
                    before.leave()
            self._vouched = asked

    def _elected(self) -> Address:
        votes: Counter[Address] = Counter()
        silent: StoreDown | None = None
        service = self._target.service
        for sentinel in self._sentinels:
            try:
                with translated():
                    found = sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service)
            except StoreDown as down:
                silent = down
                # Whoever is silent costs time: next time the others are asked first.
                others = [each for each in self._sentinels if each is not sentinel]
                self._sentinels = [*others, sentinel]
                continue
            if found:
                address = Address(_text(found[0]), int(found[1]))
                votes[address] += 1
                if 2 * votes[address] > len(self._sentinels):
                    return address
        if silent is not None and silent.reason != UNREACHABLE:
            raise silent
        raise StoreDown(UNREACHABLE, f"no majority of the Sentinels knows a primary of {service!r}")

    def confirm(self, address: Address, ask: Ask, key: str) -> None:
        role = _text(ask("ROLE")[0])
        self.find_out()
        if role != "master" or self.server(key).address != address:
            raise StoreDown(UNREACHABLE, f"{address} is not the primary any more")

    def close(self) -> None:
        for sentinel in self._sentinels:
            sentinel.close()
        if self._primary is not None:
            self._primary.client.close()


class Range(NamedTuple):
    """Slots and who has them."""

    first: int
    last: int
    address: Address


class Cluster(_Searching):
    """The node that has the key's slot, as the nodes themselves say."""

    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target, timeout)
        self._ranges: list[Range] = []
        self._moved: dict[int, Address] = {}
        self._servers: dict[Address, Server] = {}

    def known(self, key: str) -> Server | None:
        slot = key_slot(key.encode())
        address = self._moved.get(slot) or self._owner(slot)
        return None if address is None else self._at(address)

    def _owner(self, slot: int) -> Address | None:
        before = bisect_right(self._ranges, slot, key=lambda each: each.first)
        found = self._ranges[before - 1] if before else None
        return found.address if found is not None and slot <= found.last else None

    def _at(self, address: Address) -> Server:
        with self._lock:
            server = self._servers.get(address)
            if server is None:
                server = self._servers[address] = Server(self._target, address, self._timeout)
            return server

    def follow(self, hint: Redirected, asked: Server) -> Server:
        address = Address(hint.host or asked.address.host, hint.port)
        if not hint.asking:
            self._moved = {**self._moved, hint.slot: address}
            self.doubt()
        return self._at(address)

    def find_out(self) -> None:
        known = [server.address for server in self._servers.values() if not server.is_down()]
        silent: StoreDown | None = None
        for address in dict.fromkeys((*known, *self._target.addresses, *self._servers)):
            try:
                with translated():
                    ranges = _slots(self._target, address)
            except StoreDown as down:
                silent = down
                continue
            if ranges:
                self._learn(ranges)
                return
        raise silent or StoreDown(UNREACHABLE, "no node of the cluster knows who has which slot")

    def _learn(self, ranges: list[Range]) -> None:
        there = {found.address for found in ranges}
        with self._lock:
            self._ranges, self._moved = ranges, {}
            for address in set(self._servers) - there:
                self._servers.pop(address).leave()

    def confirm(self, address: Address, ask: Ask, key: str) -> None:
        # A replica and a former owner answer MOVED, and who is giving the slot away answers ASK,
        # because it has no such key: none of them hears of every change. A node that is cut off
        # from the majority answers CLUSTERDOWN.
        ask("EXISTS", key)

    def close(self) -> None:
        for server in self._servers.values():
            server.client.close()


def _slots(target: Target, address: Address) -> list[Range]:
    """CLUSTER SLOTS: first and last slot, then [host, port, …] of the primary and its replicas."""
    with connect(target, address, SEARCH_TIMEOUT) as client:
        try:
            answer = client.execute_command("CLUSTER SLOTS")
        except errors.NoPermissionError:
            raise
        except errors.ResponseError:
            raise StoreDown("store_error", f"{address} is no node of a cluster") from None
    return sorted(
        # An unknown host is the one that was asked.
        Range(int(first), int(last), Address(_text(host) or address.host, int(port)))
        for first, last, (host, port, *_), *_ in answer
    )


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
