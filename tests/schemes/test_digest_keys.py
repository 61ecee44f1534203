"""digest: its credentials, and how it stands among other schemes."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from authz.references import Secret
from authz.schemes.digest_key import AppKeyDraft
from authz.values import Deny, Place, Request
from tests.support.alibaba import (
    APPS,
    AT,
    KEY,
    SECRET,
    STRICT,
    VAULT,
    code_of,
    setting,
    signed,
)
from tests.support.gateway import Gateway, ask


def test_hiding() -> None:
    """All that came with the signature, if it is asked for."""
    places = setting(hide_credentials=True).hidden(signed(), proven=True)

    assert Place(header="x-ca-signature") in places
    assert {place.header for place in places} == {
        name for name in signed().headers if name.startswith("x-ca-")
    }
    assert STRICT.hidden(signed(), proven=True) == ()


def test_a_draft_is_sealed_and_reopened() -> None:
    """The secret is had back only through the vault."""
    index, form = AppKeyDraft(KEY, Secret(SECRET)).seal(VAULT, "", None)
    plain = AppKeyDraft.reopen(index, form, VAULT)
    again = AppKeyDraft(plain["app_key"], Secret.decode(plain["app_secret"]))

    assert (index, form.secret.value) == (KEY, SECRET.encode())
    assert SECRET not in f"{form}{plain}{again}"
    assert again.seal(VAULT, "", None) == (index, form)
    assert again.seal(VAULT, "", form)[1] is form


@pytest.mark.parametrize(
    ("key", "secret", "message"),
    [
        ("", Secret("s"), "app_key: expected"),
        ("a b", Secret("s"), "app_key: expected"),
        ("a\n", Secret("s"), "app_key: expected"),
        ("x" * 129, Secret("s"), "app_key: expected"),
        ("1", Secret(""), "app_secret: expected"),
        ("1", Secret("x" * 1025), "app_secret: longer"),
        ("1", Secret("x", "hash"), "app_secret: expected"),
        ("1", Secret("k1.nope", "encrypted"), "app_secret: not encrypted"),
    ],
)
def test_unfit_drafts(key: str, secret: Secret, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AppKeyDraft(key, secret).seal(VAULT, "", None)


def test_issued_keys() -> None:
    """Nine digits, and a secret of 32 characters."""
    draft, shown = AppKeyDraft.issue("app")

    assert (draft.app_key, draft.app_secret.value) == (shown["app_key"], shown["app_secret"])
    assert re.fullmatch(r"[1-9][0-9]{8}", shown["app_key"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", shown["app_secret"])


# -- with the pipeline ----------------------------------------------------------------------

DOCUMENT = f"""
services: [{{id: api, auth: {{any: [{{digest: {{}}}}, {{appcode: {{}}}}]}}}}]
consumers:
  - username: app
    credentials:
      - {{id: key, digest: {{app_key: "{KEY}", app_secret: "{SECRET}"}}}}
      - {{id: code, appcode: {{code: "{APPS["app-main"]["app_codes"][0]}"}}}}
  - username: gone
    disabled: true
    credentials: [{{id: key, digest: {{app_key: "7", app_secret: s}}}}]
"""


def test_a_nonce_is_spent_once_and_last() -> None:
    """A request is good once. One that fails for any reason leaves the nonce to its owner."""
    gateway = Gateway(DOCUMENT)

    def reason(request: Request) -> str:
        decision = gateway.decide(request)
        return decision.reason if isinstance(decision, Deny) else "allow"

    assert reason(signed(app_secret="wrong")) == "bad_signature"
    assert reason(signed(stage="NOSUCH")) == "invalid_stage"
    assert reason(replace(signed(), at=AT + 901)) == "timestamp_expired"
    assert reason(signed()) == "allow"
    assert reason(signed()) == "nonce_replayed"
    assert reason(replace(signed(), at=AT + 1)) == "nonce_replayed"
    assert reason(signed(nonce="n-2")) == "allow"


def test_a_suspended_app_is_told_what_an_unknown_one_is() -> None:
    """Only the operator learns the difference."""
    gateway = Gateway(DOCUMENT)
    gone = gateway.decide(signed(app_key="7", app_secret="s"))
    unknown = gateway.decide(signed(app_key="8", app_secret="s"))

    assert isinstance(gone, Deny)
    assert isinstance(unknown, Deny)
    assert (gone.reason, unknown.reason) == ("consumer_disabled", "unknown_app_key")
    assert (gone.status, gone.message, code_of(gone)) == (
        unknown.status,
        unknown.message,
        code_of(unknown),
    )


def test_an_appcode_beside_it() -> None:
    """A client of the vendor's simple kind is not held to sign, whatever X-Ca-* it sends."""
    code = ("authorization", f"APPCODE {APPS['app-main']['app_codes'][0]}")
    gateway = Gateway(DOCUMENT)

    assert not isinstance(gateway.decide(ask("/", code, ("x-ca-stage", "RELEASE"))), Deny)
    refused = gateway.decide(ask("/"))
    assert isinstance(refused, Deny)
    assert (refused.reason, code_of(refused)) == ("missing_app_key", "A400MA")
