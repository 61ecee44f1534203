"""The key ring's rotation by command: two phases, resealing, and taking an old key out."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from authz.admin import credentials, rekeying, ring_rotation
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused
from authz.admin.ring_file import RingFile
from authz.cli import app
from authz.secrets import PREPARED, KeyRing, KeyRingError
from authz.store import presence
from authz.store.keys import Keys
from authz.store.records import ConsumerRecord
from authz.store.redis import Writes
from authz.store.target import Target
from tests.store.test_last_used import client
from tests.support.gateway import NOW
from tests.support.rings import entry, opened, ring_file
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import RING, apply, catalog

KEYS = Keys("authz")
ALICE = ("", "alice")


@pytest.fixture
def file(tmp_path: Path) -> RingFile:
    return ring_file(tmp_path)


@pytest.fixture
def target(store: Valkey, file: RingFile, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A store that was applied to, with an encrypted secret; and no worker."""
    monkeypatch.setattr(ring_rotation, "SETTLE", 0.0)
    monkeypatch.setattr(ring_rotation, "LOOK", 0.01)
    apply(store.url)
    made = opened(store.url, file)
    credentials.issue(made, ("", "bob"), "hmac-auth", identifier="h", at=NOW)
    return made


def quiet(*_: Any) -> None:
    pass


def rotate(file: RingFile, target: Catalog) -> str:
    return ring_rotation.rotate(file, target, quiet, 0.0)


def sealed(target: Catalog) -> dict[str, int]:
    return dict(rekeying.resting(target).sealed)


def say(store: Valkey, worker: str, ring: KeyRing, *, watched: bool = True) -> None:
    presence.report(client(store.url), KEYS, worker, ring, watched=watched)


# -- the file --------------------------------------------------------------------------------------


def test_a_ring_changes_whole_and_stays_its_owners(tmp_path: Path) -> None:
    """Comments and rights stay, a link is followed; nothing is left beside it."""
    file = ring_file(tmp_path, f"{entry('a', 1)},{entry('b', 2)} # two", entry("c", 3))
    file.path.chmod(0o640)
    (tmp_path / "link").symlink_to(file.path)
    name = RingFile(tmp_path / "link").prepare()
    first = file.path.read_text()
    file.promote(name)

    assert first.splitlines()[0] == "# ours"
    assert [key.id for key in file.ring().keys] == [name, "a", "b", "c"]
    assert PREPARED in first
    assert PREPARED not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "ring"]


def test_one_command_at_a_time(file: RingFile) -> None:
    """The other says so, and nothing is lost."""
    with file.alone(), pytest.raises(Refused, match="another command is changing"), file.alone():
        pass
    with file.alone():
        pass


