"""The whole path of a request on one screen: route, authenticate, admit.

Synchronous and free of I/O of its own. What prevents a decision (a `Fault`, a bug) is an
exception that leaves `decide`; the edge makes it a fault. It never becomes an allow.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from authz import denials, forms
from authz.access import spending
from authz.access.address import from_client
from authz.access.attempts import Attempt
from authz.access.guessing import TOO_MANY, Guard, Guesses
from authz.access.spending import Lines
from authz.contracts import Lookup, Lookups, Scheme
from authz.denials import Foreign, not_live
from authz.endpoints import Endpoint
from authz.routes import Route, RouteTable
from authz.schemes import places
from authz.values import (
    Allow,
    Answer,
    Consumer,
    Credential,
    Decision,
    Denied,
    Deny,
    Edits,
    Identity,
    Once,
    Place,
    Proof,
    Request,
    fold,
    raw,
)

USERNAME = "x-consumer-username"
CREDENTIAL = "x-credential-identifier"
CUSTOM_ID = "x-consumer-custom-id"
GROUPS = "x-consumer-groups"
UNAUTHORIZED = 401
#: Headers that tell the upstream who is calling: ours to write, in every spelling.
FAMILIES = ("x-consumer-", "x-credential-")
ALWAYS = (USERNAME, CREDENTIAL, CUSTOM_ID, GROUPS)


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
        require_access(request, route, callers[-1].identity, callers[-1].scheme)
        edits = conceal(request, route, callers)
        lines = spend(request, route, callers, store)
        if route.endpoint is not None:
            return Verdict(answered(route.endpoint, request, store, guard), route)
    except Denied as denied:
        return Verdict(denied.deny, route)
    verdict = passing(request, route, callers, edits, store)
    if evidence is not None and verdict.lasts:
        remember_pass(evidence, request, verdict, callers[0], store)
    return verdict.telling(lines)


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


# -- who -------------------------------------------------------------------------------------------


class Caller(Struct, frozen=True, gc=False):
    """A scheme and whom it identified; `proof` is None for the anonymous consumer."""

    scheme: Scheme
    identity: Identity
    proof: Proof | None


def authenticate(
    request: Request, route: Route, store: Lookup, guard: Guard | None = None
) -> list[Caller]:
    """Every caller that the route asks for. Raises `Denied`."""
    if not route.schemes:
        raise Denied(route.access.nobody)
    if route.mode == "any":
        return [any_of(request, route.schemes, store, guard)]
    if route.mode == "multi-auth":
        return [first_of(request, route.schemes, store, guard)]
    return [any_of(request, (scheme,), store, guard) for scheme in route.schemes]


def any_of(
    request: Request, schemes: tuple[Scheme, ...], store: Lookup, guard: Guard | None = None
) -> Caller:
    """The first scheme that finds a credential decides; a wrong one is not rescued by the next."""
    foreign: Deny | None = None
    for scheme in schemes:
        try:
            caller = proven(request, scheme, store, guard)
            if caller is not None:
                return caller
        except Foreign as other:
            foreign = foreign or other.deny
            if scheme.tolerant and scheme.anonymous_consumer:
                return anonymous(scheme, request.at, store)
        except Denied as denied:
            if scheme.tolerant and scheme.anonymous_consumer and denied.deny.status == UNAUTHORIZED:
                return anonymous(scheme, request.at, store)
            raise Denied(_offer_all(denied.deny, schemes)) from None
    if foreign is None:
        for scheme in schemes:
            if scheme.anonymous_consumer:
                return anonymous(scheme, request.at, store)
    raise Denied(_offer_all(foreign or schemes[0].missing(), schemes))


def first_of(
    request: Request, schemes: tuple[Scheme, ...], store: Lookup, guard: Guard | None = None
) -> Caller:
    """APISIX's multi-auth: the first scheme that succeeds decides, whatever the ones before it say.
    Where none does, the challenge is that of the last one that has any. Raises `Denied`."""
    challenges: tuple[str, ...] = ()
    waits: Denied | None = None
    for scheme in schemes:
        try:
            return any_of(request, (scheme,), store, guard)
        except Denied as denied:
            challenges = denied.deny.challenges or challenges
            waits = denied if denied.deny.reason == TOO_MANY else waits
    raise waits or Denied(denials.NONE_PROVEN.offering(challenges))


def guarding(request: Request, route: Route, guesses: Guesses | None) -> Guard | None:
    """What counts the attempts of this request that fail, if anything does."""
    if guesses is None:
        return None
    sender = from_client(request, route.access.trusted)
    return guesses.guard(sender, route.tenant, route.access.guessing)


def _is_suspect(request: Request, route: Route, guesses: Guesses) -> bool:
    return guesses.suspect(from_client(request, route.access.trusted))


def proven(request: Request, scheme: Scheme, store: Lookup, guard: Guard | None) -> Caller | None:
    """Whom a scheme proves, if it finds a credential. Raises `Denied`. What fails is counted."""
    if guard is None:
        proof = scheme.authenticate(request, store)
        return identify(proof, scheme, request.at, store) if proof is not None else None
    attempt = Attempt(guard, store)
    try:
        proof = scheme.authenticate(request, attempt)
        caller = identify(proof, scheme, request.at, store) if proof is not None else None
    except Denied as denied:
        attempt.refused(denied.deny, scheme.evidence(request))
        raise
    if caller is not None:
        attempt.proved()
    return caller


def answered(endpoint: Endpoint, request: Request, store: Lookup, guard: Guard | None) -> Answer:
    """What an endpoint answers. Raises `Denied` for whoever asks for too much that is not there."""
    if guard is None:
        return endpoint.answer(request, store)
    attempt = Attempt(guard, store)
    answer = endpoint.answer(request, attempt)
    if answer.reason in endpoint.guesses:
        attempt.wrong()
    else:
        attempt.proved()
    return answer


def _offer_all(deny: Deny, schemes: tuple[Scheme, ...]) -> Deny:
    """Beside its own, an answer carries the challenge of every scheme that would do."""
    if len(schemes) == 1 or deny.status != UNAUTHORIZED:
        return deny
    offers = dict.fromkeys(deny.challenges)
    for scheme in schemes:
        offers.update(dict.fromkeys(scheme.missing().challenges))
    return deny.offering(tuple(offers))


def identify(proof: Proof, scheme: Scheme, at: float, store: Lookup) -> Caller:
    """The consumer behind a proven credential, both of them live. Raises `Denied`."""
    credential = proof.credential
    consumer = store.consumer(credential.consumer)
    reason = not_live(credential, consumer, at)
    if reason is not None or consumer is None:
        raise Denied(scheme.invalid().because(reason or denials.CONSUMER_MISSING))
    return Caller(scheme, Identity(consumer, credential, scheme.kind), proof)


def anonymous(scheme: Scheme, at: float, store: Lookup) -> Caller:
    """The consumer that stands for those who prove nothing. Raises `Denied` if it is not live."""
    assert scheme.anonymous_consumer is not None
    consumer = store.consumer(scheme.anonymous_consumer)
    reason = not_live(None, consumer, at)
    if reason is not None or consumer is None:
        if consumer is None:
            reason = denials.ANONYMOUS_MISSING
        challenges = scheme.missing().challenges
        message = denials.NO_ANONYMOUS
        raise Denied(Deny(reason or "", 401, message, challenges, scheme.kind))
    return Caller(scheme, Identity(consumer, None, scheme.kind), None)


def require_one_caller(callers: list[Caller], route: Route) -> None:
    """Of several proofs the last names the caller, and unless the route says otherwise they are all
    one consumer's. Raises `Denied`."""
    if len(callers) == 1:
        return
    names = {caller.identity.consumer.username for caller in callers}
    if route.same_consumer and len(names) > 1:
        raise Denied(callers[-1].scheme.invalid().because(denials.DIFFERENT_CONSUMERS))


