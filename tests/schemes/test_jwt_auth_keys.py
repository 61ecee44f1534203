"""jwt-auth: key sets by value and by URL, and what is remembered of verified tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from authz.contracts import Fault
from authz.jose import keys, tokens
from authz.jose.key_set import KeySet
from authz.schemes import jwt_core
from authz.schemes.jwt_core import Proven
from authz.values import Request
from tests.support.gateway import NOW
from tests.support.jwt import CLAIMS, bearing, outcome, sent, setting, store
from tests.support.memory import Memory
from tests.support.tokens import SECRET, jwk, pem, private_key, rsa_key, token

SCHEME = setting()
URL = "https://issuer.example/keys"
EC, RSA, EC2 = private_key("ES256"), rsa_key(), private_key("ES256", "second")
PUBLIC = [jwk("ES256", EC, kid="e"), jwk("RS256", RSA, kid="r")]


def from_value(*members: dict[str, Any], **more: Any) -> Memory:
    return store({"jwks": {"keys": list(members or PUBLIC)}, **more})


def from_url(*members: dict[str, Any], **more: Any) -> Memory:
    memory = store({"jwks_url": URL, **more})
    memory.key_sets[URL] = KeySet.of({"keys": list(members or PUBLIC)})
    return memory


@pytest.fixture(params=[from_value, from_url], ids=["by value", "by url"])
def made(request: pytest.FixtureRequest) -> Any:
    return request.param


def signed(key: Any, algorithm: str, **header: Any) -> Request:
    return bearing(token(CLAIMS, key, algorithm, **header))


def test_a_key_is_chosen_by_its_kid(made: Any) -> None:
    """Exactly, and together with the algorithm."""
    memory = made()

    assert outcome(SCHEME, signed(EC, "ES256", kid="e"), memory) == "jack-key"
    assert outcome(SCHEME, signed(RSA, "RS256", kid="r"), memory) == "jack-key"
    assert outcome(SCHEME, signed(RSA, "PS512", kid="r"), memory) == "jack-key"
    assert outcome(SCHEME, signed(EC2, "ES256", kid="e"), memory) == "invalid_signature"
    for kid in ("E", "r", "", "e "):
        found = outcome(SCHEME, signed(EC, "ES256", kid=kid), memory)
        assert found == ("unknown_key_id" if kid else tokens.HEADER_REFUSED)


def test_without_a_kid(made: Any) -> None:
    """One choice is enough, two are too many."""
    two = made(PUBLIC[0], jwk("ES256", EC2, kid="e2"))

    assert outcome(SCHEME, signed(EC, "ES256"), made()) == "jack-key"
    assert outcome(SCHEME, signed(EC, "ES256"), two) == "unknown_key_id"


def test_the_credentials_algorithm_counts_in_a_set_too(made: Any) -> None:
    """Where it is named, the keys' own choice is narrowed."""
    memory = made(algorithm="RS256")

    assert outcome(SCHEME, signed(RSA, "RS256", kid="r"), memory) == "jack-key"
    assert outcome(SCHEME, signed(RSA, "PS256", kid="r"), memory) == "wrong_algorithm"
    assert outcome(SCHEME, signed(EC, "ES256", kid="e"), memory) == "wrong_algorithm"


def test_no_secret_stands_in_a_set(made: Any) -> None:
    """A token signed with HMAC under a public key's text finds no key (CVE-2016-10555)."""
    text = token(CLAIMS, pem(RSA).encode()[:64], "HS256", kid="r")

    assert outcome(SCHEME, bearing(text), made()) == "unknown_key_id"


# -- remembering -----------------------------------------------------------------------------------


