"""Guessing: a credential that is wrong too often is not looked at any more, for a while.

Failed attempts are counted by address, and by address and identifier: never by the identifier
alone, since then a stranger could lock its owner out. Whoever has to wait is refused before any
secret is looked at (429 with `Retry-After`), in the same words whether the identifier exists or
not. Delaying the answer instead would hold a place that honest callers need.

Counted in this process's memory, under hashes with a seed of this process alone: no identifier and
no secret stands in it. docs/guessing.md has the limits, and what they come to.
"""

from __future__ import annotations

import math
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from authz.access.scores import Limit, Marks, Scores
from authz.values import Denied, Deny, Request

Mode = Literal["off", "on", "strict"]
#: As a document may have it: YAML 1.1 reads `off` and `on` as booleans.
Setting = Mode | bool

TOO_MANY = "too_many_failures"
MESSAGE = "Too many failed attempts, try again later"
REASONS = {TOO_MANY: "this address failed too often, with this identifier or with several"}
STATUS = 429
#: Marks of one kind that are kept; some 200 bytes each.
SIZE = 20_000
#: What an observer is told: a failure that was counted; an identifier that failed often, whatever
#: the addresses.
FAILURE, ALARM = "failure", "alarm"
_ALARMING = Limit(failures=100, seconds=600)
_IPV6_NETWORK = 8
_MAPPED = bytes(10) + b"\xff\xff"


class Limits(Struct, frozen=True):
    """`one` is for an address with one identifier, `all` for an address with whatever it sends.
    `spares`: the second does not concern identifiers that were proven from that address."""

    name: str
    one: Limit
    all: Limit
    spares: bool


LIMITS = {
    "on": Limits("on", Limit(20, 600), Limit(100, 60), spares=True),
    "strict": Limits("strict", Limit(5, 900), Limit(20, 300), spares=False),
}


def mode(said: Any) -> Mode:
    """What a document says, or nothing (not one of the modes)."""
    if isinstance(said, bool):
        return "on" if said else "off"
    return said if said in ("off", "strict") else "on"


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Whose failures are counted together: an IPv4 address, or an IPv6 network of 64 bits, of which
    a customer has all addresses."""
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED) :])
    return packed[:_IPV6_NETWORK].hex()


class Guesses:
    """What failed, in this process. Thread-safe. `observe` is told an event and a kind of scheme.

    A caller that has no address is not counted: it could not be told from any other.
    """

    def __init__(
        self, observe: Callable[[str, str], object] = lambda event, kind: None, size: int = SIZE
    ) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._scores = Scores(size)
        self._addresses = Scores(size)
        self._identifiers = Scores(size)
        self._tried = Marks(size)
        self._proven = Marks(size)
        self._size = size
        #: Networks of which something has to wait, and until when.
        self.suspects: OrderedDict[str, float] = OrderedDict()
        self._calm = 0.0

    def suspect(self, request: Request) -> bool:
        """Whether anything has to wait where this request comes from: then no allow of before may
        be given without asking here, or a right guess would be told from a wrong one."""
        if request.at >= self._calm:
            with self._lock:
                if request.at >= self._calm:
                    self.suspects.clear()
        return request.at < self.suspects.get(network(request.address), 0.0)

    def guard(self, request: Request, tenant: str, mode: str) -> Guard | None:
        """What watches the attempts of one request; None where nothing is counted."""
        limits = LIMITS.get(mode)
        if limits is None or not request.address:
            return None
        return Guard(self, limits, request, tenant)

    def wait(self, guard: Guard, kind: str, identifier: str) -> float:
        """Seconds until this identifier is looked at again from there."""
        limits, at = guard.limits, guard.request.at
        one = self._scores.wait(guard.whose(kind, identifier), limits.one, at)
        if limits.spares and guard.owner(kind, identifier) in self._proven:
            return one
        return max(one, self._addresses.wait(guard.mark, limits.all, at))

    def failed(self, guard: Guard, kind: str, identifier: str, secret: str | None) -> None:
        """Count an attempt, unless it is one that failed before: a client that has an old password
        sends it again and again, and guesses nothing."""
        limits, at = guard.limits, guard.request.at
        whose = guard.whose(kind, identifier)
        with self._lock:
            if secret is not None and not self._tried.add(hash((whose, secret))):
                return
            self._scores.failed(whose, limits.one, at)
            self._addresses.failed(guard.mark, limits.all, at)
            everywhere = hash((guard.tenant, kind, identifier))
            level = self._identifiers.failed(everywhere, _ALARMING, at)
            one = self._scores.wait(whose, limits.one, at)
            every = self._addresses.wait(guard.mark, limits.all, at)
            if one or every:
                self._suspect(guard.network, at, at + max(one, every))
        self._observe(FAILURE, kind)
        if level - 1 < _ALARMING.failures <= level:
            self._observe(ALARM, kind)

    def _suspect(self, network: str, at: float, until: float) -> None:
        suspects = self.suspects
        suspects[network] = max(until, suspects.get(network, 0.0))
        suspects.move_to_end(network)
        if len(suspects) > self._size:
            suspects.popitem(last=False)
        self._calm = max(until, self._calm)

    def proved(self, guard: Guard, kind: str, identifier: str) -> None:
        """This identifier belongs to somebody there. Its failures stay: who shares an address with
        its owner would have them forgotten by the owner's calls."""
        owner = guard.owner(kind, identifier)
        if owner not in self._proven:
            with self._lock:
                self._proven.add(owner)


class Guard(Struct, frozen=True, gc=False):
    """The attempts of one request."""

    guesses: Guesses
    limits: Limits
    request: Request
    tenant: str

    @property
    def network(self) -> str:
        return network(self.request.address)

    @property
    def mark(self) -> int:
        return hash((self.limits.name, self.network))

    def whose(self, kind: str, identifier: str) -> int:
        return hash((self.limits.name, self.network, self.tenant, kind, identifier))

    def owner(self, kind: str, identifier: str) -> int:
        """Of this very address: in a network of IPv6 neighbours have others."""
        return hash((self.request.address, self.tenant, kind, identifier))

    def require(self, kind: str, identifier: str) -> None:
        """Raises `Denied` while this identifier is not looked at."""
        guesses = self.guesses
        if not guesses.suspects or not guesses.suspect(self.request):
            return
        wait = guesses.wait(self, kind, identifier)
        if wait:
            headers = (("retry-after", str(math.ceil(wait))),)
            raise Denied(Deny(TOO_MANY, STATUS, MESSAGE, scheme=kind, headers=headers))
