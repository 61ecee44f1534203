"""When credentials were used last: kept cheaply, seldom written, and never in anybody's way."""

from __future__ import annotations

from typing import Any

import pytest

from authz.admin.catalog import Silent
from authz.pipeline import decide
from authz.server import chores
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.store.target import Target
from authz.store.used import CHUNK, MOST, Used
from authz.values import Allow, Credential, Request
from tests.store.test_redis import Ear
from tests.support.caches import away
from tests.support.checks import check
from tests.support.gateway import NOW, Gateway, ask
from tests.support.memory import MemoryLookup
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import apply, catalog, running

KEYS = Keys("authz")
MINUTE = NOW // 60 * 60
DOCUMENT = """
services:
  - {id: one, hosts: [one.test], auth: {key-auth: {}}}
  - {id: two, hosts: [two.test], auth: {all: [{key-auth: {}}, {basic-auth: {}}]}}
  - {id: lax, hosts: [lax.test], auth: {key-auth: {anonymous_consumer: guest}}}
consumers:
  - username: alice
    credentials:
      - {id: key, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: password}}
  - {username: guest}
"""
KEY, WRONG = ("apikey", "alice-key"), ("apikey", "wrong")
PASSWORD = ("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=")


def credential(number: int = 0, **changes: Any) -> Credential:
    return Credential("alice", f"key-{number}", "key-auth", None, **changes)


def client(url: str) -> RedisStore:
    return RedisStore(Target(url), 5.0, Silent())


def noted(store: Valkey) -> dict[str, bytes]:
    found = store.client()
    return {name.decode(): found.get(name) for name in found.keys("*used*")}


@pytest.mark.parametrize(
    ("host", "lines", "used"),
    [
        ("one.test", [KEY], ["key"]),
        ("two.test", [KEY, PASSWORD], ["key", "web"]),
        ("two.test", [KEY], []),
        ("one.test", [WRONG], []),
        ("lax.test", [], []),
    ],
)
def test_what_was_let_in_is_noted(host: str, lines: list[tuple[str, str]], used: list[str]) -> None:
    """Every credential that proved the caller; nothing that was refused, and no anonymous one."""
    gateway = Gateway(DOCUMENT)
    gateway.decide(ask("/", *lines, host=host))

    assert sorted(each.id for each in gateway.memory.used.values()) == used


def test_nothing_is_noted_where_nobody_wants_to_know() -> None:
    """And decisions are the same."""
    gateway = Gateway(DOCUMENT)

    class Uninterested(MemoryLookup):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.used = None

    request: Request = ask("/", KEY, host="one.test")
    gateway.memory.within = lambda tenant: Uninterested(gateway.memory, tenant)  # type: ignore[method-assign]
    assert isinstance(decide(request, gateway.routes, gateway.memory).decision, Allow)
    assert gateway.memory.used == {}


def test_to_the_minute_and_in_the_end_forgotten(store: Valkey) -> None:
    """Once for each credential, however often it was used and however often its record changed."""
    used = Used(KEYS, lambda: NOW + 59.9)
    for each in (credential(), credential(), credential(1, tenant="t")):
        used.seen[id(each)] = each
    used.gather()
    used.flush(client(store.url))

    stamp = b"%d" % MINUTE
    assert noted(store) == {
        "{authz~used}:/alice/key-0": stamp,
        "{authz~used}:t/alice/key-1": stamp,
    }
    assert 390 * 86_400 < store.client().ttl("{authz~used}:/alice/key-0") <= 400 * 86_400
    store.client().flushall()
    used.flush(client(store.url))
    assert noted(store) == {}


def test_it_is_bounded() -> None:
    """In memory, and in what one round trip brings."""
    used = Used(KEYS, lambda: NOW)
    for number in range(MOST + 10):
        each = credential(number)
        used.seen[number] = each
    used.gather()
    sizes: list[int] = []

    class Store:
        def note(self, values: dict[str, bytes], seconds: int) -> None:
            sizes.append(len(values))

    used.flush(Store())  # type: ignore[arg-type]
    assert (used.seen, sum(sizes), max(sizes)) == ({}, MOST, CHUNK)


def test_a_store_that_is_away_loses_notes_and_nothing_else() -> None:
    """No error, and nothing is kept for later."""
    used = Used(KEYS, lambda: NOW)
    used.seen[0] = credential()
    used.gather()
    used.flush(away())
    sent: list[Any] = []
    used.flush(type("Store", (), {"note": lambda _, values, seconds: sent.append(values)})())
    assert sent == []


def test_nobody_hears_of_it(store: Valkey) -> None:
    """Notes are no changes of records."""
    told = client(store.url)
    ear = Ear(told, KEYS.records)
    told.note({KEYS.used("", "alice", "key"): b"60"}, 60)
    told.tell(KEYS.workers, "w", b"{}")
    store.client().set(KEYS.config, b"x")
    until(lambda: KEYS.config in ear.heard, "a change is heard")
    assert set(ear.heard) == {KEYS.config}


def test_a_worker_writes_it_now_and_then_and_when_it_ends(
    store: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of its decisions; commands show it."""
    monkeypatch.setattr(chores, "TICK", 0.05)
    apply(store.url)
    wanted = [("", "alice", "key"), ("", "bob", "key")]
    with running(store.url, clock=lambda: NOW, last_used_seconds=0.1) as client:
        client.ask(check("/ip", ("apikey", "alice-key")))
        client.ask(check("/ip", ("apikey", "wrong")))
        until(lambda: noted(store), "it is written")
        assert list(catalog(store.url).last_used(wanted)) == [MINUTE, 0.0]
    with running(store.url, clock=lambda: NOW, last_used_seconds=3600) as client:
        client.ask(check("/ip", ("apikey", "bob-key")))
        assert len(noted(store)) == 1
    assert list(catalog(store.url).last_used(wanted)) == [MINUTE, MINUTE]


def test_it_can_be_switched_off(store: Valkey) -> None:
    """Nothing is kept, nothing is written."""
    apply(store.url)
    with running(store.url, last_used_seconds=0) as client:
        assert client.ask(check("/ip", ("apikey", "alice-key"))).outcome == "allow"
        assert client.worker.store is not None
        assert client.worker.store.used is None
    assert noted(store) == {}
