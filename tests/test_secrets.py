"""The key ring, digests and seals."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.references import Secret, recover
from authz.secrets import (
    KeyRing,
    KeyRingError,
    KeyRingVault,
    Mac,
    Recoverable,
    SealBroken,
    create_keyring,
    read_keyring,
)
from tests.support.memory import RING

IDS = st.text(st.sampled_from("abzABZ019_-"), min_size=1, max_size=32)
KEYS = st.binary(min_size=32, max_size=32)
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()
OLD, NEW = f"old:{KEY}", f"new:{OTHER}"


# -- the ring --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"k1:{KEY}", ["k1"]),
        (f"new:{KEY}\nold:{OTHER}\n", ["new", "old"]),
        (f"new:{KEY},old:{OTHER}", ["new", "old"]),
        (f"# a comment, with commas\n\n  k1:{KEY}  # another\r\n", ["k1"]),
    ],
)
def test_key_rings(text: str, ids: list[str]) -> None:
    """Lines or commas separate keys; comments and blanks are nothing; the first is the newest."""
    assert [key.id for key in KeyRing.parse(text).keys] == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the key ring is empty"),
        ("# only a comment", "the key ring is empty"),
        (f"k1:{KEY}\nk1:{OTHER}", "names one key id twice"),
        (f"k1:{KEY}\n{OTHER}", "line 2: expected `id:base64 of 32 bytes`"),
        (f":{KEY}", "line 1"),
        (f"k.1:{KEY}", "line 1"),
        (f"{'k' * 33}:{KEY}", "line 1"),
        (f"k1: {KEY}", "line 1"),
        (f"k1:{KEY[:-4]}", "line 1"),
        (f"k1:{KEY.rstrip('=')}", "line 1"),
        (f"k1:{KEY}{KEY}", "line 1"),
        ("k1:" + base64.urlsafe_b64encode(b"\xff" * 32).decode(), "line 1"),
    ],
)
def test_malformed_key_rings(text: str, message: str) -> None:
    """What is not a key ring is refused with its line, and without its keys."""
    with pytest.raises(KeyRingError, match=message) as caught:
        KeyRing.parse(text)
    assert KEY[:8] not in str(caught.value)
    assert OTHER[:8] not in str(caught.value)


@given(
    st.lists(st.tuples(IDS, KEYS), min_size=1, max_size=4, unique_by=lambda pair: pair[0]),
    st.sampled_from(["\n", ",", " ", "\r\n", "\n# newer, older\n"]),
)
def test_every_key_is_read(pairs: list[tuple[str, bytes]], separator: str) -> None:
    """However keys are separated, all are read, in their order."""
    text = separator.join(f"{name}:{base64.b64encode(key).decode()}" for name, key in pairs)

    ring = KeyRing.parse(text)

    assert [key.id for key in ring.keys] == [name for name, _ in pairs]
    alone = [KeyRing.parse(f"{name}:{base64.b64encode(key).decode()}") for name, key in pairs]
    assert ring.keys == tuple(each.keys[0] for each in alone)


@given(st.text() | st.text(st.sampled_from("k1:,#\nAQ=+/")))
def test_a_ring_is_read_or_refused(text: str) -> None:
    """Whatever stands in the file, the answer is a ring or a `KeyRingError`."""
    with suppress(KeyRingError):
        assert KeyRing.parse(text).keys


def test_a_ring_does_not_print_its_keys() -> None:
    """`repr` of a ring and of its keys shows ids alone."""
    assert repr(RING.keys[0]) == "Subkeys(k1)"
    assert repr(RING) == "KeyRing(keys=(Subkeys(k1),))"


def test_a_new_ring_is_its_owners_alone(tmp_path: Path) -> None:
    """A ring is made where none is, for nobody else to read, and differs from every other."""
    one, other = tmp_path / "deep" / "one", tmp_path / "other"

    create_keyring(one)
    create_keyring(other)

    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert read_keyring(one, None) != read_keyring(other, None)


def test_a_ring_is_never_overwritten(tmp_path: Path) -> None:
    """Whoever loses the ring loses the store, so a second creation fails."""
    path = tmp_path / "ring"
    create_keyring(path)
    before = path.read_bytes()

    with pytest.raises(FileExistsError):
        create_keyring(path)
    assert path.read_bytes() == before


def test_the_ring_from_text_wins(tmp_path: Path) -> None:
    """The environment's content goes before the file."""
    create_keyring(tmp_path / "ring")

    assert read_keyring(tmp_path / "ring", f"k1:{KEY}") == RING


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, None, "authz keyring create"),
        ("absent", None, "authz keyring create"),
        ("ring", b"\xff\xfe", "cannot be read"),
        ("", None, "cannot be read"),
        ("ring", b"", "authz keyring create"),
    ],
)
def test_an_absent_ring_says_what_to_do(
    tmp_path: Path, name: str | None, content: bytes | None, message: str
) -> None:
    """A ring that cannot be had is a `KeyRingError` that helps."""
    path = tmp_path / name if name is not None else None
    if path is not None and content is not None:
        path.write_bytes(content)

    with pytest.raises(KeyRingError, match=message):
        read_keyring(path, None)


