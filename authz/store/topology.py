"""Which server to ask: the one of the URL, the primary that Sentinels name, or a cluster's node.

What can change is found out on threads that may wait, never on a request's: a request waits for it
no longer than for a call of the store, and mostly not at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from authz.contracts import StoreDown
from authz.store.servers import Redirected, Server
from authz.store.target import Address, Target

UNREACHABLE = "store_unreachable"
#: Finding out may take longer than a request may wait, in seconds a server that is asked.
SEARCH_TIMEOUT = 0.3
#: Seconds between attempts to find out.
SEARCH_PAUSE = 0.1

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


class Searching:
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


def text(value: bytes | str | None) -> str:
    """A name as the store sends it."""
    return value.decode() if isinstance(value, bytes) else value or ""
