"""Servers to fetch from, issuers of keys, and what fetches from them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from authz.jose.key_set import KeySet
from authz.store.fetching import Fetcher
from authz.store.key_sets import KeySets
from tests.support.issuer import Clock, Issuer, Make
from tests.support.sites import Authority, Site, answer, site

BODY = b'{"keys": []}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[Site]:
    """An HTTPS server for 127.0.0.1 and keys.test."""
    with site(authority.context("127.0.0.1", "keys.test")) as made:
        made.answer = answer(BODY)
        yield made


@pytest.fixture
def plain() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture
def fetcher(authority: Authority) -> Fetcher:
    """One that may connect to this machine, and has time."""
    return Fetcher(allow_private=True, ca_file=authority.ca_file, timeout=20)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(issuer: Issuer, clock: Clock) -> Iterator[Make]:
    """Makes `KeySets` whose askers have patience, so that no test depends on speed."""
    made: list[KeySets] = []

    def make(patience: float = 20.0, limit: int = 1000, waiters: int = 100) -> KeySets:
        sets = KeySets(
            KeySet.parse,
            issuer.download,
            observe=issuer.observe,
            patience=patience,
            limit=limit,
            waiters=waiters,
            stale_seconds=1000,
            clock=clock,
            chance=lambda: 0.0,
        )
        made.append(sets)
        return sets

    yield make
    issuer.let_go()
    for sets in made:
        sets.close()


@pytest.fixture
def sets(make: Make) -> KeySets:
    return make()
