"""The gRPC service: bytes in, bytes out, every decision counted, timed and logged.

Nothing leaves here but an allow that was decided, a denial that was decided, or a fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from msgspec import Struct

from authz.access.guessing import Guesses
from authz.contracts import Fault, Lookups, NotCached
from authz.pipeline import Verdict, decide
from authz.routes import RouteTable
from authz.server import wire
from authz.server.decision_log import DecisionLog
from authz.server.metrics import Recorder
from authz.server.reading import read
from authz.server.told import Told
from authz.server.wire import Written
from authz.values import Denied, Request

logger = logging.getLogger("authz")

NAME = "envoy.service.auth.v3.Authorization"
NOT_READY, NOT_A_CHECK, CRASHED = "not_ready", "not_a_check_request", "internal_error"
OVERLOADED, ABANDONED = "overloaded", "abandoned"


class Engine:
    """What decisions need; replaced whole, never changed halfway."""

    def __init__(self, routes: RouteTable, memory: Lookups, waiting: Lookups) -> None:
        self.routes = routes
        self.memory = memory
        self.waiting = waiting


class Deferred(NamedTuple):
    """A Check that memory alone could not decide."""

    request: Request
    started: float


class Service:
    """Answers Checks. `engine` is None until there is something to decide by; `guesses` is what
    failed before."""

    def __init__(
        self, recorder: Recorder, log: DecisionLog, clock: Callable[[], float] = time.time
    ) -> None:
        self.engine: Engine | None = None
        self._recorder = recorder
        self._log = log
        self._clock = clock
        self.guesses = Guesses(recorder.guess)

    def check(self, message: bytes) -> bytes:
        """The answer to one Check, whatever happens. May wait for the store."""
        answer = self.attempt(message)
        return self.finish(answer) if isinstance(answer, Deferred) else answer

    def attempt(self, message: bytes) -> bytes | Deferred:
        """The answer if it can be had without waiting. Something deferred is to be given to just
        one of `finish`, `shed` and `drop`, which then log and count it."""
        started, request = perf_counter(), None
        try:
            request = read(message, self._clock())
            engine = self._engine()
            made = _written(decide(request, engine.routes, engine.memory, self.guesses))
        except NotCached:
            assert request is not None
            return Deferred(request, started)
        except Exception as error:
            made = _failed(error)
        return self._told(made, request, started)

    def finish(self, deferred: Deferred) -> bytes:
        """The answer, waiting for the store."""
        request, started = deferred
        try:
            engine = self._engine()
            made = _written(decide(request, engine.routes, engine.waiting, self.guesses))
        except Exception as error:
            made = _failed(error)
        return self._told(made, request, started)

    def shed(self, deferred: Deferred) -> bytes:
        """The answer when more Checks wait than will be done in time: a fault."""
        return self._told(_faulted(OVERLOADED), *deferred)

    def drop(self, deferred: Deferred) -> None:
        """Nobody waits for the answer any more."""
        self._told(_faulted(ABANDONED), *deferred)

    def _told(self, made: Written, request: Request | None, started: float) -> bytes:
        """One line and one count a Check."""
        seconds = perf_counter() - started
        told = made.told
        self._recorder.decision(told, seconds)
        if request is None:
            self._log.write(Decided(self._clock(), seconds, told, None))
        else:
            self._log.write(Decided(request.at, seconds, told, _asked(request)))
        return made.answer

    def _engine(self) -> Engine:
        engine = self.engine
        if engine is None:
            raise Fault(NOT_READY)
        return engine


def _written(verdict: Verdict) -> Written:
    if verdict.under is not None:
        allow = _written(verdict.under)
        return Written(allow.answer + wire.told_client(verdict.respond), allow.told)
    if not verdict.lasts:
        return wire.written(verdict)
    made: Written | None = verdict.made
    if made is None:
        made = verdict.made = wire.written(verdict)
    return made


def _failed(error: Exception) -> Written:
    """Of an exception of the moment."""
    if isinstance(error, Denied):  # a request that cannot be taken
        return wire.written(Verdict(error.deny, None))
    if isinstance(error, Fault):
        return _faulted(error.reason)
    if isinstance(error, DecodeError):
        return _faulted(NOT_A_CHECK)
    # A bug. The trace goes to the operator's log and never to the client.
    logger.exception("a check crashed")
    return _faulted(CRASHED)


def _faulted(reason: str) -> Written:
    answer = wire.fault(reason)
    status = answer.error_response.status.code
    return Written(answer.SerializeToString(), Told("fault", status, {"reason": reason}))


class Decided(Struct, frozen=True, gc=False):
    """A decision for the log: its line is made by who writes it, not while Envoy waits. It holds
    no more than a line's length of the request, since a slow reader makes many of them wait."""

    at: float
    seconds: float
    told: Told
    #: Id, method, host, path and address; None of a request that could not be read.
    asked: tuple[str, str, str, str, str] | None

    def line(self) -> dict[str, Any]:
        told = self.told
        line: dict[str, Any] = {
            "at": round(self.at, 3),
            "outcome": told.outcome,
            "status": told.status,
            "us": round(self.seconds * 1e6),
            **told.metadata,
            "reason": told.metadata["reason"],
        }
        if self.asked is not None:
            identifier, method, host, path, address = self.asked
            line |= {
                "id": identifier,
                "method": method,
                "host": host.encode(errors="replace").decode(),
                "path": path,
                "address": address,
            }
        return line


def _asked(request: Request) -> tuple[str, str, str, str, str]:
    return request.id, request.method, request.host[:255], request.path[:1024], request.address
