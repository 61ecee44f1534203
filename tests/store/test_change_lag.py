"""How late a change was felt: by the store's clock, and without slowing what it measures."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from authz.admin.catalog import Silent
from authz.store.change_lag import ChangeLag
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.store.target import Target
from tests.support.valkey import Valkey
from tests.support.waiting import until

KEYS = Keys("authz")
#: Seconds; far more than a call takes.
TIMEOUT = 0.2


class Lags(Silent):
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors = 0

    def change_lag(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def store(self, seconds: float, error: str | None) -> None:
        self.errors += error is not None


@pytest.fixture
def told() -> Lags:
    return Lags()


@pytest.fixture
def redis(own_valkey: Valkey, told: Lags) -> RedisStore:
    return RedisStore(Target(own_valkey.url), TIMEOUT, told)


@pytest.fixture
def lag(redis: RedisStore, told: Lags) -> Iterator[ChangeLag]:
    made = ChangeLag(redis, KEYS, told)
    made.start()
    yield made
    made.stop()


def write(redis: RedisStore, store: Valkey) -> None:
    """What every change does."""
    store.client().set(KEYS.changed, redis.clock(KEYS.changed))


def test_a_change_is_as_late_as_it_was_forgotten(
    lag: ChangeLag, redis: RedisStore, told: Lags, own_valkey: Valkey
) -> None:
    """From its writing on: what comes after the forgetting is not counted."""
    write(redis, own_valkey)
    written = time.monotonic()
    time.sleep(0.05)  # the notice is late
    heard = time.monotonic()
    lag.hear([KEYS.epoch, KEYS.changed])

    until(lambda: told.seconds, "it is measured")
    assert heard - written <= told.seconds[0] < time.monotonic() - written + TIMEOUT


def test_what_the_store_keeps_us_waiting_is_not_lag(
    lag: ChangeLag, redis: RedisStore, told: Lags, own_valkey: Valkey
) -> None:
    """A store that does not answer is asked again; nobody who hears waits for that."""
    write(redis, own_valkey)
    own_valkey.freeze()
    heard = time.monotonic()
    lag.hear([KEYS.changed])
    assert time.monotonic() - heard < TIMEOUT
    until(lambda: told.errors > 1, "it is asked again")
    own_valkey.thaw()

    until(lambda: told.seconds, "it is measured")
    # The answer to the question, at last, was given within the time limit of one.
    assert told.seconds[0] < TIMEOUT + 0.1 < time.monotonic() - heard


@pytest.mark.parametrize("stamp", ["", "x", "-1", "9" * 19, "1" * 5000])
def test_a_time_that_cannot_be_is_no_lag(
    lag: ChangeLag, redis: RedisStore, told: Lags, own_valkey: Valkey, stamp: str
) -> None:
    """Whoever writes to the store cannot stop the measuring, nor can a clock that was set."""
    own_valkey.client().set(KEYS.changed, stamp)
    lag.hear([KEYS.changed])
    until(lambda: own_valkey.client().info("commandstats").get("cmdstat_mget"), "it was read")
    write(redis, own_valkey)
    lag.hear([KEYS.changed])

    until(lambda: told.seconds, "the next is measured")
    assert told.seconds[0] < 1


def test_other_changes_are_not_measured(
    lag: ChangeLag, redis: RedisStore, told: Lags, own_valkey: Valkey
) -> None:
    """Such as an expiry: it has no time of writing."""
    write(redis, own_valkey)
    lag.hear([KEYS.epoch])
    lag.stop()

    assert told.seconds == []
