"""hmac-auth by default: what holds, what does not, and what is said."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import msgspec
import pytest

from authz.denials import Foreign
from authz.schemes.hmac_auth import HmacAuth
from authz.values import Allow, Denied, Deny, Place, Proof, Request
from tests.support.gateway import NOW, Gateway
from tests.support.gateway import ask as asked
from tests.support.signatures import (
    DATE,
    KNOWN,
    SECRET,
    arrived,
    ask,
    edited,
    reason,
    setting,
    signed,
    store,
)

STRICT = setting()
CHALLENGE = ('hmac realm="hmac"',)
REFUSED = "client request can't be validated"


def with_authorization(value: str) -> Request:
    return edited(signed(), "authorization", value)


def said(why: str, message: str = REFUSED) -> Deny:
    return Deny(why, 401, message, CHALLENGE, "hmac-auth")


def test_defaults() -> None:
    scheme = setting()
    assert scheme.rules.algorithms == ("hmac-sha256", "hmac-sha512")
    assert scheme.rules.required == ("@request-target", "date")
    assert (scheme.clock_skew, scheme.max_req_body_size) == (300, 64 * 1024 * 1024)
    assert (scheme.rules.body_limit, scheme.nonce_header, scheme.realm) == (None, None, "hmac")
    assert (scheme.tells, scheme.hide_credentials, scheme.tolerant) == ((), False, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_algorithms": []},
        {"allowed_algorithms": ["hmac-md5"]},
        {"clock_skew": 0},
        {"signed_headers": ["a b"]},
        {"max_req_body_size": 0},
        {"nonce_header": ""},
        {"realm": 'a"b'},
        {"surprise": 1},
    ],
)
def test_unfit_settings(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        setting(**fields)


# -- what holds ------------------------------------------------------------------------------------


def manual(key_id: str, secret: bytes, method: str, path: str, when: float) -> dict[str, str]:
    """A client written from API7's manual, with nothing of ours in it."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(when))
    text = f"{key_id}\n{method} {path}\ndate: {date}\n"
    tag = base64.b64encode(hmac.new(secret, text.encode("utf-8"), hashlib.sha256).digest())
    fields = f'keyId="{key_id}",algorithm="hmac-sha256",headers="@request-target date"'
    return {
        "Date": date,
        "Authorization": f'Signature {fields},signature="{tag.decode("utf-8")}"',
    }


DOCUMENT = """
services: [{id: httpbin, auth: {hmac-auth: {SETTINGS}}}]
consumers:
  - username: john
    credentials:
      - {id: c1, hmac-auth: {key_id: john-key, secret_key: john-hmac-key}}
  - {username: guest}
"""


@pytest.mark.parametrize("target", ["/headers", "/ip?a=1&b=%2F%zz&a=", "/a%20b"])
def test_the_client_of_the_manual(target: str) -> None:
    """Its requests pass, and the upstream is told who it is."""
    headers = manual("john-key", b"john-hmac-key", "GET", target, NOW)
    lines = [(name.lower(), value) for name, value in headers.items()]
    gateway = Gateway(DOCUMENT.replace("SETTINGS", ""))

    decision = gateway.decide(asked(target, *lines))

    assert isinstance(decision, Allow)
    told = dict(decision.set)
    assert (told["x-consumer-username"], told["x-credential-identifier"]) == ("john", "c1")


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha512"])
def test_a_signature_proves(algorithm: Any) -> None:
    proof = ask(STRICT, signed(algorithm=algorithm))
    assert isinstance(proof, Proof)
    assert (proof.credential.id, proof.headers, proof.once) == ("c1", (), None)


def test_sha1_where_it_is_allowed() -> None:
    request = signed(algorithm="hmac-sha1")
    assert reason(STRICT, request) == "algorithm_not_allowed"
    assert reason(setting(allowed_algorithms=["hmac-sha1"]), request) == ""


def test_an_algorithm_of_the_credential() -> None:
    """One that is pinned there is the only one."""
    pinned = store(algorithm="hmac-sha512")
    assert reason(STRICT, signed(), pinned) == "algorithm_not_allowed"
    assert reason(STRICT, signed(algorithm="hmac-sha512"), pinned) == ""


def test_more_signed_headers() -> None:
    """In any order and letter case; Host is what Envoy calls the authority."""
    scheme = setting(signed_headers=["X-Tenant", "host"])
    names = ["HOST", "x-TENANT", "Date", "@request-target", "x-other"]
    lines = [("x-tenant", "t"), ("x-other", "")]
    assert reason(scheme, signed("/", lines, signed_headers=names)) == ""
    assert reason(scheme, signed("/", lines)) == "header_not_signed"


@pytest.mark.parametrize(
    "names", [["date"], ["@request-target"], ["@request-target", "host"], ["x-a"]]
)
@pytest.mark.parametrize("fields", [{}, {"signed_headers": []}, {"signed_headers": ["x-a"]}])
def test_request_line_and_date_must_be_signed(names: list[str], fields: dict[str, Any]) -> None:
    """Whatever the route adds to them."""
    request = signed("/", [("x-a", "1")], signed_headers=names)
    assert reason(setting(**fields), request) == "header_not_signed"


