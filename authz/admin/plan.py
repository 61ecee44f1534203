"""What would change if a gateway were applied, and doing it: in memory that does not grow with the
number of consumers, and with nothing written before all of it was found to be good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, Literal

from msgspec import Struct

from authz.admin.catalog import Catalog, Version
from authz.admin.comparing import Comparison
from authz.admin.lines import Line, Sign
from authz.admin.policy import config_lines, config_of, warnings
from authz.admin.spool import Row, Spool, batches
from authz.contracts import StoreDown
from authz.document import Placed
from authz.documents import Gateway
from authz.plain import DocumentError
from authz.policies import Known, known_routes, require_known
from authz.routes import RouteTable
from authz.store.redis import StoreConflict, Writes

#: So many records are written all or nothing; more of them, so many at a time.
ATOMIC, BATCH = 10_000, 1000
#: Consumers and credentials that are compared at a time.
COMPARED = 1000

Step = Literal["checking", "comparing", "writing"]
#: Told of a step how much of how much is done, and how many records these are.
Progress = Callable[[Step, float, float, int], None]


class Unfinished(Exception):
    """An apply ended in the middle. The text says what is written."""


class Plan(Struct, frozen=True):
    """What to show, and what to write. `lines` are the first of very many, whose `counts` are by
    sign and kind; `changes` is how many records are written or deleted."""

    lines: tuple[Line, ...]
    counts: Counter[tuple[Sign, str]]
    warnings: tuple[str, ...]
    changes: int
    config: dict[str, Any] | None
    spool: Spool
    version: Version

    @property
    def more(self) -> int:
        """How many changes of consumers and credentials `lines` leaves out."""
        told = sum(line.what.startswith(("consumer ", "credential ")) for line in self.lines)
        return self.counts.total() - told


def _quiet(step: Step, done: float, total: float, credentials: int) -> None:
    pass


def plan(gateway: Gateway, catalog: Catalog, at: float, progress: Progress = _quiet) -> Plan:
    """Compare a gateway with the store. `at` is the creation time of what is new. Raises
    `DocumentError`, `SpoolError`, `StoreDown` and `KeyRingError`."""
    policy = gateway.policy
    try:
        RouteTable(policy)
    except DocumentError as error:
        raise DocumentError(gateway.located(str(error))) from None
    known = known_routes(policy)
    version = catalog.version()
    before, config = catalog.policy(), config_of(policy)
    spool = Spool()
    with Comparison(catalog, spool, at) as comparison:
        _take(gateway, known, comparison, progress)
        _leave(catalog, spool, comparison, progress)
    told = (*config_lines(before, config), *comparison.lines.told())
    return Plan(
        lines=told,
        counts=comparison.lines.counts,
        warnings=tuple(gateway.located(text) for text in warnings(policy, spool.wants)),
        changes=spool.changes() + (config != before),
        config=config if config != before else None,
        spool=spool,
        version=version,
    )


def _take(gateway: Gateway, known: Known, comparison: Comparison, progress: Progress) -> None:
    done = sealed = 0
    for batch in _weighed(gateway.entries()):
        for at, entry, _ in batch:
            if entry.grants:
                require_known(at, entry.grants, known, entry.tenant)
        size = sum(placed.size for placed in batch)
        comparison.take(batch, partial(_tell, progress, gateway.size, done, size, sealed))
        done += size
        sealed += sum(len(placed.entry.credentials) for placed in batch)


def _tell(
    progress: Progress, total: int, done: int, size: int, sealed: int, some: int, of: int
) -> None:
    """Of a batch of this size some credentials are sealed."""
    progress("checking", done + size * some / of, total, sealed + some)


def _weighed(entries: Iterable[Placed]) -> Iterator[list[Placed]]:
    """Batches of about so many records, of however many consumers."""
    batch: list[Placed] = []
    weight = 0
    for placed in entries:
        batch.append(placed)
        weight += 1 + len(placed.entry.credentials)
        if weight >= COMPARED:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _leave(catalog: Catalog, spool: Spool, comparison: Comparison, progress: Progress) -> None:
    for names in catalog.names():
        spool.find(names)
    done, total = 0, spool.others_count()
    for others in batches(spool.others(), COMPARED // 2):
        comparison.leave(others)
        done += len(others)
        progress("comparing", done, total, done)


# -- writing ---------------------------------------------------------------------------------------


def apply(catalog: Catalog, made: Plan, progress: Progress = _quiet) -> None:
    """Write a plan. Up to `ATOMIC` records all or nothing; of more, each consumer whole.

    A store without an epoch gets one even if nothing changes. Raises `StoreConflict` and
    `StoreDown` when nothing was written, and `Unfinished` when something was.
    """
    if not made.changes and made.version.raw is not None:
        return
    written = 0
    try:
        for count in _written(catalog, made):
            written += count
            progress("writing", written, made.changes, written)
    except (StoreConflict, StoreDown, KeyboardInterrupt) as error:
        if not written:
            raise
        why = {StoreConflict: "somebody else changed the store", KeyboardInterrupt: "interrupted"}
        reason = why.get(type(error), f"the store does not answer: {error}")
        raise Unfinished(
            f"{reason} when {written} of {made.changes} records were written, each of them whole: "
            "apply again to finish"
        ) from None


def _written(catalog: Catalog, made: Plan) -> Iterator[int]:
    """Commit one transaction after the other, and say how many records each had. While the store
    works on one the next is made ready."""
    waiting: tuple[Future[Version], int] | None = None
    version = made.version
    with ThreadPoolExecutor(1) as store:
        try:
            for writes in _transactions(catalog, made):
                if waiting is not None:
                    version = waiting[0].result()
                    yield waiting[1]
                waiting = store.submit(catalog.commit, version, writes), writes.size
            if waiting is not None:
                waiting[0].result()
                yield waiting[1]
        except KeyboardInterrupt:
            # What is on its way is written, or not: to be told rightly it is waited for.
            if waiting is not None and waiting[0].exception() is None:
                yield waiting[1]
            raise


def _transactions(catalog: Catalog, made: Plan) -> Iterator[Writes]:
    """What goes first, the policy last."""
    names = catalog.keys.consumers
    size = made.changes if made.changes <= ATOMIC else BATCH
    writes = Writes(names)
    rows = chain(made.spool.deletes(), made.spool.writes())
    # What must not be torn apart: a consumer and its credentials.
    for _, unit in groupby(rows, key=attrgetter("unit")):
        for row in unit:
            _add(writes, row)
        if writes.size >= size:
            yield writes
            writes = Writes(names)
    if made.config is not None:
        key = catalog.keys.config
        writes.sets[key] = catalog.codec.encode(key, made.config)
    if writes.size or not made.changes:
        yield writes


def _add(writes: Writes, row: Row) -> None:
    if row.record is None:
        writes.deletes.append(row.key)
    else:
        writes.sets[row.key] = row.record
    if row.member is not None:
        (writes.removed if row.record is None else writes.added).append(row.member)
