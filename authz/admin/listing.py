"""Everything in a store, in order, and never all of it in memory."""

from __future__ import annotations

from collections.abc import Iterator

from authz.admin.catalog import CHUNK, Account, Catalog, ConsumerName
from authz.admin.spool import Spool, batches
from authz.store.records import ConsumerRecord


class Listing:
    """The consumers that are in a store when it is made, in the order of tenant and username."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._spool = Spool()
        for names in catalog.names():
            self._spool.find(names)
        self.size = self._spool.others_count()

    def consumers(self) -> Iterator[ConsumerRecord]:
        for names in self.names():
            found = self._catalog.consumers(names)
            yield from (found[name] for name in names if name in found)

    def accounts(self) -> Iterator[Account]:
        for names in self.names():
            found = self._catalog.accounts(names)
            yield from (found[name] for name in names if name in found)

    def names(self, size: int = 0) -> Iterator[list[ConsumerName]]:
        """Their names, so many at a time (0: as many as are read in one round trip)."""
        return batches(self._spool.others(), size or CHUNK)