def test_a_file_that_cannot_be_replaced(file: RingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring is as it was."""
    before = file.path.read_text()

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(Refused, match="its directory must be writable"):
        file.prepare()
    assert file.path.read_text() == before
    assert os.listdir(file.path.parent) == ["ring"]


# -- both phases -----------------------------------------------------------------------------------


def test_a_rotation(target: Catalog, file: RingFile, store: Valkey) -> None:
    """Then everything rests on the new key but the look-up keys of API keys; again is nothing."""
    name = rotate(file, target)
    assert sealed(target) == {"t1": 8}
    assert rekeying.reseal(target, quiet) == (8, [])
    assert sealed(target) == {name: 8}
    found = rekeying.resting(target)
    assert (found.sought, found.named) == ({"t1": 2}, {"t1": ["alice/key", "bob/key"]})
    assert rekeying.reseal(target, quiet) == (0, [])

    alone = Catalog(Target(store.url), "authz", KeyRing.parse(file.path.read_text().split()[-2]))
    form = credentials.credential_of(alone, "", "bob", "h")[1].form
    assert form.secret_key == credentials.credential_of(target, "", "bob", "h")[1].form.secret_key
    assert alone.policy()["services"]


def test_a_key_writes_when_every_worker_knows_it(
    target: Catalog, file: RingFile, store: Valkey
) -> None:
    """Not before; the one that knows another key of this id does not know it."""
    told: list[tuple[int, int]] = []
    name = file.prepare()
    ring = file.ring()
    say(store, "host one x", ring)
    say(store, "host two y", KeyRing.parse(f"{entry(name, 5)}:prepared,{RING}"))
    worker = threading.Thread(
        target=lambda: ring_rotation.rotate(file, target, lambda k, n, _: told.append((k, n)), 20)
    )
    worker.start()
    until(lambda: (1, 2) in told, "one of two knows it")
    assert file.ring().writer == "t1"
    say(store, "host two y", ring)
    worker.join()
    assert (told[-1], file.ring().writer) == ((2, 2), name)


def test_a_worker_that_never_knows_it(target: Catalog, file: RingFile, store: Valkey) -> None:
    """The key stays prepared, the refusal names the worker and its mend, a second run goes on."""
    say(store, "far 10.0.0.1:9000 xyz", KeyRing.parse(RING))
    say(store, "env 10.0.0.2:9000 xyz", KeyRing.parse(RING), watched=False)
    with pytest.raises(Refused, match="2 of 2 workers") as caught:
        rotate(file, target)
    assert "far 10.0.0.1:9000 (give its host the same file)" in str(caught.value)
    assert "env 10.0.0.2:9000 (its ring is in AUTHZ_KEYRING" in str(caught.value)
    waiting = [key.id for key in file.ring().keys if key.prepared]
    assert (file.ring().writer, target.codec.ring.writer) == ("t1", "t1")

    for name in ("far 10.0.0.1:9000 xyz", "env 10.0.0.2:9000 xyz"):
        say(store, name, file.ring())
    assert [rotate(file, target)] == waiting


def test_the_ring_of_another_store(target: Catalog, store: Valkey, tmp_path: Path) -> None:
    """Is not touched."""
    (tmp_path / "foreign").mkdir()
    foreign = ring_file(tmp_path / "foreign", entry("t1", 9))
    with pytest.raises(KeyRingError, match="written with another key ring"):
        rotate(foreign, opened(store.url, foreign))
    assert len(foreign.ring().keys) == 1


# -- resealing -------------------------------------------------------------------------------------


def test_resealing_goes_on_where_it_was(
    target: Catalog, file: RingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is whole or not written; what is done is not done again."""
    monkeypatch.setattr(rekeying, "BATCH", 1)
    name = rotate(file, target)
    steps: list[tuple[int, int, int]] = []

    def stop(*step: int) -> None:
        steps.append(step)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rekeying.reseal(target, stop)
    [(done, total, written)] = steps
    assert (done, total, sealed(target)[name]) == (1, 2, written)
    assert rekeying.reseal(target, quiet)[0] == 8 - written
    assert sealed(target) == {name: 8}


def test_commands_go_on_meanwhile(
    target: Catalog, file: RingFile, store: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is quicker wins, and nothing that was written is written over with what was before."""
    monkeypatch.setattr(rekeying, "BATCH", 1)
    rotate(file, target)
    committed = target.commit
    disturbed: list[int] = []

    def commit(version: Any, writes: Writes) -> Any:
        if len(disturbed) < 3:
            disturbed.append(1)
            other = opened(store.url, file)
            credentials.set_disabled(other, ALICE, "key", disabled=len(disturbed) != 2)
        return committed(version, writes)

    monkeypatch.setattr(target, "commit", commit)
    _, broken = rekeying.reseal(target, quiet)
    assert (broken, len(disturbed)) == ([], 3)
    assert credentials.credential_of(target, "", "alice", "key")[1].disabled
    assert list(sealed(target)) == [target.codec.ring.writer]


def test_a_record_that_does_not_open_is_named(
    target: Catalog, file: RingFile, store: Valkey
) -> None:
    """The others are written; the command ends with an error."""
    rotate(file, target)
    key = KEYS.consumer("", "alice")
    store.client().set(key, b"t1.forged.{}")
    written, broken = rekeying.reseal(target, quiet)
    assert broken == [key]
    assert written > 0


# -- taking a key out ------------------------------------------------------------------------------


def test_a_key_goes_when_nothing_rests_on_it(
    target: Catalog, file: RingFile, store: Valkey
) -> None:
    """Refused before, with what does and how to move it."""

    def retire(identifier: str, complaint: str) -> None:
        with pytest.raises(Refused, match=complaint):
            rekeying.retire(file, target, identifier)
        assert identifier in file.path.read_text() or identifier == "no"

    retire("t1", "is the key that writes")
    retire("no", "has no key 'no'; it has: t1")
    rotate(file, target)
    retire("t1", "8 records are sealed with t1: `authz keyring reseal` first")
    rekeying.reseal(target, quiet)
    retire("t1", "2 credentials are looked up by t1: alice/key, bob/key; rotate each")
    for name in ("alice", "bob"):
        credentials.revoke(target, ("", name), "key")
    rekeying.retire(file, target, "t1")
    assert file.ring().marks.keys() == {target.codec.ring.writer}
    assert credentials.account_of(opened(store.url, file), *ALICE).credentials.keys() == {"web"}


def test_what_was_written_while_it_went(
    target: Catalog, file: RingFile, store: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a command that had the old ring: the key comes back."""
    old = opened(store.url, file)
    rotate(file, target)
    rekeying.reseal(target, quiet)
    for name in ("alice", "bob"):
        credentials.revoke(target, ("", name), "key")
    removed = file.remove

    def remove(identifier: str) -> str:
        before = removed(identifier)
        monkeypatch.undo()
        late = Catalog(Target(store.url), "authz", KeyRing.parse(before))
        late.codec.ring.adopt(KeyRing(tuple(reversed(late.codec.ring.keys))))
        credentials.add_consumer(late, ConsumerRecord(username="late"))
        return before

    monkeypatch.setattr(file, "remove", remove)
    with pytest.raises(Refused, match="records are sealed with t1"):
        rekeying.retire(file, target, "t1")
    assert "t1" in file.ring().marks
    assert old.codec.ring.writer == "t1"


def test_an_apply_moves_the_keys_that_it_has(
    target: Catalog, file: RingFile, store: Valkey
) -> None:
    """In one transaction, from the old digest to the new one."""
    name = rotate(file, target)
    ring = file.path.read_text()
    apply(store.url, ring=ring)
    assert rekeying.resting(target).sought == {name: 2}
    issued = catalog(store.url, ring)
    assert credentials.credential_of(issued, "", "alice", "key")[0].index.startswith(name)


# -- as commands -----------------------------------------------------------------------------------


def test_the_commands(target: Catalog, file: RingFile, store: Valkey) -> None:
    """Rotate with its progress, status, retire; the ring's file from the settings or by name."""
    env = {"AUTHZ_REDIS_URL": store.url, "AUTHZ_KEYRING_FILE": str(file.path), "COLUMNS": "200"}
    run = CliRunner()
    say(store, "host one x", file.ring())
    late = run.invoke(app, ["keyring", "rotate", "--patience", "0"], env=env)
    assert "0 of 1 workers know the new key; waiting for host one" in late.output
    assert "Run the command again" in str(late.exception)
    say(store, "host one x", file.ring())
    done = run.invoke(app, ["keyring", "rotate", str(file.path)], env=env)
    writer = file.ring().writer
    assert f"{writer} writes from now on\n8 records written anew with {writer}" in done.output
    [new, old] = json.loads(run.invoke(app, ["keyring", "status", "--json"], env=env).output)
    assert new == {
        "key": writer,
        "state": "writes",
        "records": 8,
        "looked_up_by": 0,
        "workers": "1 of 1",
    }
    assert (old["key"], old["state"], old["records"], old["looked_up_by"]) == ("t1", "reads", 0, 2)
    refused = run.invoke(app, ["keyring", "retire", "t1"], env=env)
    assert "alice/key" in str(refused.exception)


def test_a_ring_that_is_in_the_environment(target: Catalog, store: Valkey, file: RingFile) -> None:
    """What to do by hand; a file that is named is meant."""
    env = {"AUTHZ_REDIS_URL": store.url, "AUTHZ_KEYRING": RING}
    done = CliRunner().invoke(app, ["keyring", "rotate"], env=env)
    assert "By hand: 1. " in str(done.exception)
    named = CliRunner().invoke(app, ["keyring", "rotate", str(file.path), "--no-reseal"], env=env)
    assert named.exit_code == 0
    assert len(file.ring().keys) == 2
