"""The one file that speaks to the store, against a real Valkey that is hurt in every way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.store.redis import RedisStore, StoreConflict, Writes
from authz.store.target import StoreUrlError, Target
from tests.support.valkey import Valkey, free_port
from tests.support.waiting import until

TIMEOUT = 0.02
#: What a request may spend on the store, in seconds, and what a busy test machine adds.
BUDGET, SLACK = 0.05, 0.1


def store_at(url: str) -> RedisStore:
    return RedisStore(Target(url), TIMEOUT, Silent())


def reason_of(store: RedisStore) -> str:
    """Why a read fails, and that it fails in time."""
    started = time.monotonic()
    with pytest.raises(StoreDown) as caught:
        store.read(["k"])
    assert time.monotonic() - started < BUDGET + SLACK
    return caught.value.reason


def test_reads_come_back_in_order(store: Valkey) -> None:
    """Values for keys that are there, None for those that are not."""
    store.client().mset({"a": "1", "c": "3"})

    assert store_at(store.url).read(["a", "b", "c"]) == [b"1", None, b"3"]


def test_nobody_listens() -> None:
    """A store that is not there is told at once, then the breaker answers without asking."""
    store = store_at(f"redis://127.0.0.1:{free_port()}")

    assert reason_of(store) == "store_unreachable"
    assert store.is_down("k")
    assert reason_of(store) == "store_breaker_open"


def test_a_frozen_store_costs_its_time_limit(own_valkey: Valkey) -> None:
    """It accepts connections and answers nothing: one time limit, then the breaker."""
    store = store_at(own_valkey.url)
    store.read(["k"])
    own_valkey.freeze()

    assert reason_of(store) == "store_timeout"
    own_valkey.thaw()
    store.reopen("k")
    assert store.read(["k"]) == [None]


def test_answers_are_not_mixed_up_after_a_time_out(own_valkey: Valkey) -> None:
    """The late answer to a call that timed out is never taken for the next call's."""
    store = store_at(own_valkey.url)
    own_valkey.client().mset({"a": "1", "b": "2"})
    store.read(["a"])
    own_valkey.freeze()
    with pytest.raises(StoreDown):
        store.read(["a"])
    own_valkey.thaw()
    store.reopen("k")

    assert store.read(["b"]) == [b"2"]


def test_a_restarted_store_is_found_again(own_valkey: Valkey) -> None:
    """A pooled connection that died is replaced within the call."""
    store = store_at(own_valkey.url)
    store.read(["k"])
    own_valkey.kill()
    own_valkey.start()

    assert store.read(["k"]) == [None]


def test_a_wrong_password_is_named(tmp_path: Path) -> None:
    """So that its alarm says what to mend."""
    server = Valkey(tmp_path, "--requirepass", "right")
    try:
        assert reason_of(store_at(server.url)) == "store_auth_failed"
        good = server.url.replace("//", "//:right@")
        assert store_at(good).read(["k"]) == [None]
    finally:
        server.close()


def test_a_full_store_still_answers_reads(own_valkey: Valkey) -> None:
    """Credentials are still read; a nonce that cannot be written is not taken as fresh."""
    own_valkey.client().set("a", "1")
    own_valkey.client().config_set("maxmemory", "1")
    store = store_at(own_valkey.url)

    with pytest.raises(StoreDown) as caught:
        store.claim("nonce", 10)
    assert caught.value.reason == "store_full"
    assert store.read(["a"]) == [b"1"]


def test_the_stores_time_is_its_own(store: Valkey) -> None:
    """In microseconds."""
    target = store_at(store.url)

    before = target.clock("t")
    seconds, microseconds = store.client().time()
    assert before <= seconds * 1_000_000 + microseconds <= target.clock("t")


def test_a_nonce_is_claimed_once(store: Valkey) -> None:
    """Of many who claim at the same moment exactly one gets it, and it expires by itself."""
    target = store_at(store.url)
    barrier = threading.Barrier(8)
    won: list[bool] = []

    def claim() -> None:
        barrier.wait()
        won.append(target.claim("n", 60))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False] * 7 + [True]
    assert 0 < store.client().ttl("n") <= 60


