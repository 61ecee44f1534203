"""An apply that is too large for one transaction: what is seen between its steps, and after an end
in the middle."""

from __future__ import annotations

import time
from typing import Any

import pytest

from authz import document
from authz.admin import credentials
from authz.admin import plan as planning
from authz.admin.catalog import Catalog, Unknown
from authz.store.redis import StoreConflict
from tests.support.everything import accounts
from tests.support.many import asked
from tests.support.valkey import Valkey
from tests.support.workers import catalog

BEFORE = """
services: [{id: api, auth: {key-auth: {}}}]
consumers:
  - {username: alice, credentials: [{id: k, key-auth: {key: moves}}]}
  - {username: bob, credentials: [{id: k, key-auth: {key: bob-key}}]}
  - {username: carol, credentials: [{id: k, key-auth: {key: moves-from-one-who-goes}}]}
  - {username: dora, credentials: [{id: k, key-auth: {key: goes}}, {id: l, key-auth: {key: stays}}]}
"""
#: Alice's key is Bob's now, and Bob's is Alice's; Carol's is Dora's.
AFTER = """
services: [{id: new, auth: {key-auth: {}}}]
consumers:
  - {username: alice, credentials: [{id: k, key-auth: {key: bob-key}}]}
  - {username: bob, credentials: [{id: k, key-auth: {key: moves}}]}
  - {username: dora, credentials: [{id: m, key-auth: {key: moves-from-one-who-goes}},
      {id: l, key-auth: {key: stays}}]}
  - {username: eve, credentials: [{id: k, key-auth: {key: eve-key}}]}
"""
#: What the keys open before and after, by the consumer's name.
OWNERS = {
    "moves": {"alice", "bob"},
    "bob-key": {"bob", "alice"},
    "moves-from-one-who-goes": {"carol", "dora"},
    "goes": {"dora"},
    "stays": {"dora"},
    "eve-key": {"eve"},
}


@pytest.fixture
def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each consumer is a step."""
    monkeypatch.setattr(planning, "ATOMIC", 0)
    monkeypatch.setattr(planning, "BATCH", 1)


def put(target: Catalog, text: str) -> None:
    planning.apply(target, planning.plan(document.parse(text), target, at=1000.0))


def opened(target: Catalog) -> dict[str, str]:
    """Whose each key is, for those that a worker would let in."""
    found = {}
    for key in OWNERS:
        (digest,) = target.codec.ring.digests("key-auth", "", key)
        record = target.load("key-auth", target.keys.credential("", "key-auth", digest))
        if record is not None and target.consumers([("", record.consumer)]):
            found[key] = record.consumer
    return found


def contents(target: Catalog) -> Any:
    return target.policy(), accounts(target), opened(target)


class Stop:
    """Interrupts an apply after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, step: str, done: float, total: float, records: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("stepwise")
def test_an_interrupted_apply_is_finished_by_the_next(store: Valkey) -> None:
    """Wherever it ended; and in between no key opens anything but for whom it was or will be."""
    target = catalog(store.url)
    put(target, AFTER)
    wanted = contents(target)
    after, ends = 0, True
    while ends:
        after += 1
        store.client().flushall()
        put(target, BEFORE)
        made = planning.plan(document.parse(AFTER), target, at=1000.0)
        try:
            planning.apply(target, made, Stop(after))
            ends = False
        except planning.Unfinished as unfinished:
            said = str(unfinished)
        for key, owner in opened(target).items():
            assert owner in OWNERS[key]
        # What goes, goes first.
        assert "goes" not in opened(target)
        put(target, AFTER)
        assert contents(target) == wanted
    assert after > 5
    assert f"of {made.changes} records were written, each of them whole: apply again" in said


@pytest.mark.usefixtures("stepwise")
def test_a_command_between_two_steps_is_noticed(store: Valkey) -> None:
    """And not written over: the next apply finishes, and keeps what it made."""
    target, other = catalog(store.url), catalog(store.url)
    put(target, BEFORE)
    made = planning.plan(document.parse(AFTER), target, at=1000.0)

    def meddle(step: str, done: float, total: float, records: int) -> None:
        credentials.issue(other, ("", "bob"), "key-auth", identifier="issued", at=time.time())

    with pytest.raises(planning.Unfinished, match="somebody else changed the store"):
        planning.apply(target, made, meddle)
    put(target, AFTER)
    assert set(accounts(target)["", "bob"].credentials) == {"k", "issued"}


@pytest.mark.usefixtures("stepwise")
def test_a_change_before_the_first_step_is_a_conflict(store: Valkey) -> None:
    """Then nothing is written."""
    target = catalog(store.url)
    put(target, BEFORE)
    made = planning.plan(document.parse(AFTER), target, at=1000.0)
    credentials.set_disabled(target, ("", "bob"), "k", disabled=True)
    before = contents(target)

    with pytest.raises(StoreConflict):
        planning.apply(target, made)
    assert contents(target) == before


def test_a_small_apply_is_one_transaction(store: Valkey) -> None:
    """Whatever it writes and deletes, the policy and a key that moves included."""
    target = catalog(store.url)
    put(target, BEFORE)
    with asked(store) as found:
        put(target, AFTER)

    assert found.calls["exec"] == 1
    assert opened(target)["moves"] == "bob"


@pytest.mark.usefixtures("stepwise")
def test_a_key_that_moved_is_not_revoked_with_its_former_owner(store: Valkey) -> None:
    """Whom an interrupted apply left with a credential that is another's by now."""
    target = catalog(store.url)
    put(target, "consumers: [{username: z, credentials: [{id: k, key-auth: {key: moves}}]}]")
    after = """
consumers:
  - {username: a, credentials: [{id: k, key-auth: {key: moves}}]}
  - {username: z, credentials: [{id: k, key-auth: {key: stays}}]}
"""
    made = planning.plan(document.parse(after), target, at=1000.0)
    with pytest.raises(planning.Unfinished):
        planning.apply(target, made, Stop(1))
    assert opened(target) == {"moves": "a"}
    with pytest.raises(Unknown):
        credentials.revoke(target, ("", "z"), "k")

    credentials.revoke_consumer(target, "", "z")
    assert opened(target) == {"moves": "a"}