# -- digests ---------------------------------------------------------------------------------------


def _reference_digest(key: bytes, kind: str, tenant: str, secret: bytes) -> str:
    """HKDF-SHA256 (RFC 5869) and HMAC by hand."""
    pseudorandom = hmac.digest(bytes(32), key, "sha256")
    subkey = hmac.digest(pseudorandom, b"authz/1/index\x01", "sha256")
    message = b"\0".join([tenant.encode(), kind.encode(), secret])
    digest = hmac.new(subkey, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@given(KEYS, st.binary(max_size=40))
def test_a_digest_is_keyed(key: bytes, secret: bytes) -> None:
    """A digest is HMAC-SHA256 under a subkey of its own, as computed by hand."""
    ring = KeyRing.parse(f"k:{base64.b64encode(key).decode()}")
    text = secret.decode("utf-8", "surrogateescape")

    assert ring.digests("key-auth", "t", text) == (
        "k." + _reference_digest(key, "key-auth", "t", secret),
    )


_ATOMS = st.sampled_from(["", "a", "b", "ab", "key-auth", "key", "-auth", "é", "a.b"])


@given(st.tuples(_ATOMS, _ATOMS, _ATOMS), st.tuples(_ATOMS, _ATOMS, _ATOMS))
def test_digests_do_not_collide(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Another kind, tenant or secret has another digest, wherever the parts are cut."""
    assert (RING.digests(*one) == RING.digests(*other)) == (one == other)


def test_digests_go_from_the_newest_key_to_the_oldest() -> None:
    """A rotated ring still finds what the old key wrote, and writes with the new one."""
    old, new = KeyRing.parse(f"a:{KEY}"), KeyRing.parse(f"b:{OTHER}")
    both = KeyRing.parse(f"b:{OTHER}\na:{KEY}")

    assert both.digests("k", "", "s") == (*new.digests("k", "", "s"), *old.digests("k", "", "s"))
    assert KeyRingVault(both).digest("k", "", "s") == new.digests("k", "", "s")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RING.digests("key-auth", "", "x")[0], True),
        ("k2." + RING.digests("key-auth", "", "x")[0][3:], False),
        (RING.digests("key-auth", "", "x")[0] + "\n", False),
        (RING.digests("key-auth", "", "x")[0][:-1], False),
        (RING.digests("key-auth", "", "x")[0] + "A", False),
        ("k1.", False),
        ("", False),
        ("alice-key", False),
    ],
)
def test_what_is_a_digest(text: str, expected: bool) -> None:
    """Only a whole digest under a key of the ring passes for one."""
    assert KeyRingVault(RING).is_digest(text) is expected


# -- seals -----------------------------------------------------------------------------------------

# What `authz.store.keys` makes: no NUL in a name.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(NAMES, st.binary(max_size=60))
def test_a_sealed_record_opens(name: str, payload: bytes) -> None:
    """A record opens under the name that it was sealed for."""
    assert RING.unseal(name, RING.seal(name, payload)) == payload


@given(NAMES, st.binary(max_size=30), st.data())
def test_an_altered_record_stays_shut(name: str, payload: bytes, data: st.DataObject) -> None:
    """One flipped bit anywhere, a cut or an addition, and the seal is broken."""
    record = bytearray(RING.seal(name, payload))
    where = data.draw(st.integers(0, len(record) - 1))
    record[where] ^= 1 << data.draw(st.integers(0, 7))
    whole = RING.seal(name, payload)

    for altered in (bytes(record), whole[:where], whole + b"x", b"x" + whole):
        with pytest.raises(SealBroken):
            RING.unseal(name, altered)


@given(NAMES, NAMES, st.binary(max_size=30))
def test_a_record_does_not_open_elsewhere(name: str, other: str, payload: bytes) -> None:
    """Two records that were swapped both stay shut."""
    if name != other:
        with pytest.raises(SealBroken):
            RING.unseal(other, RING.seal(name, payload))


@given(st.text(max_size=5), st.text(max_size=5), st.binary(max_size=8))
def test_no_payload_passes_for_a_part_of_the_name(name: str, tail: str, payload: bytes) -> None:
    """Bytes moved from the name to the payload break the seal, whatever they are."""
    identifier, tag, _ = RING.seal(f"{name}\0{tail}", payload).split(b".", 2)

    with pytest.raises(SealBroken):
        RING.unseal(name, b".".join([identifier, tag, tail.encode() + b"\0" + payload]))


@given(st.binary(max_size=60))
def test_foreign_bytes_stay_shut(record: bytes) -> None:
    """Whatever stands in the store, it opens only if it was sealed."""
    with pytest.raises(SealBroken):
        RING.unseal("name", record)


def test_an_old_key_still_opens_and_a_foreign_one_does_not() -> None:
    """After a rotation old records open; with another ring none does, same id or not."""
    record = RING.seal("name", b"payload")

    assert KeyRing.parse(f"k2:{OTHER},k1:{KEY}").unseal("name", record) == b"payload"
    for foreign in (f"k1:{OTHER}", f"k2:{KEY}"):
        with pytest.raises(SealBroken):
            KeyRing.parse(foreign).unseal("name", record)


def test_no_two_purposes_share_a_key() -> None:
    """The tag of a record is not the digest of a secret with the same bytes."""
    digest = RING.digests("b", "a", "c")[0]
    tag = b".".join(RING.seal("a", b"b\0c").split(b".")[:2]).decode()

    assert digest != tag


def test_what_is_encrypted_comes_back() -> None:
    """Under any key of the ring, each time in another spelling, and never in clear."""
    ring = KeyRing.parse(OLD)
    text = ring.encrypt(b"canary-secret")

    assert ring.decrypt(text) == b"canary-secret"
    assert KeyRing.parse(f"{NEW}\n{OLD}").decrypt(text) == b"canary-secret"
    assert ring.encrypt(b"canary-secret") != text
    assert "canary" not in text


@given(st.data())
def test_an_altered_ciphertext_stays_shut(data: st.DataObject) -> None:
    """Any other character, a cut, another key: no secret comes out, and no second spelling."""
    text = KeyRing.parse(OLD).encrypt(b"secret")
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.=+/ é"))
    altered = text[:place] + other + text[place + 1 :]

    for wrong in ([altered] if altered != text else []) + [text[:place], text + other]:
        with pytest.raises(SealBroken):
            KeyRing.parse(OLD).decrypt(wrong)
    with pytest.raises(SealBroken):
        KeyRing.parse(NEW).decrypt(text)


def test_a_recoverable_secret_does_not_show() -> None:
    """It is equal to itself, and prints as nothing."""
    assert Recoverable(b"a") == Recoverable(b"a") != Recoverable(b"b")
    assert "canary" not in repr(Recoverable(b"canary"))


def test_a_secret_is_recovered_from_a_document() -> None:
    """As its owner wrote it, or as it was exported; nothing else passes for one."""
    vault = KeyRingVault(KeyRing.parse(OLD))
    exported = Secret.decode({"encrypted": vault.encrypt(b"canary")})

    assert recover(Secret("canary"), vault) == recover(exported, vault) == b"canary"
    for wrong in (
        Secret(""),
        Secret("x", "digest"),
        Secret("x", "hash"),
        Secret(vault.encrypt(b"canary")[:-1], "encrypted"),
        Secret(KeyRing.parse(NEW).encrypt(b"canary"), "encrypted"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each with words of its own
            recover(wrong, vault)


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
def test_a_prepared_mac_is_hmac(name: str, key: bytes, message: bytes) -> None:
    """RFC 2104, by another implementation; keys that are longer than a block, too."""
    assert Mac(key, name).digest(message) == hmac.digest(key, message, name)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_prepared_macs_are_equal_as_their_keys_are(key: bytes, other: bytes) -> None:
    """But for octets that HMAC itself adds at their end."""
    assert (Mac(key) == Mac(other)) is (key.rstrip(b"\0") == other.rstrip(b"\0"))
