"""jwt-auth: where a token stands, in what order it is checked, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from authz.contracts import Fault
from authz.denials import Foreign
from authz.jose import tokens
from authz.schemes import places
from authz.schemes.jwt_auth import JwtAuth
from authz.values import Deny, Place, Request
from tests.support.gateway import NOW, ask
from tests.support.jwt import CLAIMS, bearing, outcome, prove, sent, setting, store
from tests.support.texts import wire_texts
from tests.support.tokens import SECRET, b64, pem, private_key, rsa_key, token

GOOD = token(CLAIMS)
OTHER = token(CLAIMS | {"key": "other-key"})
STRICT, TOLERANT = setting(), setting(profile="apisix-3.18")
OLD = setting(profile="apisix-3.9")


def test_defaults() -> None:
    """Header, query parameter and cookie, nothing hidden, nobody anonymous."""
    assert STRICT.place == Place("authorization", "jwt", "jwt")
    assert (STRICT.realm, STRICT.key_claim_name, STRICT.hide_credentials) == ("jwt", "key", False)
    assert (STRICT.claims_to_verify, STRICT.issuer, STRICT.audience) == (None, None, None)
    assert (STRICT.verify_iat, STRICT.require_jti_once, STRICT.store_in_ctx) == (False,) * 3
    assert (STRICT.tells, STRICT.tells_query, STRICT.tolerant) == ((), (), False)
    assert TOLERANT.place == Place("authorization", "jwt", "jwt", tolerant=True)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (None, "Missing authorization in request"),
        ("api7", "Missing authorization in request"),
        ("alibaba", "Missing authorization in request"),
        ("apisix-3.9", "Missing JWT token in request"),
        ("apisix-3.18", "Missing JWT token in request"),
    ],
)
def test_words_for_a_missing_token(profile: str | None, message: str) -> None:
    """Each profile in its own words, always with a challenge (RFC 6750 section 3)."""
    scheme = setting(profile=profile, realm="my realm")
    challenges = ('Bearer realm="my realm"',)

    assert scheme.missing() == Deny("missing_token", 401, message, challenges, "jwt-auth")
    assert scheme.invalid() == Deny(
        "invalid_user_key", 401, "Invalid user key in JWT token", challenges, "jwt-auth"
    )


HEAD, NONE, EMPTY = b64('{"alg":"HS256"}'), b64('{"alg":"none"}'), b64("{}")
BODY = b64(json.dumps(CLAIMS))


NOBODYS: list[Any] = [None, True, 1, "", [], {}, ["jack-key"], "nobody", "Jack-key", "jack-key "]


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", tokens.NOT_THREE_SEGMENTS, "JWT token invalid"),
        ("a.b", tokens.NOT_THREE_SEGMENTS, "JWT token invalid"),
        (f"{NONE}.{BODY}.", tokens.NOT_THREE_SEGMENTS, "JWT token invalid"),
        (f"invalid-{GOOD}", tokens.NOT_JSON, "JWT token invalid"),
        (f"invalid+{GOOD}", tokens.NOT_BASE64URL, "JWT token invalid"),
        (f"{HEAD}.{b64('[]')}.AA", tokens.NOT_JSON, "JWT token invalid"),
        (token(CLAIMS, crit=["exp"]), tokens.HEADER_REFUSED, "JWT token invalid"),
        (f"{NONE}.{BODY}.AA", tokens.ALGORITHM_UNKNOWN, "failed to verify jwt"),
        (f"{EMPTY}.{BODY}.AA", tokens.ALGORITHM_UNKNOWN, "failed to verify jwt"),
        (f"{HEAD}.{BODY}.@@@@", tokens.SIGNATURE_MALFORMED, "failed to verify jwt"),
        (token({"exp": 1}), "missing_user_key", "missing user key in JWT token"),
        (token({"key": False}), "missing_user_key", "missing user key in JWT token"),
        *(
            (token({"key": key}), "invalid_user_key", "Invalid user key in JWT token")
            for key in NOBODYS
        ),
        (token({"key": "jack-key\0"}), "invalid_user_key", "Invalid user key in JWT token"),
        (token({"key": "k" * 1025}), "invalid_user_key", "Invalid user key in JWT token"),
        (token({"key": "nobody"}, b"x"), "invalid_user_key", "Invalid user key in JWT token"),
        (token(CLAIMS, SECRET, "HS512"), "wrong_algorithm", "failed to verify jwt"),
        (token(CLAIMS, rsa_key(), "RS256"), "wrong_algorithm", "failed to verify jwt"),
        (token(CLAIMS, b"x" * 64), "invalid_signature", "failed to verify jwt"),
        (f"{GOOD[:-1]}{'A' if GOOD[-1] != 'A' else 'E'}", "invalid_signature", "failed to ver"),
        (token(CLAIMS | {"exp": 1}, b"x"), "invalid_signature", "failed to verify jwt"),
        (token(CLAIMS | {"exp": 1}), "token_expired", "failed to verify jwt"),
    ],
)
def test_refusals_in_their_order(text: str, reason: str, message: str) -> None:
    """Taken apart, key claim, credential, algorithm, signature, claims: the first that fails."""
    for scheme in (STRICT, TOLERANT, OLD):
        found = prove(scheme, bearing(text))

        assert isinstance(found, Deny)
        assert found.reason == reason
        assert found.message.startswith(message)
        assert found.challenges == ('Bearer realm="jwt"',)
        assert (found.status, found.scheme) == (401, "jwt-auth")
        assert reason in JwtAuth.reasons


def test_a_header_that_ends_early() -> None:
    """HTTP trims the blank: nothing but the scheme's name is left."""
    assert outcome(STRICT, ask("/", ("authorization", "Bearer"))) == tokens.NOT_THREE_SEGMENTS


