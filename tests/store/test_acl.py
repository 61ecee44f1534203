"""Users of the store with the least rights, as docs/stores.md gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authz.admin import credentials
from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.quotas import Quota
from authz.secrets import KeyRing
from authz.store import counting, presence
from authz.store.counting import SPEND
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.store.target import Target
from tests.store.test_cluster import ALICE, BOB, PATIENT, beside_the_records, linked
from tests.store.test_redis import Ear
from tests.support.cluster import Cluster, ask
from tests.support.sentinels import Sentinels
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import RING, apply, catalog, running

MANUAL = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
#: The lines of an ACL file, by the user's name.
LINES = {
    name: rules.replace(">PASSWORD", ">canary").split()
    for name, rules in re.findall(r"^user (\S+) (.*)$", MANUAL, re.MULTILINE)
}
SERVE, ADMIN, ASKER = "authz-serve", "authz-admin", "authz-asker"
IN_A_CLUSTER = ["+cluster|slots", "+exists", "+asking"]
BEHIND_SENTINELS = ["+role"]
KEYS = Keys("authz")
QUOTA = Quota("c", 1, 3_600_000)
NUMBERS = counting.arguments([], [QUOTA], [1])


def give(node: Valkey, name: str, *more: str, without: str = "") -> None:
    """Make a user as the manual says, with more rights or without one."""
    rules = [rule for rule in (*LINES[name], *more) if rule != without]
    ask(node, "ACL", "SETUSER", name, "reset", *rules)


def as_user(url: str, name: str) -> str:
    return url.replace("//", f"//{name}:canary@")


def client(url: str) -> RedisStore:
    return RedisStore(Target(url), 5.0, Silent())


@pytest.fixture
def users(store: Valkey) -> Iterator[Valkey]:
    """A server with both users."""
    for name in (SERVE, ADMIN):
        give(store, name)
    yield store
    ask(store, "ACL", "DELUSER", SERVE, ADMIN)


def test_the_manual_gives_the_rights() -> None:
    """All of them, and what a cluster and Sentinels need besides."""
    assert set(LINES) == {SERVE, ADMIN, ASKER}
    assert f"`{' '.join(IN_A_CLUSTER)}`" in MANUAL
    assert f"`{' '.join(BEHIND_SENTINELS)}`" in MANUAL


def test_everything_with_the_least_rights(
    users: Valkey, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """Applied, exported, asked, revoked, claimed; and nobody's password is in a message."""
    admin, serve = as_user(users.url, ADMIN), as_user(users.url, SERVE)
    apply(admin)
    with running(serve, store_timeout_ms=PATIENT) as worker:
        assert [worker.ask(each).outcome for each in (ALICE, BOB)] == ["allow", "allow"]
        credentials.revoke(catalog(admin), ("", "bob"), "key")
        until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
        assert worker.worker.store is not None
        lookup = worker.worker.store.waiting.within("")
        assert [lookup.claim("n", 60) for _ in "ab"] == [True, False]
        assert [lookup.spend([QUOTA], []).refused for _ in "ab"] == [False, True]
    assert catalog(admin).is_claimed("", "n")
    assert catalog(admin).standings("", [QUOTA]).refused
    catalog(admin).erase()
    assert catalog(admin).is_empty()
    assert "canary" not in caplog.text


@pytest.mark.parametrize("right", [r for r in LINES[SERVE] if r[0] in "+%"])
def test_each_right_of_serve_is_needed(users: Valkey, right: str) -> None:
    """Without it something fails, and what is said names the right."""
    give(users, SERVE, without=right)
    store = client(as_user(users.url, SERVE))

    def everything() -> None:
        store.read([KEYS.epoch])
        store.claim(KEYS.nonce("", right), 60)
        store.clock(KEYS.changed)
        store.delete([KEYS.nonce("", right)])
        users.client().script_flush()
        assert counting.result(store.evaluate(SPEND, [KEYS.counter("", "c")], NUMBERS))[1]
        assert counting.result(store.evaluate(SPEND, [KEYS.counter("", "c")], NUMBERS))[1]
        store.note({KEYS.used("", "alice", "key"): b"60"}, 60)
        presence.report(store, KEYS, "worker", KeyRing.parse(RING), watched=True)
        assert store.told(KEYS.workers)
        store.untell(KEYS.workers, ["worker"])
        next(store.changes(KEYS.records, KEYS.nothing, 1))

    refused(everything, right)


