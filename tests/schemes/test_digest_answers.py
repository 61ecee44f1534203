"""digest: what the client and the operator are told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from authz.schemes import digest_refusals
from authz.schemes.digest import Digest
from authz.signing import digest
from authz.values import Body, Deny, Request
from tests.support.alibaba import (
    AT,
    KEY,
    STRICT,
    VENDOR,
    code_of,
    message_of,
    outcome,
    prove,
    resigned,
    signed,
    with_header,
)
from tests.support.gateway import ask

TIME = "X-Ca-Timestamp"
BODY = signed("POST", "/", body=b"{}")


@pytest.mark.parametrize(
    ("request_", "status", "code", "message"),
    [
        (signed(drop=["X-Ca-Key"]), 400, "A400MA", "Need authorization"),
        (signed(drop=["X-Ca-Signature"]), 400, "I400MH", "Header `X-Ca-Signature` is Required"),
        (signed(app_key="999"), 400, "A400IK", "Invalid AppKey"),
        (signed(stage="NOSUCH"), 400, "I400SG", "Invalid Stage"),
        (
            signed(at=AT + 901),
            400,
            "I400HD",
            "Invalid Header `X-Ca-Timestamp` Timestamp Expired",
        ),
        (
            resigned({TIME: "x"}),
            400,
            "I400HD",
            "Invalid Header `X-Ca-Timestamp` Invalid Timestamp",
        ),
        (
            replace(BODY, body=Body(b"", complete=True, exact=True)),
            400,
            None,
            "Invalid Content-MD5",
        ),
        (
            replace(BODY, body=Body(b"{", complete=False, exact=True)),
            413,
            "I413RL",
            "Request body too Large",
        ),
        (
            signed("GET", "/v1?b=2&a=1", app_secret="wrong"),
            403,
            "A403IS",
            "Invalid Signature, Server StringToSign:`GET#*/*####X-Ca-Key:203753385#X-Ca-Nonce:n-1#"
            "X-Ca-Signature-Method:HmacSHA256#X-Ca-Timestamp:1700000000000#/v1?a=1&b=2`",
        ),
    ],
)
def test_answers(request_: Request, status: int, code: str | None, message: str) -> None:
    """The vendor's codes, words and statuses; 403 under any other profile."""
    for scheme, expected in ((VENDOR, status), (STRICT, 403)):
        deny = prove(scheme, request_)
        assert isinstance(deny, Deny)
        assert (deny.status, code_of(deny), message_of(deny)) == (expected, code, message)
        assert (deny.body, deny.challenges) == ("", ())
        if request_.id:
            assert ("x-ca-request-id", "0F0E0D0C-0B0A-4908-8706-050403020100") in deny.headers


def test_answers_without_a_request() -> None:
    """When nothing was sent, and when what was proven does not hold."""
    missing, invalid = VENDOR.missing(), VENDOR.invalid()

    assert (missing.reason, missing.status, code_of(missing)) == ("missing_app_key", 400, "A400MA")
    assert (invalid.reason, invalid.status, code_of(invalid)) == ("unknown_app_key", 400, "A400IK")
    assert STRICT.missing().status == STRICT.invalid().status == 403


def test_a_response_cannot_be_split() -> None:
    """The server's string holds decoded parameters, which are the client's to choose."""
    deny = prove(VENDOR, signed("GET", "/?a=%0d%0ax-evil:%201%00%E4%B8%AD", app_secret="wrong"))

    assert isinstance(deny, Deny)
    assert message_of(deny).endswith("/?a=%0D#x-evil: 1%00%E4%B8%AD`")


def test_an_unknown_key_costs_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a known one: its absence does not show in the time."""
    made: list[str] = []
    real = digest.signature

    def counted(secret: bytes, text: str, algorithm: digest.Algorithm) -> str:
        made.append(text)
        return real(secret, text, algorithm)

    for request in (signed("GET", "/a%20b"), signed("GET", "/a%20b", app_key="999")):
        wire = with_header(request, "x-ca-signature", "wrong")
        made.clear()
        monkeypatch.setattr(digest, "signature", counted)
        assert outcome(STRICT, wire) in ("bad_signature", "unknown_app_key")
        assert len(made) == 2


def test_all_reasons_are_told() -> None:
    """Each refusal has a reason of its own."""
    assert len(digest_refusals.ALL) == len(Digest.reasons) > 20


def test_notes() -> None:
    """What was claimed, and what the server would have signed: no secret, no signature."""
    request = signed("GET", "/v1?b=2&a=1", app_secret="wrong")
    notes = dict(STRICT.notes(request))

    assert notes.pop("string to sign").endswith("X-Ca-Timestamp:1700000000000\n/v1?a=1&b=2")
    assert notes == {
        "AppKey": KEY,
        "signature method": "HmacSHA256",
        "signed headers": "X-Ca-Key,X-Ca-Nonce,X-Ca-Signature-Method,X-Ca-Timestamp",
        "signed at": "2023-11-14T22:13:20+00:00",
    }
    assert STRICT.notes(ask("/")) == ()
    assert STRICT.notes(signed(drop=["X-Ca-Key"])) == (("signature", "no X-Ca-Key"),)
    assert "signed at" not in dict(STRICT.notes(resigned({TIME: "9" * 15})))
