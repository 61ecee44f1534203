"""The whole path of a request on one screen: route, authenticate, admit.

Synchronous and free of I/O of its own. What prevents a decision (a `Fault`, a bug) is an
exception that leaves `decide`; the edge makes it a fault. It never becomes an allow.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from authz import denials
from authz.contracts import Lookup, Lookups, Scheme
from authz.denials import Foreign
from authz.routes import Route, RouteTable
from authz.schemes import places
from authz.values import (
    Allow,
    Consumer,
    Credential,
    Decision,
    Denied,
    Deny,
    Edits,
    Identity,
    Place,
    Request,
    fold,
)

USERNAME = "x-consumer-username"
CREDENTIAL = "x-credential-identifier"
CUSTOM_ID = "x-consumer-custom-id"
GROUPS = "x-consumer-groups"
#: Headers that tell the upstream who is calling: ours to write, in every spelling.
FAMILIES = ("x-consumer-", "x-credential-")
ALWAYS = (USERNAME, CREDENTIAL, CUSTOM_ID, GROUPS)


class Verdict(Struct, frozen=True):
    """A decision, and the route that it was made for (None: no route matched)."""

    decision: Decision
    route: Route | None


def decide(request: Request, routes: RouteTable, lookups: Lookups) -> Verdict:
    """Say whether one request may pass. Raises a `Fault` rather than guess."""
    route = None
    try:
        refuse_look_alikes(request)
        route = routes.match(request)
        proofs = list(authenticate(request, route, lookups.within(route.tenant)))
        identity = same_caller(proofs, route)
        edits = conceal(request, route, proofs)
    except Denied as denied:
        return Verdict(denied.deny, route)
    return Verdict(admit(request, identity, edits), route)


# -- who -------------------------------------------------------------------------------------------

#: A scheme and whom it proved.
Proof = tuple[Scheme, Identity]


def authenticate(request: Request, route: Route, store: Lookup) -> Iterator[Proof]:
    """Every proof that the route asks for. Raises `Denied`."""
    if not route.schemes:
        raise Denied(denials.NO_SCHEME)
    if route.mode == "any":
        yield any_of(request, route.schemes, store)
        return
    for scheme in route.schemes:
        yield any_of(request, (scheme,), store)


def any_of(request: Request, schemes: tuple[Scheme, ...], store: Lookup) -> Proof:
    """The first scheme that finds a credential decides; a wrong one is not rescued by the next."""
    foreign: Deny | None = None
    for scheme in schemes:
        try:
            credential = scheme.authenticate(request, store)
            if credential is not None:
                return scheme, identify(credential, scheme, request.at, store)
        except Foreign as other:
            foreign = foreign or other.deny
            if scheme.tolerant and scheme.anonymous_consumer:
                return scheme, anonymous(scheme, request.at, store)
        except Denied as denied:
            if scheme.tolerant and scheme.anonymous_consumer:
                return scheme, anonymous(scheme, request.at, store)
            raise Denied(_offer_all(denied.deny, schemes)) from None
    if foreign is None:
        for scheme in schemes:
            if scheme.anonymous_consumer:
                return scheme, anonymous(scheme, request.at, store)
    raise Denied(_offer_all(foreign or schemes[0].missing(), schemes))


def _offer_all(deny: Deny, schemes: tuple[Scheme, ...]) -> Deny:
    """Beside its own, an answer carries the challenge of every scheme that would do."""
    if len(schemes) == 1:
        return deny
    offers = dict.fromkeys(deny.challenges)
    for scheme in schemes:
        offers.update(dict.fromkeys(scheme.missing().challenges))
    return deny.offering(tuple(offers))


def identify(credential: Credential, scheme: Scheme, at: float, store: Lookup) -> Identity:
    """The consumer behind a proven credential, both of them live. Raises `Denied`."""
    consumer = store.consumer(credential.consumer)
    reason = not_live(credential, consumer, at)
    if reason is not None or consumer is None:
        raise Denied(scheme.invalid().because(reason or denials.CONSUMER_MISSING))
    return Identity(consumer, credential, scheme.kind)


def not_live(credential: Credential | None, consumer: Consumer | None, at: float) -> str | None:
    """Why a credential or its consumer does not hold at this instant, or None."""
    if consumer is None:
        return denials.CONSUMER_MISSING
    reason = _lapsed(credential, denials.CREDENTIAL, at) if credential is not None else None
    return reason or _lapsed(consumer, denials.CONSUMER, at)


def _lapsed(thing: Credential | Consumer, reasons: denials.Lapses, at: float) -> str | None:
    if thing.disabled:
        return reasons.disabled
    if thing.expires_at and at >= thing.expires_at:
        return reasons.expired
    if at < thing.not_before:
        return reasons.not_yet_valid
    return None


def anonymous(scheme: Scheme, at: float, store: Lookup) -> Identity:
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
    return Identity(consumer, None, scheme.kind)


def same_caller(proofs: list[Proof], route: Route) -> Identity:
    """The caller. Of several proofs the last names it, and unless the route says otherwise they
    are all one consumer's. Raises `Denied`."""
    scheme, identity = proofs[-1]
    names = {proof.consumer.username for _, proof in proofs}
    if route.same_consumer and len(names) > 1:
        raise Denied(scheme.invalid().because(denials.DIFFERENT_CONSUMERS))
    return identity


# -- what the upstream is told ---------------------------------------------------------------------


def refuse_look_alikes(request: Request) -> None:
    """Refuse names that a CGI-like backend folds onto ours. Raises `Denied`."""
    for name in request.headers:
        if not ("consumer" in name or "credential" in name) or name.startswith(FAMILIES):
            continue
        if fold(name).startswith(FAMILIES):
            raise Denied(denials.SPOOFED)


def admit(request: Request, identity: Identity, edits: Edits) -> Allow:
    """Tell the upstream who is calling, and nothing else of the kind."""
    told = dict(identity_headers(identity))
    if edits.target is not None:
        told[":path"] = edits.target
    if edits.cookie is not None:
        told["cookie"] = edits.cookie
    remove = dict.fromkeys(edits.remove)
    remove.update(dict.fromkeys(ALWAYS))
    remove.update((name, None) for name in request.headers if name.startswith(FAMILIES))
    # Envoy removes after it sets: a name on both lists would be gone.
    return Allow(identity, tuple(told.items()), tuple(n for n in remove if n not in told))


def conceal(request: Request, route: Route, proofs: list[Proof]) -> Edits:
    """What hides every credential that was to be hidden, also those that nobody needed to look at.

    Raises `Denied` where that cannot be done: beside a hidden cookie stands one that no header of
    ours may repeat.
    """
    # By identity: a route may have two schemes of one kind, and only one of them was read.
    proven = {id(scheme): identity.credential is not None for scheme, identity in proofs}
    spots: list[Place] = []
    for scheme in route.schemes:
        # APISIX hides what was used, and leaves the rest.
        if id(scheme) in proven or not scheme.tolerant:
            spots.extend(scheme.hidden(request, proven=proven.get(id(scheme), False)))
    edits = places.erase(request, tuple(spots)) if spots else Edits()
    if edits.cookie is not None and not (edits.cookie.isascii() and edits.cookie.isprintable()):
        raise Denied(denials.MALFORMED)
    return edits


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
    return "".join(f"%{byte:02X}" for byte in character.encode())
