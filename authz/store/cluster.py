"""The node of a cluster that has a key's slot, as the nodes themselves say."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from redis import exceptions as errors
from redis.crc import key_slot

from authz.contracts import StoreDown
from authz.store.servers import Redirected, Server, connect, translated
from authz.store.target import Address, Target
from authz.store.topology import SEARCH_TIMEOUT, UNREACHABLE, Ask, Searching, text


class Range(NamedTuple):
    """Slots and who has them."""

    first: int
    last: int
    address: Address


class Cluster(Searching):
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
        Range(int(first), int(last), Address(text(host) or address.host, int(port)))
        for first, last, (host, port, *_), *_ in answer
    )
