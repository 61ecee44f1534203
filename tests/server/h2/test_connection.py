"""One connection without a socket: what is fed, what is answered, when it ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hpack import Decoder, Encoder

from authz.server.h2 import frames as h2
from authz.server.h2.calls import Method, Simple, Streaming, Unary
from authz.server.h2.connection import Connection
from authz.server.h2.frames import Broken, frame
from authz.server.h2.glitches import GLITCHES, HEAVY
from authz.server.h2.intake import WINDOW
from authz.server.h2.room import Room
from authz.server.h2.stream import Limits

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a/B"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
BEGIN = h2.PREFACE + frame(h2.SETTINGS, 0, 0)


class Peer:
    """A connection and what it answered."""

    def __init__(
        self, *, begin: bytes = BEGIN, limits: Limits | None = None, room: Room | None = None
    ) -> None:
        self.ran: list[bytes] = []
        self.deferred: list[Any] = []
        self.now = 0.0
        methods: dict[bytes, Method] = {
            b"/a/B": Simple(self._answer),
            b"/a/Later": Later(),
            b"/a/Stream": Streaming(lambda _, message: [message]),
        }
        self.http = Connection(methods, self._defer, limits, room, lambda: self.now)
        self.encoder = Encoder()
        self.feed(begin)
        if begin == BEGIN:
            self.take()

    def _answer(self, message: bytes) -> bytes:
        self.ran.append(message)
        return message

    def _defer(self, stream: Any, method: Unary, deferred: Any) -> Any:
        job = Job()
        self.deferred.append((stream, method, deferred, job))
        return job

    def feed(self, data: bytes) -> None:
        self.http.feed(data)
        while self.http.answer(3):
            pass

    def take(self) -> list[tuple[int, int, int, bytes]]:
        """The frames that it sent: kind, flags, stream, payload."""
        data, found = b"".join(self.http.out), []
        self.http.out.clear()
        while data:
            high, low, kind, flags, stream = h2.head_of(data)
            size = high << 16 | low
            found.append((kind, flags, stream, data[9 : 9 + size]))
            data = data[9 + size :]
        return found

    def block(self, *more: tuple[str, str], path: str = "/a/B") -> bytes:
        lines = [(name, path if name == ":path" else text) for name, text in REQUEST]
        return bytes(self.encoder.encode([*lines, *more]))

    def request(self, stream: int, message: bytes, *more: tuple[str, str], **kinds: str) -> bytes:
        head = frame(h2.HEADERS, h2.END_HEADERS, stream, self.block(*more, **kinds))
        return head + frame(h2.DATA, h2.END_STREAM, stream, grpc(message))

    def error(self) -> int | None:
        """The code of its GOAWAY."""
        found = [f for f in self.take() if f[0] == h2.GOAWAY]
        return int.from_bytes(found[0][3][4:8], "big") if found else None


class Later(Unary):
    def answer(self, message: bytes) -> Any:
        return (message,)

    def shed(self, deferred: Any) -> bytes:
        return b"shed"


class Job:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def grpc(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def fields(payload: bytes) -> dict[str, str]:
    return {str(name): str(text) for name, text in Decoder().decode(payload)}


def test_an_answer() -> None:
    """Headers, the message, trailers."""
    peer = Peer()
    peer.feed(peer.request(1, b"hello"))
    head, data, trailers = peer.take()

    assert head[:3] == (h2.HEADERS, h2.END_HEADERS, 1)
    assert fields(head[3]) == {":status": "200", "content-type": "application/grpc"}
    assert data == (h2.DATA, 0, 1, grpc(b"hello"))
    assert trailers[:3] == (h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1)
    assert fields(trailers[3]) == {"grpc-status": "0"}
    assert peer.http.streams.idle


def test_any_split_of_the_bytes_gives_one_output() -> None:
    """However they come: by octets, frames or all at once."""
    maker = Peer()
    requests = [
        maker.request(2 * number + 1, b"m%d" % number, ("x-n", str(number % 7)))
        for number in range(40)
    ]
    stream = BEGIN + b"".join(requests) + frame(h2.PING, 0, 0, b"01234567")
    outputs = set()
    for seed in range(200):
        chance, peer, at = random.Random(seed), Peer(begin=b""), 0
        while at < len(stream):
            size = chance.choice([1, 5, 9, 40, 300, 5000])
            peer.feed(stream[at : at + size])
            at += size
        assert peer.ran == [b"m%d" % number for number in range(40)]
        answers = [f for f in peer.take() if f[0] != h2.PING]
        outputs.add(tuple(answers))

    assert len(outputs) == 1


def test_a_reset_in_the_batch_of_its_request() -> None:
    """That one does not run; the others do."""
    peer = Peer()
    first = peer.request(1, b"a") + peer.request(3, b"b")
    peer.feed(first)
    cancel = h2.reset(5, h2.CANCEL)
    peer.feed(peer.request(5, b"c") + peer.request(7, b"d") + cancel + peer.request(9, b"e"))

    assert peer.ran == [b"a", b"b", b"d", b"e"]
    assert not any(f[2] == 5 for f in peer.take())
    assert peer.http.streams.idle


def test_a_reset_cancels_what_was_deferred() -> None:
    """And an answer that comes all the same is sent to nobody."""
    peer = Peer()
    peer.feed(peer.request(1, b"x", path="/a/Later"))
    ((stream, _, deferred, job),) = peer.deferred
    assert deferred == (b"x",)
    assert not job.cancelled
    peer.feed(h2.reset(1, h2.CANCEL))
    peer.http.streams.finish(stream, b"late")

    assert job.cancelled
    assert peer.take() == []
    assert peer.http.streams.idle


def test_a_deadline_ends_what_was_deferred() -> None:
    """By grpc-timeout, DEADLINE_EXCEEDED."""
    peer = Peer()
    peer.feed(peer.request(1, b"x", ("grpc-timeout", "200m"), path="/a/Later"))
    peer.now = 0.19
    peer.http.streams.expire(peer.now)
    assert peer.take() == []
    peer.now = 0.21
    peer.http.streams.expire(peer.now)

    ((kind, flags, stream, payload),) = peer.take()
    assert (kind, flags, stream) == (h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1)
    assert fields(payload)["grpc-status"] == "4"
    assert peer.deferred[0][3].cancelled


def test_a_request_that_never_ends_is_given_up() -> None:
    """Its room is given back."""
    peer = Peer(limits=Limits(call=60))
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block()))
    peer.feed(frame(h2.DATA, 0, 1, b"\0\0\0\x10\0half"))
    peer.http.streams.expire(61)

    assert [f[0] for f in peer.take()] == [h2.HEADERS, h2.RST]
    assert peer.http.streams.idle


@pytest.mark.parametrize("window", [0, 1, 10])
def test_an_answer_waits_for_the_peers_window(window: int) -> None:
    """Not an octet more than was granted; then the rest."""
    settings = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(window))
    peer = Peer(begin=h2.PREFACE + settings)
    peer.take()
    peer.feed(peer.request(1, b"x" * 100))
    sent = b"".join(f[3] for f in peer.take() if f[0] == h2.DATA)
    assert len(sent) == window

    peer.feed(h2.window_update(1, 50))
    sent += b"".join(f[3] for f in peer.take() if f[0] == h2.DATA)
    assert len(sent) == window + 50

    peer.feed(h2.window_update(1, 1000))
    frames = peer.take()
    sent += b"".join(f[3] for f in frames if f[0] == h2.DATA)
    assert sent == grpc(b"x" * 100)
    assert frames[-1][1] & h2.END_STREAM
    assert peer.http.streams.idle


def test_a_window_granted_with_the_request() -> None:
    """Before it is answered, in one batch with it."""
    settings = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(0))
    peer = Peer(begin=h2.PREFACE + settings)
    peer.take()
    peer.feed(peer.request(1, b"x" * 100) + h2.window_update(1, 200))

    assert b"".join(f[3] for f in peer.take() if f[0] == h2.DATA) == grpc(b"x" * 100)


def test_unread_answers_count_as_streams() -> None:
    """A peer that opens no window cannot pile them up."""
    settings = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(0))
    peer = Peer(begin=h2.PREFACE + settings, limits=Limits(streams=5))
    for number in range(10):
        peer.feed(peer.request(2 * number + 1, b"x"))

    refused = [f for f in peer.take() if f[0] == h2.RST]
    assert [f[3] for f in refused] == [h2.number(h2.REFUSED)] * 5
    assert len(peer.ran) == 5


def test_too_many_streams() -> None:
    """Those that are open go on."""
    peer = Peer(limits=Limits(streams=2))
    for number in (1, 3, 5):
        peer.feed(peer.request(number, b"x", path="/a/Later"))

    assert len(peer.deferred) == 2
    assert [f[2] for f in peer.take()] == [5]


def test_a_message_is_refused_by_its_announced_size() -> None:
    """Before it is here."""
    peer = Peer(limits=Limits(message=100_000))
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block()))
    peer.feed(frame(h2.DATA, 0, 1, b"\0" + h2.number(100_001)))

    frames = peer.take()
    assert fields(frames[0][3])["grpc-status"] == "8"
    assert [f[0] for f in frames] == [h2.HEADERS, h2.RST]
    assert peer.http.streams.idle


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([("grpc-timeout", "1x")], "13"),
        ([("grpc-timeout", "123456789S")], "13"),
        ([("grpc-encoding", "snappy")], "12"),
    ],
)
def test_a_call_that_cannot_be_served(more: list[tuple[str, str]], expected: str) -> None:
    peer = Peer()
    peer.feed(peer.request(1, b"x", *more))

    assert fields(peer.take()[0][3])["grpc-status"] == expected
    assert peer.ran == []


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0\0\5four", b"\0\0\0\0\2four", b"\2\0\0\0\1x", b"\1\0\0\0\1x", b"\0\0"]
)
def test_not_one_message(body: bytes) -> None:
    """INTERNAL, in one frame or in several."""
    for parts in ([body], [body[:1], body[1:]]):
        peer = Peer()
        data = frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block())
        for part in parts[:-1]:
            data += frame(h2.DATA, 0, 1, part)
        peer.feed(data + frame(h2.DATA, h2.END_STREAM, 1, parts[-1]))

        assert fields(peer.take()[0][3])["grpc-status"] == "13"
        assert peer.ran == []


@pytest.mark.parametrize(
    "lines",
    [
        [*REQUEST[:3], ("connection", "close")],
        [*REQUEST[:3], ("te", "gzip")],
        [*REQUEST[:3], ("X-Upper", "x")],
        [*REQUEST, (":path", "/a/B")],
        [*REQUEST[:3], (":status", "200")],
        [*REQUEST[:2], ("content-type", "application/grpc")],
        [*REQUEST, ("content-length", "x")],
    ],
)
def test_malformed_headers_reset_the_stream(lines: list[tuple[str, str]]) -> None:
    peer = Peer()
    block = peer.encoder.encode(lines)
    peer.feed(
        frame(h2.HEADERS, h2.END_HEADERS, 1, block)
        + frame(h2.DATA, h2.END_STREAM, 1, grpc(b"x"))
        + peer.request(3, b"good")
    )

    assert peer.take()[0] == (h2.RST, 0, 1, h2.number(h2.PROTOCOL))
    assert peer.ran == [b"good"]


HEADLESS = frame(h2.DATA, h2.END_STREAM, 1, b"x")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEADLESS, h2.PROTOCOL),
        (frame(h2.HEADERS, h2.END_HEADERS, 2, b""), h2.PROTOCOL),
        (frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x80"), h2.COMPRESSION),
        (frame(h2.HEADERS, 0, 1, b"") + frame(h2.PING, 0, 0, bytes(8)), h2.PROTOCOL),
        (frame(h2.CONTINUATION, h2.END_HEADERS, 1), h2.PROTOCOL),
        (frame(h2.PING, 0, 0, b"short"), h2.FRAME_SIZE),
        (frame(h2.PING, 0, 1, bytes(8)), h2.PROTOCOL),
        (frame(h2.SETTINGS, 0, 0, b"12345"), h2.FRAME_SIZE),
        (frame(h2.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), h2.FLOW),
        (frame(h2.SETTINGS, 0, 0, b"\0\5\0\0\0\1"), h2.PROTOCOL),
        (frame(h2.WINDOW, 0, 0, h2.number(0)), h2.PROTOCOL),
        (frame(h2.WINDOW, 0, 0, h2.number(h2.MOST)), h2.FLOW),
        (frame(h2.WINDOW, 0, 7, h2.number(1)), h2.PROTOCOL),
        (frame(h2.RST, 0, 7, h2.number(1)), h2.PROTOCOL),
        (frame(h2.PUSH, 0, 1, h2.number(2)), h2.PROTOCOL),
        (frame(h2.DATA, 0, 1, b"x" * 16385), h2.FRAME_SIZE),
        (frame(h2.HEADERS, h2.PADDED | h2.END_HEADERS, 1, b"\x09xx"), h2.PROTOCOL),
        (frame(h2.HEADERS, 0, 1, b"") + frame(9, 0, 1, b"x" * 16000) * 5, h2.CALM),
        (frame(h2.PING, 0, 0, bytes(8)) * (GLITCHES + 1), h2.CALM),
        (frame(h2.SETTINGS, 0, 0) * (GLITCHES // HEAVY + 1), h2.CALM),
        (frame(h2.SETTINGS, h2.ACK, 0) * (GLITCHES + 1), h2.CALM),
        (frame(h2.PING, h2.ACK, 0, bytes(8)) * (GLITCHES + 1), h2.CALM),
        (frame(h2.GOAWAY, 0, 0, bytes(8)) * (GLITCHES + 1), h2.CALM),
        (frame(77, 0, 0) * (GLITCHES + 1), h2.CALM),
        (frame(h2.PRIORITY, 0, 1, bytes(5)) * (GLITCHES + 1), h2.CALM),
    ],
)
def test_a_broken_protocol_ends_the_connection(data: bytes, code: int) -> None:
    peer = Peer()
    peer.feed(data + peer.request(101, b"x"))

    assert peer.error() == code
    assert peer.http.closing
    assert peer.ran == []


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n\r\n", h2.PREFACE + bytes(30), b"PRJ"])
def test_not_http2(begin: bytes) -> None:
    peer = Peer(begin=begin)

    assert peer.error() == h2.PROTOCOL
    assert peer.http.closing


def test_glitches_are_counted_by_the_second() -> None:
    """A peer that pings now and then stays."""
    peer = Peer()
    for second in range(3):
        peer.now = second * 2.0
        peer.feed(frame(h2.PING, 0, 0, bytes(8)) * (GLITCHES - 1))

    assert not peer.http.closing


@pytest.mark.parametrize(("size", "code"), [(65_535, None), (65_536, h2.FLOW)])
def test_a_stream_has_its_window(size: int, code: int | None) -> None:
    """Until more is granted."""
    peer = Peer()
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block()))
    left = size
    while left:
        more = min(left, 16_000)
        peer.feed(frame(h2.DATA, 0, 1, bytes(more)))
        left -= more
    resets = [int.from_bytes(f[3], "big") for f in peer.take() if f[0] == h2.RST]

    assert resets == ([] if code is None else [code])
    assert not peer.http.closing


def test_more_data_than_the_window_of_the_connection() -> None:
    """Fed as one, so that nothing was granted in between."""
    peer = Peer()
    late = frame(h2.DATA, 0, 1, bytes(16_000)) * (WINDOW // 16_000 + 1)
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block()) + late)

    assert peer.error() == h2.FLOW


def long_message(peer: Peer, number: int, size: int) -> int:
    """Start one; the octets that were granted to it so far."""
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, number, peer.block()))
    peer.feed(frame(h2.DATA, 0, number, b"\0" + h2.number(size)))
    return granted(peer, number)


def granted(peer: Peer, number: int) -> int:
    sent = [f for f in peer.take() if f[0] == h2.WINDOW and f[2] == number]
    return sum(int.from_bytes(f[3], "big") for f in sent)


def test_long_messages_come_one_after_the_other() -> None:
    """As many at once as there is room for; none waits for one that waits."""
    peer = Peer(limits=Limits(message=200_000, long=300_000))
    assert long_message(peer, 1, 60_000) == 0  # not long
    assert long_message(peer, 3, 150_000) == 150_000
    assert long_message(peer, 5, 150_000) == 150_000
    assert long_message(peer, 7, 150_000) == 0
    assert long_message(peer, 9, 150_000) == 0
    peer.feed(h2.reset(7, h2.CANCEL))
    assert granted(peer, 9) == 0

    peer.feed(frame(h2.DATA, 0, 3, bytes(16_000)) * 9)
    peer.feed(frame(h2.DATA, h2.END_STREAM, 3, bytes(6_000)))
    assert granted(peer, 9) == 150_000
    assert peer.ran == [bytes(150_000)]


def test_the_window_of_the_connection_is_opened_again() -> None:
    """What was answered makes room, for ever."""
    peer = Peer(limits=Limits(message=65_536))
    message, opened = bytes(16_000), 0
    for number in range(1, 1001, 2):
        peer.feed(h2.window_update(0, 20_000) + peer.request(number, message))
        opened += sum(
            int.from_bytes(f[3], "big") for f in peer.take() if f[0] == h2.WINDOW and not f[2]
        )

    assert len(peer.ran) == 500
    assert opened > 500 * 16_000 - WINDOW


def test_a_block_is_read_again_once_the_table_changed() -> None:
    """The same octets then mean something else."""
    peer = Peer()
    lines = b"".join(
        h2.literal(name.encode(), text.encode()) for name, text in REQUEST if name != ":path"
    )
    path = b"\x40\x05:path"
    ask = [
        path + b"\x04/a/B" + lines,  # index 62 is now :path /a/B
        b"\xbe" + lines,
        b"\xbe" + lines,
        path + b"\x04/a/C" + lines,  # and now it is another
        b"\xbe" + lines,
    ]
    for number, block in enumerate(ask):
        stream = 2 * number + 1
        peer.feed(frame(h2.HEADERS, h2.END_HEADERS, stream, block))
        peer.feed(frame(h2.DATA, h2.END_STREAM, stream, grpc(b"%d" % number)))

    assert peer.ran == [b"0", b"1", b"2"]


def test_drain() -> None:
    """GOAWAY for all to come; after the PING's answer, the number of the last that is served."""
    peer = Peer()
    peer.http.drain()
    goaway, ping = peer.take()
    assert goaway[3] == h2.number(h2.MOST) + h2.number(0)

    peer.feed(peer.request(1, b"on its way") + peer.request(3, b"slow", path="/a/Later"))
    peer.feed(frame(h2.PING, h2.ACK, 0, ping[3]))
    assert peer.take()[-1] == (h2.GOAWAY, 0, 0, h2.number(3) + h2.number(0))
    peer.feed(peer.request(5, b"too late"))
    assert peer.take() == [(h2.RST, 0, 5, h2.number(h2.REFUSED))]
    assert peer.ran == [b"on its way"]
    assert not peer.http.drained

    peer.http.streams.finish(peer.deferred[0][0], b"answer")
    assert peer.http.drained


def test_streaming_over_frames() -> None:
    """Messages cut anywhere; each is answered when it is whole."""
    peer = Peer()
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block(path="/a/Stream")))
    body = grpc(b"one") + grpc(b"two")
    for octet in body:
        peer.feed(frame(h2.DATA, 0, 1, bytes((octet,))))
    peer.feed(frame(h2.DATA, h2.END_STREAM, 1))
    frames = peer.take()

    assert [f[3] for f in frames if f[0] == h2.DATA] == [grpc(b"one"), grpc(b"two")]
    assert fields(frames[-1][3]) == {"grpc-status": "0"}
    assert peer.http.streams.idle


def test_a_message_of_a_failure_is_percent_encoded() -> None:
    """gRPC over HTTP/2; longer than one octet can count, too."""
    assert h2.percent_encoded("50% é\n") == b"50%25 %C3%A9%0A"
    assert fields(h2.OK + h2.failure(3, "é" * 100))["grpc-message"] == "%C3%A9" * 100


def test_padding() -> None:
    assert h2.unpadded(h2.PADDED, b"\2abcd") == b"ab"
    with pytest.raises(Broken):
        h2.unpadded(h2.PADDED, b"")
