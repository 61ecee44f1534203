"""The listening thread, at its start."""

from __future__ import annotations

import time

from authz.admin.catalog import Silent
from authz.schemes import SCHEMES
from authz.store.open import Store, StoreSettings, open_store
from authz.store.target import Target
from tests.support.memory import RING
from tests.support.valkey import Valkey, free_port


def opened(url: str) -> Store:
    forms = {kind: scheme.form for kind, scheme in SCHEMES.items()}
    return open_store(
        StoreSettings(Target(url), "authz"), RING, forms, Silent(), lambda names: None
    )


def test_it_has_a_link_when_it_has_started(store: Valkey) -> None:
    """Whoever asks next is remembered: nothing is read twice after a restart."""
    made = opened(store.url)
    made.listener.start()
    try:
        assert made.link.alive(time.monotonic())
    finally:
        made.close()


def test_it_starts_without_a_store() -> None:
    """There is none to wait for: that is known at once."""
    made = opened(f"redis://127.0.0.1:{free_port()}")
    made.listener.start()
    try:
        assert not made.link.alive(time.monotonic())
    finally:
        made.close()
