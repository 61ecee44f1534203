"""What a Lookup promises, kept by the store and by the memory that other tests use."""

from __future__ import annotations

import pytest

from authz.admin.catalog import Catalog, Silent
from authz.admin.plan import apply, plan
from authz.contracts import Lookup, Lookups, StoreDown
from authz.document import parse
from authz.schemes import SCHEMES
from authz.store.open import StoreSettings, open_store
from authz.store.target import Target
from tests.support.memory import RING, Memory
from tests.support.people import CONSUMERS
from tests.support.valkey import Valkey

DOCUMENT = parse(CONSUMERS)


def _in_valkey(url: str) -> Lookups:
    catalog = Catalog(Target(url), "authz", RING)
    apply(catalog, plan(DOCUMENT, catalog, at=0.0))
    forms = {kind: scheme.form for kind, scheme in SCHEMES.items()}
    settings = StoreSettings(Target(url), "authz", timeout=1.0)
    return open_store(settings, RING, forms, Silent(), lambda keys: None).waiting


@pytest.fixture(params=["memory", "valkey"])
def lookups(request: pytest.FixtureRequest) -> Lookups:
    """The same consumers, asked for in either way."""
    if request.param == "memory":
        return Memory().load(DOCUMENT)
    store: Valkey = request.getfixturevalue("store")
    return _in_valkey(store.url)


@pytest.fixture
def lookup(lookups: Lookups) -> Lookup:
    return lookups.within("")


def test_consumers(lookup: Lookup, lookups: Lookups) -> None:
    """A consumer is found by name within its tenant, whole."""
    alice = lookup.consumer("alice")

    assert alice is not None
    assert (alice.groups, alice.labels["custom_id"]) == (("gold", "eu"), "4711")
    assert alice.headers == {"X-Consumer-Plan": "gold plan"}
    assert [lookup.consumer(name) for name in ("Alice", "", "t-user", "nobody")] == [None] * 4
    assert lookups.within("t").consumer("t-user") is not None
    assert lookups.within("t").consumer("alice") is None


def test_keys(lookup: Lookup, lookups: Lookups) -> None:
    """A key finds its own credential, live or not, within its tenant, and nothing else does."""
    found = {
        key: lookup.find_secret("key-auth", key)
        for key in ("alice-key", "embedded-key", "out-key", "old-key", "nope", "", "al", "\udcff")
    }

    assert {key: (c.consumer, c.id) for key, c in found.items() if c} == {
        "alice-key": ("alice", "primary"),
        "embedded-key": ("alice", "key-auth"),
        "out-key": ("alice", "dis"),
        "old-key": ("alice", "old"),
    }
    assert [c.named for c in found.values() if c] == [True, False, True, True]
    assert [c.disabled for c in found.values() if c] == [False, False, True, False]
    assert [c.expires_at > 0 for c in found.values() if c] == [False, False, False, True]
    tenants = lookups.within("t").find_secret("key-auth", "alice-key")
    assert tenants is not None
    assert tenants.consumer == "t-user"
    assert lookup.find_secret("basic-auth", "alice-key") is None


def test_passwords(lookup: Lookup) -> None:
    """A user name finds its hash; only the password matches; nobody's matches nothing."""
    found = lookup.find("basic-auth", "al")

    assert found is not None
    assert (found.consumer, found.id) == ("alice", "web")
    matches = [
        lookup.password_matches(word, found.form.hashed) for word in ("secret", "Secret", "")
    ]
    assert matches == [True, False, False]
    assert [lookup.password_matches(word, "") for word in ("secret", "nobody", "")] == [False] * 3
    assert [lookup.find("basic-auth", name) for name in ("alice", "AL", "", "al/x")] == [None] * 4


def test_nonces(lookup: Lookup) -> None:
    """A nonce can be claimed once."""
    assert [lookup.claim(nonce, 60) for nonce in ("n", "n", "m")] == [True, False, True]


class Calls(Silent):
    """Counts what is asked of the store."""

    def __init__(self) -> None:
        self.reasons: list[str | None] = []

    def store(self, seconds: float, reason: str | None) -> None:
        self.reasons.append(reason)


def test_a_store_that_hangs_is_waited_for_once_a_decision(own_valkey: Valkey) -> None:
    """A consumer, a credential and a nonce are three calls: the first that ran out of time is the
    last. What was true a moment ago is used all the same, and a nonce never counts."""
    catalog = Catalog(Target(own_valkey.url), "authz", RING)
    apply(catalog, plan(DOCUMENT, catalog, at=0.0))
    forms = {kind: scheme.form for kind, scheme in SCHEMES.items()}
    settings = StoreSettings(Target(own_valkey.url), "authz", timeout=0.3, bound_seconds=0.0)
    calls = Calls()
    store = open_store(settings, RING, forms, calls, lambda keys: None)
    before = store.waiting.within("")
    assert before.find_secret("key-auth", "alice-key")
    assert before.consumer("alice")
    assert before.claim("nonce", 60)
    calls.reasons.clear()
    own_valkey.freeze()

    for _ in range(2):
        decision = store.waiting.within("")
        found = decision.find_secret("key-auth", "alice-key"), decision.consumer("alice")
        assert [each is not None for each in found] == [True, True]
        with pytest.raises(StoreDown):
            decision.claim("another", 60)

    assert calls.reasons == ["store_timeout", "store_timeout"]
