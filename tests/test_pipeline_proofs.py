"""What a proof brings along: what counts once, and whom it lets in."""

from __future__ import annotations

import msgspec
import pytest

from authz import signing
from authz.contracts import Fault, StoreDown
from authz.pipeline import decide
from authz.values import Allow, Answer, Body, Deny, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.memory import Memory, MemoryLookup

SECRET = "0123456789abcdef0123456789abcdef"
DOCUMENT = f"""
profile: PROFILE
services:
  - {{id: hmac, hosts: [hmac.test], auth: {{hmac-auth: {{nonce_header: X-Nonce,
      anonymous_consumer: GUEST, validate_request_body: BODY, max_req_body_size: 8}}}}}}
  - {{id: all, hosts: [all.test], auth: {{all: [{{hmac-auth: {{nonce_header: X-Nonce}}}},
      {{jwt-auth: {{cookie: tok, require_jti_once: true, hide_credentials: true}}}}]}}}}
  - id: sign
    hosts: [sign.test]
    routes:
      - {{id: s, match: {{path: /token}}, endpoint: jwt-sign,
          auth: {{hmac-auth: {{nonce_header: X-Nonce}}}}}}
consumers:
  - username: alice
    credentials:
      - {{id: h, hmac-auth: {{key_id: alice-id, secret_key: {SECRET}}}}}
      - {{id: j, jwt-auth: {{key: alice-jwt, secret: {SECRET}}}}}
      - {{id: k, key-auth: {{key: alice-key}}}}
  - username: bob
    credentials: [{{id: j, jwt-auth: {{key: bob-jwt, secret: {SECRET}}}}}]
  - username: out
    disabled: true
    credentials: [{{id: h, hmac-auth: {{key_id: out-id, secret_key: {SECRET}}}}}]
  - {{username: guest}}
"""


def gateway(profile: str = "api7", guest: str = "null", body: bool = False) -> Gateway:
    text = DOCUMENT.replace("PROFILE", profile).replace("GUEST", guest)
    return Gateway(text.replace("BODY", str(body).lower()))


def signed(
    host: str,
    *lines: tuple[str, str],
    target: str = "/x",
    nonce: str = "n",
    key_id: str = "alice-id",
    body: bytes | None = None,
    secret: str = SECRET,
) -> Request:
    """Signed with a nonce; `lines` are sent as well."""
    made = signing.sign_hmac_auth(
        "POST" if body else "GET",
        target,
        [],
        body,
        key_id=key_id,
        secret=secret,
        nonce_header="X-Nonce",
        nonce=nonce,
        at=NOW,
    )
    request = ask(target, *made.headers, *lines, host=host, method="POST" if body else "GET")
    return msgspec.structs.replace(request, body=Body(body, True, True) if body else None)


def cookie(jti: str, key: str = "alice-jwt") -> tuple[str, str]:
    made = signing.sign_jwt({"key": key, "jti": jti}, key=SECRET, at=NOW, cookie="tok")
    return made.headers[0]


def reason(gateway: Gateway, request: Request) -> str:
    """Why a request is refused; empty when it passes."""
    decision = gateway.decide(request)
    return decision.reason if isinstance(decision, Deny) else ""


# -- once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_a_replay_is_nobodys_guest(profile: str) -> None:
    """Not even where a wrong credential falls back to the anonymous consumer."""
    made = gateway(profile, guest="guest")
    first, again = made.decide(signed("hmac.test")), made.decide(signed("hmac.test"))

    assert isinstance(first, Allow)
    assert first.identity.consumer.username == "alice"
    assert isinstance(again, Deny)
    assert (again.reason, again.status) == ("replayed", 401)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (signed("hmac.test", secret="x"), "bad_signature"),
        (signed("hmac.test", key_id="out-id"), "consumer_disabled"),
        (signed("all.test"), "not_bearer"),
        (signed("all.test", cookie("j", key="bob-jwt")), "credentials_of_different_consumers"),
        (signed("all.test", ("cookie", f"{cookie('j')[1]}; a=é")), "malformed_request"),
    ],
)
def test_what_fails_spends_nothing(request_: Request, why: str) -> None:
    """A nonce is used up when nothing else can fail any more: not by a stranger, and not by its
    owner's own mistake."""
    made = gateway()

    assert reason(made, request_) == why
    assert made.memory.nonces == set()