@pytest.mark.parametrize("right", [r for r in LINES[ADMIN] if r[0] in "+~%"])
def test_each_right_of_the_commands_is_needed(users: Valkey, right: str) -> None:
    """Without it something fails, and what is said names the right."""
    give(users, ADMIN, without=right)
    admin = as_user(users.url, ADMIN)

    def everything() -> None:
        apply(admin)
        catalog(admin).is_claimed("", "n")
        catalog(admin).standings("", [QUOTA])
        list(catalog(admin).last_used([("", "alice", "key")]))
        catalog(admin).workers()
        catalog(admin).erase()

    refused(everything, right)


def refused(act: Callable[[], None], right: str) -> None:
    """For want of this right; a command is named."""
    with pytest.raises(StoreDown) as caught:
        act()

    assert caught.value.reason == "store_auth_failed"
    assert right[1:] in caught.value.detail or right[:2] == "+@" or right[0] in "~%"


@pytest.mark.parametrize(
    ("without", "told"), [("+mget", "'mget'"), ("+client|tracking", "'client|tracking'")]
)
def test_a_worker_says_which_right_is_missing(
    users: Valkey, without: str, told: str, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """In its log, without the password; the policy and the link alike."""
    apply(users.url)
    give(users, SERVE, without=without)
    with running(as_user(users.url, SERVE), ready=False):
        until(lambda: told in caplog.text, "it is told")

    assert "store_auth_failed" in caplog.text
    assert "canary" not in caplog.text


def test_a_wrong_password(users: Valkey) -> None:
    """The server's own words, and not the password."""
    with pytest.raises(StoreDown) as caught:
        client(as_user(users.url, SERVE).replace("canary", "cuckoo")).read(["k"])

    assert caught.value.reason == "store_auth_failed"
    assert "invalid username-password pair" in caught.value.detail
    assert "cuckoo" not in caught.value.told


def test_in_a_cluster(tmp_path: Path) -> None:
    """With what the manual adds: the map, the link, and a key on its way to another node."""
    cluster = Cluster(tmp_path, 3)
    try:
        for node in cluster.nodes:
            give(node, SERVE, *IN_A_CLUSTER, without="+ping")
        store = client(as_user(cluster.url, SERVE))
        source = cluster.owner(KEYS.nothing)
        target = next(node for node in cluster.nodes if node is not source)
        Ear(store, KEYS.records)
        assert linked(source)
        slot = ask(source, "CLUSTER", "KEYSLOT", KEYS.nothing)
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(source, "CLUSTER", "MYID"))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(target, "CLUSTER", "MYID"))
        assert store.claim(KEYS.nonce("", beside_the_records("acl")), 60)
        assert store.read([KEYS.epoch]) == [None]
        store.note({KEYS.used("", name, "key"): b"60" for name in ("alice", "bob")}, 60)
        presence.report(store, KEYS, "worker", KeyRing.parse(RING), watched=True)
        assert list(presence.living(store, KEYS)) == ["worker"]
    finally:
        cluster.close()


def test_behind_sentinels(store: Valkey, tmp_path: Path) -> None:
    """With what the manual adds, and the Sentinels' own user."""
    sentinels = Sentinels(tmp_path, store)
    try:
        for sentinel in sentinels.all:
            give(sentinel, ASKER)
            ask(sentinel, "ACL", "SETUSER", "default", "resetpass", ">other")
        give(store, SERVE, *BEHIND_SENTINELS, without="+ping")
        url = as_user(sentinels.url, SERVE)
        found = client(f"{url}?sentinel_username={ASKER}&sentinel_password=canary")
        Ear(found, KEYS.records)
        assert found.read([KEYS.epoch]) == [None]
    finally:
        sentinels.close()
        ask(store, "ACL", "DELUSER", SERVE)
