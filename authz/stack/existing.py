"""A store that was there before us: look whether it is in use, and leave no trace of a check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from authz.admin.catalog import Catalog
from authz.contracts import StoreDown
from authz.secrets import KeyRingError, read_keyring
from authz.stack.layout import Layout
from authz.stack.processes import StackError
from authz.store.target import StoreUrlError, Target


def is_empty(layout: Layout) -> bool:
    """Whether no document was ever applied to it. Raises StackError if it cannot be asked."""
    with _asking(layout):
        return _catalog(layout).is_empty()


def erase(layout: Layout) -> None:
    """Delete everything of this namespace. Raises StackError if that cannot be done."""
    with _asking(layout):
        _catalog(layout).erase()


def _catalog(layout: Layout) -> Catalog:
    ring = read_keyring(layout.keyring, None)
    return Catalog(Target(layout.redis_url), layout.namespace, ring)


@contextmanager
def _asking(layout: Layout) -> Iterator[None]:
    try:
        yield
    except (StoreDown, StoreUrlError, KeyRingError) as error:
        raise StackError(f"store {layout.store}: {error}") from None
