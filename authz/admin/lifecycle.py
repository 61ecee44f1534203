"""When credentials end: setting it, seeing it in time, and clearing away what ended long ago."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from authz.admin.catalog import Account, Catalog, Changes, Held
from authz.admin.credentials import change, consumer_of
from authz.admin.listing import Listing
from authz.admin.spool import batches, explained
from authz.admin.terminal import Row

#: Accounts of which it is asked at once when their credentials were used.
ASKED = 200

#: Makes a row of a credential and when it was used last.
MakeRow = Callable[[Held, float], Row]


def expire(catalog: Catalog, consumer: tuple[str, str], identifier: str, expires_at: float) -> bool:
    """Let a credential end at an instant (Unix seconds), or never (0). Whether a document brought
    it. Raises `Unknown`."""
    return change(
        catalog, consumer, identifier, lambda record: replace(record, expires_at=expires_at)
    ).managed


def with_use(
    catalog: Catalog, accounts: Iterable[Account]
) -> Iterator[tuple[Account, list[tuple[Held, float]]]]:
    """Accounts, each with its credentials by id, and when these were used last."""
    for some in batches(accounts, ASKED):
        held = [[one for _, one in sorted(each.credentials.items())] for each in some]
        names = [(r.tenant, r.consumer, r.id) for several in held for _, r in several]
        used = catalog.last_used(names)
        for account, several in zip(some, held, strict=True):
            yield account, [(one, next(used)) for one in several]


def expiring(catalog: Catalog, now: float, within: float, row: MakeRow) -> Iterator[Row]:
    """Rows of what ends in so many seconds from now, the next first. Sorted on disk: there may be
    very many."""
    with explained():
        found = sqlite3.connect("", isolation_level=None)
    try:
        with explained():
            found.execute("CREATE TABLE found (ends REAL, name TEXT, row TEXT)")
            found.execute("BEGIN")
            for _, several in with_use(catalog, _ending(catalog, now, within)):
                rows = [
                    (
                        r.expires_at,
                        f"{r.tenant}/{r.consumer}/{r.id}",
                        json.dumps(row((at, r), used)),
                    )
                    for (at, r), used in several
                ]
                found.executemany("INSERT INTO found VALUES (?, ?, ?)", rows)
            for (text,) in found.execute("SELECT row FROM found ORDER BY ends, name"):
                yield json.loads(text)
    finally:
        found.close()


def _ending(catalog: Catalog, now: float, within: float) -> Iterator[Account]:
    for account in Listing(catalog).accounts():
        ending = {
            name: held
            for name, held in account.credentials.items()
            if now < held[1].expires_at <= now + within
        }
        if ending:
            yield Account(account.consumer, ending)


def prune(catalog: Catalog, before: float) -> tuple[int, int]:
    """Remove the credentials that ended before an instant. How many went, and how many stayed
    because a document brings them."""
    gone = stayed = 0
    for account in Listing(catalog).accounts():
        ended = [r for _, r in account.credentials.values() if 0 < r.expires_at <= before]
        stayed += sum(record.managed for record in ended)
        if not all(record.managed for record in ended):
            consumer = account.consumer
            gone += _remove(catalog, (consumer.tenant, consumer.username), before)
    return gone, stayed


def _remove(catalog: Catalog, name: tuple[str, str], before: float) -> int:
    """By what the store has now: somebody may have changed it."""
    removed: list[str] = []

    def make(store: Catalog) -> Changes:
        account = store.accounts([name]).get(name)
        held = account.credentials if account is not None else {}
        ended = {
            identifier: at
            for identifier, (at, record) in held.items()
            if 0 < record.expires_at <= before and not record.managed
        }
        removed[:] = ended
        if not ended:
            return Changes()
        owner = consumer_of(store, *name)
        left = {key: at for key, at in owner.credentials.items() if key not in ended}
        return Changes(
            consumers={name: replace(owner, credentials=left)},
            credentials={(name[0], at): None for at in ended.values()},
        )

    catalog.change(make)
    return len(removed)