@pytest.mark.parametrize(
    ("first", "second"), [(("n", "j"), ("n", "k")), (("n", "j"), ("m", "j")), (("n", "j"),) * 2]
)
def test_each_of_several_counts_once(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Where all schemes must hold, either replay is one."""
    made = gateway()

    def passes(nonce: str, jti: str) -> str:
        return reason(made, signed("all.test", cookie(jti), nonce=nonce))

    assert passes(*first) == ""
    assert "replayed" in passes(*second)
    assert passes("o", "l") == ""


def test_one_nonce_for_all_routes() -> None:
    """What was used on one cannot be used on another."""
    made = gateway()

    assert reason(made, signed("hmac.test")) == ""
    assert reason(made, signed("all.test", cookie("j"))) == "replayed"
    assert reason(made, signed("sign.test", target="/token?key=alice-jwt")) == "replayed"


class _ReadOnly(MemoryLookup):
    """A store that knows everybody and records nothing."""

    def claim(self, nonce: str, seconds: int) -> bool:
        raise StoreDown("store_read_only")


class _ReadOnlyMemory(Memory):
    def within(self, tenant: str) -> MemoryLookup:
        return _ReadOnly(self, tenant)


@pytest.mark.parametrize("guest", ["null", "guest"])
def test_what_cannot_be_recorded_is_a_fault(guest: str) -> None:
    """Neither an allow nor a refusal, nor somebody's guest."""
    made = gateway("apisix-3.18", guest)
    memory = _ReadOnlyMemory().load(made.document)

    with pytest.raises(Fault, match="store_read_only"):
        decide(signed("hmac.test"), made.routes, memory)


# -- refusals --------------------------------------------------------------------------------------


def test_too_large_is_nobodys_guest() -> None:
    """APISIX's anonymous consumer stands in for a wrong credential, not for a body that may not be
    sent at all; and no challenge goes with a 413."""
    made = gateway("apisix-3.18", guest="guest", body=True)
    small, large = (made.decide(signed("hmac.test", body=body)) for body in (b"{}", b"123456789"))

    assert isinstance(small, Allow)
    assert isinstance(large, Deny)
    assert (large.reason, large.status, large.challenges) == ("body_too_large", 413, ())
    wrong = made.decide(signed("hmac.test", body=b"123456789", secret="x"))
    assert isinstance(wrong, Allow)
    assert wrong.identity.consumer.username == "guest"


ANY = f"""
services:
  - {{id: s, auth: {{any: [{{hmac-auth: {{validate_request_body: true, max_req_body_size: 8,
      nonce_header: X-Nonce}}}}, {{digest: {{}}}}, {{basic-auth: {{}}}}]}}}}
consumers:
  - username: alice
    credentials: [{{id: h, hmac-auth: {{key_id: alice-id, secret_key: {SECRET}}}}}]
"""
BOTH = ('hmac realm="hmac"', 'Basic realm="basic"')


@pytest.mark.parametrize(
    ("request_", "status", "challenges"),
    [
        (ask("/"), 401, BOTH),
        (signed("s", body=b"{}", secret="x"), 401, BOTH),
        (ask("/", ("authorization", "Bearer x")), 401, BOTH),
        (signed("s", body=b"123456789"), 413, ()),
        (ask("/", ("x-ca-key", "1"), ("x-ca-signature", "x")), 403, ()),
    ],
)
def test_offers_go_with_401_alone(
    request_: Request, status: int, challenges: tuple[str, ...]
) -> None:
    """What else would do is said where a credential would mend it (RFC 9110 section 11.6.1)."""
    found = Gateway(ANY).decide(request_)

    assert isinstance(found, Deny)
    assert (found.status, found.challenges) == (status, challenges)


# -- endpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["alice-jwt", "nobody"])
def test_an_endpoint_answers_only_whom_its_scheme_lets_in(key: str) -> None:
    """Who fails learns nothing of keys; who passes may do so once."""
    made, target = gateway(), f"/token?key={key}"
    wrong = signed("sign.test", target=target, secret="x")

    assert reason(made, ask(target, host="sign.test")) == "missing_signature"
    assert reason(made, wrong) == "bad_signature"
    found = made.decide(signed("sign.test", target=target))
    assert isinstance(found, Answer)
    assert found.status == (200 if key == "alice-jwt" else 404)
    assert reason(made, signed("sign.test", target=target)) == "replayed"
