"""A peer that wants to cost us memory or time: each way has its bound."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hpack import Encoder

from authz.server.h2 import frames as h2
from authz.server.h2.calls import EXHAUSTED, Failed, Head, message_of
from authz.server.h2.connection import Connection
from authz.server.h2.frames import frame
from authz.server.h2.glitches import GLITCHES, HALF
from authz.server.h2.heads import LONGEST, REMEMBERED, Heads
from authz.server.h2.health import WATCHERS, Health
from authz.server.h2.hpack import Invalid, Reader, TooLarge
from authz.server.h2.outbox import RESETS
from authz.server.h2.room import Room
from authz.server.h2.stream import Limits
from tests.server.h2.test_connection import BEGIN, REQUEST, Peer, fields, grpc

NO_WINDOW = h2.PREFACE + frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(0))
CLOSED_WINDOW = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(0))
OPEN_WINDOW = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(1000))


def held(peer: Peer) -> int:
    """Octets of answers that it keeps, whatever it says of them."""
    outbox = peer.http.streams.outbox
    octets = sum(len(each.body) for each in outbox.unsent.values())
    assert octets == outbox.held
    return octets


def status(frames: list[Any], stream: int) -> str:
    [found] = [f for f in frames if f[0] == h2.HEADERS and f[2] == stream and f[1] & h2.END_STREAM]
    return fields(found[3])["grpc-status"]


# -- answers that nobody reads ---------------------------------------------------------------------


def test_messages_of_a_stream_whose_answers_have_no_window() -> None:
    """A small one each, for ever: at a bound the call ends."""
    limits = Limits(pending=1000)
    peer = Peer(begin=NO_WINDOW, limits=limits)
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block(path="/a/Stream")))
    for _ in range(1000):
        peer.feed(frame(h2.DATA, 0, 1, grpc(b"x" * 95)))
        assert held(peer) <= limits.pending + 100

    assert peer.take()[-1][:3] == (h2.RST, 0, 1)
    assert peer.http.streams.idle


def test_many_messages_in_one_read() -> None:
    """Though the windows are wide: what one read brings is bounded as well."""
    limits = Limits(pending=1000)
    wide = frame(h2.SETTINGS, 0, 0, b"\0\4" + h2.number(h2.MOST))
    peer = Peer(begin=h2.PREFACE + wide, limits=limits)
    peer.take()
    start = frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block(path="/a/Stream"))
    peer.feed(start + frame(h2.DATA, 0, 1, grpc(b"x" * 95) * 100))
    frames = peer.take()

    assert sum(len(f[3]) for f in frames if f[0] == h2.DATA) <= limits.pending + 100
    assert status(frames, 1) == "8"


def test_answers_that_wait_for_a_window_refuse_further_calls() -> None:
    """By their size, not only by their number; what the window lets through makes room."""
    peer = Peer(begin=NO_WINDOW, limits=Limits(pending=1000))
    for number in (1, 3, 5):
        peer.feed(peer.request(number, b"x" * 595))
    assert [f[2] for f in peer.take() if f[0] == h2.RST] == [5]
    assert held(peer) == 1200

    peer.feed(h2.window_update(1, 600) + peer.request(7, b"y"))
    assert held(peer) == 606
    assert peer.ran[-1] == b"y"


def test_an_answer_for_which_no_window_comes_is_given_up() -> None:
    """Also when it comes in drops."""
    peer = Peer(begin=NO_WINDOW, limits=Limits(unread=30))
    peer.feed(peer.request(1, b"x" * 100))
    for second in range(30):
        peer.feed(h2.window_update(1, 1))
        peer.http.streams.expire(float(second))
    assert not peer.http.streams.idle
    peer.take()
    peer.http.streams.expire(31.0)

    assert peer.take() == [(h2.RST, 0, 1, h2.number(h2.CANCEL))]
    assert peer.http.streams.idle
    assert held(peer) == 0


def test_a_watch_that_says_nothing_is_not_given_up() -> None:
    """It waits for us, not we for it."""
    peer = Peer(limits=Limits(unread=30))
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block(path="/a/Stream")))
    peer.feed(frame(h2.DATA, 0, 1, grpc(b"x")))
    peer.take()
    for second in range(100):
        peer.http.streams.expire(float(second))

    assert peer.take() == []
    assert not peer.http.streams.idle


@pytest.mark.parametrize("stream", [0, 1])
def test_windows_opened_by_drops(stream: int) -> None:
    """While answers wait for them: each has us look, and send a frame for an octet."""
    peer = Peer(begin=NO_WINDOW)
    peer.feed(peer.request(1, b"x" * GLITCHES))
    peer.feed(h2.window_update(stream, 1) * (GLITCHES // HALF + 1))

    assert peer.error() == h2.CALM


def test_windows_of_calls_that_go_well() -> None:
    """Opened as often as one likes."""
    peer = Peer()
    for number in range(1, 2 * GLITCHES // HALF + 2, 2):
        peer.feed(peer.request(number, b"x") + h2.window_update(0, 6) + h2.window_update(number, 6))

    assert not peer.http.closing


def test_a_window_changed_to_and_fro() -> None:
    """Every SETTINGS has us look at every answer: some hundred a second are enough."""
    peer = Peer(begin=NO_WINDOW)
    peer.feed((OPEN_WINDOW + CLOSED_WINDOW) * 100)

    assert peer.error() == h2.CALM


def test_a_setting_said_a_thousand_times_in_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is done once, as the last one says."""
    peer = Peer(begin=NO_WINDOW)
    peer.feed(peer.request(1, b"x" * 100))
    outbox, done = peer.http.streams.outbox, []
    whole = outbox._pump_all

    def counted() -> None:
        done.append(1)
        whole()

    monkeypatch.setattr(outbox, "_pump_all", counted)
    values = [*range(1000), 70]
    peer.feed(frame(h2.SETTINGS, 0, 0, b"".join(b"\0\4" + h2.number(value) for value in values)))

    assert len(done) == 1
    assert sum(len(f[3]) for f in peer.take() if f[0] == h2.DATA) == 70


