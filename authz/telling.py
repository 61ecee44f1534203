"""What the upstream is told of its caller, and what it is not to see."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from authz import denials, forms
from authz.callers import Caller
from authz.policies import Route
from authz.schemes import places
from authz.values import Allow, Denied, Edits, Identity, Place, Request, fold, raw

USERNAME = "x-consumer-username"
CREDENTIAL = "x-credential-identifier"
CUSTOM_ID = "x-consumer-custom-id"
GROUPS = "x-consumer-groups"
#: Headers that tell the upstream who is calling: ours to write, in every spelling.
FAMILIES = ("x-consumer-", "x-credential-")
ALWAYS = (USERNAME, CREDENTIAL, CUSTOM_ID, GROUPS)


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
