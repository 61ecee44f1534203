"""Which headers the upstream may be told things in."""

from __future__ import annotations

from collections.abc import Iterable

from authz.contracts import Scheme
from authz.values import fold

#: Headers that routing, framing or other proxies rely on.
_RESERVED = frozenset(
    (
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "cookie", "forwarded"),
        *("authorization", "x-request-id", "x-real-ip", "via", "date"),
        # What some frameworks take for the request's own URL and method.
        *("x-original-url", "x-rewrite-url"),
        *("x-http-method", "x-http-method-override", "x-method-override"),
    )
)
_RESERVED_FAMILIES = (
    *("x-credential-", "x-forwarded-", "x-envoy-", "proxy-"),
    # Where signatures stand.
    *("x-ca-", "x-hmac-"),
)
#: Ours, of which a consumer's own headers may be some.
OWN = "x-consumer-"
#: Of these, what says who calls.
IDENTITY = ("x-consumer-username", "x-consumer-custom-id", "x-consumer-groups")


def check_header_names(names: list[str], *, of: str = "claim", own: bool = False) -> None:
    """Raises ValueError for headers that no such thing may set, and for one that is named twice.
    `own`: whether it may be one of `X-Consumer-*` that does not say who calls."""
    for name in names:
        folded = fold(name)
        ours = folded.startswith(OWN) and (not own or folded in IDENTITY)
        if folded in _RESERVED or folded.startswith(_RESERVED_FAMILIES) or ours:
            raise ValueError(f"no {of} may set the header {name}")
    if len({fold(name) for name in names}) < len(names):
        raise ValueError("one header is named twice")


def clash(names: Iterable[str], schemes: Iterable[Scheme]) -> str | None:
    """Why one of these headers is not free to be told on a route with such schemes, or None."""
    folded = {fold(name): name for name in names}
    for scheme in schemes:
        for name in scheme.tells:
            if fold(name) in folded:
                return f"{name} is what {scheme.kind} tells the upstream there"
        place = getattr(scheme, "place", None)
        if place is not None and place.header is not None and fold(place.header) in folded:
            return f"{place.header} is where {scheme.kind} reads a credential there"
    return None
