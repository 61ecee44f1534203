"""What an explanation shows of signed text, and what it masks there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz import document, signing
from authz.admin.explain import Step, explain
from authz.routes import RouteTable
from authz.signing import Signed
from authz.values import Headers, Request
from tests.admin.test_explain import Looking
from tests.support.tokens import token

SECRET = "0123456789abcdef0123456789abcdef"
AT = 1_800_000_000.0
DOCUMENT = document.parse(
    f"""
services:
  - id: s
    auth:
      any:
        - digest: {{signature_methods: [HmacSHA256, HmacSHA1]}}
        - hmac-auth: {{}}
        - appcode: {{app_code: HEADER_QUERY, hide_credentials: false}}
        - key-auth: {{header: X-Key, query: key}}
        - key-auth: {{header: X-Forwarded-Key, query: null, cookie: null}}
        - jwt-auth: {{}}
        - jwt: {{position: body, name: token}}
        - basic-auth: {{}}
consumers:
  - username: alice
    credentials:
      - {{id: d, digest: {{app_key: alice-app, app_secret: {SECRET}}}}}
      - {{id: h, hmac-auth: {{key_id: alice-id, secret_key: {SECRET}}}}}
"""
)
ROUTES, MEMORY = RouteTable(DOCUMENT), Looking().load(DOCUMENT)
TOKEN = token({"key": "anybody", "exp": AT + 60})
TARGET = f"/x?a=1&appCode=canary%20code%2F%C3%A9&key=canary-key&jwt={TOKEN}"
HEADERS = [
    ("X-Key", "canary-in-header"),
    ("X-Forwarded-Key", "canary-that-cannot-be-hidden"),
    ("Cookie", "session=canary"),
    ("X-Biz", "shown"),
]
SIGNED = ("X-Key", "Cookie", "X-Forwarded-Key", "X-Biz")


def digest(target: str, **more: Any) -> Signed:
    return signing.sign_digest(
        *("GET", target, HEADERS),
        app_key="alice-app",
        app_secret=SECRET,
        signed_headers=SIGNED,
        at=AT,
        **more,
    )


def hmac(target: str) -> Signed:
    return signing.sign_hmac_auth(
        *("GET", target, HEADERS),
        key_id="alice-id",
        secret=SECRET,
        signed_headers=("@request-target", "date", *SIGNED),
        at=AT,
    )


def steps(signed: Signed, target: str, *more: tuple[str, str], client: str = "") -> list[Step]:
    path, _, query = target.partition("?")
    headers = Headers([*HEADERS, *signed.headers, *more])
    request = Request("GET", path, query, headers, "api.test", at=AT)
    return list(explain(request, ROUTES, MEMORY, client or None))


def told(found: list[Step]) -> str:
    return json.dumps([(step.title, step.outcome, step.notes) for step in found])


@pytest.mark.parametrize("sign", [digest, hmac])
@pytest.mark.parametrize("other", ["/x", TARGET])
def test_other_schemes_credentials_are_masked(sign: Any, other: str) -> None:
    """Whether or not the signature holds: in the string to sign, in the comparison, and in the
    answer's own echo of it. What is no credential is shown."""
    signed = sign(other)
    found = steps(signed, TARGET, client=signed.string_to_sign or "")

    assert "canary" not in told(found)
    assert TOKEN not in told(found)
    [text] = [text for step in found for what, text in step.notes if what == "string to sign"]
    assert "X-Biz:" in text
    assert "a=1" in text
    assert "shown" in text
    assert "*" * 8 in text


def test_a_mask_is_as_long_as_what_it_masks() -> None:
    """So that the first difference is where it was."""
    signed = digest("/x?key=canary-key&z=1")
    theirs = (signed.string_to_sign or "").replace("z=1", "z=2")
    found = steps(signed, "/x?key=canary-key&z=1", client=theirs)

    [difference] = [step for step in found if "two strings" in step.title]
    assert f"from byte {theirs.index('z=2') + 2} on" in difference.outcome
    assert dict(difference.notes)["server's"].endswith("/x?key=**********&z=⟦1⟧")
