"""A worker follows its key ring's file, and adopts no ring that is broken or not the store's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authz.admin import credentials
from authz.admin.catalog import Catalog
from authz.admin.ring_file import RingFile
from authz.server import chores
from authz.store import presence
from authz.store.keys import Keys
from tests.support.checks import Seen, check
from tests.support.rings import entry, opened, ring_file
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import OTHER_RING, RING, Running, apply, catalog, running

ALLOWED = Seen("allow", 200, "allowed", "alice")
KEYS = Keys("authz")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round twenty times a second: what happens in it is the question."""
    monkeypatch.setattr(chores, "TICK", 0.05)


def alice(client: Running) -> Seen:
    return client.ask(check("/ip", ("apikey", "alice-key")))


def known(store: Catalog) -> list[list[str]]:
    """Which keys each worker says that it knows, that which writes first."""
    return [list(told.keys) for told in store.workers().values()]


@pytest.fixture
def file(tmp_path: Path) -> RingFile:
    return ring_file(tmp_path)


def test_a_new_key_is_known_and_then_used(
    store: Valkey, file: RingFile, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """By cache, look-ups of secrets and seals alike, without a restart; logged by its id."""
    apply(store.url)
    with running(store.url, keyring=None, keyring_file=str(file.path)) as client:
        assert alice(client) == ALLOWED
        name = file.prepare()
        until(lambda: known(opened(store.url, file)) == [["t1", name]], "it is known")
        file.promote(name)
        issued = credentials.issue(opened(store.url, file), ("", "bob"), "key-auth", at=0)
        key = issued.shown["key"]

        assert client.ask(check("/ip", ("apikey", key))).consumer == "bob"
        assert alice(client) == ALLOWED
        until(lambda: known(opened(store.url, file)) == [[name, "t1"]], "it writes")
    assert f"key ring: t1, {name} (prepared); t1 writes" in caplog.text
    assert RING.partition(":")[2] not in caplog.text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the key ring is empty"),
        ("half:AAEC", "key ring line 1"),
        (OTHER_RING, "does not open what is in the store"),
        (entry("t1", 9), "does not open what is in the store"),
        (f"{RING}\n{entry('k2', 9)}", "key k2 is another one than before"),
    ],
)
def test_a_bad_ring_is_never_adopted(
    store: Valkey,
    file: RingFile,
    text: str,
    complaint: str,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """The one that is in use stays, the log says why; what mends it is adopted."""
    file.path.write_text(f"{RING}\n{entry('k2', 8)}")
    apply(store.url)
    with running(store.url, keyring=None, keyring_file=str(file.path)) as client:
        file.path.write_text(text)
        until(lambda: complaint in caplog.text, "it is told")
        credentials.set_disabled(catalog(store.url), ("", "bob"), "key", disabled=True)

        assert alice(client) == ALLOWED
        until(lambda: bob(client) == "credential_disabled", "records still open")
        assert caplog.text.count(complaint) == 1
        file.path.write_text(f"{entry('k3', 3)}:prepared\n{RING}\n{entry('k2', 8)}")
        mended = [["t1", "k2", "k3"]]
        until(lambda: known(catalog(store.url)) == mended, "it is mended")


def bob(client: Running) -> str:
    return client.ask(check("/ip", ("apikey", "bob-key"))).reason


def test_a_file_that_is_gone_changes_nothing(
    store: Valkey, file: RingFile, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """Told, with the mend."""
    apply(store.url)
    with running(store.url, keyring=None, keyring_file=str(file.path)) as client:
        os.unlink(file.path)
        until(lambda: "does not exist; restore it" in caplog.text, "it is told")
        assert alice(client) == ALLOWED


def test_a_worker_that_started_with_a_foreign_ring_is_mended_by_its_file(
    store: Valkey, file: RingFile
) -> None:
    """Even where both call their keys the same."""
    apply(store.url)
    file.path.write_text(entry("t1", 9))
    with running(store.url, ready=False, keyring=None, keyring_file=str(file.path)) as client:
        until(lambda: known(catalog(store.url)) == [["t1"]], "it runs")
        assert alice(client).reason == "not_ready"
        file.path.write_text(RING)
        client.until_ready()
        assert alice(client) == ALLOWED


def test_a_store_that_is_away_is_waited_for(own_valkey: Valkey, file: RingFile) -> None:
    """A ring that cannot be held against the store is adopted when it can."""
    apply(own_valkey.url)
    with running(own_valkey.url, keyring=None, keyring_file=str(file.path)) as client:
        own_valkey.freeze()
        file.prepare()
        assert client.worker.store is not None
        ring = client.worker.store.codec.ring
        until(lambda: client.worker.store.redis.is_down(KEYS.epoch), "it is away")  # type: ignore[union-attr]
        assert len(ring.keys) == 1
        own_valkey.thaw()
        until(lambda: len(ring.keys) == 2, "adopted")


def test_a_worker_says_that_it_ends(store: Valkey, file: RingFile) -> None:
    """Nobody waits for it; and what one told that ended without a word is removed later."""
    apply(store.url)
    store.client().hset(KEYS.workers, "long ago", b'{"at":1,"writer":"k","keys":{},"watched":true}')
    store.client().hset(KEYS.workers, "nonsense", b"{")
    with running(store.url, keyring=None, keyring_file=str(file.path)):
        until(lambda: len(known(catalog(store.url))) == 1, "it is there")
        until(lambda: not store.client().hexists(KEYS.workers, "long ago"), "swept")
    assert catalog(store.url).workers() == {}
    assert presence.LIVE > 2 * presence.EVERY