def require_access(request: Request, route: Route, identity: Identity, scheme: Scheme) -> None:
    """The caller meets what this route, and its own record, ask of it. Raises `Denied`."""
    if asks(route, identity.consumer):
        route.access.require(route.access.call(request, identity, scheme))


def asks(route: Route | None, consumer: Consumer) -> bool:
    """Whether anything at all is asked of such a caller."""
    return route is None or route.access.asks or consumer.access is not None


def spend(request: Request, route: Route, callers: list[Caller], store: Lookup) -> Lines:
    """Use up what may be used once, take from the limits, and note what was used; what to tell the
    client of the limits. Last, so that nothing else can fail afterwards and a stranger cannot burn
    somebody's nonce, and both at once: a replay takes from no limit, and what a limit refuses may
    be sent again. Raises `Denied`."""
    proofs = [caller.proof for caller in callers if caller.proof is not None]
    onces = [proof.once for proof in proofs if proof.once is not None]
    lines = spend_limits(request, route, callers[-1], onces, store)
    if lines is None:
        lines = ()
        for once in onces:
            if not store.claim(once.nonce, once.seconds):
                raise Denied(once.refusal)
    used = store.used
    if used is not None:
        for proof in proofs:
            used[id(proof.credential)] = proof.credential
    return lines


def spend_limits(
    request: Request, route: Route, caller: Caller, onces: list[Once], store: Lookup
) -> Lines | None:
    """The same, where there are limits; None where there are none. Raises `Denied`."""
    if not asks(route, caller.identity.consumer):
        return None
    call = route.access.call(request, caller.identity, caller.scheme)
    counted = route.access.counted(call)
    return spending.spend(counted, onces, call, store) if counted else None


# -- what the upstream is told ---------------------------------------------------------------------


def refuse_look_alikes(request: Request) -> None:
    """Refuse names that a CGI-like backend folds onto ours. Raises `Denied`."""
    for name in request.headers:
        if not ("consumer" in name or "credential" in name) or name.startswith(FAMILIES):
            continue
        if fold(name).startswith(FAMILIES):
            raise Denied(denials.SPOOFED)


