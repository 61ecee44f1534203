"""The primary, as Sentinels name it."""

from __future__ import annotations

import time
from collections import Counter

from authz.contracts import StoreDown
from authz.store.servers import Redirected, Server, connect, translated
from authz.store.target import Address, Target
from authz.store.topology import SEARCH_TIMEOUT, UNREACHABLE, Ask, Searching, text

#: The Sentinels' word on who is the primary holds for so long: as long as the link's silence may
#: last before nothing remembered is taken as current any more.
VOUCHED = 1.0


class Sentinels(Searching):
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
                address = Address(text(found[0]), int(found[1]))
                votes[address] += 1
                if 2 * votes[address] > len(self._sentinels):
                    return address
        if silent is not None and silent.reason != UNREACHABLE:
            raise silent
        raise StoreDown(UNREACHABLE, f"no majority of the Sentinels knows a primary of {service!r}")

    def confirm(self, address: Address, ask: Ask, key: str) -> None:
        role = text(ask("ROLE")[0])
        self.find_out()
        if role != "master" or self.server(key).address != address:
            raise StoreDown(UNREACHABLE, f"{address} is not the primary any more")

    def close(self) -> None:
        for sentinel in self._sentinels:
            sentinel.close()
        if self._primary is not None:
            self._primary.client.close()
