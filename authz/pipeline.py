"""The whole path of a request on one screen: route, authenticate, admit.

Synchronous and free of I/O of its own. What prevents a decision (a `Fault`, a bug) is an
exception that leaves `decide`; the edge makes it a fault. It never becomes an allow.
"""

from __future__ import annotations

from math import inf
from typing import Any

from msgspec import Struct

from authz.access import spending
from authz.access.address import from_client
from authz.access.guessing import Guesses
from authz.access.rule import Call
from authz.access.spending import Lines
from authz.callers import Caller, answered, authenticate, guarding, require_one_caller
from authz.contracts import Lookup, Lookups
from authz.policies import Route
from authz.routes import RouteTable
from authz.telling import admit, conceal, refuse_look_alikes, refuse_told_look_alikes
from authz.values import Allow, Consumer, Credential, Decision, Denied, Edits, Identity, Request


class Verdict(Struct, gc=False):
    """A decision, and the route that it was made for (None: no route matched). One that `lasts` is
    given again, the very object, for as long as route, consumer and credential are the same; what
    its reader makes of it, to be made once, is `made`. An allow that tells its client something
    (`respond`) is but for that another one (`under`), which may last."""

    decision: Decision
    route: Route | None
    lasts: bool = False
    made: Any = None
    respond: Lines = ()
    under: Verdict | None = None

    def telling(self, lines: Lines) -> Verdict:
        """The same allow, with these headers for the client."""
        if not lines:
            return self
        return Verdict(self.decision, self.route, respond=lines, under=self)


def decide(
    request: Request, routes: RouteTable, lookups: Lookups, guesses: Guesses | None = None
) -> Verdict:
    """Say whether one request may pass. Raises a `Fault` rather than guess. Without `guesses`
    nothing is known of what failed before, and nothing is counted."""
    route = None
    try:
        if request.headers.may_name_callers:
            refuse_look_alikes(request)
        route = routes.match(request)
        if route.access.doors:
            route.access.require_address(request, route.schemes[0] if route.schemes else None)
        store = lookups.within(route.tenant)
        evidence = route.evidence(request)
        # Who has to wait is not told by an allow of before that a guess was right.
        suspect = guesses is not None and guesses.suspects and _is_suspect(request, route, guesses)
        if evidence is not None and not suspect:
            known = passed_before(evidence, request, route, store)
            if known is not None:
                return known
        guard = guarding(request, route, guesses)
        if route.endpoint is not None and not route.schemes:
            return Verdict(answered(route.endpoint, request, store, guard), route)
        refuse_told_look_alikes(request, route)
        callers = authenticate(request, route, store, guard)
        require_one_caller(callers, route)
        call = require_access(request, route, callers[-1])
        edits = conceal(request, route, callers)
        lines = spend(call, route, callers, store)
        if route.endpoint is not None:
            return Verdict(answered(route.endpoint, request, store, guard), route)
    except Denied as denied:
        return Verdict(denied.deny, route)
    verdict = passing(request, route, callers, edits, store)
    if evidence is not None and verdict.lasts:
        remember_pass(evidence, request, verdict, callers[0], store)
    return verdict.telling(lines)


def _is_suspect(request: Request, route: Route, guesses: Guesses) -> bool:
    return guesses.suspect(from_client(request, route.access.trusted))


# -- once more -------------------------------------------------------------------------------------

#: For how many seconds, at the most, an allow is given again without a closer look.
MEMORY = 10.0


class Passed(Struct, frozen=True, gc=False):
    """An allow, and from when until when the same evidence gives it again (Unix seconds), as long
    as its records hold."""

    verdict: Verdict
    records: tuple[Credential, Consumer]
    since: float
    until: float
    #: Whether nothing is asked of the caller that another request of its could fail.
    free: bool

    def __repr__(self) -> str:
        return "Passed()"


def passed_before(evidence: str, request: Request, route: Route, store: Lookup) -> Verdict | None:
    """The allow that this evidence was given before, if nothing that it rests on has changed.
    Raises `Denied` where the caller may not make this very call."""
    known = store.recall(evidence)
    if not isinstance(known, Passed) or not known.since <= request.at < known.until:
        return None
    verdict = known.verdict
    if verdict.route is not route or request.headers.may_name_callers:
        return None
    if not store.holds(*known.records):
        return None
    return verdict if known.free else admitted_again(verdict, request, route, store)


