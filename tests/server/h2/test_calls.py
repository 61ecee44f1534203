"""What grpcio's own client makes of the loop, over a Unix socket and over TCP with mutual TLS."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.loops import DO, THREADS, WAITING, Server, looping
from tests.support.waiting import until

Code = grpc.StatusCode


@pytest.fixture(params=["unix", "tls"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with looping(tmp_path, request.param) as made:
        yield made


def code(call: Any) -> grpc.StatusCode:
    """How a call ends."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return Code.OK


@pytest.mark.parametrize("size", [0, 1, 16379, 16380, 65536, 900_000])
def test_any_size(server: Server, size: int) -> None:
    """One frame, just one frame, several; both ways."""
    message = b"e" * size
    assert server.call(message, timeout=10) == message


def test_gzip(server: Server) -> None:
    message = b"z" * 5000
    assert server.call(message, timeout=10, compression=grpc.Compression.Gzip) == message


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_too_large(server: Server, compression: Any) -> None:
    """RESOURCE_EXHAUSTED, whether it arrives so or is so once inflated; others go on."""
    message = b"e" * (2 << 20)
    call = code(lambda: server.call(message, timeout=10, compression=compression))

    assert call == Code.RESOURCE_EXHAUSTED
    assert server.call(b"x", timeout=10) == b"x"


def test_ten_megabytes_of_answer(server: Server) -> None:
    """Through the peer's flow control."""
    assert len(server.call(b"big10000000", timeout=20)) == 10_000_000


def test_much_at_once(server: Server) -> None:
    """54 MB of requests, through ours."""
    messages = [b"count" + os.urandom(900_000 + number) for number in range(60)]
    calls = [server.call.future(message, timeout=30) for message in messages]

    assert [int(call.result()) for call in calls] == [len(message) for message in messages]


def test_headers_that_vary(server: Server) -> None:
    """The peer's table changes all the time."""
    for number in range(500):
        metadata = [("x-n", str(number)), ("traceparent", f"00-{number:032x}")]
        assert server.call(b"%d" % number, timeout=10, metadata=metadata) == b"%d" % number


def test_failures(server: Server, caplog: pytest.LogCaptureFixture, propagate: None) -> None:
    """A status of the method's own with its message; a crash; no such method."""
    with pytest.raises(grpc.RpcError) as caught:
        server.call(b"fail", timeout=10)
    assert caught.value.code() == Code.FAILED_PRECONDITION
    assert caught.value.details() == "déjà vu: 100%\n"

    assert code(lambda: server.call(b"boom", timeout=10)) == Code.INTERNAL
    assert "a call crashed" in caplog.text
    unknown = server.channel.unary_unary("/a/B")
    assert code(lambda: unknown(b"", timeout=10)) == Code.UNIMPLEMENTED


def test_memory_answers_while_threads_work(server: Server) -> None:
    """And the slow one gets its answer when it is there."""
    slow = server.call.future(b"slow", timeout=20)
    server.until_busy(1)
    assert server.call(b"x", timeout=10) == b"x"
    server.do.gate.set()
    assert slow.result() == b"waited"


def test_a_crash_on_a_thread(server: Server) -> None:
    server.do.gate.set()
    assert code(lambda: server.call(b"slowboom", timeout=10)) == Code.INTERNAL
    assert server.call(b"slow", timeout=10) == b"waited"


def test_a_deadline(server: Server) -> None:
    """Ends the call, also of one that waits in the queue; that one never runs."""
    running = [server.call.future(b"slow", timeout=20) for _ in range(THREADS)]
    server.until_busy()
    started = time.monotonic()
    late = code(lambda: server.call(b"slow late", timeout=0.2))
    assert late == Code.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5
    until(lambda: server.do.dropped == [b"slow late"], "it is dropped")

    server.do.gate.set()
    assert [call.result() for call in running] == [b"waited"] * THREADS
    assert b"slow late" not in server.do.ran


