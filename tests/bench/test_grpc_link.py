"""The load generator speaks gRPC as Envoy does, and takes no wrong answer for a fast one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import hpack
import pytest

from authz.bench import grpc_link, load, nothing, order
from authz.bench.calls import check, verdict
from authz.bench.grpc_link import GrpcLink
from authz.bench.order import Faulted, Order, Outcome, Sent, Wrong
from authz.bench.people import FIRST, keys
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pb.external_auth_pb2_grpc import (
    AuthorizationServicer,
    add_AuthorizationServicer_to_server,
)
from authz.server import wire
from authz.server.h2 import frames as h2

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
    directory: Path, address: str, expected: str = FIRST, count: int = 20, **more: object
) -> Outcome:
    """Twenty requests, each once, unless told otherwise."""
    calls = keys([0] * count)
    sent = [Sent(check(call, n, 1e9), expected) for n, call in enumerate(calls)]
    order.write(directory / "requests", sent)
    settings = {"connections": 2, "streams": 8, "once": True, "warm": 0, "seconds": 5, **more}
    made = {"protocol": "grpc", "addresses": (address,), "requests": str(directory / "requests")}
    return load.carry_out(Order(**{**made, **settings}))  # type: ignore[arg-type]


def test_the_header_block_is_a_checks() -> None:
    """What is sent first, and what then stands for it, mean the same to a decoder."""
    decoder = hpack.Decoder()
    blocks = (grpc_link.FIRST_BLOCK, grpc_link.BLOCK)
    first, again = (decoder.decode(block, raw=True) for block in blocks)

    assert first == again
    assert dict(first) == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/envoy.service.auth.v3.Authorization/Check",
        b":authority": b"authz",
        b"te": b"trailers",
        b"grpc-timeout": b"1000m",
        b"content-type": b"application/grpc",
    }
    assert len(grpc_link.BLOCK) == 7


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


def test_a_fault_is_told_apart(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    servicer, address = scripted
    servicer.answer = lambda _: wire.fault("overloaded")

    assert carry_out(tmp_path, address) == Outcome(fault="overloaded")


@pytest.mark.parametrize("status", [b"4", b"8", b"14"])
def test_too_late_is_a_fault(pair: tuple[GrpcLink, socket.socket], status: bytes) -> None:
    """As on a machine that stood still for a second: not a wrong answer."""
    link, theirs = pair
    link.ask(0, 0.0)
    theirs.sendall(h2.frame(h2.HEADERS, 5, 1, h2.OK + h2.literal(b"grpc-status", status)))
    with pytest.raises(Faulted, match=status.decode()):
        link.receive()


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


@pytest.fixture
def pair() -> Iterator[tuple[GrpcLink, socket.socket]]:
    """A link whose requests fill a frame, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(5)
        yield GrpcLink(ours, [Sent(b"x" * 16000, FIRST)], 100, verdict), theirs


def messages(data: bytes) -> int:
    """DATA frames after the client's opening."""
    at, found = len(h2.PREFACE), 0
    while at < len(data):
        high, low, kind, _, _ = h2.head_of(data, at)
        found += kind == h2.DATA
        at += h2.HEAD + (high << 16 | low)
    assert at == len(data)
    return found


def receive_all(theirs: socket.socket) -> bytes:
    theirs.setblocking(False)
    found = b""
    try:
        while more := theirs.recv(1 << 20):
            found += more
    except BlockingIOError:
        return found
    return found


def test_the_peers_window_is_obeyed(pair: tuple[GrpcLink, socket.socket]) -> None:
    """What does not fit waits until the peer says more (RFC 9113, 5.2)."""
    link, theirs = pair
    for _ in range(6):
        link.ask(0, 0.0)
    assert not link.flush()
    first = receive_all(theirs)
    assert messages(first) == 4

    theirs.sendall(h2.window_update(0, 2 * 16005))
    link.receive()
    link.flush()
    assert messages(first + receive_all(theirs)) == 6
    assert link.free == 94


def test_pings_and_settings_are_answered(pair: tuple[GrpcLink, socket.socket]) -> None:
    link, theirs = pair
    streams = struct.pack(">HL", h2.STREAMS, 7)
    theirs.sendall(h2.frame(h2.SETTINGS, 0, 0, streams) + h2.frame(h2.PING, 0, 0, b"12345678"))
    link.receive()
    link.flush()

    assert link.free == 7
    acknowledged = h2.frame(h2.SETTINGS, h2.ACK, 0) + h2.frame(h2.PING, h2.ACK, 0, b"12345678")
    assert receive_all(theirs).endswith(acknowledged)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (h2.goaway(0, h2.NO_ERROR), "the connection was ended"),
        (h2.reset(1, h2.CANCEL), "the call was ended"),
        (h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x8d"), "HTTP status 404"),
        (h2.frame(h2.HEADERS, 0, 1, h2.OK), "several frames"),
        (h2.frame(h2.HEADERS, 5, 1, h2.OK), "without a gRPC status"),
        (h2.frame(h2.HEADERS, 5, 1, h2.DONE), "not one gRPC message"),
        (
            h2.frame(h2.DATA, 0, 1, b"\0\0\0\0\x09ab") + h2.frame(h2.HEADERS, 5, 1, h2.DONE),
            "not one gRPC message",
        ),
    ],
)
def test_what_is_no_answer(pair: tuple[GrpcLink, socket.socket], frames: bytes, told: str) -> None:
    link, theirs = pair
    link.ask(0, 0.0)
    theirs.sendall(frames)
    with pytest.raises(Wrong, match=told):
        link.receive()


def test_a_closed_connection_is_told(pair: tuple[GrpcLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(Wrong, match="closed"):
        link.receive()


def test_an_answer_in_pieces(pair: tuple[GrpcLink, socket.socket]) -> None:
    """However the bytes are cut, an answer is one."""
    link, theirs = pair
    link.ask(0, 42.0)
    body = nothing.allow().SerializeToString()
    message = struct.pack(">BL", 0, len(body)) + body
    octets = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.OK)
    octets += h2.frame(h2.DATA, 0, 1, message[:10]) + h2.frame(h2.DATA, 0, 1, message[10:])
    octets += h2.frame(h2.HEADERS, 5, 1, h2.DONE)
    for at in range(len(octets)):
        assert not link.done
        theirs.sendall(octets[at : at + 1])
        link.receive()

    assert link.done == [42.0]
    assert link.idle


def test_an_error_without_a_reason() -> None:
    answer = CheckResponse()
    answer.status.code = 14
    answer.error_response.SetInParent()
    with pytest.raises(Faulted, match="without a reason"):
        verdict(answer.SerializeToString())