# -- calls that are not meant ----------------------------------------------------------------------


def test_rapid_reset_of_what_is_complete() -> None:
    """Nothing runs, nothing stays, and the connection stays open: Envoy does so when it is late."""
    peer = Peer()
    for number in range(1, 4 * GLITCHES // HALF, 2):
        peer.feed(peer.request(number, b"x") + h2.reset(number, h2.CANCEL))

    assert peer.ran == []
    assert peer.http.streams.idle
    assert not peer.http.closing


def test_rapid_reset_of_what_is_deferred() -> None:
    """Each gives its place back at once."""
    peer = Peer(limits=Limits(streams=10))
    for number in range(1, 2001, 2):
        peer.feed(peer.request(number, b"x", path="/a/Later"))
        peer.feed(h2.reset(number, h2.CANCEL))

    assert len(peer.deferred) == 1000
    assert all(job.cancelled for _, _, _, job in peer.deferred)
    assert peer.http.streams.idle
    assert not peer.http.closing


def test_rapid_reset_of_what_is_begun_alone() -> None:
    """Headers and a reset, for ever: nobody means well by that."""
    peer = Peer()
    for number in range(1, 4 * GLITCHES // HALF, 2):
        start = frame(h2.HEADERS, h2.END_HEADERS, number, peer.block())
        peer.feed(start + h2.reset(number, h2.CANCEL))

    assert peer.error() == h2.CALM


def test_made_to_reset() -> None:
    """Streams that we must reset, for ever: what we remember of them is bounded."""
    peer = Peer()
    bad = frame(h2.HEADERS, h2.END_HEADERS, 1, b"")
    for number in range(1, 4 * RESETS, 2):
        peer.feed(bad[:5] + h2.number(number) + bad[9:])

    assert len(peer.http.streams.outbox._reset) <= RESETS
    assert not peer.http.closing


# -- memory of requests ----------------------------------------------------------------------------


def test_all_peers_have_one_room() -> None:
    """What is begun and not ended counts, whoever began it; what ends gives its octets back."""
    room = Room(1000)
    peers = [Peer(room=room) for _ in range(3)]
    for peer in peers:
        peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block()))
        peer.feed(frame(h2.DATA, 0, 1, grpc(b"x" * 400)[:400]))
    assert status(peers[2].take(), 1) == "8"
    assert room.free == 200

    peers[0].feed(frame(h2.DATA, h2.END_STREAM, 1, grpc(b"x" * 400)[400:]))
    assert peers[0].ran == [b"x" * 400]
    peers[1].feed(h2.reset(1, h2.CANCEL))
    assert room.free == 1000


def test_what_waits_for_a_thread_counts_as_well() -> None:
    """Where there is no room it is shed; a whole request as one that came in pieces."""
    room = Room(250)
    peer = Peer(room=room)
    for number in (1, 3, 5):
        peer.feed(peer.request(number, b"x" * 100, path="/a/Later"))
    assert len(peer.deferred) == 2
    assert (h2.DATA, 0, 5, grpc(b"shed")) in peer.take()

    peer.http.streams.finish(peer.deferred[0][0], b"answer")
    assert room.free == 250 - 105
    peer.http.streams.forget_all()
    assert room.free == 250


