"""Plan and apply: strict, repeatable, all or nothing; export gives back what was applied."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from authz import document
from authz.admin import credentials
from authz.admin import plan as planning
from authz.admin.catalog import Catalog, Changes
from authz.plain import DocumentError
from authz.secrets import KeyRing, KeyRingError, KeyRingVault
from authz.store.redis import StoreConflict
from tests.support.everything import accounts, exported
from tests.support.valkey import Valkey
from tests.support.workers import OTHER_RING, catalog

FULL = """
profile: apisix-3.18
services:
  - id: api
    tenant: t1
    hosts: [api.test, "*.api.test"]
    auth: {any: [{key-auth: {header: null, query: k, cookie: c}}, {basic-auth: {realm: r}}]}
    access: {grant: required, approval: auto}
    routes:
      - {id: one, match: {path: /one, methods: [GET, POST]}, access: {grant: none}}
      - {id: two, match: {path: /two/*}, auth: {all: [{key-auth: {}}, {basic-auth: {}}],
         same_consumer: false}}
groups: [{id: gold, tenant: t1}]
grants:
  - {group: gold, tenant: t1, service: api, route: two, stage: "*"}
consumers:
  - username: john
    tenant: t1
    grants:
      - {service: api}
      - {service: api, route: one, stage: PRE, not_before: 2026-01-01T00:00:00Z,
         not_after: 2026-02-01T00:00:00Z}
    groups: [gold, silver]
    labels: {custom_id: "4711", empty: ""}
    headers: {X-Consumer-Plan: free}
    not_before: 2026-01-01T00:00:00Z
    expires_at: 2027-01-01T00:00:00.5Z
    credentials:
      - {key-auth: {key: johns-embedded-key}}
      - {id: other, key-auth: {key: johns-other-key-that-is-long-enough-to-show}, disabled: true,
         not_before: 2026-01-01T00:00:00Z, expires_at: 2026-06-01T02:00:00+02:00}
      - {id: web, basic-auth: {username: johnny, password: a pass:word}}
  - username: idle
    disabled: true
"""

SMALL = """
services: [{id: api, auth: {key-auth: {}}}]
consumers:
  - {username: alice, credentials: [{id: k, key-auth: {key: alice-key}}]}
  - {username: bob, credentials: [{id: k, key-auth: {key: bob-key}}]}
"""


def put(store: Catalog, text: str) -> list[str]:
    """Apply, and say what changed."""
    made = planning.plan(document.parse(text), store, at=1000.0)
    planning.apply(store, made)
    return shown(made)


def shown(made: planning.Plan) -> list[str]:
    return [
        f"{line.sign} {line.what}" + (f" ({line.detail})" if line.detail else "")
        for line in made.lines
    ]


def preview(store: Catalog, text: str) -> list[str]:
    return shown(planning.plan(document.parse(text), store, at=1000.0))


def test_a_first_apply_adds_everything_and_a_second_nothing(store: Valkey) -> None:
    """Repeatable: passwords are recognised, not hashed anew."""
    target = catalog(store.url)

    assert put(target, FULL) == [
        "+ service api",
        "+ group t1/gold",
        "+ grant group t1/gold: api/two in stage *",
        "+ consumer idle",
        "+ consumer t1/john",
        "+ credential t1/john/key-auth",
        "+ credential t1/john/other",
        "+ credential t1/john/web",
    ]
    before = dump(store)
    assert put(target, FULL) == []
    assert dump(store) == before


def contents(store: Valkey) -> tuple[dict[bytes, bytes], set[bytes]]:
    """Every record but those of the applying itself, and the names of all consumers."""
    client = store.client()
    of_applying = {b"{authz}:epoch", b"{authz}:changed"}
    names = [k for k in client.keys("*") if client.type(k) == b"string" and k not in of_applying]
    return {name: client.get(name) for name in names}, client.smembers("{authz}:consumers")


def dump(store: Valkey) -> dict[bytes, bytes]:
    client = store.client()
    return {key: client.dump(key) for key in client.keys("*")}


def test_plan_changes_nothing(store: Valkey) -> None:
    """Looking is free."""
    assert len(preview(catalog(store.url), FULL)) == 8
    assert store.client().dbsize() == 0


def test_export_gives_back_what_was_applied(store: Valkey, tmp_path: Path) -> None:
    """Applied to the same store it changes nothing; to an empty one it makes the same records."""
    target = catalog(store.url)
    put(target, FULL)
    text = exported(target)

    assert preview(target, text) == []
    for secret in ("johns-embedded-key", "johns-other-key-that-is", "a pass:word"):
        assert secret not in text
    records, members = contents(store)
    store.client().flushall()
    put(target, text)
    assert contents(store) == (records, members)
    assert exported(target) == text


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("alice-key", "alice-new-key"), ["~ credential alice/k (secret)"]),
        (("username: alice,", "username: alice, disabled: true,"), ["~ consumer alice (disabled)"]),
        (
            ("id: k, key-auth: {key: bob", "id: k2, key-auth: {key: bob"),
            ["- credential bob/k", "+ credential bob/k2"],
        ),
        (("{key-auth: {}}", "{key-auth: {query: null}}"), ["~ service api (auth)"]),
        (("id: api", "id: api2"), ["- service api", "+ service api2"]),
        (
            (
                "{username: bob, credentials: [{id: k, key-auth: {key: bob-key}}]}",
                "{username: carol}",
            ),
            ["- consumer bob", "+ consumer carol", "- credential bob/k"],
        ),
    ],
)
def test_a_change_is_named(store: Valkey, edit: tuple[str, str], expected: list[str]) -> None:
    """What, and which field; a secret is only ever called "secret"."""
    target = catalog(store.url)
    put(target, SMALL)

    assert put(target, SMALL.replace(*edit)) == expected
    assert preview(target, SMALL.replace(*edit)) == []


def test_a_moved_key_leaves_its_old_place(store: Valkey) -> None:
    """The record of a key that is no longer given cannot be looked up any more."""
    target = catalog(store.url)
    put(target, SMALL)
    before = set(dump(store))
    put(target, SMALL.replace("alice-key", "alice-new-key"))

    (gone,) = before - set(dump(store))
    assert b"credential:/key-auth/" in gone


def test_what_the_commands_made_survives_an_apply(store: Valkey) -> None:
    """The document owns what it brought, not what was issued beside it."""
    target = catalog(store.url)
    put(target, SMALL)
    credentials.issue(target, ("", "alice"), "key-auth", identifier="issued", at=0)

    assert preview(target, SMALL) == []
    put(target, SMALL.replace("id: k, key-auth: {key: alice-key}", "id: n, key-auth: {key: new}"))
    assert sorted(accounts(target)["", "alice"].credentials) == ["issued", "n"]


def test_a_consumer_that_goes_takes_its_issued_credentials_along(store: Valkey) -> None:
    """Nothing is left that could be proven for somebody who is gone."""
    target = catalog(store.url)
    put(target, SMALL)
    credentials.issue(target, ("", "bob"), "key-auth", identifier="issued", at=0)
    put(target, "services: [{id: api, auth: {key-auth: {}}}]\nconsumers: [{username: alice}]")

    assert list(accounts(target)) == [("", "alice")]
    assert [k for k in store.client().keys("*") if b"credential:" in k] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            SMALL.replace("bob-key", "alice-key"),
            "consumers[1].credentials[0].key-auth: duplicate: credential 'k' of consumer 'alice'",
        ),
        (
            SMALL.replace("alice-key", '""'),
            "consumers[0].credentials[0].key-auth.key: expected a key that is not empty",
        ),
        (
            SMALL.replace("key: alice-key", "key: {digest: k9.abc}"),
            "consumers[0].credentials[0].key-auth.key: this digest is not of a key",
        ),
        (
            SMALL.replace("key: alice-key", "key: {hash: abc}"),
            "consumers[0].credentials[0].key-auth.key: expected a key",
        ),
        (
            SMALL.replace("{id: api,", "{id: api, hosts: [a.test, a.test],"),
            "services[0]: a.test/* is already taken by another route",
        ),
    ],
)
def test_a_wrong_document_changes_nothing(store: Valkey, text: str, complaint: str) -> None:
    """The error names the place; the store is as it was."""
    target = catalog(store.url)
    put(target, SMALL)
    before = dump(store)

    with pytest.raises(DocumentError) as caught:
        put(target, text)
    assert complaint in str(caught.value)
    assert dump(store) == before


def test_a_duplicate_of_an_issued_credential_is_refused(store: Valkey) -> None:
    """One look-up key, one credential, wherever they come from."""
    target = catalog(store.url)
    put(target, SMALL)
    key = credentials.issue(target, ("", "alice"), "key-auth", identifier="new", at=0).shown["key"]

    with pytest.raises(DocumentError, match=r"consumers\[1\].credentials\[0\].key-auth: duplicate"):
        put(target, SMALL.replace("bob-key", key))


def test_the_same_key_in_two_tenants_is_two_keys(store: Valkey) -> None:
    """Tenants do not see one another."""
    put(
        catalog(store.url),
        """
consumers:
  - {username: a, tenant: t1, credentials: [{key-auth: {key: shared}}]}
  - {username: a, tenant: t2, credentials: [{key-auth: {key: shared}}]}
""",
    )
    assert len([k for k in store.client().keys("*") if b"credential:" in k]) == 2


class Watched(KeyRingVault):
    """Knows on which threads it did what."""

    def __init__(self, ring: KeyRing) -> None:
        super().__init__(ring)
        self.hashing: set[int] = set()
        self.digesting: set[int] = set()

    def hash_password(self, password: str) -> str:
        self.hashing.add(threading.get_ident())
        return super().hash_password(password)

    def digest(self, kind: str, tenant: str, secret: str) -> str:
        self.digesting.add(threading.get_ident())
        return super().digest(kind, tenant, secret)


def test_passwords_are_hashed_beside_what_is_quick(store: Valkey) -> None:
    """On threads of their own; each credential stays its own, and each is told of."""
    target = catalog(store.url)
    vault = target.vault = Watched(target.codec.ring)
    told: list[tuple[float, int]] = []
    text = """
consumers:
  - username: a
    credentials:
      - {id: p1, basic-auth: {username: first, password: one}}
      - {id: k1, key-auth: {key: first-key}}
  - {username: b}
  - username: c
    credentials:
      - {id: k2, key-auth: {key: second-key}}
      - {id: p2, basic-auth: {username: second, password: two}}
"""
    made = planning.plan(document.parse(text), target, 0.0, lambda *step: told.append(step[1::2]))
    planning.apply(target, made)

    assert vault.digesting == {threading.get_ident()}
    assert vault.hashing
    assert threading.get_ident() not in vault.hashing
    assert told == [(1.5, 2), (2.25, 3), (3.0, 4)]
    found = {i: held for a in accounts(target).values() for i, held in a.credentials.items()}
    assert [found[i][0].index for i in ("p1", "p2")] == ["first", "second"]
    for identifier, password in (("p1", "one"), ("p2", "two")):
        assert vault.password_matches(password, found[identifier][1].form.hashed)
    for identifier, key in (("k1", "first-key"), ("k2", "second-key")):
        assert found[identifier][0].index == vault.digest("key-auth", "", key)


def test_two_who_apply_at_once_do_not_mix(store: Valkey) -> None:
    """Who planned against an older store is told so and writes nothing."""
    target = catalog(store.url)
    put(target, SMALL)
    late = planning.plan(document.parse(SMALL.replace("alice-key", "late-key")), target, 0.0)
    put(target, SMALL.replace("alice-key", "early-key"))
    before = dump(store)

    with pytest.raises(StoreConflict):
        planning.apply(target, late)
    assert dump(store) == before


def test_another_key_ring_is_refused(store: Valkey) -> None:
    """It would turn every credential into an unknown one."""
    put(catalog(store.url), SMALL)
    before = dump(store)

    with pytest.raises(KeyRingError, match="written with another key ring"):
        put(catalog(store.url, OTHER_RING), SMALL)
    assert dump(store) == before


def test_an_empty_document_makes_an_epoch(store: Valkey) -> None:
    """So that "nothing applied" and "nobody may call" are told apart."""
    target = catalog(store.url)
    assert target.is_empty()
    put(target, "{}")

    assert not target.is_empty()


def test_erase_leaves_nothing(store: Valkey) -> None:
    """Every record of the namespace goes, and nobody else's."""
    target = catalog(store.url)
    put(target, FULL)
    store.client().set("foreign", "1")
    target.erase()

    assert store.client().keys("*") == [b"foreign"]


def test_routes_without_auth_are_warned_of(store: Valkey) -> None:
    """They admit nobody; that is rarely meant. Nor is a guest who does not exist."""
    text = """
services:
  - {id: closed}
  - {id: guests, hosts: [g.test], auth: {key-auth: {anonymous_consumer: guest}}}
"""
    made = planning.plan(document.parse(text), catalog(store.url), 0.0)

    assert made.warnings == (
        "services[0]: no auth: it admits nobody",
        "services[1]: anonymous_consumer 'guest' is not in this document",
    )


def test_rules_that_are_rarely_meant(store: Valkey) -> None:
    """Those that nobody is asked, and names of nothing."""
    text = """
services:
  - id: api
    hosts: [a.test]
    auth: {key-auth: {}}
    access: {acl: {allow_labels: {a: [b]}}, ip-restriction: {blacklist: [192.0.2.1]}}
    routes:
      - {id: r, match: {path: /r}, access: {acl: {allow_labels: {a: [c]}}}}
      - {id: s, access: {acl: {allow_labels: {a: [c]}}, ip-restriction: {blacklist: [192.0.2.2]}}}
groups:
  - {id: g, access: {consumer-restriction: {type: route_id, whitelist: [r, api]}}}
  - {id: h, access: {consumer-restriction: {type: service_id, blacklist: [api, r],
      allowed_by_methods: [{user: t, methods: [GET]}]}}}
  - {id: i, access: {consumer-restriction: {whitelist: [whoever]}}}
"""
    made = planning.plan(document.parse(text), catalog(store.url), 0.0)

    assert made.warnings == (
        "services[0].access.acl: each of its routes has its own: this one is never asked",
        "groups[0].access.consumer-restriction: no route_id in this document is 'api'",
        "groups[1].access.consumer-restriction: no service_id in this document is 'r'",
        "groups[1].access.consumer-restriction: no service_id in this document is 't'",
    )


def test_a_single_change_is_tried_again_when_others_change_the_store(store: Valkey) -> None:
    """Two operators who issue at the same moment both succeed."""
    target = catalog(store.url)
    put(target, SMALL)
    disturbed: list[int] = []

    def make(snapshot: object) -> Changes:
        if not disturbed:
            disturbed.append(1)
            put(catalog(store.url), SMALL.replace("bob-key", "bob-new-key"))
        return Changes(config={"profile": "api7", "services": []})

    target.change(make)
    assert target.policy()["services"] == []
