"""Records: what goes in comes out, under its own name and the key ring alone."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.contracts import StoreDown
from authz.schemes import SCHEMES
from authz.schemes.basic_auth import Password
from authz.schemes.digested import Digested
from authz.secrets import KeyRing, Recoverable
from authz.store.keys import Keys
from authz.store.records import (
    CORRUPT,
    Codec,
    ConsumerRecord,
    CredentialRecord,
    Epoch,
    Locator,
)
from authz.values import Consumer, Credential
from tests.support.memory import RING
from tests.support.texts import human_texts

CODEC = Codec(RING, {kind: scheme.form for kind, scheme in SCHEMES.items()})
KEYS = Keys("authz")
OTHER_RING = KeyRing.parse("k1:" + "A" * 43 + "=")

_TEXTS = human_texts(max_size=8)
_TIMES = st.sampled_from([0.0, 1.5, 1_800_000_000.0])
_LIFE: dict[str, Any] = {"disabled": st.booleans(), "not_before": _TIMES, "expires_at": _TIMES}
_CONSUMERS = st.builds(
    ConsumerRecord,
    username=_TEXTS,
    tenant=_TEXTS,
    groups=st.lists(_TEXTS, max_size=2).map(tuple),
    labels=st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    headers=st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    managed=st.booleans(),
    credentials=st.dictionaries(_TEXTS, st.builds(Locator, _TEXTS, _TEXTS), max_size=2),
    **_LIFE,
)
_FORMS = st.builds(lambda hint: ("key-auth", Digested(hint)), _TEXTS) | st.builds(
    lambda hashed: ("basic-auth", Password(hashed)), _TEXTS
)
_CREDENTIALS = st.builds(
    lambda form, **fields: CredentialRecord(kind=form[0], form=form[1], **fields),
    form=_FORMS,
    consumer=_TEXTS,
    id=_TEXTS,
    tenant=_TEXTS,
    named=st.booleans(),
    managed=st.booleans(),
    created_at=_TIMES,
    **_LIFE,
)
_EPOCHS = st.builds(Epoch, _TEXTS, st.integers(0, 2**53))
_NAMES = st.builds(KEYS.consumer, _TEXTS, _TEXTS)


def corrupt(name: str, stored: bytes, type_: type[Any], codec: Codec = CODEC) -> bool:
    """Whether the record does not open, in the one way in which records do not."""
    with pytest.raises(StoreDown) as caught:
        codec.decode(name, stored, type_)
    return caught.value.reason == CORRUPT


@given(_NAMES, _CONSUMERS | _CREDENTIALS | _EPOCHS)
def test_what_goes_in_comes_out(name: str, record: Any) -> None:
    """Every field of every record survives."""
    assert CODEC.decode(name, CODEC.encode(name, record), type(record)) == record


@given(_NAMES, _CONSUMERS, _CREDENTIALS)
def test_a_worker_reads_what_it_needs(
    name: str, consumer: ConsumerRecord, credential: CredentialRecord
) -> None:
    """What only the commands need is left out, and the rest is the same."""
    small = CODEC.decode(name, CODEC.encode(name, consumer), Consumer)
    small_credential = CODEC.decode(name, CODEC.encode(name, credential), Credential)

    assert type(small) is Consumer
    assert type(small_credential) is Credential
    for one, other in ((small, consumer), (small_credential, credential)):
        for field in one.__struct_fields__:
            assert getattr(one, field) == getattr(other, field)


@given(_NAMES, _CREDENTIALS, st.data())
def test_a_record_that_was_touched_is_corrupt(
    name: str, record: CredentialRecord, data: st.DataObject
) -> None:
    """A flipped bit, a cut, a tail, another name or another ring: it does not open."""
    stored = CODEC.encode(name, record)
    at = data.draw(st.integers(0, len(stored) - 1))
    flipped = bytearray(stored)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))

    for altered in (bytes(flipped), stored[:at], stored + b" "):
        assert corrupt(name, altered, CredentialRecord)
    assert corrupt(f"{name}x", stored, CredentialRecord)
    assert corrupt(name, stored, CredentialRecord, Codec(OTHER_RING, {}))


def test_swapped_records_are_corrupt() -> None:
    """Nobody becomes another by moving records about in the store."""
    alice, bob = KEYS.consumer("", "alice"), KEYS.consumer("", "bob")
    stored = CODEC.encode(alice, ConsumerRecord("alice"))

    assert CODEC.decode(alice, stored, Consumer) == Consumer("alice")
    assert corrupt(bob, stored, Consumer)


def test_a_form_is_read_as_its_scheme_stores_it() -> None:
    """A kind that nobody knows, or another kind's form, does not open."""
    stored = CODEC.encode("n", CredentialRecord("a", "b", "basic-auth", Password("h")))
    unknown = CODEC.encode("n", CredentialRecord("a", "b", "other", Digested()))
    wrong = CODEC.encode("n", CredentialRecord("a", "b", "basic-auth", Digested("h")))

    assert CODEC.decode("n", stored, Credential).form == Password("h")
    assert corrupt("n", unknown, Credential)
    assert corrupt("n", wrong, Credential)


_PAYLOADS = st.sampled_from(
    [
        *(b"", b"null", b"[]", b"{}", b"[[[", b'{"username":1}', b'{"username":"\xff"}', b"\x00"),
        *(
            b'{"username":"\\ud800"}',
            b'{"kind":"key-auth","form":{}}',
            b'{"id":"a","revision":-1.5}',
        ),
        b'{"consumer":"a","id":"b","kind":"key-auth","form":{"hint":"\xff"}}',
        b'{"username":"a","expires_at":1e999}',
        b'{"username":"a","expires_at":"never"}',
    ]
)


@given(_PAYLOADS | st.binary(max_size=30), st.sampled_from([Consumer, Credential, Epoch]))
def test_a_sealed_payload_that_is_no_record(payload: bytes, type_: type[Any]) -> None:
    """Even with a good seal only a record of the right type opens."""
    with pytest.raises(StoreDown):
        CODEC.decode("n", RING.seal("n", payload), type_)


def test_no_secret_is_stored_in_clear() -> None:
    """What is written of a key is its hint, of a password its hash; the rest is public."""
    stored = CODEC.encode("n", CredentialRecord("a", "b", "key-auth", Digested("authz_01…tail")))
    payload = msgspec.json.decode(stored.split(b".", 2)[2])

    assert payload == {
        "consumer": "a",
        "id": "b",
        "kind": "key-auth",
        "form": {"hint": "authz_01…tail"},
    }


@given(st.binary(max_size=60), st.sampled_from([Consumer, Credential, Epoch]))
def test_foreign_bytes_are_corrupt(stored: bytes, type_: type[Any]) -> None:
    """Whatever somebody else wrote under our name, it is a fault and not a record."""
    assert corrupt("n", stored, type_)


class _Signed(msgspec.Struct):
    secret: Recoverable


def test_a_recoverable_secret_is_encrypted_in_its_record() -> None:
    """It comes back, it is nowhere to be read, and another key ring does not open it."""
    codec = Codec(RING, {"signed": _Signed})
    credential = CredentialRecord("a", "b", "signed", _Signed(Recoverable(b"canary-secret")))

    stored = codec.encode("name", credential)

    opened = codec.decode("name", stored, Credential)
    assert opened.form.secret == Recoverable(b"canary-secret")
    assert b"canary" not in stored
    assert base64.b64encode(b"canary-secret")[:12] not in stored
    with pytest.raises(StoreDown):
        codec.decode("name", codec.ring.seal("name", stored.partition(b"{")[2]), Credential)
