"""A credential's successor: of every scheme, in one transaction, and never what cannot work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from authz import document
from authz.admin import credentials, rotation
from authz.admin import plan as planning
from authz.admin.catalog import Catalog, Unknown
from authz.admin.credentials import Refused, Validity
from authz.admin.rotation import Rotated, Wish
from authz.cli import app
from authz.plain import DocumentError
from authz.schemes import SCHEMES
from authz.schemes.no_credential import NoCredential
from authz.store.records import ConsumerRecord, CredentialRecord
from tests.support.gateway import NOW
from tests.support.memory import CheapVault
from tests.support.tokens import pem, private_key
from tests.support.valkey import Valkey
from tests.support.workers import RING, apply, catalog

ALICE = ("", "alice")
HOUR = 3600.0
ISSUED = ("key-auth", "basic-auth", "jwt-auth", "jwt", "hmac-auth", "appcode", "digest")
FRESH = ("hmac-auth", "digest")
PUBLIC = pem(private_key("ES256"))


@pytest.fixture
def target(store: Valkey) -> Catalog:
    apply(store.url, "services: [{id: api, auth: {key-auth: {}}}]")
    made = catalog(store.url)
    made.vault = CheapVault(made.codec.ring)
    credentials.add_consumer(made, ConsumerRecord(username="alice"))
    return made


def issue(target: Catalog, kind: str = "key-auth", **more: Any) -> None:
    credentials.issue(target, ALICE, kind, identifier="old", at=NOW, **more)


def rotate(target: Catalog, at: float = NOW, overlap: float = HOUR, **more: Any) -> Rotated:
    return rotation.rotate(target, ALICE, "old", Wish(overlap, **{"identifier": "new", **more}), at)


def held(target: Catalog) -> dict[str, tuple[str, CredentialRecord]]:
    account = credentials.account_of(target, *ALICE)
    return {name: (at.index, record) for name, (at, record) in account.credentials.items()}


def test_every_scheme_that_issues_is_here() -> None:
    """The others have no credentials of their own."""
    assert set(ISSUED) == {k for k, each in SCHEMES.items() if each.draft is not NoCredential}


@pytest.mark.parametrize("kind", ISSUED)
def test_both_hold_and_the_old_one_ends_by_itself(target: Catalog, kind: str) -> None:
    """Each has a look-up key of its own; what is shown is what is stored."""
    issue(target, kind)
    done = rotate(target)
    (old_index, old), (index, new) = held(target)["old"], held(target)["new"]

    assert (old.expires_at, old.successor, done.old_ends) == (NOW + HOUR, "new", NOW + HOUR)
    assert (new.kind, new.expires_at, new.created_at, new.managed) == (kind, 0.0, NOW, False)
    assert old_index != index
    assert new.form != old.form
    if SCHEMES[kind].public_identifier:
        assert index in done.shown.values()
    assert repr(done) == "Rotated(new)"


@pytest.mark.parametrize("kind", ISSUED)
def test_without_an_overlap_the_new_one_alone_holds(target: Catalog, kind: str) -> None:
    """A user name stays where the scheme takes it as it is given."""
    issue(target, kind)
    before, _ = held(target)["old"]
    done = rotate(target, overlap=0.0)
    after = held(target)

    if SCHEMES[kind].public_identifier and kind not in FRESH:
        assert (list(after), after["new"][0], done.old_ends) == (["new"], before, 0.0)
    else:
        assert after["old"][1].expires_at == done.old_ends == NOW


@pytest.mark.parametrize(
    ("kind", "written", "kept"),
    [
        (
            "jwt-auth",
            {"key": "k", "secret": "s" * 64, "algorithm": "HS512", "issuer": "i"},
            "issuer",
        ),
        (
            "jwt",
            {"username": "k", "secret": "c2Vj" * 24, "algorithm": "HS512", "base64_secret": True},
            "base64_secret",
        ),
        ("hmac-auth", {"key_id": "k", "secret_key": "s", "algorithm": "hmac-sha512"}, "algorithm"),
    ],
)
def test_its_settings_stay(
    target: Catalog, store: Valkey, kind: str, written: Any, kept: str
) -> None:
    """And a secret fits its algorithm, which is told as it is."""
    entry = {"id": "old", kind: written}
    consumer = {"username": "alice", "credentials": [entry]}
    apply(store.url, json.dumps({"consumers": [consumer], "services": [{"id": "api"}]}))
    done = rotate(target)
    (_, old), (_, new) = held(target)["old"], held(target)["new"]

    assert getattr(new.form, kept) == getattr(old.form, kept) == written[kept]
    assert new.form.algorithm == written["algorithm"]
    assert done.shown.get("algorithm", written["algorithm"]) == written["algorithm"]


def test_a_rotation_of_a_rotation(target: Catalog) -> None:
    """The user name does not grow; the first one ends as it was to."""
    issue(target, "basic-auth", login="al")
    names = ["al", rotate(target).shown["username"]]
    again = rotation.rotate(target, ALICE, "new", Wish(2 * HOUR, "newer"), NOW + 1)
    names.append(again.shown["username"])

    assert len(set(names)) == 3
    assert {len(name) for name in names[1:]} == {len("al-12345678")}
    assert {n: r.expires_at for n, (_, r) in held(target).items()} == {
        "old": NOW + HOUR,
        "new": NOW + 1 + 2 * HOUR,
        "newer": 0.0,
    }


def test_an_end_that_is_nearer_stays(target: Catalog) -> None:
    """The successor lasts as long as the old one was to, unless it is said."""
    issue(target, validity=Validity(expires_at=NOW + 60))
    done = rotate(target, at=NOW + 10)

    assert held(target)["old"][1].expires_at == NOW + 60
    assert done.expires_at == NOW + 10 + 60
    assert held(target)["new"][1].expires_at == done.expires_at


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"disabled": True}, "is disabled"),
        ({"expires_at": NOW}, "has ended"),
        ({"not_before": NOW + 1}, "does not hold yet"),
        ({"successor": "other"}, "was rotated already"),
    ],
)
def test_what_cannot_work_is_refused(
    target: Catalog, change: dict[str, Any], complaint: str
) -> None:
    """With the reason, and nothing is written."""
    issue(target)
    credentials.issue(target, ALICE, "key-auth", identifier="other", at=NOW)
    credentials.change(target, ALICE, "old", lambda r: replace(r, **change))
    before = target.version()
    with pytest.raises(Refused, match=complaint):
        rotate(target)
    assert target.version() == before


def test_whose_successor_is_gone_is_rotated_again(target: Catalog) -> None:
    """It was revoked, say, before anybody had it."""
    issue(target)
    rotate(target)
    credentials.revoke(target, ALICE, "new")
    assert rotate(target).id == "new"


@pytest.mark.parametrize(
    ("kind", "wish", "complaint"),
    [
        ("key-auth", {"login": "x"}, "no user name or key id"),
        ("key-auth", {"identifier": "old"}, "has a credential 'old' already"),
        ("basic-auth", {"login": "al"}, "each needs its own"),
        ("basic-auth", {"login": "taken"}, "taken by consumer 'bob'"),
        ("basic-auth", {"login": "a:b"}, "without colons"),
    ],
)
def test_names_that_cannot_be(target: Catalog, kind: str, wish: Any, complaint: str) -> None:
    """Refused with the reason."""
    credentials.add_consumer(target, ConsumerRecord(username="bob"))
    credentials.issue(target, ("", "bob"), "basic-auth", login="taken", at=NOW)
    issue(target, kind, login="al")
    with pytest.raises(Refused, match=complaint):
        rotate(target, **wish)
    with pytest.raises(Unknown, match="has no credential 'no'"):
        rotation.rotate(target, ALICE, "no", Wish(HOUR), NOW)


def test_a_public_key_is_its_owners(target: Catalog, store: Valkey) -> None:
    """Nobody here can make the next one; the refusal says what can be done."""
    entry = {"id": "old", "jwt-auth": {"key": "k", "algorithm": "ES256", "public_key": PUBLIC}}
    consumer = {"username": "alice", "credentials": [entry]}
    apply(store.url, json.dumps({"consumers": [consumer], "services": [{"id": "api"}]}))
    with pytest.raises(Refused, match="`authz credential expire`"):
        rotate(target)


def test_the_next_apply(store: Valkey) -> None:
    """The command says what the document will undo: the old one's end; the successor stays."""
    apply(store.url)
    env = {"AUTHZ_REDIS_URL": store.url, "AUTHZ_KEYRING": RING}
    words = ("credential", "rotate", "alice", "key", "--overlap", "24h", "--id", "new", "--json")
    done = CliRunner().invoke(app, words, env=env)
    made = catalog(store.url)
    assert done.exit_code == 0
    assert "it came from a document" in done.output
    ends = held(made)["key"][1].expires_at
    assert ends == json.loads(done.output.splitlines()[0])["old_expires_at"]

    apply(store.url)
    assert held(made)["key"][1].expires_at == 0.0
    assert held(made)["key"][1].successor == "new"
    assert "new" in held(made)


def test_a_replaced_user_name_is_in_the_documents_way(store: Valkey) -> None:
    """An apply that would give the same name to two is refused whole."""
    apply(store.url)
    made = catalog(store.url)
    rotation.rotate(made, ALICE, "web", Wish(0.0, "new"), NOW)
    with pytest.raises(DocumentError, match="credential 'new' of consumer 'alice' has it already"):
        planning.plan(document.parse(DEMO_WEB), made, NOW)


DEMO_WEB = """
services: [{id: api, auth: {basic-auth: {}}}]
consumers:
  - username: alice
    credentials: [{id: web, basic-auth: {username: alice, password: alice-password}}]
"""
