"""Remote JWK Sets, as one process knows them (RFC 7517 section 5).

A few threads fetch; whoever asks reads memory, or waits for a fetch for a moment. A set is fetched
again before it grows old, while people ask for it. When its issuer is away, the last good set
serves for a bounded time. A key id that the set does not hold may be a new one, or anything that a
stranger writes into a token: it causes one fetch a URL in 30 seconds, whoever asks.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import NamedTuple
from urllib.parse import urlsplit

from authz.contracts import Fault, NotCached
from authz.jose.key_set import KeySet
from authz.store.connecting import FetchError
from authz.store.fetching import Fetched
from authz.store.key_source import UNAVAILABLE, Source

logger = logging.getLogger("authz")

#: Why there is no new set, beside the reasons of `FetchError`.
UNFIT, CRASHED = "unfit_key_set", "internal_error"
#: A set that nobody asked for in so many seconds is forgotten.
IDLE = 3600.0
#: One issuer that swallows connections must not hold up the others.
THREADS = 4


class _Outcome(NamedTuple):
    """Of one fetch: a set and its fresh time, or why there is none."""

    key_set: KeySet | None = None
    max_age: float | None = None
    reason: str | None = None


class KeySets:
    """Thread-safe. `parse` raises ValueError for a set that is unfit; `download` is given a URL and
    raises `FetchError`; `observe` is told the URL after each fetch, and why it failed, or None.
    `stale_seconds` is how long a set serves after its fresh time, while there is no new one;
    `patience` how long an asker waits; `waiters` how many wait at once, whatever they wait for;
    `limit` how many sets are held. `clock` never goes back."""

    def __init__(
        self,
        parse: Callable[[bytes], KeySet],
        download: Callable[[str], Fetched],
        *,
        observe: Callable[[str, str | None], None] = lambda url, reason: None,
        stale_seconds: float = 3600.0,
        patience: float = 0.15,
        waiters: int = 8,
        limit: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._parse, self._download, self._observe = parse, download, observe
        self._stale, self._patience, self._limit = stale_seconds, patience, limit
        self._clock, self._chance = clock, chance
        # Who waits occupies a thread that others need, be their keys at hand.
        self._seats = threading.BoundedSemaphore(max(waiters, 1))
        self._sources: dict[str, Source] = {}
        self._wanted: deque[Source] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    # -- asking ------------------------------------------------------------------------------------

    def recall(self, url: str, kid: str | None) -> KeySet:
        """The set at a URL. Raises `NotCached` where a fetch is worth waiting for, and a `Fault` as
        `fetch` does."""
        now = self._clock()
        source = self._sources.get(url)
        if source is None or source.worth_waiting(kid, now):
            raise NotCached
        source.asked_at = now
        if now >= source.next_at():
            with self._changed:
                self._changed.notify()
        return source.answer(kid, now)

    def fetch(self, url: str, kid: str | None) -> KeySet:
        """The set at a URL, waited for if need be. It may lack the key that was asked for.

        Raises a `Fault` where there is no good set, and for an unknown key while the issuer does
        not answer: it may be a new one.
        """
        now = self._clock()
        with self._changed:
            source = self._source(url, now)
            source.asked_at = now
            self._changed.notify()
            if self._closed or not source.worth_waiting(kid, now):
                return source.answer(kid, now)
            flight = source.flight or self._want(source, kid, now)
            if not self._seats.acquire(blocking=False):
                return source.answer(kid, now)
            source.waiters += 1
        try:
            flight.result(self._patience)
        except NotInTime:
            pass  # what is held may still do
        finally:
            self._seats.release()
            with self._changed:
                source.waiters -= 1
        return source.answer(kid, self._clock())

    def _source(self, url: str, now: float) -> Source:
        source = self._sources.get(url)
        if source is None:
            if len(self._sources) >= self._limit:
                self._forget_one()
            source = self._sources[url] = Source(url, self._stale, now)
        return source

    def _forget_one(self) -> None:
        resting = [source for source in self._sources.values() if source.flight is None]
        if not resting:
            raise Fault(UNAVAILABLE)
        del self._sources[min(resting, key=lambda source: source.asked_at).url]

    def _want(self, source: Source, kid: str | None, now: float) -> Future[None]:
        self._wanted.append(source)
        if len(self._threads) < THREADS:
            thread = threading.Thread(target=self._run, name="key-sets", daemon=True)
            self._threads.append(thread)
            thread.start()
        return source.begin(kid, now)

    # -- fetching ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Fetch nothing more. Returns when no fetch is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=3.0)

    def _run(self) -> None:
        while (source := self._take()) is not None:
            outcome = self._attempt(source)
            with self._changed:
                flight, source.flight = source.flight, None
                now, chance = self._clock(), self._chance()
                if outcome.key_set is not None:
                    source.land(outcome.key_set, outcome.max_age, now, chance)
                else:
                    source.fail(now, chance)
            if flight is not None:
                flight.set_result(None)
            self._tell(source.url, outcome.reason)

    def _take(self) -> Source | None:
        """The next source to fetch, as soon as there is one; None at the end."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                source = self._wanted.popleft() if self._wanted else self._due(now)
                if source is not None:
                    source.tried_at = now
                    return source
                later = (source.next_at() for source in self._sources.values())
                soonest = min((at for at in later if at > now), default=now + IDLE)
                self._changed.wait(min(soonest - now, IDLE))
        return None

    def _due(self, now: float) -> Source | None:
        for source in list(self._sources.values()):
            if source.flight is None and now - source.asked_at >= IDLE:
                del self._sources[source.url]
            elif now >= source.next_at() and source.asked_at > source.tried_at:
                source.begin(None, now)
                return source
        return None

    def _attempt(self, source: Source) -> _Outcome:
        try:
            fetched = self._download(source.url)
            return _Outcome(self._parse(fetched.body), fetched.max_age)
        except FetchError as error:
            reason, detail = error.reason, error.reason
        except ValueError as error:
            reason, detail = UNFIT, str(error)
        except Exception:
            logger.exception("fetching a key set crashed")
            return _Outcome(reason=CRASHED)
        if not source.failures:
            logger.warning("no key set from %s: %s", urlsplit(source.url).hostname, detail)
        return _Outcome(reason=reason)

    def _tell(self, url: str, reason: str | None) -> None:
        try:
            self._observe(url, reason)
        except Exception:
            logger.exception("telling of a key set crashed")
