"""Whose address a request comes from: the peer's, or one that only trusted proxies wrote."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from authz.access.address import MAX_HOPS, NO_PROXY, UNKNOWN, Networks, client_address, parsed
from authz.values import Denied
from tests.support.gateway import ask

PROXIES = Networks(["10.0.0.0/8", "2001:db8:1::/48"])


def client(peer: str, *forwarded: str, trusted: Networks = PROXIES, exact: bool = True) -> str:
    """The client's address, or why there is none."""
    lines = [("x-forwarded-for", value) for value in forwarded]
    request = replace(ask("/", *lines, exact=exact), address=peer)
    try:
        return str(client_address(request, trusted))
    except Denied as denied:
        return denied.deny.reason


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # Nobody in between: what the client says of itself counts for nothing.
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        ("192.0.2.1", ["10.0.0.1", "nonsense"], "192.0.2.1"),
        ("2001:db8:2::1", ["198.51.100.9"], "2001:db8:2::1"),
        # One proxy, and Envoy, which appends that proxy or does not.
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["198.51.100.9,10.0.0.1"], "198.51.100.9"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.9, 10.0.0.1"], "198.51.100.9"),
        # Several, on lines of their own, of both families, with ports.
        ("2001:db8:1::2", ["192.0.2.66", "198.51.100.9", "10.0.0.1"], "198.51.100.9"),
        ("10.0.0.1", ["nonsense,198.51.100.9\t, 10.9.9.9"], "198.51.100.9"),
        ("10.0.0.1", ["198.51.100.9:443"], "198.51.100.9"),
        ("10.0.0.1", ["[2001:db8:2::9]:443"], "2001:db8:2::9"),
        ("10.0.0.1", ["[2001:db8:2::9]"], "2001:db8:2::9"),
        # The same address in the other family's clothes.
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
        ("::ffff:192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        # All of them are ours: the one where it began.
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        # What cannot be told is not guessed.
        ("10.0.0.1", [], UNKNOWN),
        ("10.0.0.1", [""], UNKNOWN),
        ("10.0.0.1", ["198.51.100.9,"], UNKNOWN),
        ("10.0.0.1", ["198.51.100.9,unknown"], UNKNOWN),
        ("10.0.0.1", ["198.51.100.9,nonsense, 10.0.0.2"], UNKNOWN),
        ("10.0.0.1", ["198.51.100.9", "fe80::1%eth0"], UNKNOWN),
        ("10.0.0.1", ["198.51.100.009"], UNKNOWN),
        ("10.0.0.1", ["9" * 100], UNKNOWN),
        ("", ["198.51.100.9"], UNKNOWN),
        ("/run/envoy.sock", [], UNKNOWN),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_the_clients_address(peer: str, forwarded: list[str], expected: str, exact: bool) -> None:
    if not exact:
        # Envoy joins the lines then.
        forwarded = [",".join(forwarded)] if forwarded else []
    assert client(peer, *forwarded, exact=exact) == expected


def test_without_trust_the_peer_is_the_client() -> None:
    assert client("10.0.0.1", "198.51.100.9", trusted=NO_PROXY) == "10.0.0.1"


def test_a_row_of_proxies_has_an_end() -> None:
    """A list of any length costs no more."""
    row = ["10.0.0.2"] * (MAX_HOPS - 1)
    assert client("10.0.0.1", ",".join(["198.51.100.9", *row])) == "198.51.100.9"
    assert client("10.0.0.1", ",".join(["198.51.100.9", "10.0.0.2", *row])) == UNKNOWN


_V4 = st.ip_addresses(v=4).map(str)
_V6 = st.ip_addresses(v=6).map(str)


@given(st.lists(_V4 | _V6, max_size=4), st.sampled_from(["198.51.100.9", "2001:db8:2::9"]))
def test_nobody_chooses_an_address(forged: list[str], real: str) -> None:
    """Whatever a client writes, its proxy appends whom it saw."""
    assert client("10.0.0.1", ",".join([*forged, real])) == str(ip_address(real))


@pytest.mark.parametrize("written", ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0", "1:2"])
def test_no_networks(written: str) -> None:
    with pytest.raises(ValueError, match=written):
        Networks([written])


_NETWORKS = st.lists(
    st.one_of(
        st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
        st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
    ).map(lambda pair: ip_network(pair, strict=False)),
    max_size=5,
)


@given(_NETWORKS, st.data())
def test_networks_hold_what_they_name(networks: list[object], data: st.DataObject) -> None:
    """As the standard library reads them one by one."""
    inside = [n.network_address for n in networks] + [n.broadcast_address for n in networks]  # type: ignore[attr-defined]
    drawn = data.draw(st.sampled_from(inside) | st.ip_addresses() if inside else st.ip_addresses())
    address = parsed(str(drawn))
    assert address is not None
    plain = [n for n in networks if getattr(n.network_address, "ipv4_mapped", None) is None]  # type: ignore[attr-defined]

    assert (address in Networks(map(str, plain))) is any(address in n for n in plain)  # type: ignore[operator]


def test_one_address_in_two_families() -> None:
    assert ip_address("192.0.2.7") in Networks(["::ffff:192.0.2.0/120"])
    assert parsed("::ffff:192.0.2.7") == ip_address("192.0.2.7")
