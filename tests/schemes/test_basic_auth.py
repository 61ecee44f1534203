"""basic-auth: settings, answers, drafts."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from authz.denials import Foreign
from authz.references import Secret
from authz.schemes.basic_auth import MAX_ENCODED, BasicAuth, Password, PasswordDraft, decode_pair
from authz.values import Credential, Denied, Deny, Place, Request
from tests.support.gateway import ask
from tests.support.memory import CheapVault, Memory

VAULT = CheapVault()
BOOK = {"foo": "bar", "col": "pw:with:colons", "sp": "my pass", "uml": "pässwörd", "q": " x "}


def store(pairs: dict[str, str]) -> Memory:
    """A store in which these users have these passwords; the user's name is the credential's id."""
    memory = Memory()
    for username, password in pairs.items():
        index, form = PasswordDraft(username, Secret(password)).seal(VAULT, "", None)
        made = Credential("jack", username, "basic-auth", form)
        memory.credentials["", "basic-auth", index] = made
    return memory


KNOWN = store(BOOK)


def header(pair: str | bytes, scheme: str = "Basic ") -> str:
    return scheme + b64encode(pair if isinstance(pair, bytes) else pair.encode()).decode()


def authenticate(scheme: BasicAuth, request: Request, memory: Memory = KNOWN) -> str | Deny | None:
    """The id of the credential that was proven, or the refusal."""
    try:
        proof = scheme.authenticate(request, memory.within(""))
    except Denied as denied:
        return denied.deny
    return proof.credential.id if proof else None


def setting(**fields: Any) -> BasicAuth:
    """Settings as a document gives them."""
    return msgspec.convert(fields, BasicAuth)


def test_defaults() -> None:
    """Nothing hidden, nobody anonymous, the realm `basic`."""
    scheme = setting()

    assert (scheme.realm, scheme.hide_credentials) == ("basic", False)
    assert (scheme.anonymous_consumer, scheme.profile, scheme.tolerant) == (None, None, False)


@pytest.mark.parametrize("profile", [None, "api7", "apisix-3.9", "apisix-3.18"])
def test_words(profile: str | None) -> None:
    """Every profile says the same, always with a challenge (RFC 9110 section 11.6.1)."""
    scheme = setting(profile=profile, realm="secure-zone")

    def said(reason: str, message: str) -> Deny:
        return Deny(reason, 401, message, ('Basic realm="secure-zone"',), "basic-auth")

    assert scheme.missing() == said("missing_authorization", "Missing authorization in request")
    assert scheme.malformed("x") == said("x", "Invalid authorization in request")
    assert scheme.invalid() == said("invalid_password", "Invalid user authorization")


STRICT, TOLERANT = setting(), setting(profile="apisix-3.18")
INVALID, MALFORMED = STRICT.invalid(), STRICT.malformed("malformed_basic")
NOT_BASIC = STRICT.malformed("not_basic")


@pytest.mark.parametrize(
    ("value", "strict", "tolerant"),
    [
        (header("foo:bar"), "foo", "foo"),
        (header("foo:bar", "basic "), "foo", "foo"),
        (header("foo:bar", "BASIC "), "foo", "foo"),
        (header("col:pw:with:colons"), "col", "col"),
        (header("sp:my pass"), "sp", "sp"),
        (header("uml:pässwörd"), "uml", "uml"),
        (header("q: x "), "q", INVALID),
        (header("foo:baz"), INVALID, INVALID),
        (header("nobody:bar"), INVALID, INVALID),
        (header("Foo:bar"), INVALID, INVALID),
        (header("foo:bar:junk"), INVALID, INVALID),
        (header("foo:bar:"), INVALID, INVALID),
        (header("foo::bar"), INVALID, INVALID),
        (header("uml:pa\u0308sswo\u0308rd"), INVALID, INVALID),
        (header("foo: bar"), INVALID, "foo"),
        (header("f oo:bar"), INVALID, INVALID),
        (header("foo:b ar"), INVALID, INVALID),
        (header("foo"), MALFORMED, MALFORMED),
        (header("foo:"), MALFORMED, MALFORMED),
        (header(":bar"), MALFORMED, MALFORMED),
        (header(":"), MALFORMED, MALFORMED),
        (header("foo: "), INVALID, MALFORMED),
        (header("foo:bar\n"), MALFORMED, "foo"),
        (header("foo:bar\r\n"), MALFORMED, "foo"),
        (header("foo:b\x00ar"), MALFORMED, MALFORMED),
        (header("foo:bar\x00"), MALFORMED, MALFORMED),
        (header(b"foo:b\xe4r"), MALFORMED, MALFORMED),
        ("Basic Zm9vOmJhcg", MALFORMED, "foo"),
        ("Basic Zm9vOmJhcg=", MALFORMED, "foo"),
        ("Basic Zm9vOmJhcg==junk", MALFORMED, "foo"),
        ("Basic Zm9vOmJhch==", MALFORMED, "foo"),
        ("Basic Zm9v!OmJhcg==", MALFORMED, MALFORMED),
        ("Basic aca_a", MALFORMED, MALFORMED),
        ("Basic  Zm9vOmJhcg==", MALFORMED, MALFORMED),
        ("Basic Zm9vOmJhcg== ", MALFORMED, "foo"),
        ("Basic Zm9vOmJhcg==,Basic Zm9vOmJhcg==", MALFORMED, "foo"),
        ("Basic é", MALFORMED, MALFORMED),
        ("Basic \udcff", MALFORMED, MALFORMED),
        ("Basic", MALFORMED, MALFORMED),
        ("Basic ", MALFORMED, MALFORMED),
        ("", NOT_BASIC, NOT_BASIC),
        (" Basic Zm9vOmJhcg==", NOT_BASIC, NOT_BASIC),
        ("Bearer Zm9vOmJhcg==", NOT_BASIC, NOT_BASIC),
        ("NotBasic Zm9vOmJhcg==", NOT_BASIC, NOT_BASIC),
        ("Bearer x, Basic Zm9vOmJhcg==", NOT_BASIC, NOT_BASIC),
        ("Zm9vOmJhcg==", NOT_BASIC, NOT_BASIC),
    ],
)
def test_decisions(value: str, strict: str | Deny, tolerant: str | Deny) -> None:
    """A pair is proven or refused; where APISIX is lax, so are its profiles, but for its slips."""
    assert authenticate(STRICT, ask("/", ("authorization", value))) == strict
    assert authenticate(TOLERANT, ask("/", ("authorization", value))) == tolerant


def test_nothing_sent() -> None:
    """Without the header there is nothing here for this scheme."""
    request = ask("/?authorization=x", ("proxy-authorization", header("foo:bar")))

    assert authenticate(STRICT, request) is None


def test_two_headers_are_refused() -> None:
    """Of two Authorization lines a backend may read the other."""
    lines = [("authorization", header("foo:bar"))] * 2

    assert authenticate(STRICT, ask("/", *lines)) == MALFORMED
    assert authenticate(TOLERANT, ask("/", *lines)) == MALFORMED


def test_another_scheme_is_foreign() -> None:
    """Another scheme's header is a refusal that another scheme of the route may overrule."""
    with pytest.raises(Foreign):
        STRICT.authenticate(ask("/", ("authorization", "Bearer x")), KNOWN.within(""))