def test_a_transaction_is_all_or_nothing(store: Valkey) -> None:
    """With the wrong guard nothing is written."""
    target = store_at(store.url)
    target.transaction("g", None, {"g": b"1"}, Writes("s", {"a": b"x", "b": b"z"}, [], ["m"]))
    assert target.read(["g", "a"]) == [b"1", b"x"]

    with pytest.raises(StoreConflict):
        target.transaction("g", b"0", {"g": b"2"}, Writes("s", {"a": b"y"}, ["b"], [], ["m"]))

    assert target.read(["g", "a", "b"]) == [b"1", b"x", b"z"]
    assert list(target.scan("s", 10)) == [["m"]]

    target.transaction("g", b"1", {"g": b"2"}, Writes("s", {"a": b"y"}, ["b", "c"], [], ["m"]))
    assert target.read(["g", "a", "b"]) == [b"2", b"y", None]
    assert list(target.scan("s", 10)) == [[]]


# -- changes ---------------------------------------------------------------------------------------


class Ear:
    """Listens to changes on a thread, until the link ends."""

    def __init__(self, store: RedisStore, records: str = "{x}:") -> None:
        self.heard: list[str | None] = []
        self.beats = 0
        self.ended = ""
        self._store, self._records = store, records
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.beats, "the link is up")

    def _run(self) -> None:
        try:
            nothing = f"{self._records}nothing"
            for _, names in self._store.changes(self._records, nothing, 0.05):
                self.beats += 1
                self.heard.extend([None] if names is None else names)
        except StoreDown as down:
            self.ended = down.reason


def test_every_write_is_heard(store: Valkey) -> None:
    """Set, delete, expiry and transactions; nothing outside the prefix."""
    ear = Ear(store_at(store.url))
    client = store.client()
    client.set("{x}:a", "1")
    client.set("{y}:a", "1")
    client.delete("{x}:a")
    client.set("{x}:b", "1", px=1)

    until(lambda: len(ear.heard) >= 4, "four changes")
    assert sorted(map(str, ear.heard)) == ["{x}:a", "{x}:a", "{x}:b", "{x}:b"]


def test_a_flush_is_heard_as_everything(store: Valkey) -> None:
    """FLUSHALL names no keys; it means all of them."""
    ear = Ear(store_at(store.url))
    store.client().flushall()

    until(lambda: None in ear.heard, "the flush")


def test_an_idle_link_gives_signs_of_life(store: Valkey) -> None:
    """Also when nothing changes."""
    ear = Ear(store_at(store.url))

    until(lambda: ear.beats > 3, "heartbeats")
    assert ear.heard == []


def test_a_cut_link_ends_and_is_not_silently_made_anew(store: Valkey) -> None:
    """A connection that came back by itself would hear nothing for ever."""
    ear = Ear(store_at(store.url))
    store.client().client_kill_filter(_type="normal", skipme=True)

    until(lambda: ear.ended, "the link ends")
    assert ear.ended == "store_unreachable"


def test_a_frozen_store_ends_the_link(own_valkey: Valkey) -> None:
    """Silence is noticed, not waited out."""
    ear = Ear(store_at(own_valkey.url))
    own_valkey.freeze()

    until(lambda: ear.ended, "the link ends")
    assert ear.ended == "store_timeout"


# -- where the store may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "redis://127.0.0.1:port",
        "redis+sentinel://127.0.0.1:1",
        "redis+cluster://127.0.0.1",
    ],
)
def test_a_url_that_makes_no_sense_says_what_is_expected(url: str) -> None:
    """The forms are listed, and no password is repeated."""
    with pytest.raises(StoreUrlError, match=r"redis://HOST:PORT/DB") as caught:
        store_at(url.replace("//", "//user:canary@"))
    assert "canary" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    """Not in a repr, not in a message."""
    target = Target("redis://user:canary@127.0.0.1:1/0")

    assert "canary" not in f"{target!r} {target.shown}"


def test_over_a_unix_socket(tmp_path: Path) -> None:
    """unix:///PATH"""
    server = Valkey(tmp_path, "--unixsocket", str(tmp_path / "s"))
    try:
        assert store_at(f"unix://{tmp_path}/s").read(["a"]) == [None]
    finally:
        server.close()
