"""A steady, known mix of requests, and an account of every single answer."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from tests.e2e.support.recording import TAG
from tests.e2e.support.wire import Line

#: Makes the next request's headers.
Maker = Callable[[], tuple[Line, ...]]

#: Together, in requests a second. Far below what the stack can do: queueing is not the question.
RATE = 150.0
CLIENTS = 3
#: However long a test takes, its load ends here.
MOST = 30_000
_NUMBERS = itertools.count()


class Shot(NamedTuple):
    """One request of the load. `tag` is what the upstream finds in it, if it arrives there.

    Instants are `time.monotonic`. Status 0: there was no answer.
    """

    kind: str
    tag: str
    started: float
    ended: float
    status: int
    retry_after: str | None
    body: bytes


def steadily(*lines: Line) -> Maker:
    """The same headers each time."""
    return lambda: lines


def different(name: str, prefix: str) -> Maker:
    """A header with another value each time."""
    numbers = itertools.count()
    return lambda: ((name, f"{prefix}-{next(numbers)}"),)


class Load:
    """Sends the mix from several connections at a steady rate until the block ends."""

    def __init__(
        self, port: int, mix: Mapping[str, Maker], *, host: str = "api.test", rate: float = RATE
    ) -> None:
        self._port, self._mix, self._host = port, mix, host
        self._pause = CLIENTS / rate
        self._stopped = threading.Event()
        self._shots: list[Shot] = []
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def shots(self) -> list[Shot]:
        """Every request that has its answer so far."""
        return list(self._shots)

    def _client(self, number: int) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        # Each client begins elsewhere in the mix, so that the kinds are spread evenly.
        kinds = itertools.islice(itertools.cycle(self._mix), number, MOST // CLIENTS)
        due = time.monotonic()
        for kind in kinds:
            self._shots.append(self._shoot(link, kind))
            due = max(due + self._pause, time.monotonic() - self._pause)
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                break
        link.close()

    def _shoot(self, link: http.client.HTTPConnection, kind: str) -> Shot:
        tag = f"{kind}-{next(_NUMBERS)}"
        headers = dict([*self._mix[kind](), (TAG, tag), ("Host", self._host)])
        started = time.monotonic()
        try:
            link.request("GET", "/ip", headers=headers)
            answer = link.getresponse()
            body, status = answer.read(), answer.status
            retry_after = answer.getheader("retry-after")
        except (OSError, http.client.HTTPException) as error:
            link.close()
            status, body, retry_after = 0, repr(error).encode(), None
        return Shot(kind, tag, started, time.monotonic(), status, retry_after, body)


def tally(shots: Iterable[Shot]) -> dict[str, dict[int, int]]:
    """How often each kind got each status."""
    found: dict[str, Counter[int]] = {}
    for shot in shots:
        found.setdefault(shot.kind, Counter())[shot.status] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}


def of(shots: Iterable[Shot], *kinds: str) -> list[Shot]:
    return [shot for shot in shots if shot.kind in kinds]


def since(shots: Iterable[Shot], instant: float) -> list[Shot]:
    """Those that were sent after this instant."""
    return [shot for shot in shots if shot.started > instant]
