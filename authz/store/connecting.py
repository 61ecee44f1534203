"""Connecting to an address that was judged, and no longer than until a deadline.

An operator names a host, but whoever runs its DNS chooses the address. So the name is resolved
once, every address is judged, and the connection is made to a judged one: a second answer of the
DNS has no part in it.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

import httpcore

#: Why nothing was fetched. Bounded: they go into metrics.
URL_REFUSED, ADDRESS_REFUSED = "url_refused", "address_refused"
UNRESOLVED, UNREACHABLE, TLS_FAILED = "unresolved", "unreachable", "tls_failed"
TIMEOUT, REDIRECTED, STATUS = "timeout", "redirected", "status_not_200"
TOO_LARGE, MALFORMED = "too_large", "malformed_response"
REASONS = (
    *(URL_REFUSED, ADDRESS_REFUSED, UNRESOLVED, UNREACHABLE, TLS_FAILED),
    *(TIMEOUT, REDIRECTED, STATUS, TOO_LARGE, MALFORMED),
)

#: Of many addresses of one name no more than these are tried.
MAX_ADDRESSES = 4
#: The resolver of the system knows no time limit, so it has threads of its own, and never many.
_RESOLVERS = threading.BoundedSemaphore(4)
#: Addresses that stand for IPv4 ones behind a translator (RFC 6052 section 2.1).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class FetchError(Exception):
    """Nothing was fetched. `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchError(TIMEOUT)
    return left


class Network(httpcore.NetworkBackend):
    """Connects to addresses that were judged, gives up at the deadline, and receives no more than
    so many bytes on a connection."""

    def __init__(self, deadline: float, allow_private: bool, most: int) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._most = most
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = addresses(host, port, self._deadline)
        fit = [a for a in found if self._allow_private or is_public(a)][:MAX_ADDRESSES]
        if not fit:
            raise FetchError(ADDRESS_REFUSED)
        for number, address in enumerate(fit):
            # An address that swallows everything leaves time for the next one.
            share = _left(self._deadline) / (len(fit) - number)
            try:
                stream = self._tcp.connect_tcp(address, port, share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(fit) - 1:
                    raise
            else:
                return _Stream(stream, self._deadline, self._most)
        raise AssertionError  # the last attempt returned or raised


class _Stream(httpcore.NetworkStream):
    """A connection that ends at the deadline, however slowly the other side goes on, and after so
    many bytes, however little they hold: interim answers and chunks of one byte cost time, too."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, most: int) -> None:
        self._stream = stream
        self._deadline = deadline
        self._most = most

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, _left(self._deadline))
        self._most -= len(data)
        if self._most < 0:
            raise FetchError(TOO_LARGE)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline)
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectError:
            raise FetchError(TLS_FAILED) from None
        return _Stream(secured, self._deadline, self._most)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def addresses(host: str, port: int, deadline: float) -> list[str]:
    """The addresses of a name, as the system resolves it. Raises `FetchError`."""
    answer: Future[list[str]] = Future()
    threading.Thread(
        target=_resolve, args=(host, port, answer), name="resolver", daemon=True
    ).start()
    try:
        return answer.result(_left(deadline))
    except NotInTime:
        raise FetchError(TIMEOUT) from None
    except (OSError, ValueError):
        raise FetchError(UNRESOLVED) from None


def _resolve(host: str, port: int, answer: Future[list[str]]) -> None:
    if not _RESOLVERS.acquire(blocking=False):
        answer.set_exception(FetchError(UNRESOLVED))
        return
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer.set_result(list(dict.fromkeys(str(info[4][0]) for info in found)))
    except Exception as error:
        answer.set_exception(error)
    finally:
        _RESOLVERS.release()


def is_public(address: str) -> bool:
    """Whether an address is one of the public Internet's, and of one machine."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.sixtofour is not None or found.teredo is not None:
            return False  # tunnels, whose inner address nobody judged
        if found in _NAT64:
            found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        else:
            found = found.ipv4_mapped or found
    # Site-local addresses (fec0::/10) were deprecated, not made public (RFC 3879 section 4).
    local = isinstance(found, ipaddress.IPv6Address) and found.is_site_local
    return found.is_global and not (found.is_multicast or found.is_reserved or local)
