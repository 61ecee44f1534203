"""The load generator against real servers: it takes no wrong answer for a fast one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from authz.bench import load, nothing, order
from authz.bench.calls import check
from authz.bench.order import Order, Outcome, Sent
from authz.bench.people import FIRST, keys
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pb.external_auth_pb2_grpc import (
    AuthorizationServicer,
    add_AuthorizationServicer_to_server,
)
from authz.server import wire

Answer = Callable[[CheckRequest], CheckResponse]


class Scripted(AuthorizationServicer):
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: nothing.allow()
        self.asked: list[CheckRequest] = []
        self.deadlines: list[float] = []

    def Check(self, request: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
        self.asked.append(request)
        self.deadlines.append(context.time_remaining())
        return self.answer(request)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[tuple[Scripted, str]]:
    """A stock grpcio server and its address."""
    servicer, address = Scripted(), f"unix:{tmp_path}/s"
    server = grpc.server(ThreadPoolExecutor(4))
    add_AuthorizationServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    yield servicer, address
    server.stop(None).wait()


def carry_out(
    directory: Path,
    address: str,
    expected: str = FIRST,
    count: int = 20,
    sent: list[Sent] | None = None,
    **more: object,
) -> Outcome:
    """Twenty requests, each once, unless told otherwise."""
    calls = enumerate(keys([0] * count))
    order.write(
        directory / "requests", sent or [Sent(check(c, n, 1e9), expected) for n, c in calls]
    )
    settings = {"connections": 2, "streams": 8, "once": True, "warm": 0, "seconds": 5, **more}
    made = {"protocol": "grpc", "addresses": (address,), "requests": str(directory / "requests")}
    return load.carry_out(Order(**{**made, **settings}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "ticks"), [("cpu  1 2 3 4 5 6 7 250 0 0", 250), ("cpu  1 2 3 4", 0)]
)
def test_what_the_host_took(tmp_path: Path, line: str, ticks: int) -> None:
    """As the kernel counts it, of all cores."""
    (tmp_path / "stat").write_text(f"{line}\ncpu0 9 9 9 9 9 9 9 9 9 9\n")

    assert load.stolen_seconds(tmp_path / "stat") == ticks / os.sysconf("SC_CLK_TCK")
    assert load.stolen_seconds(tmp_path / "none") == 0


def test_grpcio_understands_it(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    """Every request arrives once, whole, with its deadline, and every answer is counted."""
    servicer, address = scripted
    outcome = carry_out(tmp_path, address)

    assert (outcome.wrong, outcome.fault) == ("", "")
    assert outcome.result is not None
    assert outcome.result.answers <= 20
    paths = [each.attributes.request.http.path for each in servicer.asked]
    assert sorted(paths) == sorted(call.target for call in keys([0] * 20))
    assert all(0 < each <= 1 for each in servicer.deadlines)


@pytest.mark.parametrize("transport", ["grpcio", "h2"])
def test_both_transports_are_asked(transport: str, tmp_path: Path) -> None:
    """More on a connection than its window holds; and at a rate that is kept or not."""
    address = f"unix:{tmp_path}/t"
    served = nothing.serve_nothing(transport, address)
    try:
        at_once = carry_out(tmp_path, address, count=1000, streams=64)
        at_a_rate = carry_out(tmp_path, address, once=False, rate=400.0, seconds=0.3)
    finally:
        served.stop(0)

    assert (at_once.wrong, at_once.fault) == ("", "")
    assert at_once.result is not None
    assert at_once.result.answers > 800  # the last ones come when nothing is left to be sent
    assert at_a_rate.result is not None
    latency = at_a_rate.result.latency
    assert 0 < latency.p50_us <= latency.p90_us <= latency.p99_us


def deny(_: CheckRequest) -> CheckResponse:
    answer = CheckResponse()
    answer.status.code = 7
    answer.denied_response.status.code = 403  # type: ignore[assignment]
    return answer


def fail(_: CheckRequest) -> CheckResponse:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("answer", "expected", "told"),
    [
        (lambda _: nothing.allow(), "someone-else", "expected someone-else, was answered c0"),
        (lambda _: nothing.allow(), "401", "expected 401, was answered c0"),
        (lambda _: CheckResponse(), FIRST, "expected c0, was answered None with status 0"),
        (deny, FIRST, "expected c0, was answered 403"),
        (fail, FIRST, "gRPC status 2"),
    ],
)
def test_a_wrong_answer_is_no_answer(
    scripted: tuple[Scripted, str], tmp_path: Path, answer: Answer, expected: str, told: str
) -> None:
    """It ends the measurement, with a word on what came instead."""
    servicer, address = scripted
    servicer.answer = answer
    outcome = carry_out(tmp_path, address, expected)

    assert outcome.result is None
    assert told in outcome.wrong


def test_the_last_answer_counts_like_the_first(
    scripted: tuple[Scripted, str], tmp_path: Path
) -> None:
    """One wrong answer among right ones is found, although right ones were seen before."""
    servicer, address = scripted
    last = keys([0] * 20)[-1].target
    servicer.answer = lambda asked: (
        deny(asked) if asked.attributes.request.http.path == last else nothing.allow()
    )

    assert "was answered 403" in carry_out(tmp_path, address).wrong


def test_a_right_answer_to_another_request_is_wrong(
    scripted: tuple[Scripted, str], tmp_path: Path
) -> None:
    """What c0 was rightly answered is not right for c1."""
    _, address = scripted
    calls = keys([0, 0, 1])
    sent = [Sent(check(call, n, 1e9), call.expected) for n, call in enumerate(calls)]

    assert carry_out(tmp_path, address, sent=sent[:2]).wrong == ""
    outcome = carry_out(tmp_path, address, sent=sent, connections=1, streams=1, once=False)
    assert outcome.wrong == "expected c1, was answered c0"


def test_what_stays_without_an_answer_is_told(
    scripted: tuple[Scripted, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nineteen answers do not stand for twenty."""
    monkeypatch.setattr(load, "PATIENCE", 0.1)
    servicer, address = scripted
    last, end = keys([0] * 20)[-1].target, threading.Event()

    def answer(asked: CheckRequest) -> CheckResponse:
        if asked.attributes.request.http.path == last:
            end.wait(5)
        return nothing.allow()

    servicer.answer = answer
    outcome = carry_out(tmp_path, address)
    end.set()

    assert outcome.wrong == load.NO_ANSWER


def test_a_fault_is_told_apart(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    servicer, address = scripted
    servicer.answer = lambda _: wire.fault("overloaded")

    assert carry_out(tmp_path, address) == Outcome(fault="overloaded")


def test_no_server_is_told(tmp_path: Path) -> None:
    assert "No such file" in carry_out(tmp_path, f"unix:{tmp_path}/nobody").wrong


def test_silence_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes requests and never answers does not hold the benchmark for ever."""
    monkeypatch.setattr(load, "PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/silent")
        silent.listen()
        outcome = carry_out(tmp_path, f"unix:{tmp_path}/silent", seconds=0.05)

    assert outcome.wrong == load.NO_ANSWER
