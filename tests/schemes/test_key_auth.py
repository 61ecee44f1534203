"""key-auth: settings, answers, drafts."""

from __future__ import annotations

import re
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz import forms
from authz.references import Secret
from authz.schemes import places
from authz.schemes.digested import Digested
from authz.schemes.key_auth import KeyAuth, KeyDraft, new_key
from authz.values import Credential, Denied, Deny, Place, Request
from tests.support.gateway import ask
from tests.support.memory import RING, CheapVault, Memory
from tests.support.texts import NAUGHTY, has_control, human_texts, wire_texts

VAULT = CheapVault()


def store(*keys: str) -> Memory:
    """A store in which these are keys of jack's, each its own credential's."""
    memory = Memory()
    for key in keys:
        index, form = KeyDraft(Secret(key)).seal(VAULT, "", None)
        memory.credentials["", "key-auth", index] = Credential("jack", key, "key-auth", form)
    return memory


def authenticate(scheme: KeyAuth, request: Request, *keys: str) -> str | Deny | None:
    """The id of the credential that was proven, or the refusal."""
    try:
        proof = scheme.authenticate(request, store(*keys).within(""))
    except Denied as denied:
        return denied.deny
    return proof.credential.id if proof else None


def setting(**fields: Any) -> KeyAuth:
    """Settings as a document gives them."""
    return msgspec.convert(fields, KeyAuth)


def test_defaults() -> None:
    """Header and query parameter `apikey`, nothing hidden, nobody anonymous."""
    scheme = setting()

    assert (scheme.header, scheme.query, scheme.cookie) == ("apikey", "apikey", None)
    assert (scheme.realm, scheme.hide_credentials) == ("key", False)
    assert (scheme.anonymous_consumer, scheme.profile, scheme.tolerant) == (None, None, False)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (None, "Missing API key found in request"),
        ("api7", "Missing API key found in request"),
        ("apisix-3.9", "Missing API key found in request"),
        ("apisix-3.18", "Missing API key in request"),
    ],
)
def test_words(profile: str | None, message: str) -> None:
    """Each profile in its own words, always with a challenge (RFC 9110 section 11.6.1)."""
    scheme = setting(profile=profile, realm="my realm")
    challenges = ('apikey realm="my realm"',)

    assert scheme.missing() == Deny("missing_key", 401, message, challenges, "key-auth")
    assert scheme.invalid() == Deny(
        "invalid_key", 401, "Invalid API key in request", challenges, "key-auth"
    )


STRICT, TOLERANT = setting(), setting(profile="apisix-3.18")
INVALID = STRICT.invalid()


