"""Export gives back every field of hmac-auth, digest and appcode; an older key of the ring opens
what it sealed; what is unfit is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz import document
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused, issue
from authz.contracts import StoreDown
from authz.plain import DocumentError
from authz.schemes.appcode import AppCode, AppCodeDraft
from authz.schemes.digest import Digest
from authz.schemes.digest_key import AppKeyDraft
from authz.schemes.hmac_auth import HmacAuth
from authz.schemes.hmac_key import HmacDraft
from authz.secrets import KeyRingError
from authz.store.records import CredentialRecord
from tests.support.everything import credentials, exported, forms
from tests.support.valkey import Valkey
from tests.support.workers import OTHER_RING, RING, catalog

SECRET = "canary \\ '\"ü\n"
#: Between them they have every field.
CREDENTIALS: list[dict[str, Any]] = [
    {"hmac-auth": {"key_id": "k 1/ü", "secret_key": SECRET}},
    {
        "hmac-auth": {
            "access_key": "old",
            "secret_key": SECRET,
            "algorithm": "hmac-sha1",
            "clock_skew": 31_536_000,
            "signed_headers": ["x-a", "X-B"],
            "keep_headers": True,
            "encode_uri_params": False,
            "validate_request_body": True,
            "max_req_body": 1,
        }
    },
    {"digest": {"app_key": "!~,%", "app_secret": SECRET}},
    {"appcode": {"code": "canary-0123456789abcdef-0"}},
    {"appcode": {"code": "canary-1", "hint": "first"}},
]
SETTINGS: list[dict[str, Any]] = [
    {
        "hmac-auth": {
            "allowed_algorithms": ["hmac-sha1"],
            "clock_skew": 1,
            "signed_headers": ["Host", "@request-target"],
            "validate_request_body": True,
            "max_req_body_size": 1,
            "nonce_header": "X-Nonce",
            "realm": "r",
            "hide_credentials": True,
            "anonymous_consumer": "john",
            "profile": "apisix-3.18",
        }
    },
    {"hmac-auth": {"profile": "apisix-3.18", "signed_headers": []}},
    {
        "digest": {
            "signature_methods": ["HmacSHA1", "HmacSHA256"],
            "force_nonce_check": False,
            "force_timestamp": True,
            "require_content_md5": False,
            "stages": ["x", "RELEASE"],
            "hide_credentials": True,
            "anonymous_consumer": "john",
            "profile": "alibaba",
        }
    },
    {
        "appcode": {
            "app_code": "DEFAULT",
            "marketplace": True,
            "hide_credentials": False,
            "anonymous_consumer": "john",
            "profile": "alibaba",
        }
    },
]
DOCUMENT: dict[str, Any] = {
    "services": [
        {"id": f"s{number}", "hosts": [f"s{number}"], "auth": auth}
        for number, auth in enumerate(SETTINGS)
    ],
    "consumers": [
        {
            "username": "john",
            "credentials": [{"id": f"c{n}", **each} for n, each in enumerate(CREDENTIALS)],
        }
    ],
}
#: The older key after a newer one, as it stands while a ring is changed.
BOTH_RINGS = f"{OTHER_RING}\n{RING}"


def plan(target: Catalog, text: str) -> planning.Plan:
    return planning.plan(document.parse(text), target, at=1000.0)


def put(target: Catalog, text: str) -> planning.Plan:
    made = plan(target, text)
    planning.apply(target, made)
    return made


def fields(entries: list[dict[str, Any]], kind: str) -> set[str]:
    return {name for entry in entries for name in entry.get(kind, {})}


def test_no_field_is_forgotten() -> None:
    """What stands above is all there is."""
    for scheme, draft in ((HmacAuth, HmacDraft), (Digest, AppKeyDraft), (AppCode, AppCodeDraft)):
        kind = scheme.kind
        assert fields(SETTINGS, kind) == set(scheme.__struct_fields__)
        assert fields(CREDENTIALS, kind) == set(draft.__struct_fields__)


def test_what_is_exported_changes_nothing(store: Valkey) -> None:
    """Nor does what was applied, once more: every field comes back as it was."""
    target = catalog(store.url)
    put(target, json.dumps(DOCUMENT))

    again = plan(target, json.dumps(DOCUMENT))
    text = exported(target)
    back = plan(target, text)

    assert (again.lines, back.lines) == ((), ())
    assert not again.changes
    assert not back.changes
    assert "canary " not in text
    assert "canary-1" not in text


def test_an_export_makes_the_same_store_elsewhere(store: Valkey, own_valkey: Valkey) -> None:
    """With the same key ring, in an empty one."""
    target, other = catalog(store.url), catalog(own_valkey.url)
    put(target, json.dumps(DOCUMENT))
    put(other, exported(target))

    assert forms(other) == forms(target)
    assert other.policy() == target.policy()


def test_an_older_key_of_the_ring_opens(store: Valkey) -> None:
    """What it sealed and encrypted is read while it stands in the ring, whatever writes now; an
    export from before can be applied; and without it nothing opens."""
    old = catalog(store.url)
    put(old, json.dumps(DOCUMENT))
    text = exported(old)

    both = catalog(store.url, BOTH_RINGS)
    assert credentials(both) == credentials(old)
    assert both.vault.encrypt(b"x").startswith("t2.")
    assert both.vault.decrypt(old.vault.encrypt(b"x")) == b"x"
    assert not plan(both, text).changes
    with pytest.raises(KeyRingError, match="another key ring"):
        catalog(store.url, OTHER_RING).policy()


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        ({"hmac-auth": {"secret_key": "s"}}, "hmac-auth: expected one of"),
        ({"hmac-auth": {"key_id": "a", "access_key": "b", "secret_key": "s"}}, "expected one of"),
        ({"hmac-auth": {"key_id": "a#b", "secret_key": "s"}}, "hmac-auth.key_id: holds"),
        ({"hmac-auth": {"key_id": "a", "secret_key": ""}}, "hmac-auth.secret_key: expected"),
        ({"hmac-auth": {"key_id": "a", "secret_key": "ü" * 129}}, "secret_key: longer than 256"),
        ({"hmac-auth": {"key_id": "a", "secret_key": {"hash": "x"}}}, "secret_key: expected"),
        ({"hmac-auth": {"key_id": "a", "secret_key": "s", "clock_skew": 10**30}}, "clock_skew: "),
        ({"hmac-auth": {"key_id": "a", "secret_key": {"encrypted": "t1.AAAA"}}}, "secret_key: not"),
        ({"digest": {"app_key": "a b", "app_secret": "s"}}, "digest.app_key: expected"),
        ({"digest": {"app_key": "a", "app_secret": {"encrypted": "ü."}}}, "app_secret: not enc"),
        ({"digest": {"app_key": "a", "app_secret": {"encrypted": ""}}}, "app_secret: not enc"),
        ({"digest": {"app_key": "a", "app_secret": "x" * 1025}}, "app_secret: longer than 1024"),
        ({"appcode": {"code": "a b"}}, "appcode.code: expected"),
        ({"appcode": {"code": {"digest": "t9." + "A" * 43}}}, "appcode.code: this digest"),
        ({"basic-auth": {"username": "a", "password": {"hash": "x"}}}, "basic-auth.password: not"),
    ],
)
def test_what_is_unfit_is_refused_with_its_place(
    store: Valkey, credential: dict[str, Any], words: str
) -> None:
    """Before anything is written, and without repeating it."""
    consumers = [{"username": "john", "credentials": [credential]}]

    with pytest.raises(DocumentError) as caught:
        plan(catalog(store.url), json.dumps({"consumers": consumers}))
    assert str(caught.value).startswith("consumers[0].credentials[0].")
    assert words in str(caught.value)
    assert store.client().keys("*") == []


def test_a_name_that_makes_no_key_id_is_refused(store: Valkey) -> None:
    """Some may be a consumer's, but stand in no Authorization header."""
    put(catalog(store.url), json.dumps({"consumers": [{"username": "a\u200bb"}]}))

    with pytest.raises(Refused, match="hmac-auth: key_id"):
        issue(catalog(store.url), ("", "a\u200bb"), "hmac-auth", at=0.0)


def test_a_form_without_its_secret_is_corrupt() -> None:
    """As an older release might have written it: a fault of that record, and of no other."""
    codec = catalog("redis://127.0.0.1:1").codec
    for secret in (b"null", b"7", b'"t1.AAAA"', b'"clear"'):
        form = b'{"secret_key":' + secret + b"}"
        payload = b'{"consumer":"a","id":"b","kind":"hmac-auth","form":' + form + b"}"
        with pytest.raises(StoreDown, match="record_corrupt"):
            codec.decode("n", codec.ring.seal("n", payload), CredentialRecord)
