"""hmac-auth with nonces: each passes once, as long as it could pass at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz.schemes.hmac_auth import MARGIN
from authz.values import Deny, Once, Proof, Request
from tests.support.gateway import NOW, Gateway
from tests.support.signatures import ask, edited, reason, setting, signed

ONCE = setting(nonce_header="X-Nonce")


def with_nonce(nonce: str, **how: Any) -> Request:
    return signed(nonce_header="X-Nonce", nonce=nonce, **how)


@pytest.mark.parametrize(("off", "seconds"), [(-300, 1), (-0.5, 300), (0, 301), (300, 601)])
def test_a_nonce_is_remembered_as_long_as_it_could_pass(off: float, seconds: int) -> None:
    """Until the end of the last second in which the signature holds, and no shorter, not even for
    a worker whose clock is behind."""
    request = msgspec.structs.replace(with_nonce("n", at=NOW + off), at=NOW)
    proof = ask(ONCE, request)
    assert isinstance(proof, Proof)
    refusal = ONCE.invalid().because("replayed")
    assert proof.once == Once("hmac-auth\0john-key\0n", seconds + MARGIN, refusal)
    late = msgspec.structs.replace(request, at=NOW + seconds)
    assert reason(ONCE, late) == "clock_skew"


def test_a_nonce_of_a_fraction_of_a_second() -> None:
    request = msgspec.structs.replace(with_nonce("n", at=NOW), at=NOW + 0.25)
    proof = ask(ONCE, request)
    assert isinstance(proof, Proof)
    assert proof.once is not None
    assert proof.once.seconds == 301 + MARGIN


@pytest.mark.parametrize(
    ("nonce", "why"),
    [
        ("n" * 128, ""),
        ("!~", ""),
        ("n" * 129, "malformed_signature"),
        ("a b", "malformed_signature"),
        ("é", "malformed_signature"),
        ("a\x7fb", "malformed_signature"),
    ],
)
def test_nonces(nonce: str, why: str) -> None:
    lines = [("x-nonce", nonce)]
    names = ["@request-target", "date", "x-nonce"]
    assert reason(ONCE, signed("/", lines, signed_headers=names)) == why


def test_a_nonce_must_be_signed_and_there() -> None:
    assert reason(ONCE, signed("/", [("x-nonce", "n")])) == "header_not_signed"
    assert reason(ONCE, edited(with_nonce("n"), "x-nonce")) == "signed_header_absent"
    assert reason(ONCE, edited(with_nonce("n"), "x-nonce", "n", "n")) == "signed_header_ambiguous"
    assert reason(ONCE, edited(with_nonce("n"), "x-nonce", "m")) == "bad_signature"


def test_replay() -> None:
    """The second of two equal requests; a wrong signature does not burn a nonce."""
    gateway = Gateway("""
services: [{id: httpbin, auth: {hmac-auth: {nonce_header: X-Nonce}}}]
consumers:
  - username: john
    credentials: [{hmac-auth: {key_id: john-key, secret_key: john-hmac-key}}]
""")

    def decide(request: Request) -> str:
        decision = gateway.decide(request)
        return decision.reason if isinstance(decision, Deny) else ""

    assert decide(with_nonce("n", secret="x")) == "bad_signature"
    assert [decide(with_nonce("n")) for _ in range(2)] == ["", "replayed"]
    assert decide(with_nonce("m")) == ""