@pytest.mark.parametrize(
    ("scheme", "request_", "expected"),
    [
        (STRICT, ask("/"), None),
        (STRICT, ask("/", ("apikey", "auth-one")), "auth-one"),
        (STRICT, ask("/", ("ApiKey", "auth-one")), "auth-one"),
        (STRICT, ask("/?apikey=auth-one"), "auth-one"),
        (STRICT, ask("/?apikey=auth%2Done"), "auth-one"),
        (STRICT, ask("/", ("apikey", "v8")), "v8"),
        (STRICT, ask("/", ("apikey", "auth-on")), INVALID),
        (STRICT, ask("/", ("apikey", "auth-one0")), INVALID),
        (STRICT, ask("/", ("apikey", "Auth-one")), INVALID),
        (STRICT, ask("/", ("apikey", " auth-one")), INVALID),
        (STRICT, ask("/", ("apikey", "auth-one,v8")), INVALID),
        (STRICT, ask("/", ("apikey", "*")), INVALID),
        (STRICT, ask("/", ("apikey", "")), INVALID),
        (STRICT, ask("/", ("apikey", RING.digests("key-auth", "", "v8")[0])), INVALID),
        (STRICT, ask("/", ("authorization", "auth-one")), None),
        (STRICT, ask("/?APIKEY=auth-one"), None),
        (STRICT, ask("/", ("cookie", "apikey=auth-one")), None),
        (STRICT, ask("/?apikey=v8", ("apikey", "v8")), INVALID.because(places.DUPLICATE)),
        (STRICT, ask("/", ("apikey", "v8"), ("apikey", "v8")), INVALID.because(places.DUPLICATE)),
        (STRICT, ask("/?apikey"), INVALID.because(places.MALFORMED)),
        (STRICT, ask("/", ("apikey", "v\x008")), INVALID.because(places.MALFORMED)),
        (setting(header="X-Key"), ask("/", ("x-key", "v8")), "v8"),
        (setting(header="X-Key"), ask("/", ("apikey", "v8")), None),
        (setting(header="Authorization"), ask("/", ("authorization", "v8")), "v8"),
        (setting(header="Authorization"), ask("/", ("authorization", "Bearer v8")), INVALID),
        (setting(header=None), ask("/?apikey=v8", ("apikey", "other")), "v8"),
        (setting(query="auth"), ask("/?auth=v8"), "v8"),
        (setting(query=None), ask("/?apikey=v8"), None),
        (setting(cookie="k"), ask("/", ("cookie", "a=1; k=v8")), "v8"),
        (setting(header=None, query=None), ask("/?apikey=v8", ("apikey", "v8")), None),
        # APISIX: the header first, even if it is wrong or empty; the first of several.
        (TOLERANT, ask("/?apikey=auth-one", ("apikey", "v8")), "v8"),
        (TOLERANT, ask("/?apikey=v8", ("apikey", "wrong")), INVALID),
        (TOLERANT, ask("/?apikey=v8", ("apikey", "")), INVALID),
        (TOLERANT, ask("/", ("apikey", "v8"), ("apikey", "wrong")), "v8"),
        (TOLERANT, ask("/", ("apikey", "wrong"), ("apikey", "v8")), INVALID),
        (TOLERANT, ask("/?apikey=v8&apikey=v8"), INVALID.because(places.MALFORMED)),
        (TOLERANT, ask("/?apikey"), INVALID.because(places.MALFORMED)),
        (setting(header="X_Key", profile="apisix-3.9"), ask("/", ("x-key", "v8")), "v8"),
    ],
)
def test_decisions(scheme: KeyAuth, request_: Request, expected: str | Deny | None) -> None:
    """A key is proven, absent, or refused; two of them are refused, but under APISIX's profiles."""
    assert authenticate(scheme, request_, "auth-one", "v8") == expected


def test_without_raw_headers_doubtful_keys_are_refused() -> None:
    """`,` may join two keys, `!` may be any byte."""
    for key in ("a,b", "a!b"):
        assert authenticate(STRICT, ask("/", ("apikey", key)), key) == key
        request = ask("/", ("apikey", key), exact=False)
        assert authenticate(STRICT, request, key) == INVALID.because(places.MALFORMED)


def test_a_key_belongs_to_its_tenant() -> None:
    """The same text is another key elsewhere."""
    with pytest.raises(Denied):
        STRICT.authenticate(ask("/", ("apikey", "v8")), store("v8").within("other"))


def test_every_reason_is_listed() -> None:
    """What the manual lists is what may be said."""
    assert {"missing_key", "invalid_key", places.DUPLICATE, places.MALFORMED} < set(KeyAuth.reasons)
    request = ask("/?" + "&" * forms.MAX_PARAMETERS)
    refused = authenticate(STRICT, request)

    assert isinstance(refused, Deny)
    assert refused.reason in KeyAuth.reasons


# -- hiding ----------------------------------------------------------------------------------------

HEADER, QUERY = Place(header="apikey", tolerant=True), Place(query="apikey", tolerant=True)
BOTH = ask("/?apikey=v8", ("apikey", "v8"))


@pytest.mark.parametrize(
    ("profile", "request_", "proven", "expected"),
    [
        ("api7", BOTH, True, (Place("apikey", "apikey"),)),
        ("api7", ask("/"), False, (Place("apikey", "apikey"),)),
        # APISIX hides only the place that the key came from, and all when it proved nothing.
        ("apisix-3.18", BOTH, True, (HEADER,)),
        ("apisix-3.18", ask("/?apikey=v8"), True, (QUERY,)),
        ("apisix-3.18", BOTH, False, (Place("apikey", "apikey", tolerant=True),)),
    ],
)
def test_what_is_hidden(
    profile: str, request_: Request, proven: bool, expected: tuple[Place, ...]
) -> None:
    """Nothing unless it is asked for; then every place, or under APISIX's profiles the one read."""
    scheme = setting(hide_credentials=True, profile=profile)

    assert scheme.hidden(request_, proven=proven) == expected
    assert setting(profile=profile).hidden(request_, proven=proven) == ()