@pytest.mark.parametrize(
    ("scheme", "request_", "expected"),
    [
        (STRICT, ask("/"), None),
        (STRICT, ask("/", ("authorization", f"Bearer {GOOD}")), "jack-key"),
        (STRICT, ask("/", ("authorization", f"bEaReR {GOOD}")), "jack-key"),
        (STRICT, ask("/", ("authorization", GOOD)), "jack-key"),
        (STRICT, ask("/", ("authorization", f"Bearer  {GOOD}")), tokens.NOT_BASE64URL),
        (STRICT, ask("/", ("authorization", f"Bearer\t{GOOD}")), places.MALFORMED),
        (
            STRICT,
            ask("/", ("authorization", f"Bearer {GOOD}, Bearer {OTHER}")),
            tokens.NOT_THREE_SEGMENTS,
        ),
        (STRICT, ask("/", ("authorization", f"{GOOD} x")), tokens.SIGNATURE_MALFORMED),
        (STRICT, ask(f"/?jwt={GOOD}"), "jack-key"),
        (STRICT, ask(f"/?jwt={GOOD.replace('.', '%2E')}"), "jack-key"),
        (STRICT, ask(f"/?jwt=Bearer%20{GOOD}"), tokens.NOT_BASE64URL),
        (STRICT, ask(f"/?JWT={GOOD}"), None),
        (STRICT, ask("/", ("cookie", f"a=b; jwt={GOOD}")), "jack-key"),
        (STRICT, ask("/", ("cookie", f"JWT={GOOD}")), None),
        (STRICT, ask(f"/?jwt={GOOD}", ("authorization", f"Bearer {GOOD}")), places.DUPLICATE),
        (STRICT, ask(f"/?jwt={GOOD}", ("cookie", f"jwt={GOOD}")), places.DUPLICATE),
        (STRICT, ask("/", *[("authorization", f"Bearer {GOOD}")] * 2), places.DUPLICATE),
        (STRICT, ask(f"/?jwt={GOOD}&jwt={GOOD}"), places.DUPLICATE),
        (STRICT, ask("/?jwt"), places.MALFORMED),
        (setting(header="X-Jwt"), ask("/", ("x-jwt", f"Bearer {GOOD}")), "jack-key"),
        (setting(header="X-Jwt"), ask("/", ("x-jwt", f"Basic {GOOD}")), tokens.NOT_BASE64URL),
        (setting(header="X-Jwt"), ask("/", ("authorization", f"Bearer {GOOD}")), None),
        (setting(header=None), ask("/", ("authorization", f"Bearer {GOOD}")), None),
        (setting(query="t", cookie=None), ask(f"/?t={GOOD}", ("cookie", "jwt=x")), "jack-key"),
        # APISIX: the header, else the parameter, else the cookie; two spellings of Bearer.
        (TOLERANT, ask("/", ("authorization", f"bearer {GOOD}")), "jack-key"),
        (TOLERANT, ask("/", ("authorization", f"BEARER {GOOD}")), tokens.NOT_BASE64URL),
        (TOLERANT, ask(f"/?jwt={GOOD}", ("authorization", f"Bearer {OTHER}")), "invalid_user_key"),
        (TOLERANT, ask(f"/?jwt={GOOD}", ("authorization", "")), tokens.NOT_THREE_SEGMENTS),
        (TOLERANT, ask(f"/?jwt={GOOD}", ("cookie", f"jwt={OTHER}")), "jack-key"),
        (TOLERANT, ask("/?jwt=abc", ("cookie", f"jwt={GOOD}")), tokens.NOT_THREE_SEGMENTS),
        (TOLERANT, ask("/", ("authorization", GOOD), ("authorization", "x")), "jack-key"),
        (TOLERANT, ask(f"/?jwt={GOOD}&jwt={GOOD}"), places.MALFORMED),
    ],
)
def test_where_a_token_stands(scheme: JwtAuth, request_: Request, expected: str | None) -> None:
    """One place; copies are refused, but under APISIX's profiles, where the first one counts."""
    assert outcome(scheme, request_) == expected


