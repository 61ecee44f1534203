"""The gRPC service: bytes in, bytes out, every decision counted, timed and logged.

Nothing leaves here but an allow that was decided, a denial that was decided, or a fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from authz.contracts import Fault, Lookups, NotCached
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pipeline import Verdict, decide
from authz.routes import RouteTable
from authz.server import wire
from authz.server.decision_log import DecisionLog
from authz.server.metrics import Recorder
from authz.values import Answer, Denied, Request

logger = logging.getLogger("authz")

NAME = "envoy.service.auth.v3.Authorization"
NOT_READY, NOT_A_CHECK, CRASHED = "not_ready", "not_a_check_request", "internal_error"


class Engine:
    """What decisions need; replaced whole, never changed halfway."""

    def __init__(self, routes: RouteTable, memory: Lookups, waiting: Lookups) -> None:
        self.routes = routes
        self.memory = memory
        self.waiting = waiting

    def decide(self, request: Request) -> Verdict:
        """From memory if that suffices, else waiting for the store. Raises `Fault`."""
        try:
            return decide(request, self.routes, self.memory)
        except NotCached:
            return decide(request, self.routes, self.waiting)


class Service:
    """Answers Checks. `engine` is None until there is something to decide by."""

    def __init__(
        self, recorder: Recorder, log: DecisionLog, clock: Callable[[], float] = time.time
    ) -> None:
        self.engine: Engine | None = None
        self._recorder = recorder
        self._log = log
        self._clock = clock

    def handler(self) -> grpc.GenericRpcHandler:
        """For `server.add_generic_rpc_handlers`. Bytes, so that what does not parse is ours to
        answer."""
        method = grpc.unary_unary_rpc_method_handler(self._call)
        return grpc.method_handlers_generic_handler(NAME, {"Check": method})

    def _call(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return self.check(message)

    def check(self, message: bytes) -> bytes:
        """The answer to one Check, whatever happens."""
        started = time.perf_counter()
        request, verdict, reason = None, None, None
        try:
            request, verdict = self._decide(message)
            answer = wire.write(verdict)
        except Fault as fault:
            reason = fault.reason
            answer = wire.fault(reason)
        except DecodeError:
            reason = NOT_A_CHECK
            answer = wire.fault(reason)
        except Exception:
            # A bug. The trace goes to the operator's log and never to the client.
            logger.exception("a check crashed")
            reason = CRASHED
            answer = wire.fault(reason)
        self._report(request, verdict, reason, answer, time.perf_counter() - started)
        return answer.SerializeToString()

    def _decide(self, message: bytes) -> tuple[Request | None, Verdict]:
        at = self._clock()
        check = CheckRequest.FromString(message)
        try:
            request = wire.read(check, at)
        except Denied as denied:
            return None, Verdict(denied.deny, None)
        engine = self.engine
        if engine is None:
            raise Fault(NOT_READY)
        return request, engine.decide(request)

    def _report(
        self,
        request: Request | None,
        verdict: Verdict | None,
        reason: str | None,
        answer: CheckResponse,
        seconds: float,
    ) -> None:
        told = wire.metadata(verdict) if verdict is not None and reason is None else {}
        outcome, status = _outcome(answer)
        if verdict is not None and reason is None and isinstance(verdict.decision, Answer):
            outcome = "answer"
        reason = reason or told["reason"]
        labels = (told.get("service", ""), told.get("route", ""), told.get("scheme", ""))
        self._recorder.decision((*labels, outcome, reason), seconds)
        line: dict[str, Any] = {
            "at": round(self._clock(), 3),
            "outcome": outcome,
            "status": status,
            "us": round(seconds * 1e6),
            **told,
            "reason": reason,
        }
        if request is not None:
            line |= {
                "id": request.id,
                "method": request.method,
                "host": request.host[:255].encode(errors="replace").decode(),
                "path": request.path[:1024],
                "address": request.address,
            }
        self._log.write(line)


def _outcome(answer: CheckResponse) -> tuple[str, int]:
    kind = answer.WhichOneof("http_response")
    if kind == "denied_response":
        return "deny", answer.denied_response.status.code
    if kind == "error_response":
        return "fault", answer.error_response.status.code
    return "allow", 200
