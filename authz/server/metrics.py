"""Every metric, declared once. In workers they are shared through files (multiprocess mode)."""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from prometheus_client import Counter, Gauge, Histogram

from authz.access.guessing import FAILURE
from authz.server.told import Told

#: Seconds; Envoy's own default time limit for a Check is 0.2.
CHECK_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5)
STORE_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

CHECKS = Counter("authz_checks", "Decisions.", ["service", "route", "scheme", "outcome", "reason"])
CHECK_SECONDS = Histogram(
    "authz_check_seconds",
    "From the Check's bytes to the answer's.",
    ["outcome"],
    buckets=CHECK_BUCKETS,
)
CACHE = Counter("authz_cache_lookups", "Records asked of the memory.", ["kind", "result"])
STORE_SECONDS = Histogram("authz_store_seconds", "Store calls.", buckets=STORE_BUCKETS)
STORE_ERRORS = Counter("authz_store_errors", "Store calls that failed.", ["reason"])
UNKNOWN_REFUSED = Counter(
    "authz_unknown_refused",
    "Records not asked of the store, since too many were asked for that are not there.",
    ["kind"],
)
LIMITS = Counter("authz_limits", "Limits asked.", ["service", "limit", "result"])
GUESSES = Counter("authz_guesses", "Attempts to prove somebody that failed.", ["kind"])
GUESSED = Counter(
    "authz_guessed_identifiers",
    "Identifiers with which many attempts failed lately, whatever the addresses.",
    ["kind"],
)
CHANGE_LAG = Histogram(
    "authz_change_lag_seconds",
    "From a change's writing to when a worker forgot what it knew, by the store's clock.",
    buckets=LAG_BUCKETS,
)
LINK = Counter("authz_invalidation_link_events", "Changes heard, links made and lost.", ["event"])
KEY_SETS = Counter("authz_key_set_fetches", "JWK Sets fetched by URL.", ["result"])
#: Per process; the exporter makes ages of it. Zero in a process that listens to no store.
SEEN = "authz_invalidation_seen_timestamp_seconds"
LINK_SEEN = Gauge(SEEN, "When a worker last heard from the store.", multiprocess_mode="liveall")
CONFIG = Counter("authz_config_loads", "Gateway documents read from the store.", ["result"])
CONFIG_LOADED = Gauge(
    "authz_config_loaded_timestamp_seconds",
    "When a document was last taken into use.",
    multiprocess_mode="livemostrecent",
)
KEYRING = Gauge(
    "authz_keyring_workers",
    "Workers that know a key of the key ring, by its id.",
    ["key"],
    multiprocess_mode="livesum",
)
KEYRING_LOADS = Counter("authz_keyring_loads", "Key rings that were read anew.", ["result"])
READY = Gauge("authz_ready_workers", "Workers that can decide.", multiprocess_mode="livesum")
RESTARTS = Counter("authz_worker_restarts", "Workers that died and were replaced.")
LOG_DROPPED = Counter("authz_decision_log_dropped", "Log lines that nobody read in time.")


class Recorder:
    """The `Observer` of the store, and the counter of decisions.

    Decisions and cache look-ups are counted by what costs a request least, and told to Prometheus
    by a thread of its own, `EVERY` seconds after the first.
    """

    EVERY = 0.05

    def __init__(self) -> None:
        self._children: dict[tuple[Any, ...], Any] = {}
        self._looked: dict[tuple[str, str], itertools.count[int]] = {}
        self._counted: dict[tuple[str, str], int] = {}
        self._decisions: deque[tuple[Told, float]] = deque()
        self._told = False
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def decision(self, told: Told, seconds: float) -> None:
        """Its service, route, scheme, outcome and reason are each of a bounded set."""
        self._decisions.append((told, seconds))
        if not self._told:
            self._told = True
            self._news.set()

    def lookups(self, kind: str, *, hit: bool) -> Callable[[], object]:
        counter = self._looked.setdefault((kind, "hit" if hit else "miss"), itertools.count())
        return counter.__next__  # atomic, unlike an increment

    def store(self, seconds: float, error: str | None) -> None:
        STORE_SECONDS.observe(seconds)
        if error is not None:
            self._child(STORE_ERRORS, error).inc()

    def link(self, event: str) -> None:
        if event in ("up", "alive"):
            LINK_SEEN.set(time.time())
        if event != "alive":
            self._child(LINK, event).inc()

    def refused(self, kind: str) -> None:
        self._child(UNKNOWN_REFUSED, kind).inc()

    def limited(self, service: str, limit: str, result: str) -> None:
        self._child(LIMITS, service, limit, result).inc()

    def guess(self, event: str, kind: str) -> None:
        """The `observe` of `authz.access.guessing.Guesses`."""
        self._child(GUESSES if event == FAILURE else GUESSED, kind).inc()

    def change_lag(self, seconds: float) -> None:
        CHANGE_LAG.observe(seconds)

    def key_set(self, error: str | None) -> None:
        self._child(KEY_SETS, error or "fetched").inc()

    def close(self) -> None:
        """Tell Prometheus all that was counted."""
        self._stopped.set()
        self._news.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.wait()
            self._stopped.wait(self.EVERY)
            self._news.clear()
            self._told = False  # before looking, so that what comes later wakes again
            self.flush()

    def flush(self) -> None:
        """Tell Prometheus what was counted since the last time."""
        for labels, counter in list(self._looked.items()):
            counted = cast(int, counter.__reduce__()[1][0])  # where it stands, without a step
            news = counted - self._counted.get(labels, 0)
            if news:
                self._counted[labels] = counted
                self._child(CACHE, *labels).inc(news)
        decisions, seconds = Counts[tuple[str, ...]](), dict[str, list[float]]()
        while self._decisions:
            told, took = self._decisions.popleft()
            decisions[_labels(told)] += 1
            seconds.setdefault(told.outcome, []).append(took)
        for each, number in decisions.items():
            self._child(CHECKS, *each).inc(number)
        for outcome, several in seconds.items():
            observe(self._child(CHECK_SECONDS, outcome), CHECK_BUCKETS, several)


def _labels(told: Told) -> tuple[str, ...]:
    said = told.metadata
    place = said.get("service", ""), said.get("route", ""), said.get("scheme", "")
    return (*place, told.outcome, said["reason"])


def observe(histogram: Any, bounds: Sequence[float], amounts: Sequence[float]) -> None:
    """Observe many amounts at once, where prometheus_client (known: 0.20 to 0.26) is built as we
    know it: one by one they cost more than the decisions that they are of."""
    buckets, total = getattr(histogram, "_buckets", ()), getattr(histogram, "_sum", None)
    if total is None or len(buckets) != len(bounds) + 1:
        for amount in amounts:
            histogram.observe(amount)
        return
    total.inc(sum(amounts))
    for index, number in Counts(bisect_left(bounds, amount) for amount in amounts).items():
        buckets[index].inc(number)
