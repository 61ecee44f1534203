"""Password checks: a bounded number at once, and success remembered for a short time.

What is remembered is a MAC, under a key of this process alone, over the stored hash and the
password: neither can be read back, and a changed password is a different entry.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FlightTimeout

from authz.contracts import NotCached, Overloaded
from authz.hashes import hash_password, verify_password
from authz.secrets import Mac

BUSY = "passwords_busy"


class Passwords:
    """Thread-safe. `at_once` checks run, `waiting` more may wait `patience` seconds for a turn."""

    def __init__(
        self,
        *,
        at_once: int = 2,
        waiting: int = 8,
        patience: float = 0.15,
        remember_seconds: float = 60.0,
        remembered: int = 10_000,
    ) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._patience = patience
        self._remember_seconds = remember_seconds
        self._limit = remembered
        self._mac = Mac(secrets.token_bytes(32))
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._flights: dict[bytes, Future[bool]] = {}
        self._lock = threading.Lock()
        # Compared when the user is unknown, so that a wrong name costs what a wrong password does.
        self._nobody = hash_password(secrets.token_hex())

    def recall(self, password: str, hashed: str) -> bool:
        """True if this was verified lately. Raises `NotCached` otherwise: never a quick no."""
        if time.monotonic() < self._until.get(self._tag(password, hashed), 0.0):
            return True
        raise NotCached

    def verify(self, password: str, hashed: str) -> bool:
        """Whether the password has this hash; no hash means nobody's. Raises `Overloaded`.

        Of many who ask the same at once one computes, and the others wait for its answer.
        """
        tag = self._tag(password, hashed)
        with self._lock:
            flight = self._flights.get(tag)
            leading = flight is None
            if flight is None:
                flight = self._flights[tag] = Future()
        if not leading:
            try:
                return flight.result(self._patience)
            except FlightTimeout:
                raise Overloaded(BUSY) from None
        try:
            holds = self._compute(password, hashed) and bool(hashed)
        except BaseException as error:
            flight.set_exception(error)
            flight.exception()
            raise
        finally:
            with self._lock:
                del self._flights[tag]
        if holds:
            self._remember(tag)
        flight.set_result(holds)
        return holds

    def _compute(self, password: str, hashed: str) -> bool:
        if not self._places.acquire(blocking=False):
            raise Overloaded(BUSY)
        try:
            if not self._turns.acquire(timeout=self._patience):
                raise Overloaded(BUSY)
            try:
                return verify_password(password, hashed or self._nobody)
            finally:
                self._turns.release()
        finally:
            self._places.release()

    def _tag(self, password: str, hashed: str) -> bytes:
        return self._mac.digest(f"{hashed}\0{password}".encode("utf-8", "surrogateescape"))

    def _remember(self, tag: bytes) -> None:
        with self._lock:
            self._until[tag] = time.monotonic() + self._remember_seconds
            self._until.move_to_end(tag)
            while len(self._until) > self._limit:
                self._until.popitem(last=False)
