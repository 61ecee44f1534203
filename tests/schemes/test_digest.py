"""digest: whose signature it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from authz import forms
from authz.schemes.digest_key import AppSecret
from authz.secrets import Recoverable
from authz.values import Headers, Request
from tests.support.alibaba import (
    CASES,
    KEY,
    STORE,
    STRICT,
    VENDOR,
    apps,
    outcome,
    request_of,
    setting,
    signed,
    with_header,
)
from tests.support.gateway import ask

ALL = ("HmacSHA256", "HmacSHA1")


def test_defaults() -> None:
    """HmacSHA256 alone; what is required follows the profile."""
    assert STRICT.signature_methods == ("HmacSHA256",)
    assert STRICT.stages == ("RELEASE", "PRE", "TEST")
    assert STRICT.force_nonce_check is STRICT.force_timestamp is STRICT.require_content_md5 is None
    assert (STRICT.hide_credentials, STRICT.anonymous_consumer) == (False, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"signature_methods": []},
        {"signature_methods": ["HmacMD5"]},
        {"stages": []},
        {"stages": ["A B"]},
        {"realm": "x"},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        setting(**wrong)


# -- the vendor's own clients ----------------------------------------------------------------------

#: What the vectors call a reason, and what it is called here.
REASONS = {
    "invalid_signature": "bad_signature",
    "invalid_timestamp": "timestamp_malformed",
    "nonce_used": "nonce_replayed",
    "nonce_required": "nonce_missing",
    # Refused because its Content-Length speaks of a body that is not there.
    "invalid_content_md5": "body_not_shown",
}
#: Grants decide these, not signatures.
GRANTED = {"app_not_authorized", "authorization_expired"}
SIGNED = [
    case
    for case in CASES.values()
    if case["string_to_sign"] is not None
    and case["expect"].get("reason") not in GRANTED
    and case["expect"].get("reason") != "nonce_used"
]


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: case["id"])
def test_the_vendors_clients(case: dict[str, Any]) -> None:
    """Under its profile each of its clients is understood, and each vector decided as it says."""
    api, expected = case["api"], case["expect"]
    methods = api.get("allow_signature_method", "HmacSHA1,HmacSHA256").split(",")
    nonce = api.get("force_nonce_check", False)
    scheme = setting(profile="alibaba", signature_methods=methods, force_nonce_check=nonce)
    store = apps()
    if "apps_override" in case:
        for key, secret in case["apps_override"]["keys"].items():
            credential = STORE.credentials["", "digest", KEY]
            form = AppSecret(Recoverable(secret.encode()))
            store.credentials["", "digest", key] = replace(credential, id=key, form=form)
    found = outcome(scheme, request_of(case), store)

    if expected["decision"] == "allow":
        assert found == case["app"]["app_key"]
    elif case["id"] == "x-missing-all":
        assert found is None
    else:
        assert found == REASONS.get(expected["reason"], expected["reason"])


def test_the_default_takes_every_sdk_that_covers_its_request() -> None:
    """What the default refuses of the vendor's clients, it refuses for a reason."""
    refused: dict[str, list[str]] = {}
    for case in SIGNED:
        if case["expect"]["decision"] == "allow" and "apps_override" not in case:
            found = outcome(setting(signature_methods=ALL), request_of(case))
            if found != case["app"]["app_key"]:
                refused.setdefault(str(found), []).append(case["id"])

    repeated = ["pypi-get-repeated", "pypi-get-repeated-sha1", "x-second-value-changed"]
    in_both = ["node-post-form-same-key", "pypi-post-form-same-key", "java-post-form-same-key"]
    assert refused == {
        "content_md5_missing": [
            "node-put-json",
            "java-post-json-no-md5",
            "x-put-json-body-changed",
        ],
        "ambiguous_parameters": sorted(
            [*repeated, *in_both, "java-get-query", "java-post-form-sha1", "x-ampersand-confusion"],
            key=list(CASES).index,
        ),
    }


