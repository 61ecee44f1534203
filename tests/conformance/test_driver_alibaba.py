"""The driver notices what is wrong with Alibaba's cases, and says what it cannot decide."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.case import Inexpressible
from tests.conformance.formats import alibaba
from tests.conformance.test_driver import merged, run

if TYPE_CHECKING:
    from tests.conformance.bench import Bench
    from tests.conformance.case import Plain

APP = {
    "app_id": "1",
    "disabled": False,
    "keys": {"k1": "s1"},
    "app_codes": ["code"],
    "authorizations": [{"api": "*", "stage": "RELEASE", "valid_until": "2023-11-14T22:13:21Z"}],
}
META = {
    "meta": {
        "default_api": {
            "auth_type": "APP",
            "app_code_auth_type": "HEADER",
            "allow_signature_method": "HmacSHA256",
            "force_nonce_check": False,
            "stages": ["RELEASE"],
        },
        "apps": {"one": APP, "two": {**APP, "keys": {"k2": "s2"}, "app_codes": []}},
    }
}
NAMES = "x-ca-key,x-ca-nonce,x-ca-timestamp"
TEXT = f"GET\n\n\n\n\nx-ca-key:k1\nx-ca-nonce:n1\nx-ca-timestamp:{1700000000000}\n/x?é=1"


def call(**changes: Any) -> Plain:
    mac = hmac.digest(b"s1", TEXT.encode(), "sha256")
    headers = {
        "x-ca-key": "k1",
        "x-ca-nonce": "n1",
        "x-ca-timestamp": "1700000000000",
        "x-ca-signature-headers": NAMES,
        "x-ca-signature": base64.b64encode(mac).decode(),
    }
    case = {
        "id": "call",
        "now_ms": 1700000000000,
        "api": {},
        "app": {"app_key": "k1", "app_code": None},
        "string_to_sign": TEXT,
        "request": {"method": "GET", "path": "/x?%C3%A9=1", "headers": [*headers.items()]},
        "expect": {"decision": "allow"},
    }
    return merged(case, **changes)


FORGED = {"reason": "invalid_signature", "error_certainty": "documented table"}
REFUSED: dict[str, Any] = {
    "expect": {"decision": "deny", **FORGED, "alibaba_vpc": {"error_code": "A403IS"}},
    "request__path": "/x?%C3%A9=2",
    "string_to_sign": f"{TEXT[:-1]}2",
}


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({}, {"expect__decision": "deny"}),
        ({}, {"now_ms": 1700000000000 - 900_001}),
        ({}, {"app__app_key": "k2"}),
        ({}, {"before": ["call"]}),
        ({}, {"apps_override": {**APP, "keys": {"k1": "other"}}}),
        ({}, {"api": {"stages": ["PRE"]}}),
        (REFUSED, {"expect__decision": "allow"}),
        (REFUSED, {"expect__alibaba_vpc": {"error_code": "A400IK"}}),
        (REFUSED, {"string_to_sign": TEXT}),
        (REFUSED, {"expect__documented_string_to_sign": TEXT}),
    ],
)
def test_a_wrong_expectation_of_alibabas_fails(
    bench: Bench, before: dict[str, Any], changes: dict[str, Any]
) -> None:
    shared = {**META, "cases": [call()]}
    run(bench, alibaba.translate(call(**before), shared, "direct"))
    with pytest.raises(AssertionError):
        run(bench, alibaba.translate(merged(call(**before), **changes), shared, "direct"))


def test_anybody_may_call_an_api_that_asks_nobody(bench: Bench) -> None:
    open_to_all = {"auth_type": "ANONYMOUS"}
    bad = call(api=open_to_all, request__headers=[["x-ca-key", "nobody"]])
    run(bench, alibaba.translate(bad, META, "direct"))


@pytest.mark.parametrize(
    "changes",
    [
        {"api": {"auth_type": "MAGIC"}},
        {"api": {"quota": 1}},
        {"before": ["somewhere else"]},
    ],
)
def test_what_alibaba_decides_otherwise_is_said(changes: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        alibaba.translate(call(**changes), META, "direct")


def test_a_captured_length_is_the_bodys() -> None:
    headers = [["Content-Length", "9"]]
    trial = alibaba.translate(call(request__headers=headers, request__body="ab"), META, "direct")
    assert trial.requests[0].lines == ((b"Content-Length", b"2"),)
