"""Runs examples against documents, offline: the pipeline as a worker runs it, over what the
documents say, with no store and no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import UNSET, Struct
from msgspec.structs import replace

from authz.admin import described
from authz.admin.attaching import People
from authz.admin.credentials import Refused
from authz.admin.discretion import Discretion
from authz.admin.examples import Asked, Example, Examples, Expected
from authz.admin.explain import Step, explain
from authz.admin.offline import Offline
from authz.admin.outcomes import Difference, Outcome, differences, outcome
from authz.documents import load
from authz.plain import DocumentError
from authz.policies import Route, known_routes, require_known
from authz.routes import RouteTable
from authz.secrets import KeyRing
from authz.values import Body, Denied, Headers, Request, raw


class Tried(Struct, frozen=True):
    """One example, and what came of it: nothing in `found` is as it must be. `steps` explain the
    decision that differs."""

    name: str
    outcome: Outcome
    found: tuple[Difference, ...] = ()
    steps: tuple[Step, ...] = ()


class Gateway(Struct, frozen=True):
    """Documents, ready to decide."""

    routes: RouteTable
    store: Offline
    people: People


def gateway(documents: Sequence[Path], ring: KeyRing | None = None) -> Gateway:
    """Documents read as an apply reads them. Raises `DocumentError`."""
    files = load(documents)
    try:
        routes = RouteTable(files.policy)
    except DocumentError as error:
        raise DocumentError(files.located(str(error))) from None
    known, placed = known_routes(files.policy), list(files.entries())
    for each in placed:
        require_known(each.at, each.entry.grants, known, each.entry.tenant)
    entries = {(each.entry.tenant, each.entry.username): each.entry for each in placed}
    return Gateway(routes, Offline(ring).load(placed), People(entries))


def run(file: Examples, made: Gateway, now: float, pattern: str = "") -> Iterator[Tried]:
    """Each example whose name has the pattern in it, whatever the case. Raises `DocumentError` for
    one that cannot be sent."""
    for number, example in enumerate(file.examples):
        if pattern.lower() not in example.name.lower():
            continue
        instant = example.at or file.at
        at = instant.timestamp() if instant is not None else now
        try:
            yield _tried(example, made, at)
        except Refused as error:
            raise DocumentError(f"examples[{number}] ({example.name}): {error}") from None


def _tried(example: Example, made: Gateway, at: float) -> Tried:
    store = made.store.apart()
    store.at = at
    request = _request(example.request, at)
    route = _route(request, made.routes)
    for caller in example.callers if isinstance(example.callers, list) else ():
        assert not isinstance(caller, str)
        request = made.people.signed(request, caller, route)
    tried = _compared(example.name, example.expect, request, made.routes, store)
    if example.again is UNSET or tried.found:
        return tried
    return _compared(f"{example.name}, again", example.again, request, made.routes, store)


def _compared(
    name: str, expected: str | Expected, request: Request, routes: RouteTable, store: Offline
) -> Tried:
    assert isinstance(expected, Expected)
    before = store.apart(spends=False)
    came = outcome(request, routes, store)
    found = tuple(differences(expected, came))
    if not found:
        return Tried(name, came)
    route = _route(request, routes)
    discretion = Discretion(request, route.schemes if route is not None else ())
    masked = tuple(_masked(difference, discretion) for difference in found)
    return Tried(name, came, masked, tuple(explain(request, routes, before)))


def _masked(difference: Difference, discretion: Discretion) -> Difference:
    """Without the credentials that the request holds: the upstream may see them."""
    actual = difference.actual
    return replace(difference, actual=None if actual is None else discretion.mask(actual))


def _route(request: Request, routes: RouteTable) -> Route | None:
    try:
        return routes.match(request)
    except Denied:
        return None


# -- requests --------------------------------------------------------------------------------------


def _request(written: str | Asked, at: float) -> Request:
    """Raises `Refused` for a line that is not understood."""
    if isinstance(written, Asked):
        return _asked(written, at)
    if written.startswith("curl "):
        return described.curl(written, at).request
    method, space, url = written.strip().partition(" ")
    if not space:
        method, url = "GET", method
    if not method.isupper() or " " in url:
        raise Refused(f"request: expected METHOD URL, a URL or a curl line, not {written!r}")
    return _asked(Asked(url=url, method=method), at)


def _asked(asked: Asked, at: float) -> Request:
    host, target = "", asked.url
    if not target.startswith("/"):
        host, target = _split(asked.url)
    path, _, query = target.partition("#")[0].partition("?")
    lines = [
        (name, value)
        for name, values in asked.headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    own_host = [value for name, value in lines if name.lower() == "host"]
    body = asked.body
    return Request(
        method=asked.method,
        path=path or "/",
        query=query,
        headers=Headers((n, v) for n, v in lines if n.lower() != "host"),
        host=own_host[0] if own_host else host,
        context=asked.context,
        body=Body(raw(body), complete=True, exact=True) if body is not None else None,
        address=asked.address,
        at=at,
    )


def _split(url: str) -> tuple[str, str]:
    """Host and target of a URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Refused(f"request: this URL is not understood: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused(f"request: expected a URL such as https://api.example.com/ip, not {url!r}")
    rest = url.partition("://")[2]
    return parts.netloc.rpartition("@")[2], rest[len(parts.netloc) :]
