"""What authz answers by itself on a route that exposes it: the request goes no further.

`jwt-sign` is the endpoint of API7's manual and of APISIX up to 3.10. It asks for a credential's key
alone, which every token shows, and gives a token: so a route exposes it on purpose, and an `auth`
of its own should guard it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from authz import forms, strict_json
from authz.contracts import Lookup
from authz.denials import not_live
from authz.jose.tokens import MAX_TOKEN
from authz.schemes.jwt_auth import JwtAuth
from authz.schemes.jwt_draft import MAX_KEY
from authz.schemes.jwt_key import JwtKey
from authz.signing.tokens import token
from authz.values import Answer, Credential, Request, raw


class Endpoint(Protocol):
    """An answer of our own. `paths` are where its clients look for it, `reasons` all it gives, and
    `guesses` those of them that tell who asks that a guess was wrong."""

    paths: ClassVar[tuple[str, ...]]
    reasons: ClassVar[tuple[str, ...]]
    guesses: ClassVar[tuple[str, ...]]

    def answer(self, request: Request, store: Lookup) -> Answer:
        """Raises a `Fault` when the store cannot say."""
        ...


SIGNED = "token_signed"
NOT_GET = Answer("sign_not_a_get", 404)
NO_KEY = Answer("sign_key_missing", 400)
UNKNOWN = Answer("sign_key_unknown", 404)
MALFORMED = Answer("sign_payload_malformed", 400)


class JwtSign:
    """`GET ?key=K[&payload=JSON]`: a token of the jwt-auth credential K as plain text, with the
    claims of `payload`, but for `key` and `exp`, which are always the credential's own."""

    paths: ClassVar[tuple[str, ...]] = ("/apisix/plugin/jwt/sign", "/api7/plugin/jwt/sign")
    reasons: ClassVar[tuple[str, ...]] = (
        SIGNED,
        *(each.reason for each in (NOT_GET, NO_KEY, UNKNOWN, MALFORMED)),
    )
    guesses: ClassVar[tuple[str, ...]] = (UNKNOWN.reason,)

    def answer(self, request: Request, store: Lookup) -> Answer:
        if request.method != "GET":
            return NOT_GET
        given = _parameters(request.query)
        if not given.get("key"):
            return NO_KEY
        key, claims = given["key"], _claims(given.get("payload"))
        if claims is None:
            return MALFORMED
        credential = store.find(JwtAuth.kind, key) if len(key) <= MAX_KEY else None
        if credential is None or not _holds(credential, request.at, store):
            return UNKNOWN
        return _signed(credential.form, {**claims, "key": key}, request.at)


def _parameters(query: str) -> dict[str, str]:
    """None of them where one is malformed, or there twice: which was meant?"""
    try:
        pairs = forms.pairs(query)
    except (forms.Malformed, forms.TooMany):
        return {}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}


def _claims(payload: str | None) -> dict[str, Any] | None:
    try:
        return strict_json.load_object(raw(payload)) if payload is not None else {}
    except strict_json.NotStrict:
        return None


def _holds(credential: Credential, at: float, store: Lookup) -> bool:
    return not_live(credential, store.consumer(credential.consumer), at) is None


def _signed(form: JwtKey, claims: dict[str, Any], at: float) -> Answer:
    signing_key = form.signing_key
    if signing_key is None:
        return UNKNOWN  # who verifies with a public key alone issues tokens elsewhere
    held = {**claims, "exp": int(at) + form.exp}
    algorithm: Any = form.algorithm
    made = token(held, key=signing_key, algorithm=algorithm)
    # Nobody would take a longer one, and Envoy would cut it without a word.
    return Answer(SIGNED, 200, made) if len(made) <= MAX_TOKEN else MALFORMED


#: Every endpoint, by its name in documents.
ENDPOINTS: dict[str, Endpoint] = {"jwt-sign": JwtSign()}
