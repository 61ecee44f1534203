"""Whose address a request comes from, and lists of addresses.

Envoy tells the peer of its connection, which is a proxy's address where one stands in front. What
proxies write into x-forwarded-for counts from the right: each appends whom it saw, and all that is
left of the first one that is not trusted was written by a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from authz.values import Denied, Deny, Request

Address = IPv4Address | IPv6Address
Network = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?$(?!\n)",
        description="An address or a network: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32.",
    ),
]

FORWARDED_FOR = "x-forwarded-for"
#: So many names are read; nobody has more proxies of their own in a row.
MAX_HOPS = 32
#: The longest address, in brackets and with its port.
_MAX_TEXT = 64
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
#: How many bits of an IPv6 address say that it is an IPv4 one (RFC 4291 section 2.5.5.2).
_MAPPED = 96

UNKNOWN = "address_unknown"
REASONS = {
    UNKNOWN: "nobody can tell the client's address: Envoy's peer has none, or is a trusted proxy "
    "whose `x-forwarded-for` is missing or broken",
}
_REFUSAL = Deny(UNKNOWN, 403, "Your IP address is not allowed")


def _network(written: str) -> IPv4Network | IPv6Network:
    network = ip_network(written)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - _MAPPED))
    return network


class Networks:
    """A set of networks. Whether it has an address costs the same for ten as for ten thousand.

    An IPv4 address that is written as an IPv6 one is the IPv4 address. Raises ValueError for what
    is no network, or has bits set beyond its prefix.
    """

    def __init__(self, written: Iterable[str] = ()) -> None:
        self.written = tuple(written)
        found: dict[tuple[int, int], set[int]] = {}
        for network in map(_network, self.written):
            shift = network.max_prefixlen - network.prefixlen
            place = found.setdefault((network.version, shift), set())
            place.add(int(network.network_address) >> shift)
        self._by_shift = {
            version: tuple((s, frozenset(nets)) for (v, s), nets in found.items() if v == version)
            for version in (4, 6)
        }

    def __contains__(self, address: Address) -> bool:
        bits = int(address)
        return any(bits >> shift in nets for shift, nets in self._by_shift[address.version])

    def __bool__(self) -> bool:
        return bool(self.written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    def __repr__(self) -> str:
        return f"Networks({', '.join(self.written)})"


@lru_cache(64)
def networks(written: tuple[str, ...]) -> Networks:
    """One set for all who name the same."""
    return Networks(written)


#: Trust in no proxy: the client is Envoy's peer.
NO_PROXY = Networks()


def client_address(request: Request, trusted: Networks) -> Address:
    """The client's address: the peer's, or where that is a trusted proxy the rightmost one of
    `x-forwarded-for` that is none (the leftmost, where all are). Raises `Denied` where it cannot be
    told: there is no guess."""
    address = _known(request.address)
    if address not in trusted:
        return address
    # Without raw headers several lines arrive as one, joined by commas, too. What is left of the
    # last split is then no address, and ends the walk.
    for hop in reversed(",".join(request.headers.get(FORWARDED_FOR)).rsplit(",", MAX_HOPS - 1)):
        address = _known(hop.strip(" \t"))
        if address not in trusted:
            break
    return address


def from_client(request: Request, trusted: Networks) -> Request:
    """The request as if its client had sent it without a proxy in between; as it is, where that
    cannot be told."""
    if not trusted:
        return request
    try:
        return replace(request, address=str(client_address(request, trusted)))
    except Denied:
        return request


def _known(text: str) -> Address:
    address = parsed(text)
    if address is None:
        raise Denied(_REFUSAL)
    return address


@lru_cache(4096)
def _parsed(text: str) -> Address | None:
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(found[1] or found[2] if found else text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address


def parsed(text: str) -> Address | None:
    """An address as proxies write it, with or without a port; None for all else."""
    return _parsed(text) if len(text) <= _MAX_TEXT else None
