"""What is in the store: whether somebody uses it, what the policy in it needs of Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from authz import document
from authz.admin.catalog import Catalog
from authz.contracts import StoreDown
from authz.policies import all_routes
from authz.secrets import KeyRingError, read_keyring
from authz.stack.layout import Layout
from authz.stack.processes import StackError
from authz.store.target import StoreUrlError, Target


def is_empty(layout: Layout) -> bool:
    """Whether no document was ever applied to it. Raises StackError if it cannot be asked."""
    with _asking(layout):
        return _catalog(layout).is_empty()


def reads_bodies(layout: Layout) -> bool:
    """Whether some scheme of the policy looks at request bodies. Raises StackError."""
    with _asking(layout):
        policy = _catalog(layout).policy()
    schemes = (scheme for route in all_routes(document.decode(policy)) for scheme in route.schemes)
    return any(scheme.reads_body for scheme in schemes)


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
