"""Everybody who is measured in one run, started and ready: asked directly, and through Envoy."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from authz.bench import gateway, people
from authz.bench.calls import Call
from authz.bench.candidates import (
    BARE_HANDLER,
    CACHED,
    DEFAULT,
    DIRECT,
    DIRECT_LOADS,
    ENVOY_LOADS,
    ENVOYS_OWN,
    ONE,
    THROUGH_ENVOY,
    TRANSPORTS,
    Calls,
    Candidate,
    Load,
    nothing_on,
)
from authz.bench.nothing import BARE
from authz.bench.site import Server, Site


class Wanted(Struct, frozen=True, kw_only=True):
    """What a run covers."""

    quick: bool
    credentials: tuple[int, ...] = (1,)


# -- asked directly --------------------------------------------------------------------------------


def direct(site: Site, wanted: Wanted) -> list[Candidate]:
    """Starts what they need."""
    made = [
        _nothing(kind, site.nothing(kind), _loads(kind, wanted)) for kind in (BARE, *TRANSPORTS)
    ]
    ours = site.ours(1, transport=DEFAULT)
    made += [_ours(name, ours, calls, _loads(name, wanted)) for name, calls in CACHED.items()]
    if wanted.quick:
        return made
    made += [
        _ours("hmac-auth-nonce", ours, people.signatures_with_nonce, once=True),
        _ours("digest", ours, people.digests, once=True),
        _ours("jwt-auth", ours, people.new_tokens, of="new token each", once=True),
        _ours("key-auth", ours, people.unknown_keys, of="unknown key each", once=True),
        _ours(
            "basic-auth", ours, people.wrong_passwords, (), of="wrong password each", in_flight=ONE
        ),
    ]
    made += [
        _ours("key-auth", site.ours(1, transport=other), CACHED["key-auth"], of=f"on {other}")
        for other in TRANSPORTS
        if other != DEFAULT
    ]
    two = site.ours(1, transport=DEFAULT, workers=2)
    made.append(_ours("key-auth", two, CACHED["key-auth"], of="2 workers"))
    for credentials in wanted.credentials:
        if credentials > 1:
            made += _sized(site, credentials)
    return made


def _loads(name: str, wanted: Wanted) -> tuple[Load, ...]:
    """Of the quick form, only of what is compared."""
    if not wanted.quick:
        return DIRECT_LOADS
    return ("50%", "85%") if name in (BARE, "key-auth") else ()


def _nothing(kind: str, server: Server, loads: tuple[Load, ...]) -> Candidate:
    name = BARE_HANDLER if kind == BARE else nothing_on(kind)
    return Candidate(
        name=name,
        group="direct",
        addresses=server.addresses,
        processes={"authorizer": server.processes},
        calls=CACHED["key-auth"],
        loads=loads,
    )


def _ours(
    service: str,
    server: Server,
    calls: Calls,
    loads: tuple[Load, ...] = DIRECT_LOADS,
    *,
    of: str = "",
    once: bool = False,
    many: bool = False,
    in_flight: tuple[int, int] = DIRECT,
) -> Candidate:
    return Candidate(
        name=f"authz {service}, {of}" if of else f"authz {service}",
        group="direct",
        addresses=server.addresses,
        processes={"authorizer": server.processes},
        calls=calls,
        guards=service,
        once=once,
        many=many,
        in_flight=in_flight,
        loads=loads,
    )


#: Callers of a store that has more of them.
CALLERS = 1000


def _sized(site: Site, credentials: int) -> list[Candidate]:
    """A larger store; `uncached` means that every Check reads it."""
    site.apply(credentials)

    def calls(count: int) -> list[Call]:
        # Spread over all of them, but as many for every size: else the worker's caches and those
        # of its processor would be compared, not the sizes.
        step = max(1, credentials // CALLERS)
        return people.keys(n % CALLERS * step % credentials for n in range(count))

    cached = site.ours(credentials, transport=DEFAULT)
    uncached = site.ours(credentials, transport=DEFAULT, cached=False)
    return [
        _ours("key-auth", cached, calls, of=f"{credentials:,} credentials", many=True),
        _ours("key-auth", uncached, calls, of=f"{credentials:,} credentials, uncached"),
    ]


# -- through Envoy ---------------------------------------------------------------------------------


def through_envoy(site: Site, wanted: Wanted) -> list[Candidate]:
    """Starts what they need; one Envoy for all."""
    authorizers = {
        nothing_on(DEFAULT): site.nothing(DEFAULT),
        "authz": site.ours(1, transport=DEFAULT),
    }
    filters: dict[str, gateway.Filter | None] = {}
    if not wanted.quick:
        authorizers[BARE_HANDLER] = site.nothing(BARE)
        filters = {
            "no authorization": None,
            "Envoy's api_key_auth": gateway.api_key_auth(),
            "Envoy's basic_auth": gateway.basic_auth(),
            "Envoy's jwt_authn": gateway.jwt_authn(),
        }
    listeners = site.envoy(authorizers, filters)
    make = partial(_behind_envoy, authorizers, listeners)
    made = [
        make(name, name, "key-auth") for name in (*authorizers, "no authorization")
        if name != "authz" and name in listeners
    ]  # fmt: skip
    schemes = ("key-auth",) if wanted.quick else tuple(CACHED)
    made += [make(f"authz {scheme}", "authz", scheme, scheme) for scheme in schemes]
    made += [
        make(f"Envoy's {name}", f"Envoy's {name}", scheme, scheme)
        for name, scheme in ENVOYS_OWN.items()
        if f"Envoy's {name}" in listeners
    ]
    return made


def _behind_envoy(
    authorizers: dict[str, Server],
    listeners: dict[str, Server],
    name: str,
    listener: str,
    scheme: str,
    guards: str = "",
) -> Candidate:
    processes = {"Envoy": listeners[listener].processes}
    if listener in authorizers:
        processes["authorizer"] = authorizers[listener].processes
    return Candidate(
        name=name,
        group="envoy",
        addresses=listeners[listener].addresses,
        processes=processes,
        calls=CACHED[scheme],
        guards=guards,
        in_flight=THROUGH_ENVOY,
        loads=ENVOY_LOADS,
    )
