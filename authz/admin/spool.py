"""What an apply or an export remembers of very many records: on disk, not in memory.

SQLite's temporary database: a file that its owner alone may read, and that has no name from the
moment it is open, so it is gone when the process is, however that ends
(https://sqlite.org/inmemorydb.html#temp_db). What comes in here is what goes into the store:
sealed records and names, never a secret's text.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import msgspec

#: Kept in memory of each spool, in KiB.
CACHE_KIB = 64 * 1024
#: Rows fetched at once.
CHUNK = 1000
#: Records to write that are one row: they are only ever wanted all, in the order they came in.
PACKED = 100

# `consumer`: all of the documents' (`place` says where), and those that are in the store alone.
# `credential`: all that there will be, by their names in the store.
# `written` and `gone`: what is to be written, packed, and deleted; in the order of `unit`, which
# keeps a consumer and its credentials together.
_TABLES = (
    "CREATE TABLE consumer (tenant TEXT, username TEXT, place TEXT, "
    "PRIMARY KEY (tenant, username)) WITHOUT ROWID",
    "CREATE TABLE credential (key TEXT PRIMARY KEY, tenant TEXT, username TEXT, id TEXT, "
    "place TEXT) WITHOUT ROWID",
    "CREATE TABLE written (count INTEGER, rows BLOB)",
    "CREATE TABLE gone (unit INTEGER, key TEXT, member TEXT)",
)


class SpoolError(Exception):
    """The temporary file cannot be written. The text says what to do."""


class Owner(NamedTuple):
    """Whose a credential will be, and where a document says so (`""`: it is in the store)."""

    tenant: str
    username: str
    id: str
    place: str


class Taken(Exception):
    """Two want one name, or one look-up key: `second` came later."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first = first
        self.second = second


class Row(NamedTuple):
    """One key of the store: its record, or None if it goes. `member` is a consumer's name."""

    unit: int
    key: str
    record: bytes | None
    member: str | None


_PACKER = msgspec.msgpack.Encoder()
_UNPACKER = msgspec.msgpack.Decoder(list[Row])


class Spool:
    """One private database. Every method raises `SpoolError`."""

    def __init__(self) -> None:
        with explained():
            # Whichever thread lets go of it last closes it.
            self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._db.close)
            # What is temporary need not survive anything.
            for setting in (f"cache_size=-{CACHE_KIB}", "journal_mode=OFF", "synchronous=OFF"):
                self._db.execute(f"PRAGMA {setting}")
            self._db.execute("BEGIN")
            for table in _TABLES:
                self._db.execute(table)

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """How many of these rows were new."""
        if not rows:
            return 0
        before = self._db.total_changes
        marks = ",".join("?" * len(rows[0]))
        with explained():
            self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608
        return self._db.total_changes - before

    def _select(self, query: str, *values: Any) -> Iterator[Any]:
        with explained():
            cursor = self._db.execute(query, values)
            while rows := cursor.fetchmany(CHUNK):
                yield from rows

    # -- names -------------------------------------------------------------------------------------

    def want(self, consumers: Sequence[tuple[str, str, str]]) -> None:
        """Consumers of documents: tenant, username, place. Raises `Taken` with two places."""
        if self._insert("consumer", consumers) == len(consumers):
            return
        query = "SELECT place FROM consumer WHERE tenant = ? AND username = ?"
        for tenant, username, place in consumers:
            ((first,),) = self._select(query, tenant, username)
            if first != place:
                raise Taken(first, place)

    def wants(self, tenant: str, username: str) -> bool:
        """Whether a document has this consumer."""
        query = "SELECT 1 FROM consumer WHERE tenant = ? AND username = ? AND place IS NOT NULL"
        return any(self._select(query, tenant, username))

    def find(self, names: Iterable[tuple[str, str]]) -> None:
        """Consumers of the store, perhaps of the documents, too."""
        self._insert("consumer", [(*name, None) for name in names])

    def others(self) -> Iterator[tuple[str, str]]:
        """In order of tenant and username, those that no document has."""
        return self._select(
            "SELECT tenant, username FROM consumer WHERE place IS NULL ORDER BY tenant, username"
        )

    def others_count(self) -> int:
        """How many these are."""
        return self._count("consumer WHERE place IS NULL")

    def own(self, credentials: Sequence[tuple[str, Owner]]) -> None:
        """Credentials that will be there, as (name in the store, owner). Raises `Taken` with two
        owners: otherwise which of two would be proven?"""
        rows = [(key, *owner) for key, owner in credentials]
        if self._insert("credential", rows) < len(rows):
            for key, owner in credentials:
                (found,) = self._select(
                    "SELECT tenant, username, id, place FROM credential WHERE key = ?", key
                )
                if Owner(*found) != owner:
                    raise Taken(Owner(*found), owner)

    # -- what to write -----------------------------------------------------------------------------

    def put(self, rows: Sequence[Row]) -> None:
        """What is to be written, and what goes unless somebody else will own it."""
        written = [row for row in rows if row.record is not None]
        parts = batches(written, PACKED)
        self._insert("written", [(len(part), _PACKER.encode(part)) for part in parts])
        self._insert("gone", [(r.unit, r.key, r.member) for r in rows if r.record is None])

    def changes(self) -> int:
        """How many keys are to be written or deleted."""
        return self._count("written", "total(count)") + self._count("gone")

    def _count(self, table: str, of: str = "count(*)") -> int:
        ((found,),) = self._select(f"SELECT {of} FROM {table}")  # noqa: S608
        return int(found)

    def deletes(self) -> Iterator[Row]:
        """What goes. A key that moves to another owner stays: it is written over."""
        query = (
            "SELECT unit, key, NULL, member FROM gone "
            "WHERE NOT EXISTS (SELECT 1 FROM credential WHERE credential.key = gone.key) "
            "ORDER BY rowid"
        )
        yield from map(Row._make, self._select(query))

    def writes(self) -> Iterator[Row]:
        """What is written."""
        with explained():
            for (packed,) in self._db.execute("SELECT rows FROM written ORDER BY rowid"):
                yield from _UNPACKER.decode(packed)


def batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """So many at a time."""
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch


@contextmanager
def explained() -> Iterator[None]:
    """SQLite's errors in words for people."""
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(
            f"temporary file: {error}; it takes up to 1 kB a credential: name a directory with "
            "room in TMPDIR"
        ) from None
