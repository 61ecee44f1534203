"""A worker on a real store when more comes than usual: floods of unknown keys, and herds."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from authz.pb.external_auth_pb2 import CheckRequest
from tests.support.checks import Seen, check
from tests.support.monitoring import Reads
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import OTHER_RING, RING, Running, apply, running

ALLOWED = Seen("allow", 200, "allowed", "alice")
UNKNOWN = Seen("deny", 401, "invalid_key")
REFUSED = Seen("fault", 503, "too_many_unknown")
#: Checks that may wait for the store at the same time.
THREADS = 16


def with_key(key: str) -> CheckRequest:
    return check("/ip", ("apikey", key))


ALICE = with_key("alice-key")


# -- floods ----------------------------------------------------------------------------------------


def test_a_flood_of_unknown_keys_costs_what_is_published(store: Valkey) -> None:
    """So many reads a second and a second's worth; beyond that a fault, and no "unknown". Who is
    remembered notices nothing; who is not gets in by coming again."""
    apply(store.url)
    rate = 20
    with running(store.url, unknown_per_second=rate, threads=THREADS) as client:
        assert client.ask(ALICE) == ALLOWED

        def flood(number: int) -> Seen:
            if number % 10 == 0:
                assert client.ask(ALICE) == ALLOWED
            return client.ask(with_key(f"flood-{number}"))

        started = time.monotonic()
        with Reads(store) as reads, ThreadPoolExecutor(8) as pool:
            seen = Counter(pool.map(flood, range(600)))
        seconds = time.monotonic() - started

        assert set(seen) == {UNKNOWN, REFUSED}
        assert reads.commands == seen[UNKNOWN] <= rate * (seconds + 1) + THREADS
        until(lambda: client.ask(with_key("bob-key")).consumer == "bob", "bob gets in")
        until(lambda: client.ask(with_key("after")) == UNKNOWN, "unknown keys are told so")
        with Reads(store) as reads:
            assert client.ask(ALICE) == ALLOWED
        assert reads.commands == 0  # it was never pushed out


def spend(client: Running) -> None:
    """Flood with unknown keys until one is refused."""
    number = 0
    while client.ask(with_key(f"spent-{number}")) != REFUSED:
        number += 1


def test_the_remembered_are_read_again_in_a_flood(store: Valkey) -> None:
    """When the link to the store was lost, all that was known is asked for, whoever floods."""
    apply(store.url)
    with running(store.url, unknown_per_second=1) as client:
        assert client.ask(ALICE) == ALLOWED
        relink(client, store)
        spend(client)

        assert client.ask(ALICE) == ALLOWED


def test_who_comes_again_gets_in_at_once_in_a_flood(store: Valkey) -> None:
    """By the second try: its consumer is not among those that the flood keeps out."""
    apply(store.url)
    with running(store.url, unknown_per_second=1) as client:
        spend(client)
        client.ask(ALICE)

        assert client.ask(ALICE) == ALLOWED


# -- herds -----------------------------------------------------------------------------------------

HERD, KEYS = 6, 25
DOCUMENT = "services: [{id: api, auth: {key-auth: {}}}]\nconsumers:\n" + "".join(
    f"  - {{username: u{n}, credentials: [{{id: key, key-auth: {{key: key-{n}}}}}]}}\n"
    for n in range(KEYS)
)


def relink(client: Running, store: Valkey) -> None:
    """Cut the link over which changes are heard, and wait for the next."""
    worker = client.worker.store
    assert worker is not None
    generation = worker.link.generation
    [link] = [each for each in store.client().client_list() if "t" in each["flags"]]
    store.client().client_kill_filter(_id=link["id"])
    until(lambda: worker.link.generation > generation, "there is another link")


def herd(client: Running) -> Counter[str]:
    """Everybody asks at the same moment. Who got in, how often."""
    requests = [with_key(f"key-{n}") for n in range(KEYS) for _ in range(HERD)]
    calls = [client.begin(request) for request in requests]
    return Counter(Seen.of(call.result()).consumer for call in calls)


@pytest.mark.parametrize("ring", [RING, f"{OTHER_RING},{RING}"], ids=["one key", "rotated"])
def test_a_herd_is_one_read_a_key(store: Valkey, ring: str) -> None:
    """After a restart, and after a lost link; also where secrets have two names, of which one is
    not there. No herd of known keys is taken for a flood, however little is allowed."""
    apply(store.url, DOCUMENT)
    everybody = Counter({f"u{n}": HERD for n in range(KEYS)})
    # As long as a busy machine may take: to be refused in time is tested elsewhere.
    with running(store.url, keyring=ring, unknown_per_second=1, store_timeout_ms=1000) as client:
        with Reads(store) as after_restart:
            assert herd(client) == everybody
        relink(client, store)
        with Reads(store) as after_loss:
            assert herd(client) == everybody

    for reads in (after_restart, after_loss):
        assert reads.commands == 2 * KEYS  # a credential, with all its names, and a consumer
        assert set(reads.keys.values()) == {1}
