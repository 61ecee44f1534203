"""hmac-auth's credentials: written down, stored, exported and issued."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz.document import parse
from authz.plain import DocumentError
from authz.references import Secret
from authz.schemes.hmac_key import HmacDraft, HmacKey
from authz.secrets import Recoverable
from tests.support.memory import CheapVault
from tests.support.signatures import SECRET

VAULT = CheapVault()
LEGACY: dict[str, Any] = {
    "algorithm": "hmac-sha1",
    "clock_skew": 10,
    "signed_headers": ("x-a",),
    "keep_headers": True,
    "encode_uri_params": False,
    "validate_request_body": True,
    "max_req_body": 7,
}


def decoded(written: dict[str, Any]) -> HmacDraft:
    """A draft as a document has it."""
    return msgspec.convert(written, HmacDraft, dec_hook=lambda _, text: Secret.decode(text))


@pytest.mark.parametrize("name", ["key_id", "access_key"])
def test_seal(name: str) -> None:
    """Both names of the key id; the secret can be had back."""
    draft = decoded({name: "john-key", "secret_key": SECRET})
    assert draft.seal(VAULT, "", None) == ("john-key", HmacKey(Recoverable(SECRET.encode())))


def test_seal_legacy() -> None:
    draft = decoded({"access_key": "ak", "secret_key": "s", **LEGACY})
    assert draft.seal(VAULT, "", None) == ("ak", HmacKey(Recoverable(b"s"), **LEGACY))


@pytest.mark.parametrize("others", [{}, LEGACY])
def test_export(others: dict[str, Any]) -> None:
    """What is exported can be applied again, and shows no secret."""
    form = HmacKey(Recoverable(SECRET.encode()), **others)
    written = HmacDraft.reopen("john-key", form, VAULT)

    assert SECRET not in str(written)
    assert written["secret_key"].keys() == {"encrypted"}
    assert set(written) == {"key_id", "secret_key", *others}
    assert decoded(written).seal(VAULT, "", form) == ("john-key", form)


@pytest.mark.parametrize("identifier", ["john", 'j,o"h#n', "é" * 256])
def test_issue(identifier: str) -> None:
    """Fresh each time, and what is shown is what will hold."""
    draft, shown = HmacDraft.issue(identifier)
    index, form = draft.seal(VAULT, "", None)

    assert index == shown["key_id"]
    assert form.secret_key.value.decode() == shown["secret_key"]
    assert len(shown["secret_key"]) == 43
    assert HmacDraft.issue(identifier)[1] != shown


def test_the_key_id_names_its_owner() -> None:
    assert HmacDraft.issue("john")[1]["key_id"].startswith("john-")


def document(fields: str) -> str:
    return f"consumers: [{{username: john, credentials: [{{hmac-auth: {{{fields}}}}}]}}]"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ("key_id: a", "secret_key"),
        ("secret_key: s", "key_id"),
        ("key_id: a, access_key: a, secret_key: s", "key_id"),
        ('key_id: "", secret_key: s', "key_id"),
        (f"key_id: {'a' * 257}, secret_key: s", "key_id"),
        ("key_id: a, secret_key: s, algorithm: hmac-md5", "algorithm"),
        ("key_id: a, secret_key: s, clock_skew: -1", "clock_skew"),
        ("key_id: a, secret_key: s, surprise: 1", "surprise"),
    ],
)
def test_unfit_documents(fields: str, named: str) -> None:
    with pytest.raises(DocumentError, match=named):
        parse(document(fields))


@pytest.mark.parametrize(
    ("key_id", "secret", "message"),
    [
        ('a"b', SECRET, "key_id: holds"),
        ("a,b", SECRET, "key_id: holds"),
        ("a#b", SECRET, "key_id: holds"),
        ("a\nb", SECRET, "key_id: holds"),
        ("a", "x" * 257, "secret_key: longer than 256 bytes"),
        ("a", "é" * 129, "secret_key: longer than 256 bytes"),
        ("a", "", "secret_key: expected a secret"),
    ],
)
def test_unfit_drafts(key_id: str, secret: str, message: str) -> None:
    """The message does not repeat the secret."""
    with pytest.raises(ValueError, match=message) as raised:
        HmacDraft(Secret(secret), key_id).seal(VAULT, "", None)
    assert not secret or secret not in str(raised.value)


def test_what_no_key_of_the_ring_opens() -> None:
    with pytest.raises(ValueError, match="secret_key"):
        HmacDraft(Secret("k1.AAAA", "encrypted"), "a").seal(VAULT, "", None)


def test_no_secret_in_a_repr() -> None:
    assert SECRET not in repr(HmacKey(Recoverable(SECRET.encode())))
    assert SECRET not in repr(HmacDraft(Secret(SECRET), "a"))