@pytest.mark.parametrize("value", ["Basic Zm9vOmJhcg==", "Signature keyId=a,b=c", "APPCODE abc"])
@pytest.mark.parametrize("exact", [True, False])
def test_authorization_of_another_scheme(value: str, exact: bool) -> None:
    """Another scheme of the route may look; beside it a token may stand elsewhere, but not for
    APISIX, to which the header is the only candidate."""
    header = ("authorization", value)
    for scheme, target in ((STRICT, "/"), (TOLERANT, "/"), (TOLERANT, f"/?jwt={GOOD}")):
        with pytest.raises(Foreign) as refused:
            scheme.authenticate(ask(target, header, exact=exact), store().within(""))
        assert refused.value.deny.reason == "not_bearer"
        assert refused.value.deny.message == "JWT token invalid"
    assert outcome(STRICT, ask(f"/?jwt={GOOD}", header, exact=exact)) == "jack-key"
    assert outcome(STRICT, ask("/?jwt=x", header, exact=exact)) == tokens.NOT_THREE_SEGMENTS


def test_without_raw_headers_doubtful_tokens_are_refused() -> None:
    """`,` may join two lines, `!` may be any byte."""
    for value in (f"Bearer {GOOD},Bearer {OTHER}", f"Bearer {GOOD}!"):
        request = ask("/", ("authorization", value), exact=False)
        assert outcome(STRICT, request) == places.MALFORMED


def test_a_credential_belongs_to_its_tenant() -> None:
    """The same key is nobody's elsewhere."""
    memory = store()
    with pytest.raises(Exception, match="invalid_user_key"):
        STRICT.authenticate(bearing(GOOD), memory.within("other"))


def test_another_key_claim() -> None:
    """The route says which claim names the credential."""
    scheme = setting(key_claim_name="iss")

    assert outcome(scheme, sent({"iss": "jack-key", "exp": NOW + 1})) == "jack-key"
    assert outcome(scheme, sent(CLAIMS)) == "missing_user_key"


def test_a_siblings_secret_does_not_do() -> None:
    """Only the named credential's key counts."""
    memory = store({"secret": SECRET.decode()}, {"key": "other-key", "secret": "x" * 64})

    assert outcome(STRICT, bearing(GOOD), memory) == "jack-key"
    assert outcome(STRICT, bearing(OTHER), memory) == "invalid_signature"


def test_a_kid_means_nothing_to_a_single_key() -> None:
    """There is no choice, so nothing is chosen."""
    assert outcome(STRICT, bearing(token(CLAIMS, kid="../../dev/null"))) == "jack-key"


@given(wire_texts(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    """Any header at all is a refusal with a reason, never an error."""
    found = prove(STRICT, ask("/", ("authorization", text)))

    assert isinstance(found, Deny)
    assert found.reason in JwtAuth.reasons
    assert found.message in ("JWT token invalid", "failed to verify jwt")


# -- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", tokens.ALGORITHMS)
def test_every_algorithm(algorithm: str) -> None:
    """Proven with the credential's algorithm and key, whatever they are."""
    key = private_key(algorithm)
    own = {"secret": key.decode()} if algorithm.startswith("HS") else {"public_key": pem(key)}
    memory = store({"algorithm": algorithm} | own)

    assert outcome(STRICT, bearing(token(CLAIMS, key, algorithm)), memory) == "jack-key"


def test_keys_that_are_not_to_be_had() -> None:
    """Then nothing can be said: a fault, never a denial and never an allow."""
    memory = store({"jwks_url": "https://issuer.example/keys"})
    with pytest.raises(Fault, match="keys_unavailable"):
        STRICT.authenticate(bearing(GOOD), memory.within(""))
