"""Tokens: what PyJWT reads in them, and where they are put."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from authz import signing
from authz.signing import tokens
from tests.support.tokens import SECRET, pem, private_key, private_pem

NOON = 1_800_000_000.0


@pytest.mark.parametrize("algorithm", tokens.ALGORITHMS)
def test_pyjwt_reads_it(algorithm: Any) -> None:
    """Each algorithm, with the key that belongs to it, and a key id."""
    shared = algorithm.startswith("HS")
    key = SECRET if shared else private_pem(private_key(algorithm))
    public = SECRET if shared else pem(private_key(algorithm))

    made = tokens.token({"key": "a", "n": 1}, key=key, algorithm=algorithm, kid="k1")

    assert jwt.decode(made, public, [algorithm]) == {"key": "a", "n": 1}
    assert jwt.get_unverified_header(made) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}


def test_a_short_secret() -> None:
    """The secret is what it is, `apinto` in one vendor's manual; here is no place to complain."""
    made = tokens.token({"name": "John Doe"}, key="apinto")
    assert jwt.get_unverified_header(made)["alg"] == "HS256"


def claims(signed: signing.Signed) -> dict[str, Any]:
    text = signed.headers[0][1].removeprefix("Bearer ")
    read: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return read


def test_lifetime() -> None:
    """`exp` is made unless the claims hold one, or there is to be none."""
    assert claims(signing.sign_jwt({"key": "a"}, key=SECRET, at=NOON)) == {
        "key": "a",
        "exp": 1_800_000_300,
    }
    assert claims(signing.sign_jwt({"exp": 7}, key=SECRET, at=NOON)) == {"exp": 7}
    assert claims(signing.sign_jwt({"key": "a"}, key=SECRET, lifetime=None)) == {"key": "a"}


def test_places() -> None:
    """`Bearer` in the Authorization header alone."""

    def signed(**place: Any) -> signing.Signed:
        return signing.sign_jwt({"key": "a"}, key=SECRET, at=NOON, **place)

    text = tokens.token({"key": "a", "exp": 1_800_000_300}, key=SECRET)
    assert signed().headers == (("Authorization", f"Bearer {text}"),)
    assert signed().string_to_sign == text.rpartition(".")[0]
    assert signed(header="X-Token").headers == (("X-Token", text),)
    assert signed(query="jwt").query == (("jwt", text),)
    assert signed(cookie="jwt").headers == (("Cookie", f"jwt={text}"),)


@pytest.mark.parametrize("algorithm", ["none", "HS1", "ES256K", ""])
def test_unknown_algorithms(algorithm: Any) -> None:
    with pytest.raises(ValueError, match="algorithm: expected one of"):
        tokens.token({}, key="k", algorithm=algorithm)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", "no PEM"),
        ("ES256", SECRET),
        ("EdDSA", pem(private_key("EdDSA"))),
        ("RS256", pem(private_key("RS256"))),
        ("HS256", pem(private_key("RS256"))),
    ],
)
def test_unfit_keys(algorithm: Any, key: str) -> None:
    """A public key signs nothing, nor is one a shared secret."""
    with pytest.raises(ValueError, match=f"not a key for {algorithm}"):
        tokens.token({}, key=key, algorithm=algorithm)
