"""The driver notices what is wrong with requests that are made, and with answers of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.conformance.case import Exchange
from tests.conformance.formats import apisix
from tests.conformance.formats.apisix_generate import MOMENT
from tests.conformance.test_driver import merged, run

if TYPE_CHECKING:
    from tests.conformance.bench import Bench
    from tests.conformance.case import Plain
    from tests.conformance.envoy import Gateway

JACK = {
    "username": "jack",
    "credentials": [
        {"id": "t", "type": "jwt-auth", "key": "jack-key", "secret": "short", "exp": 60},
        {"id": "s", "type": "hmac-auth", "key_id": "jack-id", "secret_key": "hush"},
    ],
}
TOKEN: dict[str, Any] = {
    "plugin": "jwt-auth",
    "kind": "request",
    "profile": "apisix-3.18",
    "compat": "must",
    "consumers": [JACK],
    "route_config": {"jwt-auth": {"store_in_ctx": True}},
    "request": {"method": "GET", "path": "/x", "headers": {}},
    "generate": {
        "kind": "jwt",
        "header": {"alg": "HS256"},
        "payload": {"key": "jack-key", "exp": {"now_plus": 1}},
        "signing_key": "short",
        "place": {"in": "header", "name": "Authorization", "prefix": "Bearer "},
    },
    "expect": {"status": 200, "claims_exposed": {"key": "jack-key", "exp": MOMENT + 1}},
}
SIGNATURE: dict[str, Any] = {
    **TOKEN,
    "plugin": "hmac-auth",
    "route_config": {"hmac-auth": {}},
    "generate": {
        "kind": "hmac-signature",
        "key_id": "jack-id",
        "secret": "hush",
        "algorithm": "hmac-sha256",
        "headers_param": ["@request-target", "date"],
        "signing_lines": ["{key_id}", "{method} {path}", "date: {header:date}"],
        "date_offset_s": 300,
    },
    "expect": {"status": 200},
}
SIGN: dict[str, Any] = {
    **TOKEN,
    "plugin": "jwt-auth-sign",
    "kind": "sign",
    "profile": "apisix-3.10",
    "consumers": [{"username": "jack", "credentials": JACK["credentials"][:1]}],
    "route_config": {"public-api": {}},
    "request": {"method": "GET", "path": "/apisix/plugin/jwt/sign?key=jack-key", "headers": {}},
    "expect": {
        "status": 200,
        "jwt_body": {
            "header": {"alg": "HS256"},
            "payload": {"key": "jack-key", "exp": {"now_plus": 60}},
            "verifies_with": "short",
        },
    },
}
del SIGN["generate"]


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        (TOKEN, {"expect__claims_exposed": None}),
        (TOKEN, {"expect__claims_exposed": {"key": "jack-key"}}),
        (TOKEN, {"route_config": {"jwt-auth": {}}}),
        (TOKEN, {"generate__payload": {"key": "jack-key", "exp": {"now_plus": 0}}}),
        (TOKEN, {"generate__signing_key": "other"}),
        (SIGNATURE, {"generate__date_offset_s": 301}),
        (SIGNATURE, {"generate__sent_date_offset_s": 0}),
        (SIGNATURE, {"generate__secret": "other"}),
        (SIGNATURE, {"generate__trailing_newline": False}),
        (SIGN, {"expect__status": 404}),
        (SIGN, {"expect__jwt_body__header": {"alg": "HS512"}}),
        (SIGN, {"expect__jwt_body__payload": {"key": "jack-key", "exp": {"now_plus": 61}}}),
        (SIGN, {"expect__jwt_body__verifies_with": "other"}),
        (SIGN, {"request__path": "/apisix/plugin/jwt/sign?key=jim-key"}),
    ],
)
def test_a_vendors_wrong_expectation_fails(
    bench: Bench, case: Plain, changes: dict[str, Any]
) -> None:
    run(bench, apisix.translate(case, {}, "direct"))
    with pytest.raises((AssertionError, jwt.InvalidSignatureError)):
        run(bench, apisix.translate(merged(case, **changes), {}, "direct"))


def test_an_answer_of_our_own_is_no_denial(gateway: Gateway, bench: Bench) -> None:
    trial = apisix.translate(SIGN, {}, "envoy")
    assert isinstance(trial, Exchange)
    bench.now = trial.now
    assert bench.prepare(trial.document, trial.refusal) is None
    for ask in (bench.ask, gateway.ask):
        answer = ask(trial.requests[0])
        assert (answer.outcome, answer.status, answer.upstream) == ("answer", 200, None)
        trial.verify([answer])


def test_legacy_credentials_keep_their_fields_under_their_profile() -> None:
    held = {"type": "hmac-auth", "access_key": "a", "secret_key": "s", "clock_skew": 10}
    for profile, kept in (("apisix-3.10", {"clock_skew": 10}), ("apisix-3.18", {})):
        consumer = {"username": "jack", "credentials": [held]}
        case = merged(SIGNATURE, profile=profile, consumers=[consumer])
        trial = apisix.translate(case, {}, "direct")
        ((credential,),) = (each["credentials"] for each in trial.document["consumers"])
        assert credential == {"hmac-auth": {"access_key": "a", "secret_key": "s", **kept}}