def test_header_blocks_are_remembered_within_bounds() -> None:
    """So many, and none that is long."""
    heads = Heads({}, 64 * 1024)
    lines = b"".join(h2.literal(name.encode(), text.encode()) for name, text in REQUEST)
    for number in range(10 * REMEMBERED):
        heads.of(lines + h2.literal(b"x-n", b"%d" % number))
    heads.of(lines + h2.literal(b"x-long", b"x" * LONGEST))

    assert 0 < len(heads.known) <= REMEMBERED
    assert all(len(block) <= LONGEST for block in heads.known)


def test_a_table_bomb() -> None:
    """One large field, named again and again: the list is bounded, not the block alone."""
    encoder = Encoder()
    reader = Reader(64 * 1024)
    reader.read(bytes(encoder.encode([("x-bomb", "x" * 4000)])))
    with pytest.raises(TooLarge):
        reader.read(b"\xbe" * 100)


def test_a_table_resized_for_ever() -> None:
    """Twice a block is what an encoder may need (RFC 7541, 4.2)."""
    Reader(1000).read(b"\x20\x3f\xe1\x1f")
    with pytest.raises(Invalid):
        Reader(1000).read(b"\x20" * 3)


def test_a_table_is_never_larger_than_announced() -> None:
    reader = Reader(64 * 1024)
    for number in range(1000):
        reader.read(h2.literal(b"x", b"%d" % number).replace(b"\0", b"\x40", 1))
        assert reader._size == sum(32 + len(name) + len(text) for name, text in reader._entries)
        assert reader._size <= 4096


def test_a_block_without_end() -> None:
    """Empty CONTINUATION frames cost a glitch each."""
    peer = Peer()
    peer.feed(frame(h2.HEADERS, 0, 1, b"") + frame(h2.CONTINUATION, 0, 1) * (GLITCHES + 1))

    assert peer.error() == h2.CALM


def test_a_header_list_may_not_be_longer_than_announced() -> None:
    peer = Peer(limits=Limits(headers=2000))
    peer.feed(frame(h2.HEADERS, h2.END_HEADERS, 1, peer.block(("x-long", "x" * 2000))))

    assert peer.error() == h2.CALM


@pytest.mark.parametrize("digits", [16, 5000])
def test_a_length_of_many_digits(digits: int) -> None:
    """Is malformed, and no exception."""
    peer = Peer()
    peer.feed(peer.request(1, b"x", ("content-length", "1" * digits)))

    assert peer.take()[0] == (h2.RST, 0, 1, h2.number(h2.PROTOCOL))


def test_a_compressed_message_may_not_be_a_thousand_times_as_long() -> None:
    """A few kilobytes would cost the loop's thread as much as megabytes do."""

    def compressed(message: bytes) -> bytes:
        data = zlib.compress(message, wbits=31)
        return b"\1" + len(data).to_bytes(4, "big") + data

    head = Head(gzip=True)
    assert message_of(head, compressed(bytes(60_000)), 4 << 20) == bytes(60_000)
    with pytest.raises(Failed) as caught:
        message_of(head, compressed(bytes(4_000_000)), 4 << 20)
    assert caught.value.status == EXHAUSTED


# -- watchers --------------------------------------------------------------------------------------


class Watcher:
    gone = False

    def send(self, message: bytes) -> None:
        raise AssertionError("nothing changed")


def test_watchers_are_bounded() -> None:
    """Of all peers together; who left makes room."""
    health = Health([""])
    watchers = [Watcher() for _ in range(WATCHERS + 1)]
    for each in watchers[:-1]:
        health._watch(each, b"")
    with pytest.raises(Failed) as caught:
        health._watch(watchers[-1], b"")
    assert caught.value.status == EXHAUSTED

    watchers[0].gone = True
    assert len(health._watch(watchers[-1], b"")) == 1


def test_a_watch_takes_one_message() -> None:
    """Else each would be answered, for ever."""
    health, watcher = Health([""]), Watcher()
    health._watch(watcher, b"")
    with pytest.raises(Failed):
        health._watch(watcher, b"")


def test_nothing_is_shared_by_two_connections() -> None:
    """Equal streams of two peers, their octets cut anywhere and mixed: each gets its own."""
    one, two = Peer(begin=b""), Peer(begin=b"")
    sides: list[tuple[Peer, bytes, list[bytes]]] = []
    for peer, name in ((one, b"one"), (two, b"two")):
        asked = [name + b"%d" % number for number in range(50)]
        requests = [peer.request(2 * n + 1, message) for n, message in enumerate(asked)]
        sides.append((peer, BEGIN + b"".join(requests), asked))
    for at in range(0, max(len(octets) for _, octets, _ in sides), 7):
        for peer, octets, _ in sides:
            peer.feed(octets[at : at + 7])

    for peer, _, asked in sides:
        answers = [f[3] for f in peer.take() if f[0] == h2.DATA]
        assert answers == [grpc(message) for message in asked]
        assert isinstance(peer.http, Connection)
