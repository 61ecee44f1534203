"""The temporary file of an apply: nobody else's, and gone with the process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from authz.admin import spool as spooling
from authz.admin.spool import Owner, Row, Spool, SpoolError, Taken


def test_it_has_no_name_and_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment that it is on disk: an end by SIGKILL, too, leaves nothing."""
    monkeypatch.setattr(spooling, "CACHE_KIB", 64)
    before = set(deleted())
    made = Spool()
    made.put([Row(n, f"key-{n}", b"x" * 200, None) for n in range(5000)])

    (path,) = set(deleted()) - before
    found = path.stat()
    assert found.st_size > 500_000
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 0
    assert made.changes() == 5000


def deleted() -> Iterator[Path]:
    """Files that this process has open and that have no name any more."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(path).endswith("(deleted)"):
                yield path


def test_names_come_back_in_order_and_once() -> None:
    """As the store's set of names may give them twice."""
    made = Spool()
    made.want([("", "b", "consumers[0].")])
    made.find([("t", "a"), ("", "b"), ("", "z")])
    made.find([("", "a b"), ("", "a"), ("", "z")])

    assert list(made.others()) == [("", "a"), ("", "a b"), ("", "z"), ("t", "a")]
    assert made.others_count() == 4
    assert made.wants("", "b")
    assert not made.wants("", "z")


def test_one_name_and_one_key_have_one_owner() -> None:
    """Within a batch and across batches."""
    made = Spool()
    first, second = Owner("", "a", "k", "x"), Owner("", "b", "k", "y")
    made.own([("key", first)])

    with pytest.raises(Taken) as caught:
        made.own([("other", second), ("key", second)])
    assert (caught.value.first, caught.value.second) == (first, second)
    with pytest.raises(Taken):
        made.want([("", "a", "one"), ("", "a", "two")])


def test_a_key_that_moves_is_not_deleted() -> None:
    """Its new owner's record is written over the old one."""
    made = Spool()
    made.put([Row(1, "moves", None, None), Row(1, "goes", None, "name")])
    made.own([("moves", Owner("", "b", "k", ""))])

    assert list(made.deletes()) == [Row(1, "goes", None, "name")]


def test_what_is_written_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, with its unit, however many of them are packed together."""
    monkeypatch.setattr(spooling, "PACKED", 3)
    rows = [Row(n // 2, f"key-{n}", b"\0\xff%d" % n, "name" if n % 2 else None) for n in range(10)]
    made = Spool()
    made.put([])
    made.put([*rows[:5], Row(2, "goes", None, None)])
    made.put(rows[5:])

    assert list(made.writes()) == rows
    assert made.changes() == 11


def test_a_full_disk_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says what to do."""
    made = Spool()
    made._db.execute("PRAGMA max_page_count=10")

    with pytest.raises(SpoolError, match=r"full; .*TMPDIR"):
        made.put([Row(n, "key", b"x" * 1000, None) for n in range(100)])
