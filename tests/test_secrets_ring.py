"""A ring whose keys change: prepared keys, and readers while they are swapped."""

from __future__ import annotations

import threading

import pytest

from authz.secrets import KeyRing, KeyRingError, KeyRingVault, SealBroken
from tests.support.rings import entry

OLD, NEW = entry("old", 1), entry("new", 2)


def ring(*keys: str) -> KeyRing:
    return KeyRing.parse(",".join(keys))


def test_a_prepared_key_reads_and_does_not_write() -> None:
    """Wherever it stands; what was written with it opens, and secrets under it are looked for."""
    prepared, promoted = ring(f"{NEW}:prepared", OLD), ring(NEW, OLD)

    assert (prepared.writer, promoted.writer) == ("old", "new")
    assert prepared.seal("n", b"p").startswith(b"old.")
    assert prepared.encrypt(b"s").startswith("old.")
    assert prepared.unseal("n", promoted.seal("n", b"p")) == b"p"
    assert prepared.decrypt(promoted.encrypt(b"s")) == b"s"
    assert set(prepared.digests("k", "", "s")) == set(promoted.digests("k", "", "s"))
    assert KeyRingVault(prepared).digest("k", "", "s").startswith("old.")


def test_some_key_must_write() -> None:
    """The error says how to mend it."""
    with pytest.raises(KeyRingError, match="take `:prepared` away"):
        ring(f"{NEW}:prepared")


@pytest.mark.parametrize("text", [f"{OLD}:prepare", f"{OLD}:", f"{OLD}:prepared:prepared"])
def test_nothing_else_follows_a_key(text: str) -> None:
    """A slip of the pen is no key that writes."""
    with pytest.raises(KeyRingError, match="line 1"):
        KeyRing.parse(text)


def test_a_mark_tells_keys_apart_that_share_an_id() -> None:
    """The same key has the same mark in every ring, and the mark is no look-up key's part."""
    one, two = ring(entry("k", 1)), ring(entry("k", 2))

    assert one.marks["k"] == ring(entry("l", 3), entry("k", 1)).marks["k"]
    assert one.marks["k"] != two.marks["k"]
    assert entry("k", 1).partition(":")[2] not in repr(one.marks)


def test_whoever_holds_a_ring_has_the_keys_that_it_adopts() -> None:
    """And not those that it had."""
    held = ring(OLD)
    vault = KeyRingVault(held)
    record = held.seal("n", b"p")
    held.adopt(ring(NEW))

    assert vault.digest("k", "", "s").startswith("new.")
    with pytest.raises(SealBroken):
        held.unseal("n", record)


def test_nobody_sees_half_of_a_change() -> None:
    """Digests, seals and ciphers of one call are all of one ring."""
    rings = ring(OLD, entry("a", 3)), ring(NEW, entry("b", 4))
    held, seen, done = ring(OLD, entry("a", 3)), set(), threading.Event()

    def swap() -> None:
        while not done.is_set():
            for each in rings:
                held.adopt(each)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3000):
            seen.add(tuple(each.partition(".")[0] for each in held.digests("k", "", "s")))
    finally:
        done.set()
        thread.join()
    assert seen <= {("old", "a"), ("new", "b")}
