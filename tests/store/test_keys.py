"""Names in the store: no two things share one, and nothing leaves its namespace."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from authz.store.keys import Keys
from tests.support.texts import NAUGHTY, mixed

KEYS = Keys("authz")
#: Parts that come from people, and what might pass for the separators of a name.
_PARTS = mixed(
    "", "a", "b", "/", ":", "%", "%2F", "2F", "{", "}", "authz", "\0", "é", "_", "-", "~"
)
_ANY = _PARTS | st.text(max_size=6) | st.sampled_from(NAUGHTY)
_KINDS = st.sampled_from(["key-auth", "basic-auth", "key", "auth"])


def test_names() -> None:
    """Names that people see in the store say what they are."""
    assert [
        KEYS.epoch,
        KEYS.config,
        KEYS.consumers,
        KEYS.consumer("", "john"),
        KEYS.consumer("t1", "jöhn/x"),
        KEYS.credential("t1", "key-auth", "k1.A_b-c"),
        KEYS.nonce("t1", "n"),
    ] == [
        "{authz}:epoch",
        "{authz}:config",
        "{authz}:consumers",
        "{authz}:consumer:/john",
        "{authz}:consumer:t1/j%C3%B6hn%2Fx",
        "{authz}:credential:t1/key-auth/k1.A_b-c",
        "authz~nonce:t1/n",
    ]


@given(st.tuples(_ANY, _ANY), st.tuples(_ANY, _ANY))
def test_two_consumers_have_two_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Names are the same exactly when tenant and user name are; likewise nonces."""
    assert (KEYS.consumer(*one) == KEYS.consumer(*other)) == (one == other)
    assert (KEYS.nonce(*one) == KEYS.nonce(*other)) == (one == other)


@given(st.tuples(_ANY, _KINDS, _ANY), st.tuples(_ANY, _KINDS, _ANY))
def test_two_credentials_have_two_names(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Names are the same exactly when tenant, kind and look-up key are."""
    assert (KEYS.credential(*one) == KEYS.credential(*other)) == (one == other)


@given(_ANY, _ANY, _KINDS)
def test_nothing_leaves_its_place(tenant: str, name: str, kind: str) -> None:
    """Whatever a name holds: a record starts like records, a nonce does not, no kind of name
    passes for another; records have one hash tag, and nonces none, so that they are spread."""
    consumer, nonce = KEYS.consumer(tenant, name), KEYS.nonce(tenant, name)
    credential = KEYS.credential(tenant, kind, name)
    fixed = {KEYS.epoch, KEYS.config, KEYS.consumers, KEYS.nothing}

    assert consumer.startswith(f"{KEYS.records}consumer:")
    assert credential.startswith(f"{KEYS.records}credential:")
    assert not nonce.startswith(KEYS.records)
    assert len({consumer, credential, nonce} | fixed) == 7
    assert re.findall(r"[{}]", nonce) == []
    for key in (consumer, credential, *fixed):
        assert re.findall(r"[{}]", key) == ["{", "}"]
        assert re.match(r"\{([^}]*)\}", key)[1] == "authz"  # type: ignore[index]
    for key in (consumer, credential, nonce):
        assert key.encode()
        assert key.count("/") == (2 if key == credential else 1)


@given(st.tuples(_ANY, _ANY), st.sampled_from(["authz", "authz2", "other"]))
def test_two_namespaces_share_nothing(names: tuple[str, str], namespace: str) -> None:
    """A store may serve several installations."""
    other = Keys(namespace)
    mine, theirs = KEYS.consumer(*names), other.consumer(*names)

    assert (mine == theirs) == (namespace == "authz")
    assert theirs.startswith(KEYS.records) == (namespace == "authz")


def test_text_that_is_no_text() -> None:
    """A name that came over the wire as odd bytes has a key of its own, too."""
    names = ["\udcff", "\ud800", "a\udcff", "a"]

    assert len({KEYS.consumer("", name).encode() for name in names}) == len(names)