def test_overload(server: Server) -> None:
    """What does not fit is answered at once by the method itself; the others are served."""
    running = [server.call.future(b"slow", timeout=20) for _ in range(THREADS)]
    server.until_busy()
    more = [server.call.future(b"slow", timeout=20) for _ in range(WAITING - THREADS)]
    until(lambda: server.loop._pool.waiting == WAITING, "the queue is full")

    assert [server.call(b"slow", timeout=10) for _ in range(20)] == [b"shed"] * 20
    assert server.call(b"x", timeout=10) == b"x"
    server.do.gate.set()
    assert [call.result() for call in (*running, *more)] == [b"waited"] * WAITING
    assert len(server.do.shed_ones) == 20


def test_a_cancelled_call_gives_its_place_to_another(server: Server) -> None:
    """And never runs."""
    running = [server.call.future(b"slow", timeout=20) for _ in range(THREADS)]
    server.until_busy()
    given_up = [server.call.future(b"slow given up", timeout=20) for _ in range(WAITING - THREADS)]
    until(lambda: server.loop._pool.waiting == WAITING, "the queue is full")
    for call in given_up:
        call.cancel()
    until(lambda: server.loop._pool.waiting == THREADS, "their places are free")
    others = [server.call.future(b"slow other", timeout=20) for _ in given_up]
    until(lambda: server.loop._pool.waiting == WAITING, "others have them")

    server.do.gate.set()
    assert [call.result() for call in (*running, *others)] == [b"waited"] * WAITING
    assert b"slow given up" not in server.do.ran
    assert server.do.dropped == [b"slow given up"] * len(given_up)


def test_a_client_that_leaves(server: Server) -> None:
    """Takes what it asked for with it."""
    running = [server.call.future(b"slow", timeout=20) for _ in range(THREADS)]
    server.until_busy()
    with server.connect() as other:
        asked = other.unary_unary(DO).future(b"slow of another", timeout=20)
        until(lambda: server.loop._pool.waiting == THREADS + 1, "it waits")
    until(lambda: server.do.dropped == [b"slow of another"], "it is dropped")
    assert asked.cancelled() or asked.done()

    server.do.gate.set()
    assert [call.result() for call in running] == [b"waited"] * THREADS


def test_many_clients(server: Server) -> None:
    """Each gets its own answers, from the loop and from threads, whoever leaves in between."""
    wrong: list[bytes] = []

    def ask(name: int) -> None:
        for turn in range(5):
            with server.connect() as channel:
                call = channel.unary_unary(DO)
                for number in range(20):
                    message = b"%s%d:%d:%d" % (b"later" * (number & 1), name, turn, number)
                    if call(message, timeout=20) not in (message, b"shed"):
                        wrong.append(message)
                for _ in range(3):  # nobody waits for these
                    call.future(b"later" + message)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_streams(server: Server) -> None:
    """Each message answered by two; and one that has no end but the client's."""
    pair = server.channel.stream_stream("/test.Test/Pair")
    assert list(pair(iter([b"a", b"b"]), timeout=10)) == [b"a", b"a", b"b", b"b"]

    forever = server.channel.unary_stream("/test.Test/Forever")(b"x", timeout=20)
    assert next(forever) == b"x"
    forever.cancel()
    assert server.call(b"x", timeout=10) == b"x"


def test_drain(server: Server) -> None:
    """What was asked is answered; a stream without end is ended; then nobody is there."""
    slow = server.call.future(b"slow", timeout=20)
    server.until_busy(1)
    forever = server.channel.unary_stream("/test.Test/Forever")(b"x", timeout=20)
    assert next(forever) == b"x"
    started = time.monotonic()
    stopping = threading.Thread(target=server.loop.stop, args=(20,))
    stopping.start()
    assert code(lambda: next(forever)) == Code.UNAVAILABLE
    with server.connect() as other:
        call = other.unary_unary(DO)
        assert code(lambda: call(b"x", timeout=10)) == Code.UNAVAILABLE
    server.do.gate.set()

    assert slow.result() == b"waited"
    stopping.join(20)
    assert not stopping.is_alive()
    assert time.monotonic() - started < 15


def test_a_drain_ends_with_its_grace(server: Server) -> None:
    """Though something is still in flight."""
    slow = server.call.future(b"slow", timeout=20)
    server.until_busy(1)
    server.loop.stop(0.2)

    assert code(slow.result) == Code.UNAVAILABLE
