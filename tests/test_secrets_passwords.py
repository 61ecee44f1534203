"""Password hashes: what matches, what is taken, and nothing that crashes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.hashes import check_password_hash, hash_password, verify_password
from tests.support.memory import HASHER, CheapVault
from tests.support.texts import NAUGHTY, wire_texts


def test_passwords_are_argon2id() -> None:
    """The default cost is OWASP's, salts differ, and only the password itself matches."""
    one, other = hash_password("pässword"), hash_password("pässword")

    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other
    assert [verify_password(word, one) for word in ("pässword", "passwort", "")] == [
        True,
        False,
        False,
    ]
    check_password_hash(one)


@given(wire_texts())
def test_every_password_matches_itself(password: str) -> None:
    """Any text can be hashed and matches; with one character more it does not."""
    vault = CheapVault()
    hashed = vault.hash_password(password)

    assert vault.password_matches(password, hashed)
    assert not vault.password_matches(f"{password}x", hashed)


@pytest.mark.parametrize("tail", ["x", "\0", "\0x", " "])
def test_the_whole_password_counts(tail: str) -> None:
    """Neither a long password nor a NUL is cut."""
    hashed = CheapVault().hash_password("p" * 100)

    assert not verify_password("p" * 100 + tail, hashed)


# The salt is fixed so that every process collects the same cases.
CHEAP = HASHER.hash("x", salt=bytes(16))


@pytest.mark.parametrize(
    ("hashed", "message"),
    [
        ("", "not an argon2id hash"),
        ("hunter2", "not an argon2id hash"),
        ("$2b$12$abcdefghijklmnopqrstuv", "not an argon2id hash"),
        (CHEAP.replace("argon2id", "argon2i"), "only argon2id"),
        (CHEAP.replace("argon2id", "argon2d"), "only argon2id"),
        (CHEAP.replace("v=19", "x=19"), "not an argon2id hash"),
        (CHEAP.replace("m=8", "m=262145"), "costs more"),
        (CHEAP.replace("t=1", "t=11"), "costs more"),
        (CHEAP.replace("p=1", "p=9"), "costs more"),
        (CHEAP.replace("m=8", "m=0"), "not an argon2id hash"),
        (CHEAP.replace("m=8", "m=-8"), "not an argon2id hash"),
        (CHEAP.replace("m=8", "m= 8"), "not an argon2id hash"),
        (CHEAP[:-1] + "é", "not an argon2id hash"),
        (CHEAP[:-1] + "!", "not an argon2id hash"),
        (CHEAP + "\n", "not an argon2id hash"),
        (CHEAP.rpartition("$")[0] + "$", "not an argon2id hash"),
    ],
)
def test_hashes_that_are_refused(hashed: str, message: str) -> None:
    """A hash that can never match, or that costs too much, is refused when it is written."""
    with pytest.raises(ValueError, match=message):
        check_password_hash(hashed)


HASHES = st.sampled_from(CHEAP[1:].split("$")) | st.text(max_size=6)


@given(st.lists(HASHES, max_size=6).map("$".join) | st.sampled_from(NAUGHTY))
def test_no_hash_crashes(text: str) -> None:
    """Whatever stands for a hash, it does not match, and checking says no in no other way."""
    for hashed in (text, f"${text}"):
        assert not verify_password("y", hashed)
        with suppress(ValueError):
            check_password_hash(hashed)


@pytest.mark.parametrize(
    "cost", ["m=8,t=1,p=1", "m=262144,t=10,p=8", "m=65536,t=3,p=4", "m=19456,t=2,p=1"]
)
def test_hashes_that_are_taken(cost: str) -> None:
    """A hash of any cost that we are willing to pay is taken."""
    check_password_hash(CHEAP.replace("m=8,t=1,p=1", cost))
