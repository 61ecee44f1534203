"""What a process remembers of proven secrets."""

from __future__ import annotations

import gc

from authz.store.remembered import Remembered


def test_what_was_remembered_is_recalled() -> None:
    """By its secret, in its tenant, and by nothing else."""
    memory = Remembered()
    memory.remember("t", "token", "value")

    assert memory.recall("t", "token") == "value"
    assert memory.recall("", "token") is None
    assert memory.recall("t", "toke") is None
    assert memory.recall("t\0", "token") is None


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    """What was asked for last stays longest."""
    memory = Remembered(limit=3)
    for name in ("a", "b", "c"):
        memory.remember("", name, name)
    memory.recall("", "a")

    memory.remember("", "d", "d")

    assert [memory.recall("", name) for name in ("a", "b", "c", "d")] == ["a", None, "c", "d"]
    assert len(memory) == 3


def test_no_secret_is_kept() -> None:
    """Only a keyed digest of it."""
    memory = Remembered()
    memory.remember("", "canary-token", "value")
    gc.collect()

    kept = repr(memory._values)
    assert "canary" not in kept
