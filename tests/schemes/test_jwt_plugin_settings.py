"""jwt-plugin: which settings make sense, and that no consumer has such a credential."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from authz.document import decode, parse
from authz.plain import DocumentError
from authz.schemes.no_credential import NoCredential
from tests.support.plugin import (
    JWK,
    MEMORY,
    gateway,
)
from tests.support.tokens import SECRET, jwk, rsa_key


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"jwk": ""}, "expected jwk or jwks, the public keys"),
        ({"jwks": [JWK]}, "expected jwk or jwks, the public keys"),
        ({"jwk": jwk("HS256", SECRET)}, "jwk: a secret: expected public keys only"),
        ({"jwk": JWK | {"d": "AQAB"}}, "jwk: a private key: give the public one"),
        ({"jwk": JWK | {"use": "enc"}}, "jwk: use: not for signatures"),
        ({"jwk": jwk("RS256", rsa_key(1024))}, "jwk: an RSA key of 1024 bits"),
        ({"jwk": {}}, "jwk: kty: expected RSA, EC, OKP or oct"),
        ({"jwk": "", "jwks": []}, "jwks: no key in this set can verify a signature"),
        ({"jwk": "", "jwks": [JWK, JWK]}, "jwks: two keys with one kid"),
        ({"jwk": "", "jwks": [JWK, {"kty": "RSA"}]}, "jwks: keys[1]: n: expected text"),
        ({"consumer": ""}, "expected consumer: NAME, or consumerClaim: CLAIM"),
        ({"consumerClaim": "sub"}, "expected consumer: NAME, or consumerClaim: CLAIM"),
        ({"bypassEmptyToken": True}, "bypassEmptyToken: needs anonymous_consumer: NAME"),
        ({"anonymous_consumer": "guest"}, "anonymous_consumer: needs bypassEmptyToken: true"),
        (
            {"preventJtiReplay": True, "ignoreExpirationCheck": True},
            "preventJtiReplay: with ignoreExpirationCheck",
        ),
        ({"parameter": "a b"}, "parameter: 'a b' is no name in a header"),
        ({"parameter": "a;b", "parameterLocation": "cookie"}, "parameter: 'a;b' is no name in a"),
        ({"parameterLocation": "body"}, "invalid enum value 'body'"),
        ({"parameter_location": "header"}, "unknown field 'parameter_location'"),
    ],
)
def test_settings_that_make_no_sense(fields: dict[str, Any], error: str) -> None:
    """Refused where they are written, with the place and what to do; a secret is not repeated."""
    with pytest.raises(DocumentError) as caught:
        gateway(**fields)

    assert str(caught.value).startswith("services[0].auth.jwt-plugin")
    assert error in str(caught.value)
    assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ([("X-Consumer-Username", "header")], "no claim may set the header X-Consumer-Username"),
        ([("x_credential_id", "header")], "no claim may set the header x_credential_id"),
        ([("Host", "header")], "no claim may set the header Host"),
        ([("X A", "header")], "'X A' is no name in a header"),
        ([("X-A", "header"), ("x_a", "header")], "one header is named twice"),
        ([("a", "query"), ("a", "query")], "one query parameter is named twice"),
    ],
)
def test_claims_that_nobody_may_be_told(parameters: list[tuple[str, str]], error: str) -> None:
    told = [{"claimName": "c", "parameterName": name, "location": at} for name, at in parameters]
    with pytest.raises(DocumentError) as caught:
        gateway(claimParameters=told)

    assert f"claimParameters: {error}" in str(caught.value)


@pytest.mark.parametrize("written", [{}, {"key": "x"}, {"jwk": JWK}])
def test_a_consumer_has_no_such_credential(written: dict[str, Any]) -> None:
    """Said where somebody tries to write one down."""
    consumers = [{"username": "app", "credentials": [{"jwt-plugin": written}]}]
    with pytest.raises(DocumentError) as caught:
        parse(json.dumps({"consumers": consumers}))

    assert str(caught.value) == (
        "consumers[0].credentials[0].jwt-plugin: its keys stand in the settings of a service or a "
        "route, not in a consumer"
    )


def test_nor_can_one_be_issued_or_opened() -> None:
    for attempt in (
        lambda: NoCredential.issue("app"),
        lambda: NoCredential.reopen("app", None, MEMORY),  # type: ignore[arg-type]
        NoCredential,
    ):
        with pytest.raises(ValueError, match="its keys stand in the settings"):
            attempt()


def test_the_document_can_be_written_back() -> None:
    """With the vendor's spelling, and the same again."""
    document = gateway(
        jwk="",
        jwks=[JWK],
        ignoreExpirationCheck=True,
        claimParameters=[{"claimName": "a", "parameterName": "a", "location": "query"}],
    ).document
    written = msgspec.to_builtins(document)

    assert written["services"][0]["auth"]["jwt-plugin"]["ignoreExpirationCheck"] is True
    assert decode(written) == document
