"""An issuer of keys, and a clock, that do what a test tells them to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from authz.contracts import Fault
from authz.jose.key_set import KeySet
from authz.store.fetching import Fetched
from authz.store.key_sets import KeySets
from tests.support.waiting import until

URL = "https://keys.test/jwks"


def jwks(*ids: str) -> bytes:
    """A set of fresh P-256 keys."""
    members = []
    for id in ids:
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        members.append({**ECAlgorithm.to_jwk(public, as_dict=True), "kid": id})
    return json.dumps({"keys": members}).encode()


Make = Callable[..., KeySets]


class Issuer:
    """What stands at every URL. `give` is a document or what prevents one; while `held` is set,
    fetches hang."""

    def __init__(self) -> None:
        self.give: bytes | Exception = jwks("a")
        self.max_age: float | None = 100
        self.calls: list[str] = []
        self.outcomes: list[str | None] = []
        self._open = threading.Event()
        self._open.set()

    def download(self, url: str) -> Fetched:
        self.calls.append(url)
        assert self._open.wait(20)
        if isinstance(self.give, Exception):
            raise self.give
        return Fetched(self.give, self.max_age)

    def observe(self, url: str, reason: str | None) -> None:
        self.outcomes.append(reason)

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def done(self, count: int) -> None:
        """Wait until so many fetches have ended."""
        until(lambda: len(self.outcomes) >= count, f"fetch {count}")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ids(found: KeySet) -> list[str | None]:
    return [key.id for key in found.keys]


def unavailable(ask: Callable[[str, str | None], KeySet], kid: str | None = "a") -> bool:
    with pytest.raises(Fault) as caught:
        ask(URL, kid)
    return caught.value.reason == "keys_unavailable"
