"""The script that counts, in a real Valkey, with a clock that the test gives."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.quotas import Count, Quota, Standing, reckon
from authz.store import counting
from authz.store.counting import SPEND, Taken, Use
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.store.target import Target
from tests.store.test_redis import store_at
from tests.support.valkey import Valkey

KEYS = Keys("authz")
NOW = 1_800_000_000_000
MINUTE, MONTH = 60_000, 30 * 24 * 3_600_000
WINDOW = Quota("w", 3, MINUTE)
BUCKET = Quota("b", 3, MINUTE, 2)


@pytest.fixture
def redis(store: Valkey) -> Iterator[RedisStore]:
    made = store_at(store.url)
    yield made
    made.close()


def spend(
    redis: RedisStore,
    *quotas: Quota,
    at: int = NOW,
    uses: Sequence[Use] = (),
    wanted: int = 1,
    looking: bool = False,
) -> tuple[int | None, list[Taken]]:
    numbers = counting.arguments(uses, quotas, [wanted] * len(quotas), looking=looking, at=at)
    names = [KEYS.counter("", quota.name) for quota in quotas]
    ask = redis.look if looking else redis.evaluate
    return counting.result(ask(SPEND, [use.key for use in uses] + names, numbers))


def standing(redis: RedisStore, quota: Quota, at: int = NOW) -> Standing:
    [taken] = spend(redis, quota, at=at)[1]
    return taken.standing


def test_a_window_begins_with_its_first_request(redis: RedisStore) -> None:
    """Three in a minute, the fourth at its end, to the millisecond."""
    begin = NOW + 12_345
    found = [standing(redis, WINDOW, begin + later) for later in (0, 10, 20, 30, MINUTE - 1)]
    assert found == [
        Standing(2, MINUTE),
        Standing(1, MINUTE - 10),
        Standing(0, MINUTE - 20),
        Standing(0, MINUTE - 30, MINUTE - 30),
        Standing(0, 1, 1),
    ]
    assert standing(redis, WINDOW, begin + MINUTE) == Standing(2, MINUTE)


def test_a_bucket_fills_evenly(redis: RedisStore) -> None:
    """Two at once, then one every twenty seconds, to the millisecond."""
    found = [standing(redis, BUCKET, NOW + later) for later in (0, 0, 1, 19_999, 20_000, 20_000)]
    assert found == [
        Standing(1, 20_000),
        Standing(0, 40_000),
        Standing(0, 39_999, 19_999),
        Standing(0, 20_001, 1),
        Standing(0, 40_000),
        Standing(0, 40_000, 20_000),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "quota",
    [
        Quota("w", 7, 1000),
        Quota("b", 7, 1000, 3),
        Quota("big", 999_999_937, MONTH, 100_000),
        Quota("slow", 1, MONTH, 1),
        Quota("thirds", 3, 1000, 5),
    ],
    ids=lambda quota: quota.name,
)
def test_it_reckons_as_exact_fractions_do(redis: RedisStore, quota: Quota, seed: int) -> None:
    """Against another reckoning, without floating point, at random times."""
    chance, now = random.Random(seed), NOW
    count: Count | None = None
    usual = max(1, quota.window // quota.most)
    for number in range(60):
        now += chance.choice((0, 0, 0, 1, usual - 1, usual, usual + 1, quota.window - 1))
        expected, after = reckon(quota, count, now)
        assert standing(redis, quota, now) == expected, number
        count = after


def test_all_or_nothing(redis: RedisStore, store: Valkey) -> None:
    """What one limit refuses takes from no other, and uses nothing up; a replay takes nothing."""
    client, uses = store.client(), [Use("n1", 60), Use("n2", 60)]
    for _ in range(2):
        spend(redis, BUCKET)
    before = {key: client.get(key) for key in client.scan_iter()}

    replayed, taken = spend(redis, WINDOW, BUCKET, uses=uses)
    assert replayed is None
    assert [each.standing.wait for each in taken] == [0, 20_000]
    assert taken[0].standing.remaining == 3
    assert {key: client.get(key) for key in client.scan_iter()} == before

    replayed, taken = spend(redis, WINDOW, uses=uses)
    assert (replayed, taken[0].standing.remaining) == (None, 2)
    assert 0 < client.ttl("n1") <= 60
    again = [Use("n3", 60), Use("n2", 60)]
    assert spend(redis, WINDOW, uses=again) == (1, [])
    assert not client.exists("n3")
    assert standing(redis, WINDOW).remaining == 1


def test_a_share_is_what_is_left_of_it(redis: RedisStore) -> None:
    """Who wants ten of three gets three."""
    wanted = Quota("w", 12, MINUTE)
    given = [spend(redis, wanted, wanted=5)[1][0] for _ in range(4)]
    assert [each.given for each in given] == [5, 5, 2, 0]
    assert [each.standing.remaining for each in given] == [7, 2, 0, 0]


def test_a_clock_that_is_set_back(redis: RedisStore, store: Valkey) -> None:
    """It ends no window early, gives nothing away, and delays nobody for more than a window."""
    for quota in (WINDOW, WINDOW, WINDOW, BUCKET, BUCKET):
        spend(redis, quota)
    before = NOW - 3_600_000
    assert standing(redis, WINDOW, before) == Standing(0, MINUTE, MINUTE)
    assert standing(redis, WINDOW, before + MINUTE) == Standing(2, MINUTE)
    assert standing(redis, BUCKET, before) == Standing(0, 40_000, 20_000)
    assert standing(redis, BUCKET, before + 20_000) == Standing(0, 40_000)
    standing(redis, BUCKET, before)
    assert store.client().pttl(KEYS.counter("", "b")) > 0


def test_a_limit_that_is_lowered_or_raised(redis: RedisStore) -> None:
    """The count stays."""
    for _ in range(3):
        spend(redis, WINDOW)
    assert standing(redis, Quota("w", 1, MINUTE)).wait == MINUTE
    assert standing(redis, Quota("w", 5, MINUTE)).remaining == 1


def test_looking_changes_nothing(redis: RedisStore, store: Valkey) -> None:
    """It says what one more would find; the store itself sees that nothing is written."""
    assert spend(redis, WINDOW, BUCKET, looking=True)[1][0].standing == Standing(2, MINUTE)
    assert store.client().dbsize() == 0


def test_by_the_stores_own_clock(redis: RedisStore, store: Valkey) -> None:
    """Without a time of its own; a counter goes when it says nothing any more, and a store that
    forgot the script is sent it again."""
    for _ in range(2):
        assert standing(redis, WINDOW, -1).wait == standing(redis, BUCKET, -1).wait == 0
        store.client().script_flush()
    client = store.client()
    since = int(client.get(KEYS.counter("", "w")).split()[0])
    seconds, microseconds = client.time()
    assert abs(since - (seconds * 1000 + microseconds // 1000)) < 30_000
    for quota in (WINDOW, BUCKET):
        assert 0 < client.pttl(KEYS.counter("", quota.name)) <= MINUTE + 5000


def test_names(store: Valkey) -> None:
    """One slot for a tenant's counters, another for another's, and none among the records."""
    names = [KEYS.counter(tenant, "service/a/consumer/b/1") for tenant in ("", "t", "t}x")]
    tags = [name[name.index("{") + 1 : name.index("}")] for name in names]
    assert len(set(tags)) == 3
    assert all(tags)
    assert not any(name.startswith(KEYS.records) for name in names)


def test_a_full_store_takes_nothing(own_valkey: Valkey) -> None:
    """It is a fault, and neither half of it was done."""
    own_valkey.client().config_set("maxmemory", "1")
    store = store_at(own_valkey.url)
    with pytest.raises(StoreDown, match="store_full"):
        spend(store, WINDOW, uses=[Use("n", 60)])
    assert own_valkey.client().dbsize() == 0
    store.close()


def test_what_may_have_been_counted_is_not_sent_again() -> None:
    """A connection that ends instead of an answer: once is what is known to be at the most once."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            """Greets, and hangs up on each command that follows."""
            with suppress(OSError):
                while True:
                    link, _ = server.accept()
                    with link:
                        link.recv(4096)
                        link.sendall(b"+OK\r\n")
                        received.append(link.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        store = RedisStore(Target(f"redis://127.0.0.1:{server.getsockname()[1]}"), 5.0, Silent())
        with pytest.raises(StoreDown, match="store_unreachable"):
            spend(store, WINDOW)
        store.reopen("k")
        with pytest.raises(StoreDown, match="store_unreachable"):
            store.read(["k"])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        store.close()
    commands = [b"EVALSHA" if b"EVALSHA" in each else b"MGET" for each in received]
    assert commands == [b"EVALSHA", b"MGET", b"MGET"]