@pytest.mark.parametrize(("off", "why"), [(300, ""), (301, "clock_skew"), (10**8, "clock_skew")])
@pytest.mark.parametrize("way", [-1, 1])
def test_clock_skew(off: int, way: int, why: str) -> None:
    """Whole seconds, either way; what is left of a second does not count."""
    request = signed(at=NOW + way * off)
    assert reason(STRICT, request) == why
    assert reason(STRICT, msgspec.structs.replace(request, at=NOW + 0.999)) == why
    assert reason(setting(clock_skew=10**7 * 3), signed(at=NOW + way * 10**7 * 3)) == ""


# -- what is said ----------------------------------------------------------------------------------


def test_words() -> None:
    """Every refusal with a challenge (RFC 9110 section 11.6.1); the reason is for the operator."""
    foreign = f"{REFUSED}: Authorization header does not start with 'Signature'"

    assert STRICT.missing() == said("missing_signature", "Missing authorization in request")
    assert STRICT.invalid() == said("bad_signature")
    assert ask(STRICT, arrived("/", [])) is None
    assert ask(STRICT, with_authorization("Basic YTpi")) == said("not_signature", foreign)
    assert ask(STRICT, signed(key_id="x")) == said("unknown_key_id")
    assert ask(STRICT, signed(secret="x")) == said("bad_signature")
    assert setting(realm="r").invalid().challenges == ('hmac realm="r"',)


def test_another_scheme_is_foreign() -> None:
    """So that the next scheme of the route may look."""
    with pytest.raises(Foreign):
        STRICT.authenticate(with_authorization("Basic YTpi"), KNOWN.within(""))
    with pytest.raises(Denied) as denied:
        STRICT.authenticate(signed(secret="x"), KNOWN.within(""))
    assert not isinstance(denied.value, Foreign)


def test_an_unknown_key_id_is_told_like_a_wrong_signature() -> None:
    """Whatever else is wrong with the request."""
    wrong, unknown = ask(STRICT, signed(secret="x")), ask(STRICT, signed(key_id="x"))
    assert isinstance(wrong, Deny)
    assert isinstance(unknown, Deny)
    assert unknown.because("") == wrong.because("")
    assert reason(STRICT, edited(signed(key_id="x"), "date", "x")) == "unknown_key_id"


def test_every_reason_is_explained() -> None:
    """Each is a name, and its meaning a plain sentence without the final dot."""
    for name, meaning in HmacAuth.reasons.items():
        assert name.replace("_", "").isalpha()
        assert meaning
        assert not meaning.endswith(".")


# -- for people, and for the upstream --------------------------------------------------------------


def test_notes() -> None:
    """What was found and what the service would sign; nothing that is a credential by itself."""
    names = ["@request-target", "date", "Cookie", "x-a"]
    request = signed("/a?b", [("cookie", "sid=1"), ("x-a", "1")], signed_headers=names)
    assert STRICT.notes(request) == (
        ("key id", "john-key"),
        ("algorithm", "hmac-sha256"),
        ("signed headers", "@request-target date Cookie x-a"),
        ("string to sign", f"john-key\nGET /a?b\ndate: {DATE}\nCookie: (not shown)\nx-a: 1\n"),
    )
    assert STRICT.notes(arrived("/", [])) == ()
    assert STRICT.notes(with_authorization("Basic YTpi")) == (
        ("signature", "Authorization of another scheme"),
    )
    ambiguous = STRICT.notes(edited(request, "x-a", "1", "2"))
    assert ambiguous[3] == ("string to sign", HmacAuth.reasons["signed_header_ambiguous"])


def test_no_secret_in_notes() -> None:
    told = str(STRICT.notes(signed()))
    assert SECRET not in told
    assert signed().headers.get("authorization")[0][-20:] not in told


@pytest.mark.parametrize(
    ("value", "proven", "hidden"),
    [
        ("Signature x", True, True),
        ("Signature x", False, True),
        ("Basic YTpi, Signature x", False, True),
        ("Basic YTpi", False, False),
        (None, False, False),
    ],
)
def test_hiding(value: str | None, proven: bool, hidden: bool) -> None:
    """Authorization alone, and not another scheme's."""
    scheme = setting(hide_credentials=True)
    request = arrived("/", [] if value is None else [("authorization", value)])
    places = (Place(header="authorization"),) if hidden else ()
    assert scheme.hidden(request, proven=proven) == places
    assert STRICT.hidden(request, proven=proven) == ()


def test_a_guest() -> None:
    """Without a signature, the anonymous consumer; a wrong one is not rescued."""
    gateway = Gateway(DOCUMENT.replace("SETTINGS", "anonymous_consumer: guest"))
    nobody = gateway.decide(asked("/"))
    assert isinstance(nobody, Allow)
    assert dict(nobody.set)["x-consumer-username"] == "guest"
    assert gateway.decide(signed(secret="x")) == said("bad_signature")