def admitted_again(verdict: Verdict, request: Request, route: Route, store: Lookup) -> Verdict:
    """An allow that was given before, if the caller still may. Raises `Denied`."""
    decision, scheme, access = verdict.decision, route.alone, route.access
    assert isinstance(decision, Allow)
    assert scheme is not None
    call = access.call(request, decision.identity, scheme)
    access.require(call)
    return verdict.telling(spending.spend(access.counted(call), (), call, store))


def remember_pass(
    evidence: str, request: Request, verdict: Verdict, caller: Caller, store: Lookup
) -> None:
    """Of an allow that lasts. What holds now is undone by nothing but a change of its records, or
    the end of one of these times."""
    proof, consumer = caller.proof, caller.identity.consumer
    if proof is None or proof.once is not None:
        return
    credential = proof.credential
    ends = (proof.until, credential.expires_at or inf, consumer.expires_at or inf)
    until = min(request.at + MEMORY, *ends)
    free = not asks(verdict.route, consumer)
    store.remember(evidence, Passed(verdict, (credential, consumer), request.at, until, free))


# -- what is asked of callers, and used up ---------------------------------------------------------


def asks(route: Route | None, consumer: Consumer) -> bool:
    """Whether anything at all is asked of such a caller."""
    return route is None or route.access.asks or consumer.access is not None


def require_access(request: Request, route: Route, caller: Caller) -> Call | None:
    """The caller meets what this route, and its own record, ask of it. Gives the call, for its
    limits; None where nothing is asked. Raises `Denied`."""
    if not asks(route, caller.identity.consumer):
        return None
    call = route.access.call(request, caller.identity, caller.scheme)
    route.access.require(call)
    return call


def spend(call: Call | None, route: Route, callers: list[Caller], store: Lookup) -> Lines:
    """Use up what may be used once, take from the limits, and note what was used; what to tell the
    client of the limits. Last, so that nothing else can fail afterwards and a stranger cannot burn
    somebody's nonce, and both at once: a replay takes from no limit, and what a limit refuses may
    be sent again. Raises `Denied`."""
    proofs = [caller.proof for caller in callers if caller.proof is not None]
    onces = [proof.once for proof in proofs if proof.once is not None]
    counted = route.access.counted(call) if call is not None else ()
    lines: Lines = ()
    if call is not None and counted:
        lines = spending.spend(counted, onces, call, store)
    else:
        for once in onces:
            if not store.claim(once.nonce, once.seconds):
                raise Denied(once.refusal)
    used = store.used
    if used is not None:
        for proof in proofs:
            used[id(proof.credential)] = proof.credential
    return lines


# -- one allow for many requests -------------------------------------------------------------------

#: Passes that are kept beside a record; then all are forgotten: there is one for each route and
#: for each way in which a client spells what is hidden.
MAX_PASSES = 64


def passing(
    request: Request, route: Route, callers: list[Caller], edits: Edits, store: Lookup
) -> Verdict:
    """The allow. Most requests of a caller differ in nothing that the upstream is told of, so that
    one is made once."""
    identity = callers[-1].identity
    plain = _is_plain(request, edits, callers)
    beside = store.beside(identity.credential or identity.consumer) if plain else None
    if beside is None:
        return Verdict(admit(request, route, identity, edits, callers), route)
    name = route.service, route.id, identity.scheme, edits.remove
    known: Verdict | None = beside.get(name)
    if known is not None and known.route is route and _is_of(known.decision, identity):
        return known
    made = Verdict(admit(request, route, identity, edits, callers), route, lasts=True)
    if len(beside) >= MAX_PASSES:
        beside.clear()
    beside[name] = made
    return made


def _is_of(decision: Decision, identity: Identity) -> bool:
    """Of these very records."""
    known = decision.identity if isinstance(decision, Allow) else None
    if known is None:
        return False
    return known.consumer is identity.consumer and known.credential is identity.credential


def _is_plain(request: Request, edits: Edits, callers: list[Caller]) -> bool:
    if len(callers) != 1 or edits.target is not None or edits.cookie is not None:
        return False
    if request.headers.may_name_callers:
        return False
    proof = callers[0].proof
    if proof is None:
        return True
    return not (proof.headers or proof.query or proof.claims is not None)
