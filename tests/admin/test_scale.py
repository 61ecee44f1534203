"""Twenty thousand consumers: what each command asks of the store does not grow with them."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authz import documents
from authz.admin import credentials, listing, spool
from authz.admin import export as exporting
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.admin.credentials import credential_of
from authz.admin.export import export
from authz.admin.lines import TOLD
from authz.admin.listing import Listing
from tests.support.many import POLICY, Asked, asked, key_of, write_lines
from tests.support.valkey import Valkey
from tests.support.workers import catalog, running

COUNT = 20_000
#: What one command may ask of the store, in commands and in bytes of its answers.
FEW, LITTLE = 16, 16_000


class Full:
    """A store with many consumers, and the files that they came from."""

    def __init__(self, valkey: Valkey, directory: Path) -> None:
        self.valkey = valkey
        self.directory = directory
        self.catalog = catalog(valkey.url)
        (directory / "gateway.yaml").write_text(POLICY)
        write_lines(directory / "people.jsonl", range(COUNT))
        with asked(valkey) as self.loading:
            self.loaded = self.plan()
            planning.apply(self.catalog, self.loaded)

    def plan(self) -> planning.Plan:
        names = ("gateway.yaml", "people.jsonl")
        files = documents.load([self.directory / name for name in names])
        return planning.plan(files, self.catalog, time.time())


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    directory = tmp_path_factory.mktemp("full")
    server = Valkey(directory)
    yield Full(server, directory)
    server.close()


def test_an_apply_asks_in_batches(full: Full) -> None:
    """A round trip for a thousand records, in both directions, and none for each."""
    batches = 2 * COUNT / 1000
    calls = full.loading.calls

    assert full.valkey.client().scard(full.catalog.keys.consumers) == COUNT
    assert calls["exec"] == pytest.approx(batches, abs=1)
    assert calls["mset"] == 2 * calls["exec"]
    assert calls["mget"] <= batches + 4
    assert full.loading.total < 11 * batches


def test_of_many_changes_the_first_are_told(full: Full) -> None:
    """And how many there are."""
    made = full.loaded
    told = [line.what for line in made.lines]

    assert told[:2] == ["service api", "consumer user-0000000"]
    assert len(told) == 1 + 2 * TOLD
    assert made.counts == {("+", "consumer"): COUNT, ("+", "credential"): COUNT}
    assert made.more == 2 * (COUNT - TOLD)
    assert made.changes == 2 * COUNT + 1


def test_a_second_apply_writes_nothing(full: Full) -> None:
    """It reads what there is, in batches, and finds it to be so."""
    with asked(full.valkey) as found:
        made = full.plan()
        planning.apply(full.catalog, made)

    assert (made.lines, made.changes) == ((), 0)
    assert set(found.calls) == {"mget", "sscan"}
    assert found.calls["mget"] <= 2 * 2 * COUNT / 1000 + 4


COMMANDS: dict[str, Callable[[Catalog], object]] = {
    "issue": lambda c: credentials.issue(c, ("", "user-0000001"), "key-auth", identifier="i", at=0),
    "show": lambda c: credential_of(c, "", "user-0000001", "i"),
    "disable": lambda c: credentials.set_disabled(c, ("", "user-0000001"), "i", disabled=True),
    "revoke": lambda c: credentials.revoke(c, ("", "user-0000001"), "i"),
    "suspend": lambda c: credentials.set_consumer_disabled(c, "", "user-0000002", disabled=True),
    "resume": lambda c: credentials.set_consumer_disabled(c, "", "user-0000002", disabled=False),
    "of one": lambda c: credentials.account_of(c, "", "user-0000002"),
}


def test_a_command_reads_what_it_is_about(full: Full) -> None:
    """Its consumer, its credential, the epoch; not the others, of which there are thousands. One
    test, as each command needs what the one before it left."""
    for name, command in COMMANDS.items():
        with asked(full.valkey) as found:
            command(catalog(full.valkey.url))
        assert found.total, name
        assert_little(found)


def assert_little(found: Asked) -> None:
    assert 0 < found.total <= FEW
    assert found.bytes < LITTLE


def test_a_worker_starts_with_the_policy_alone(full: Full) -> None:
    """It reads credentials as they are asked for."""
    with asked(full.valkey) as found, running(full.valkey.url):
        pass

    # Once when it starts, perhaps once more when its link is up.
    assert found.calls["mget"] <= 2
    assert_little(found)


def test_lists_and_exports_come_in_batches(full: Full) -> None:
    """In order, and without waiting for all: the first consumer costs a batch."""
    with asked(full.valkey) as found:
        first = next(Listing(full.catalog).accounts())
    assert first.consumer.username == "user-0000000"
    assert found.calls["mget"] == 2

    lines = "".join(export(full.catalog, "jsonl")).splitlines()
    assert len(lines) == COUNT + 1
    assert json.loads(lines[-1])["username"] == f"user-{COUNT - 1:07}"
    assert key_of(0) not in lines[1]


def peak(action: Callable[[], object]) -> int:
    """The most memory that something took at once, in bytes."""
    tracemalloc.start()
    action()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_file(
    store: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of an apply nor that of an export."""
    (tmp_path / "gateway.yaml").write_text(POLICY)
    target = catalog(store.url)

    def costs(count: int) -> tuple[int, int]:
        people = write_lines(tmp_path / "people.jsonl", range(count))
        files = documents.load([tmp_path / "gateway.yaml", people])
        applied = peak(lambda: planning.apply(target, planning.plan(files, target, 0.0)))
        return applied, peak(lambda: sum(map(len, export(target, "jsonl"))))

    for module, name in ((planning, "ATOMIC"), (planning, "BATCH"), (planning, "COMPARED")):
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(listing, "CHUNK", 100)
    monkeypatch.setattr(spool, "CHUNK", 100)
    monkeypatch.setattr(exporting, "BATCH", 100)
    few, many = costs(500), costs(2500)
    assert many[0] < 1.5 * few[0]
    assert many[1] < 1.5 * few[1]