def test_a_user_belongs_to_a_tenant() -> None:
    """The same pair is nobody's elsewhere."""
    request = ask("/", ("authorization", header("foo:bar")))

    with pytest.raises(Denied):
        STRICT.authenticate(request, KNOWN.within("other"))


def test_unknown_and_wrong_look_alike() -> None:
    """Nobody learns from an answer which names exist."""
    wrong, unknown = (
        authenticate(STRICT, ask("/", ("authorization", header(pair))))
        for pair in ("foo:wrong", "nobody:wrong")
    )
    assert wrong == unknown


def test_what_is_hidden() -> None:
    """The Authorization header, if that is asked for and it is of this scheme, right or wrong."""
    sent, other = (ask("/", ("authorization", value)) for value in ("basic x", "Bearer x"))
    for proven in (True, False):
        assert setting(hide_credentials=True).hidden(sent, proven=proven) == (
            Place(header="authorization"),
        )
        assert setting().hidden(sent, proven=proven) == ()
    assert setting(hide_credentials=True).hidden(other, proven=False) == ()


def test_a_long_header_is_refused_unread() -> None:
    """Beyond the limit nothing is decoded."""
    assert decode_pair("A" * MAX_ENCODED, tolerant=True) is None
    fits = b64encode(b"u:" + b"p" * (MAX_ENCODED // 4 * 3 - 2)).decode()

    assert len(fits) == MAX_ENCODED
    assert decode_pair(fits, tolerant=False) is not None
    assert decode_pair(fits + "AAAA", tolerant=False) is None
    assert decode_pair(fits + "AAAA", tolerant=True) is None


# -- drafts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password", "message"),
    [
        ("", Secret("p"), "username: "),
        ("a:b", Secret("p"), "username: "),
        ("a\nb", Secret("p"), "username: "),
        ("a", Secret(""), "password: expected text that is not empty"),
        ("a", Secret("  "), "password: expected text that is not empty"),
        ("a", Secret("p\x00"), "password: .*without control"),
        ("a", Secret("p\n"), "password: .*without control"),
        ("a", Secret("k1.x", "digest"), "password: "),
        ("a", Secret("hunter2", "hash"), "not an argon2id hash"),
        ("a", Secret("p" * MAX_ENCODED), "password: too long"),
        ("a", Secret("\U0001f511" * (MAX_ENCODED // 4)), "password: too long"),
    ],
)
def test_unfit_drafts(username: str, password: Secret, message: str) -> None:
    """A pair that could never be sent, or that everybody could send, is refused when written."""
    with pytest.raises(ValueError, match=message):
        PasswordDraft(username, password).seal(VAULT, "", None)


def test_an_unchanged_password_is_not_hashed_again() -> None:
    """Applying the same document twice changes nothing; another password does."""
    index, form = PasswordDraft("a", Secret("p")).seal(VAULT, "", None)

    assert PasswordDraft("a", Secret("p")).seal(VAULT, "", form) == (index, form)
    assert PasswordDraft("a", Secret("q")).seal(VAULT, "", form)[1] != form


def test_an_exported_password_can_be_applied_again() -> None:
    """The hash stands for the password."""
    index, form = PasswordDraft("a", Secret("p")).seal(VAULT, "", None)
    written = PasswordDraft.reopen(index, form, VAULT)
    again = PasswordDraft(written["username"], Secret.decode(written["password"]))

    assert again.seal(VAULT, "", None) == (index, form)


def test_an_issued_password() -> None:
    """A fresh password is long and can be used at once."""
    draft, shown = PasswordDraft.issue("alice")
    index, form = draft.seal(VAULT, "", None)

    assert (index, shown["username"]) == ("alice", "alice")
    assert len(shown["password"]) == 32
    assert VAULT.password_matches(shown["password"], form.hashed)


def test_a_stored_password_does_not_print_its_hash() -> None:
    """Not even the hash is for logs."""
    assert repr(Password("$argon2id$x")) == "Password()"
