"""Why a request passes or does not, step by step, for people. It reveals no secret.

The request is decided as a worker would decide it, against the store as it is, and changes
nothing: a nonce is looked up, not used up.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from authz import reasons
from authz.access import RULES
from authz.admin.discretion import STRING_TO_SIGN, Discretion
from authz.callers import identify
from authz.contracts import Fault, Lookup, Lookups, Scheme
from authz.denials import Foreign
from authz.pipeline import decide
from authz.policies import Route
from authz.routes import RouteTable
from authz.values import Allow, Answer, Denied, Deny, Request

#: Characters of context around the first difference.
CONTEXT = 24


class Step(Struct, frozen=True):
    """One step of the explanation: what was done, how it ended, and what there is to know."""

    title: str
    outcome: str
    notes: tuple[tuple[str, str], ...] = ()


def explain(
    request: Request, routes: RouteTable, lookups: Lookups, client_string: str | None = None
) -> Iterator[Step]:
    """The steps. `client_string` is what the client says that it signed."""
    yield Step("request", f"{request.method} {request.path}", tuple(_sent(request)))
    try:
        route = routes.match(request)
    except Denied as denied:
        yield _refused("route", denied.deny)
        return
    yield Step("route", _route_name(route), tuple(_route_notes(route)))
    store = lookups.within(route.tenant)
    discretion = Discretion(request, route.schemes)
    for scheme in route.schemes:
        yield _discreet(_tried(scheme, request, store), discretion)
        if client_string is not None:
            yield from _compared(scheme, request, client_string, discretion)
    yield _discreet(_decided(request, routes, lookups), discretion)


def _discreet(step: Step, discretion: Discretion) -> Step:
    return Step(step.title, step.outcome, discretion.masked(step.notes))


def _sent(request: Request) -> Iterator[tuple[str, str]]:
    yield "host", request.host or "none"
    yield "headers", ", ".join(request.headers) or "none"
    if request.query:
        names = (piece.partition("=")[0] for piece in request.query.split("&"))
        yield "query parameters", ", ".join(names)
    if request.body is not None:
        yield "body", f"{len(request.body.data)} bytes"


def _route_name(route: Route) -> str:
    return f"{route.service}/{route.id}" if route.id else route.service


def _route_notes(route: Route) -> Iterator[tuple[str, str]]:
    kinds = [scheme.kind for scheme in route.schemes]
    if route.endpoint is not None:
        yield "endpoint", "authz answers by itself"
    if not kinds:
        yield "auth", "none"
    elif len(kinds) == 1:
        yield "auth", kinds[0]
    else:
        yield "auth", f"{route.mode} of {', '.join(kinds)}"
    asked = ["grant"] if route.access.requires_grant else []
    asked += [rule.kind for rule in (*route.access.doors, *route.access.rules)]
    if asked:
        yield "access", ", ".join(asked)
    if route.tenant:
        yield "tenant", route.tenant


# -- one scheme ------------------------------------------------------------------------------------


def _tried(scheme: Scheme, request: Request, store: Lookup) -> Step:
    notes = scheme.notes(request)
    try:
        proof = scheme.authenticate(request, store)
        if proof is None:
            return Step(scheme.kind, "found nothing of its own in the request", notes)
        credential = proof.credential
        notes = (*notes, ("credential", f"{credential.consumer}/{credential.id}"))
        identify(proof, scheme, request.at, store)
        if proof.once is not None and not store.claim(proof.once.nonce, proof.once.seconds):
            return _refused(scheme.kind, proof.once.refusal, notes)
    except Foreign as foreign:
        step = _refused(scheme.kind, foreign.deny, notes)
        return Step(step.title, f"{step.outcome}; beside others, the next may look", step.notes)
    except Denied as denied:
        return _refused(scheme.kind, denied.deny, notes)
    except Fault as fault:
        return _faulted(scheme.kind, fault, notes)
    return Step(scheme.kind, "proven", notes)


def _refused(title: str, deny: Deny, notes: tuple[tuple[str, str], ...] = ()) -> Step:
    return Step(title, f"refused: {deny.reason}", (*notes, *_meaning(deny.reason, deny.scheme)))


def _faulted(title: str, fault: Fault, notes: tuple[tuple[str, str], ...] = ()) -> Step:
    return Step(title, f"fault: {fault.reason}", (*notes, *_meaning(fault.reason, "")))


def _rule(name: str) -> Iterator[tuple[str, str]]:
    """Which rule refused for this reason, and what it means; nothing for all other reasons."""
    reason = next((each for each in reasons.FORBIDDEN if each.name == name), None)
    if reason is not None:
        by = [kind for kind, rule in RULES.items() if name in rule.reasons]
        yield "refused by", ", ".join(by) or "grant"
        yield "meaning", reason.meaning


def _meaning(name: str, scheme: str) -> Iterator[tuple[str, str]]:
    reason = reasons.find(name, scheme)
    if reason is not None:
        yield "meaning", reason.meaning
        if reason.advice:
            yield "what to do", reason.advice


# -- signatures ------------------------------------------------------------------------------------


def _compared(
    scheme: Scheme, request: Request, client: str, discretion: Discretion
) -> Iterator[Step]:
    for what, server in discretion.masked(scheme.notes(request)):
        if what == STRING_TO_SIGN:
            found = difference(server, discretion.mask(client))
            yield Step(f"{scheme.kind}: the two strings to sign", *found)


def difference(server: str, client: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Where two strings to sign part: (in words, both sides around the first byte)."""
    ours, theirs = (text.encode("utf-8", "surrogateescape") for text in (server, client))
    if b"\n" not in theirs and b"#" in theirs:
        # As Alibaba's gateway echoes one.
        ours = ours.replace(b"\n", b"#")
    if ours == theirs:
        return "they are the same, so the secret differs, or the algorithm", ()
    pairs = enumerate(zip(ours, theirs, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
    line = ours[:at].count(b"\n") + 1
    return (
        f"they differ from byte {at} on (line {line})",
        (("server's", _around(ours, at)), ("client's", _around(theirs, at))),
    )


def _around(text: bytes, at: int) -> str:
    before, after = text[max(0, at - CONTEXT) : at], text[at : at + CONTEXT]
    rest = repr(after)[2:-1] if after else "(ends here)"
    return f"{repr(before)[2:-1]}⟦{rest}⟧"


# -- the decision ----------------------------------------------------------------------------------


def _decided(request: Request, routes: RouteTable, lookups: Lookups) -> Step:
    try:
        decision = decide(request, routes, lookups).decision
    except Fault as fault:
        step = _faulted("decision", fault)
        return Step(step.title, f"503, {step.outcome}", step.notes)
    if isinstance(decision, Allow):
        limits = tuple(_limits(request, decision, routes.match(request), lookups))
        told = tuple((name, text) for name, text in decision.set if name not in ("cookie", ":path"))
        removed = ", ".join(name for name in decision.remove if name in request.headers)
        hidden = (("removed", removed),) if removed else ()
        return Step("decision", "allowed", (*told, *hidden, *limits))
    if isinstance(decision, Answer):
        return Step("decision", f"{decision.status}, answered by authz: {decision.reason}")
    notes: list[tuple[str, str]] = [("message", decision.message)] if decision.message else []
    notes += [("challenge", challenge) for challenge in decision.challenges]
    notes += [*decision.headers, *_rule(decision.reason)]
    notes += [("limit", decision.limit)] if decision.limit else []
    return Step("decision", f"{decision.status}, refused: {decision.reason}", tuple(notes))


def _limits(
    request: Request, allow: Allow, route: Route, lookups: Lookups
) -> Iterator[tuple[str, str]]:
    """How each limit would stand after this request."""
    identity, access = allow.identity, route.access
    scheme = next(scheme for scheme in route.schemes if scheme.kind == identity.scheme)
    counted = access.counted(access.call(request, identity, scheme))
    if not counted:
        return
    spent = lookups.within(route.tenant).spend([each.quota for each in counted], ())
    for each, standing in zip(counted, spent.standings, strict=True):
        if standing is not None:
            of = each.limit.burst or each.limit.requests
            whole = f"whole again in {standing.reset / 1000:g} s"
            yield "limit", f"{each.quota.limit}: {standing.remaining} of {of} left, {whole}"