# -- drafts ----------------------------------------------------------------------------------------


def test_a_sealed_key_is_not_the_key() -> None:
    """What is stored is a keyed digest and, of a long key, its ends."""
    index, form = KeyDraft(Secret("p7a3k6r4t9")).seal(VAULT, "t", None)
    long = KeyDraft(Secret("authz_0123456789abcdef-tail")).seal(VAULT, "", None)[1]

    assert (index, form) == (RING.digests("key-auth", "t", "p7a3k6r4t9")[0], Digested(""))
    assert long == Digested("authz_01…tail")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret(""), "not empty"),
        (Secret("k", "hash"), "not empty"),
        (Secret("k" * (places.MAX_CREDENTIAL + 1)), "longer than"),
        (Secret("a\nb"), "control character"),
        (Secret("a\x00"), "control character"),
        (Secret("\x7f"), "control character"),
        (Secret("k1.nope", "digest"), "not of a key that the key ring holds"),
        (Secret(RING.digests("key-auth", "", "x")[0].replace("k1", "k9"), "digest"), "key ring"),
    ],
)
def test_unfit_drafts(secret: Secret, message: str) -> None:
    """A key that no request can carry, or that nobody can check, is refused when it is written."""
    with pytest.raises(ValueError, match=f"key: .*{message}"):
        KeyDraft(secret).seal(VAULT, "", None)


def test_an_exported_key_can_be_applied_again() -> None:
    """The digest stands for the key, and what was known of it is kept."""
    index, form = KeyDraft(Secret("authz_0123456789abcdef-tail")).seal(VAULT, "", None)
    again = KeyDraft(Secret.decode(KeyDraft.reopen(index, form, VAULT)["key"]))

    assert again.seal(VAULT, "", form) == (index, form)
    assert again.seal(VAULT, "", None)[0] == index


def test_issued_keys() -> None:
    """A fresh key is long, unlike all others, easy to find, and checks itself."""
    draft, shown = KeyDraft.issue("primary")
    key = shown["key"]

    assert draft.key.value == key
    assert re.fullmatch(r"authz_[0-9A-Za-z]{32}[0-9a-f]{8}", key)
    assert int(key[-8:], 16) == zlib.crc32(key[6:-8].encode())
    assert len({new_key() for _ in range(100)}) == 100


# -- properties ------------------------------------------------------------------------------------


@given(human_texts(min_size=1) | st.sampled_from([text for text in NAUGHTY if text]))
def test_any_key_works_or_is_refused_when_written(key: str) -> None:
    """A key that can be stored is found again from header and query, and reveals nothing."""
    try:
        index, form = KeyDraft(Secret(key)).seal(VAULT, "", None)
    except ValueError:
        assert has_control(key) or not key.isprintable()
        return
    escaped = "".join(f"%{byte:02x}" for byte in key.encode())

    assert authenticate(STRICT, ask("/", ("apikey", key)), key) == key
    assert authenticate(STRICT, ask(f"/?apikey={escaped}"), key) == key
    assert len(key) < 8 or key not in f"{index}{form.hint}"


@given(wire_texts() | st.sampled_from(NAUGHTY), st.sampled_from(["api7", "apisix-3.18"]))
def test_only_the_key_itself_opens(sent: str, profile: str) -> None:
    """Whatever else is sent, it is refused and never crashes."""
    scheme = setting(profile=profile)
    header = authenticate(scheme, ask("/", ("apikey", sent)), "auth-one")
    query = authenticate(scheme, ask(f"/?apikey={sent}"), "auth-one")

    assert header == "auth-one" if sent == "auth-one" else isinstance(header, Deny)
    assert query == "auth-one" or isinstance(query, Deny)


@given(st.integers(0, 31), st.integers(33, 126))
def test_one_character_makes_another_key(at: int, code: int) -> None:
    """A key with one character changed, left out or added is no key."""
    key = "0123456789abcdefghijklmnopqrstuv"
    for sent in (key[:at] + chr(code) + key[at + 1 :], key[:at] + key[at + 1 :], key[:at] + key):
        if sent != key:
            assert authenticate(STRICT, ask("/", ("apikey", sent)), key) == INVALID