# -- whose signature ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ask("/"), None),
        (ask("/", ("x-ca-stage", "TEST"), ("x-ca-nonce", "n")), None),
        (ask("/", ("authorization", "APPCODE x")), None),
        (signed(), KEY),
        (signed(app_key="204203237", app_secret="second-secret-of-same-app"), "204203237"),
        (signed(drop=["X-Ca-Key"]), "missing_app_key"),
        (signed(drop=["X-Ca-Signature"]), "missing_signature"),
        (with_header(signed(), "x-ca-key", ""), "missing_app_key"),
        (with_header(signed(), "x-ca-signature", ""), "missing_signature"),
        (signed(app_key="999"), "unknown_app_key"),
        (signed(app_key="9" * 200), "unknown_app_key"),
        (signed(app_secret="wrong"), "bad_signature"),
        (with_header(signed(), "x-ca-signature", "@@not-base64@@"), "bad_signature"),
        (with_header(signed(), "x-ca-signature", "中"), "bad_signature"),
        (with_header(signed(), "x-ca-key", "204203237"), "bad_signature"),
        (signed(algorithm="HmacSHA1"), "signature_method_not_allowed"),
        (with_header(signed(), "x-ca-signature-method", "HmacMD5"), "signature_method_not_allowed"),
        (with_header(signed(), "x-ca-signature-method", ""), "signature_method_not_allowed"),
        (replace(signed(), method="POST"), "bad_signature"),
        (replace(signed(), path="/v1/itemsx"), "bad_signature"),
        (replace(signed(), query="a=1"), "bad_signature"),
        (with_header(signed(), "accept", "a/b"), "bad_signature"),
        (with_header(signed(), "content-type", "a/b"), "bad_signature"),
        (with_header(signed(), "date", "now"), "bad_signature"),
        (with_header(signed(), "x-other", "free"), KEY),
        (signed("GET", "/v1/a%20b/%E4%B8%AD"), KEY),
        (signed(stage="PRE"), KEY),
        (signed(stage="NOSUCH"), "invalid_stage"),
        (signed(stage="release"), "invalid_stage"),
        (signed(headers=[("X-Biz", "42")], signed_headers=["X-Biz"]), KEY),
        (
            with_header(signed(headers=[("X-Biz", "42")], signed_headers=["X-Biz"]), "x-biz", "43"),
            "bad_signature",
        ),
    ],
)
def test_decisions(request_: Request, expected: str | None) -> None:
    """Signed by the secret of the key that is named, or refused."""
    assert outcome(STRICT, request_) == expected


def test_the_algorithm_is_the_routes_to_choose() -> None:
    """HmacSHA1 where it is allowed, HmacSHA256 alone or beside it."""
    old = signed(algorithm="HmacSHA1")

    assert outcome(setting(signature_methods=ALL), old) == KEY
    only = setting(signature_methods=["HmacSHA1"])
    assert outcome(only, old) == KEY
    assert outcome(only, signed()) == "signature_method_not_allowed"


def test_stages_are_the_routes() -> None:
    """An absent stage is RELEASE, which a route need not have."""
    scheme = setting(stages=["PRE", "blue"])

    assert outcome(scheme, signed(stage="blue")) == KEY
    assert outcome(scheme, signed()) == outcome(scheme, signed(stage="TEST")) == "invalid_stage"


@pytest.mark.parametrize("profile", ["api7", "alibaba"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=%zz", "malformed_parameters"),
        ("%=1", "malformed_parameters"),
        ("a=%ff", "malformed_parameters"),
        ("a=\udcff", "malformed_parameters"),
        ("&" * forms.MAX_PARAMETERS, "too_many_parameters"),
    ],
)
def test_parameters_are_read_strictly(profile: str, query: str, expected: str) -> None:
    """What two readers may decode differently has no string to sign."""
    assert outcome(setting(profile=profile), replace(signed(), query=query)) == expected


@pytest.mark.parametrize("profile", ["api7", "alibaba"])
@pytest.mark.parametrize(
    "names",
    [
        "x-ca-key,X-Ca-Key",
        "x-ca-key,,x-ca-nonce",
        "x-ca-key,a b",
        "x-ca-key,/v1/items",
        "x-ca-key:x-ca-nonce",
        "x-ca-key,中",
        ",".join(f"h{number}" for number in range(101)),
    ],
)
def test_the_list_of_names_is_read_strictly(profile: str, names: str) -> None:
    """Whatever could be read as two lists, or as another line of what is signed."""
    request = with_header(signed(), "x-ca-signature-headers", names)

    assert outcome(setting(profile=profile), request) == "malformed_signature_headers"


def test_blanks_around_names_do_not_count() -> None:
    request = signed()
    names = (request.headers.first("x-ca-signature-headers") or "").replace(",", " ,\t")

    assert outcome(STRICT, with_header(request, "x-ca-signature-headers", f" {names} ")) == KEY


@pytest.mark.parametrize("name", ["x-ca-key", "x-ca-signature", "x-ca-mode", "accept", "x-biz"])
def test_no_header_is_there_twice(name: str) -> None:
    """Two readers may pick different ones."""
    request = signed(headers=[("x-ca-mode", "m"), ("x-biz", "b")], signed_headers=["x-biz"])
    lines = [(n, v) for n in request.headers for v in request.headers.get(n)]
    doubled = Headers([*lines, (name, request.headers.first(name) or "")])

    for scheme in (STRICT, VENDOR):
        assert outcome(scheme, replace(request, headers=doubled)) == "duplicate_header"
    assert outcome(STRICT, with_header(request, "x-other", "1")) == KEY