def refuse_told_look_alikes(request: Request, route: Route) -> None:
    """The same for the headers that this route's schemes tell the upstream. Raises `Denied`."""
    told = route.tells
    if not told:
        return
    folded = {fold(name) for name in told}
    for name in request.headers:
        if name not in told and fold(name) in folded:
            raise Denied(denials.SPOOFED)


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


def admit(
    request: Request, route: Route, identity: Identity, edits: Edits, callers: list[Caller]
) -> Allow:
    """Tell the upstream who is calling, and nothing else of the kind."""
    told = dict(identity_headers(identity))
    claims = None
    if route.access.labels is not None:
        for name, text in route.access.labels.told(identity.consumer):
            told.setdefault(name, printable(text))
    for caller in callers:
        if caller.proof is not None:
            told.update((name, printable(text)) for name, text in caller.proof.headers if text)
            claims = caller.proof.claims if caller.proof.claims is not None else claims
    target = with_parameters(edits.target, request, callers)
    if target is not None:
        told[":path"] = target
    if edits.cookie is not None:
        told["cookie"] = edits.cookie
    remove = dict.fromkeys(edits.remove)
    remove.update(dict.fromkeys(ALWAYS))
    remove.update((name, None) for name in request.headers if name.startswith(FAMILIES))
    remove.update(dict.fromkeys(route.tells))
    # Envoy removes after it sets: a name on both lists would be gone.
    return Allow(identity, tuple(told.items()), tuple(n for n in remove if n not in told), claims)


def with_parameters(target: str | None, request: Request, callers: list[Caller]) -> str | None:
    """The target with the query parameters that were proven; None if it stays as it was."""
    added = [pair for c in callers if c.proof is not None for pair in c.proof.query]
    if not added:
        return target
    base = target if target is not None else places.escaped(request.target)
    return f"{base}{'&' if '?' in base else '?'}{urlencode(added, quote_via=quote)}"


NO_EDITS = Edits()


def conceal(request: Request, route: Route, callers: list[Caller]) -> Edits:
    """What hides every credential that was to be hidden, also those that nobody needed to look at,
    and every query parameter that is the schemes' to tell.

    Raises `Denied` where that cannot be done: beside a hidden cookie stands one that no header of
    ours may repeat, or a lax reader might still find such a parameter.
    """
    told = route.tells_query
    spots = _hidden(request, route, callers)
    if told:
        spots = (*(Place(query=name) for name in told), *spots)
    if not spots:
        return NO_EDITS
    edits = places.erase(request, spots)
    if edits.cookie is not None and not (edits.cookie.isascii() and edits.cookie.isprintable()):
        raise Denied(denials.MALFORMED)
    if told:
        _refuse_told_parameters(edits.target or request.target, {fold(name) for name in told})
    return edits


def _hidden(request: Request, route: Route, callers: list[Caller]) -> tuple[Place, ...]:
    if len(route.schemes) == 1:
        return route.schemes[0].hidden(request, proven=callers[0].proof is not None)
    # By identity: a route may have two schemes of one kind, and only one of them was read.
    proven = {id(caller.scheme): caller.proof is not None for caller in callers}
    spots: list[Place] = []
    for scheme in route.schemes:
        known = proven.get(id(scheme))
        # APISIX hides what was used, and leaves the rest.
        if known is not None or not scheme.tolerant:
            spots.extend(scheme.hidden(request, proven=bool(known)))
    return tuple(spots)


def _refuse_told_parameters(target: str, folded: set[str]) -> None:
    """Refuse what is left of a query where `role[]=` or `;role=` may pass for `role=`."""
    names = forms.lax_names(target.partition("?")[2])
    if any(fold(name) in folded for name in names):
        raise Denied(denials.SPOOFED)


def identity_headers(identity: Identity) -> Iterator[tuple[str, str]]:
    """Headers for the upstream. The anonymous consumer has no custom id (as in APISIX)."""
    consumer, credential = identity.consumer, identity.credential
    yield USERNAME, printable(consumer.username)
    if credential is not None:
        if credential.named:
            yield CREDENTIAL, printable(credential.id)
        if custom_id := consumer.labels.get("custom_id"):
            yield CUSTOM_ID, printable(custom_id)
    if consumer.groups:
        yield GROUPS, ",".join(printable(group) for group in consumer.groups)
    for name, value in consumer.headers.items():
        if value:  # an empty one is removed instead: Envoy may let the client's own stand
            yield name.lower(), value


def printable(text: str) -> str:
    """Text as a header value: printable ASCII as it is, all else percent-encoded UTF-8. So is the
    percent sign, and white space at the ends, so that no two texts look alike upstream."""
    if text.isascii() and text.isprintable() and "%" not in text and text == text.strip():
        return text
    core = text.strip(" ")
    start = text.index(core)
    before, after = "%20" * start, "%20" * (len(text) - start - len(core))
    return before + "".join(_escape(character) for character in core) + after


def _escape(character: str) -> str:
    if " " <= character <= "~" and character != "%":
        return character
    return "".join(f"%{byte:02X}" for byte in raw(character))
