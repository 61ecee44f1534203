"""Basic credentials: every pair has one spelling, and only that is read."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.references import Secret
from authz.schemes.basic_auth import BasicAuth, PasswordDraft, decode_pair
from authz.values import Credential, Denied
from tests.support.gateway import ask
from tests.support.memory import CheapVault, Memory
from tests.support.texts import NAUGHTY, has_control, human_texts, wire_texts

USERS = human_texts(min_size=1).filter(lambda text: ":" not in text)
PASSWORDS = human_texts(min_size=1)
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def encode(text: str) -> str:
    return b64encode(text.encode()).decode()


def canonical(encoded: str) -> bytes | None:
    """What a text decodes to, if it is canonical base64: bit by bit, without a library."""
    body = encoded.rstrip("=")
    if len(encoded) % 4 or len(encoded) - len(body) > 2 or any(c not in BASE64 for c in body):
        return None
    bits = "".join(f"{BASE64.index(c):06b}" for c in body)
    whole, rest = divmod(len(bits), 8)
    if rest >= 6 or "1" in bits[whole * 8 :] or len(encoded) - len(body) != (-len(body)) % 4:
        return None
    return bytes(int(bits[n * 8 : n * 8 + 8], 2) for n in range(whole))


@given(USERS, PASSWORDS)
def test_every_pair_comes_back(username: str, password: str) -> None:
    """Names and passwords of any characters, colons and blanks included, are read as sent."""
    assert decode_pair(encode(f"{username}:{password}"), tolerant=False) == (username, password)


@given(USERS.filter(lambda t: t == t.strip()), PASSWORDS.filter(lambda t: t == t.strip()))
def test_apisix_reads_them_too(username: str, password: str) -> None:
    """Padded or not; only blanks at the ends are lost."""
    encoded = encode(f"{username}:{password}")

    assert decode_pair(encoded, tolerant=True) == (username, password)
    assert decode_pair(encoded.rstrip("="), tolerant=True) == (username, password)


def reference(encoded: str) -> tuple[str, str] | None:
    """The pair, if this is canonical base64 of UTF-8 with two parts and without controls."""
    data = canonical(encoded)
    if data is None:
        return None
    try:
        username, colon, password = data.decode("utf-8").partition(":")
    except UnicodeDecodeError:
        return None
    good = colon and username and password and not has_control(username + password)
    return (username, password) if good else None


@given(
    st.binary(max_size=20).map(lambda data: b64encode(b"a:" + data).decode())
    | st.text(st.sampled_from(BASE64[:4] + "Ogw=-_ \n"), max_size=12)
    | st.builds("{}{}".format, st.sampled_from(["YTpi", "Ojo6"]), st.text(max_size=4))
    | wire_texts(max_size=16)
)
def test_only_canonical_base64_is_read(encoded: str) -> None:
    """What is read is what a bit-by-bit reference reads; nothing else is read."""
    assert decode_pair(encoded, tolerant=False) == reference(encoded)


@given(USERS, PASSWORDS, st.data())
def test_no_pair_has_two_spellings(username: str, password: str, data: st.DataObject) -> None:
    """One character changed, added or left out gives another pair or none, never the same one."""
    encoded = encode(f"{username}:{password}")
    at = data.draw(st.integers(0, len(encoded) - 1))
    other = data.draw(st.sampled_from(BASE64 + "=-_ \n\té\x00"))

    for mutant in (
        encoded[:at] + other + encoded[at + 1 :],
        encoded[:at] + encoded[at + 1 :],
        encoded[:at] + other + encoded[at:],
        encoded + other,
    ):
        if mutant != encoded:
            assert decode_pair(mutant, tolerant=False) != (username, password)


@given(wire_texts() | st.sampled_from(NAUGHTY), st.booleans())
def test_any_text_is_read_or_refused(text: str, tolerant: bool) -> None:
    """Whatever stands there, the answer is a pair without controls, or nothing."""
    for encoded in (text, b64encode(text.encode("utf-8", "surrogateescape")).decode()):
        pair = decode_pair(encoded, tolerant=tolerant)
        if pair is not None:
            assert all(pair)
            assert ":" not in pair[0]
            assert not has_control("".join(pair))


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000", "\x85", "\x1c"])
def test_apisix_strips_ascii_blanks_alone(blank: str) -> None:
    """What only Unicode calls a blank belongs to the password (or is a control)."""
    expected = None if has_control(blank) else ("u", f"p{blank}")

    assert decode_pair(encode(f"u:p{blank}"), tolerant=True) == expected


VAULT = CheapVault()


def _authenticate(memory: Memory, username: str, password: str, tolerant: bool) -> str:
    profile = "apisix-3.18" if tolerant else "api7"
    value = f"Basic {encode(f'{username}:{password}')}"
    try:
        scheme = BasicAuth(profile=profile)  # type: ignore[arg-type]
        found = scheme.authenticate(ask("/", ("authorization", value)), memory.within(""))
    except Denied as denied:
        return f"!{denied.deny.reason}"
    assert found is not None
    return found.credential.consumer


@given(human_texts(), human_texts(), st.sampled_from(["", "x", " ", ":", "\n"]), st.booleans())
def test_what_is_stored_opens_and_nothing_else(
    username: str, password: str, tail: str, tolerant: bool
) -> None:
    """A pair that can be written down proves its consumer; a longer password does not."""
    memory = Memory()
    try:
        index, form = PasswordDraft(username, Secret(password)).seal(VAULT, "", None)
    except ValueError:
        assert not username or ":" in username or not password.strip()
        return
    memory.credentials["", "basic-auth", index] = Credential("jack", "c", "basic-auth", form)
    lossless = not tolerant or (username, password) == (username.strip(), password.strip())

    if lossless:
        assert _authenticate(memory, username, password, tolerant) == "jack"
    if tail and not (tolerant and tail.isspace()):
        assert _authenticate(memory, username, password + tail, tolerant).startswith("!")
        assert _authenticate(memory, username + tail, password, tolerant).startswith("!")


def test_the_reference_agrees_with_the_library() -> None:
    """The reference reads what an encoder writes."""
    for size in range(10):
        data = bytes(range(200, 200 + size))
        assert canonical(b64encode(data).decode()) == data == b64decode(b64encode(data))
