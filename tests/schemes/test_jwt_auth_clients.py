"""Tokens that other people's libraries make are taken as they come."""

from __future__ import annotations

from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwk as joserfc_keys
from joserfc import jwt as joserfc

from authz.jose.tokens import ALGORITHMS
from tests.support.jwt import CLAIMS, bearing, outcome, setting, store
from tests.support.memory import Memory
from tests.support.tokens import pem, private_key, private_pem

# joserfc would have Ed25519 named by itself (RFC 9864); what is sent today says EdDSA.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")


def memory(algorithm: str) -> Memory:
    key = private_key(algorithm)
    own = {"secret": key.decode()} if algorithm.startswith("HS") else {"public_key": pem(key)}
    return store({"algorithm": algorithm} | own)


def of_joserfc(algorithm: str) -> Any:
    """A key as joserfc holds it."""
    key = private_key(algorithm)
    if algorithm.startswith("HS"):
        return joserfc_keys.import_key(key, "oct")
    kind: Any = {"E": "EC", "R": "RSA", "P": "RSA"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    return joserfc_keys.import_key(private_pem(key), kind)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_pyjwt(algorithm: str, profile: str) -> None:
    """Every algorithm, with a header of its own."""
    key = private_key(algorithm)
    text = pyjwt.encode(CLAIMS, key, algorithm, headers={"kid": "any", "typ": "at+jwt"})

    assert outcome(setting(profile=profile), bearing(text), memory(algorithm)) == "jack-key"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_joserfc(algorithm: str, profile: str) -> None:
    """Every algorithm."""
    text = joserfc.encode({"alg": algorithm}, CLAIMS, of_joserfc(algorithm), algorithms=[algorithm])

    assert outcome(setting(profile=profile), bearing(text), memory(algorithm)) == "jack-key"


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
def test_a_key_set_that_joserfc_publishes(algorithm: str) -> None:
    """With the thumbprint as its `kid`."""
    key = of_joserfc(algorithm)
    published = {"keys": [key.as_dict(private=False, kid=key.thumbprint(), use="sig")]}
    header = {"alg": algorithm, "kid": key.thumbprint()}
    text = joserfc.encode(header, CLAIMS, key, algorithms=[algorithm])

    assert outcome(setting(), bearing(text), store({"jwks": published})) == "jack-key"
