"""One scheme's look at one request, where guesses are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from authz.access.guess_reasons import COUNTED
from authz.access.guessing import Guard
from authz.contracts import Lookup
from authz.denials import LIVENESS
from authz.jose.key_set import KeySet
from authz.quotas import Quota, Spent
from authz.values import Consumer, Credential, Deny, Once


class Attempt:
    """A `Lookup` for one scheme's look at one request: it lets nobody ask for a credential that is
    not looked at, and knows for which one it was asked."""

    __slots__ = ("_guard", "_presented", "_store")

    def __init__(self, guard: Guard, store: Lookup) -> None:
        self._guard = guard
        self._store = store
        self._presented: tuple[str, str] | None = None

    def refused(self, deny: Deny, secret: str | None) -> None:
        """It came to this. `secret` is all that the refusal rests on, if that is one text."""
        if self._presented is None:
            return
        kind, identifier = self._presented
        # That somebody's password was right must not show in what is counted. Where one that is
        # sent again cannot be told from another, its owner's calls would be counted.
        lapsed = deny.reason in LIVENESS and secret is not None
        if lapsed or deny.reason in COUNTED.get(kind, ()):
            self._guard.guesses.failed(self._guard, kind, identifier, secret)

    def wrong(self) -> None:
        """What was asked for is not there, and to know it would have been enough."""
        if self._presented is not None:
            self._guard.guesses.failed(self._guard, *self._presented, "")

    def proved(self) -> None:
        guard = self._guard
        if self._presented is not None and guard.limits.spares:
            guard.guesses.proved(guard, *self._presented)

    def _ask(self, kind: str, identifier: str) -> None:
        self._guard.require(kind, identifier)
        self._presented = kind, identifier

    @property
    def used(self) -> dict[int, Credential] | None:
        return self._store.used

    def find(self, kind: str, identifier: str) -> Credential | None:
        self._ask(kind, identifier)
        return self._store.find(kind, identifier)

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        self._ask(kind, secret)
        return self._store.find_secret(kind, secret)

    def consumer(self, username: str) -> Consumer | None:
        return self._store.consumer(username)

    def password_matches(self, password: str, hashed: str) -> bool:
        return self._store.password_matches(password, hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        return self._store.claim(nonce, seconds)

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        return self._store.spend(quotas, onces)

    def holds(self, *records: Credential | Consumer) -> bool:
        return self._store.holds(*records)

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        return self._store.beside(record)

    def recall(self, secret: str) -> Any | None:
        return self._store.recall(secret)

    def remember(self, secret: str, value: Any) -> None:
        self._store.remember(secret, value)

    def key_set(self, url: str, kid: str | None) -> KeySet:
        return self._store.key_set(url, kid)
