"""Who is calling: what a route's schemes prove, and of whom."""

from __future__ import annotations

from msgspec import Struct

from authz import denials
from authz.access.address import from_client
from authz.access.attempts import Attempt
from authz.access.guessing import TOO_MANY, Guard, Guesses
from authz.contracts import Lookup, Scheme
from authz.denials import Foreign, not_live
from authz.endpoints import Endpoint
from authz.policies import Route
from authz.values import Answer, Denied, Deny, Identity, Proof, Request

UNAUTHORIZED = 401


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