class Counted:
    """How often tokens are parsed and signatures checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed = self.verified = 0
        parse, holds = tokens.parse, keys.VerifyKey.holds

        def counted_parse(text: str) -> tokens.Token:
            self.parsed += 1
            return parse(text)

        def counted_holds(key: keys.VerifyKey, jws: tokens.Jws) -> bool:
            self.verified += 1
            return holds(key, jws)

        monkeypatch.setattr(tokens, "parse", counted_parse)
        monkeypatch.setattr(keys.VerifyKey, "holds", counted_holds)

    @property
    def work(self) -> tuple[int, int]:
        return self.parsed, self.verified


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_a_verified_token_costs_nothing_the_second_time(counted: Counted, made: Any) -> None:
    """Neither parsing nor arithmetic; the times are looked at each time."""
    memory = made()
    text = token(CLAIMS, EC, "ES256", kid="e")

    assert [outcome(SCHEME, bearing(text), memory) for _ in range(3)] == ["jack-key"] * 3
    assert counted.work == (1, 1)
    assert outcome(SCHEME, bearing(text, at=NOW + 59.5), memory) == "jack-key"
    assert outcome(SCHEME, bearing(text, at=NOW + 60), memory) == "token_expired"
    assert counted.work == (1, 1)


def test_what_does_not_hold_is_not_remembered(counted: Counted) -> None:
    """Strangers cannot fill the memory."""
    memory = store()
    text = token(CLAIMS, b"x" * 64)

    assert [outcome(SCHEME, bearing(text), memory) for _ in range(2)] == ["invalid_signature"] * 2
    assert counted.work == (2, 2)
    assert memory.remembered == {}


def test_long_tokens_are_not_remembered(counted: Counted) -> None:
    """Thousands of them would be too much."""
    memory = store()
    request = sent(CLAIMS | {"pad": "x" * jwt_core.MEMORABLE})

    assert [outcome(SCHEME, request, memory) for _ in range(2)] == ["jack-key"] * 2
    assert counted.work == (2, 2)


def test_memory_does_not_outlive_the_key(counted: Counted) -> None:
    """Another secret, algorithm or public key: the token no longer holds."""
    text = token(CLAIMS)
    for changed in (
        {"secret": "x" * 64},
        {"secret": SECRET.decode(), "algorithm": "HS512"},
        {"public_key": pem(RSA), "algorithm": "RS256"},
        {"jwks": PUBLIC[0]},
    ):
        memory, other = store(), store(changed)
        assert outcome(SCHEME, bearing(text), memory) == "jack-key"
        memory.credentials = other.credentials
        assert outcome(SCHEME, bearing(text), memory) in (
            "invalid_signature",
            "wrong_algorithm",
            "unknown_key_id",
        )
        memory.credentials = {}
        assert outcome(SCHEME, bearing(text), memory) == "invalid_user_key"


def test_memory_survives_a_credential_that_is_read_again(counted: Counted) -> None:
    """The same key in a new record is the same key."""
    memory, again = store(), store()
    outcome(SCHEME, sent(CLAIMS), memory)
    memory.credentials = again.credentials

    assert outcome(SCHEME, sent(CLAIMS), memory) == "jack-key"
    assert counted.work == (1, 1)


def test_a_key_that_left_the_set_verifies_nothing_more() -> None:
    """Not even what it did verify; and when there is no set, there is no answer."""
    memory = from_url()
    request = signed(EC, "ES256", kid="e")
    assert outcome(SCHEME, request, memory) == "jack-key"

    memory.key_sets[URL] = KeySet.of({"keys": [PUBLIC[1]]})
    assert outcome(SCHEME, request, memory) == "unknown_key_id"
    memory.key_sets[URL] = KeySet.of({"keys": [jwk("ES256", EC2, kid="e")]})
    assert outcome(SCHEME, request, memory) == "invalid_signature"
    memory.key_sets[URL] = KeySet.of({"keys": PUBLIC})
    assert outcome(SCHEME, request, memory) == "jack-key"
    del memory.key_sets[URL]
    with pytest.raises(Fault, match="keys_unavailable"):
        SCHEME.authenticate(request, memory.within(""))


def test_other_memories_are_not_ours() -> None:
    """What another part remembers under the same text says nothing of a signature."""
    memory = store()
    text = token(CLAIMS, b"x" * 64)
    memory.remembered["", text] = ("jack-key", True)
    assert outcome(SCHEME, bearing(text), memory) == "invalid_signature"

    other = tokens.parse(token(CLAIMS))
    key = keys.secret_key("HS256", SECRET)
    known = Proven("HS256", None, "jwt", other.payload, key)
    memory.remembered["", text] = known
    assert outcome(SCHEME, bearing(text), memory) == "jack-key"
    memory.remembered["", text] = replace(known, key=keys.secret_key("HS256", b"x" * 32))
    assert outcome(SCHEME, bearing(text), memory) == "invalid_signature"


def test_what_is_remembered_shows_no_token() -> None:
    """In memory there is neither the token nor its signature."""
    memory = store()
    outcome(SCHEME, sent(CLAIMS), memory)
    [(_, value)] = memory.remembered.items()

    assert value == Proven(
        "HS256", None, "jwt", json.dumps(CLAIMS).encode(), keys.secret_key("HS256", SECRET)
    )
    assert repr(value) == "Proven(HS256)"
