"""hmac-auth and bodies: the digest must be signed, and the body whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz.values import Body, Deny, Request
from tests.support.gateway import Gateway
from tests.support.signatures import arrived, ask, edited, reason, setting, signed

CHECKED = setting(validate_request_body=True)
DATA = b'{"a": 1}'


def sent(body: bytes | None = DATA, **how: Any) -> Request:
    return signed(method="POST", body=body, **how)


def with_body(request: Request, body: Body | None) -> Request:
    return msgspec.structs.replace(request, body=body)


def test_a_body_that_was_signed() -> None:
    assert reason(CHECKED, sent()) == ""
    assert CHECKED.rules.required == ("@request-target", "date", "digest")


def test_no_body() -> None:
    """The digest of nothing must be signed, too: else somebody could add one."""
    assert reason(CHECKED, signed(body=b"")) == ""
    assert reason(CHECKED, signed()) == "digest_missing"


def test_a_digest_that_is_not_signed() -> None:
    """It could be replaced together with the body."""
    digest = dict(signing_headers(DATA))["digest"]
    lines = [("digest", digest)]
    assert reason(CHECKED, sent(with_digest=False, lines=lines)) == "header_not_signed"
    assert reason(CHECKED, sent(with_digest=False)) == "digest_missing"


def signing_headers(body: bytes) -> list[tuple[str, str]]:
    request = sent(body)
    return [(name, request.headers.get(name)[0]) for name in request.headers]


@pytest.mark.parametrize(
    "change",
    [
        lambda digest: digest.replace("SHA-256", "sha-256"),
        lambda digest: digest.replace("SHA-256", "MD5"),
        lambda digest: f"{digest},{digest}",
        lambda digest: f"SHA-512=x,{digest}",
        lambda digest: digest.rstrip("="),
        lambda digest: digest.removeprefix("SHA-256="),
        lambda digest: "",
    ],
)
def test_digests(change: Any) -> None:
    """One, of SHA-256, in one spelling; here each is signed."""
    digest = dict(signing_headers(DATA))["digest"]
    request = sent(lines=[("digest", change(digest))])
    assert reason(CHECKED, request) == "digest_mismatch"


def test_another_body() -> None:
    other = with_body(sent(), Body(b'{"a": 2}', True, True))
    assert reason(CHECKED, other) == "digest_mismatch"
    assert reason(setting(), other) == ""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "body_not_shown"),
        (Body(DATA, False, True), "body_incomplete"),
        (Body(DATA, True, False), "body_incomplete"),
    ],
)
@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_what_envoy_did_not_show(body: Body | None, why: str, profile: str) -> None:
    """Doubt is a refusal, under every profile."""
    scheme = setting(validate_request_body=True, profile=profile)
    assert reason(scheme, with_body(sent(), body)) == why


def test_a_chunked_body_that_is_not_shown() -> None:
    request = edited(with_body(sent(b""), None), "content-length")
    assert reason(CHECKED, request) == ""
    assert reason(CHECKED, edited(request, "transfer-encoding", "chunked")) == "body_not_shown"


def too_large(size: int, limit: int) -> Deny:
    text = f"request size {size} is greater than the maximum size {limit} allowed"
    return Deny("body_too_large", 413, text, (), "hmac-auth")


def test_too_large() -> None:
    """By what the client says, or by what is there; without a challenge."""
    small = setting(validate_request_body=True, max_req_body_size=4)
    assert ask(small, sent()) == too_large(8, 4)
    assert ask(small, edited(sent(), "content-length")) == too_large(8, 4)
    assert ask(small, edited(with_body(sent(), None), "content-length", "99")) == too_large(99, 4)
    assert reason(small, sent(b"1234")) == ""
    exact = setting(validate_request_body=True, max_req_body_size=8)
    assert reason(exact, sent()) == ""


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1_000", "٩", "0x10", ""])
def test_lengths_that_are_none(length: str) -> None:
    """No crash, no time spent: they count as an unknown length."""
    request = edited(sent(), "content-length", length)
    assert reason(CHECKED, request) == ""
    assert reason(CHECKED, with_body(request, None)) == "body_not_shown"


def test_strangers_learn_nothing_of_limits() -> None:
    """The signature comes first: a wrong one is refused as such, however large the body."""
    small = setting(validate_request_body=True, max_req_body_size=4)
    assert reason(small, sent(secret="x")) == "bad_signature"
    assert reason(small, sent(key_id="x")) == "unknown_key_id"


@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_no_guest_instead_of_413(profile: str) -> None:
    gateway = Gateway(f"""
profile: {profile}
services:
  - id: s
    auth:
      hmac-auth: {{validate_request_body: true, max_req_body_size: 4, anonymous_consumer: guest}}
consumers:
  - {{username: guest}}
  - username: john
    credentials: [{{hmac-auth: {{key_id: john-key, secret_key: john-hmac-key}}}}]
""")
    assert gateway.decide(sent()) == too_large(8, 4)
    assert not isinstance(gateway.decide(arrived("/", [])), Deny)
