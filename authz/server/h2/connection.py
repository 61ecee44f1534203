"""One peer's HTTP/2 connection as a value, without I/O (RFC 9113).

`feed` reads frames, `answer` answers calls; what is to be sent collects in `out`. Nothing in here
waits, locks or knows a socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from authz.server.h2 import frames as h2
from authz.server.h2.calls import PREFIX, Head, Method
from authz.server.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, MOST, Broken, head_of
from authz.server.h2.glitches import HALF, HEAVY, Glitches
from authz.server.h2.heads import Heads
from authz.server.h2.intake import WINDOW
from authz.server.h2.room import Room
from authz.server.h2.stream import Defer, Limits
from authz.server.h2.streams import Streams

#: A window opened by less, while answers wait for it, is a way to have us send them by drops.
DROP = 1024
_DRAINING = b"draining"


class Connection:
    """Bytes in, bytes out. `closing` when the peer broke the protocol: send `out`, then close."""

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        defer: Defer,
        limits: Limits | None = None,
        room: Room | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits = limits or Limits()
        self.streams = Streams(limits, defer, room or Room(limits.long), clock)
        self.out = self.streams.outbox.out
        self.closing = False
        self._clock, self._settled = clock, False
        #: Since when the peer owes the end of something: of its preface, or of a header block.
        self.owed: float | None = clock()
        self._heads = Heads(methods, limits.headers)
        self._rest = b""
        self._preface = False
        self._block: bytearray | None = None  # a header block that goes on
        self._block_of = (0, 0)
        self._glitch = Glitches(clock).add
        self._draining = self._ended = False
        announced = ((h2.STREAMS, limits.streams), (h2.HEADER_LIST, limits.headers))
        settings = b"".join(name.to_bytes(2, "big") + h2.number(value) for name, value in announced)
        self.out.append(h2.frame(h2.SETTINGS, 0, 0, settings))
        self.out.append(h2.window_update(0, WINDOW - h2.WINDOW_DEFAULT))
        self._frames: dict[int, Callable[[int, int, bytes], None]] = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            h2.PRIORITY: self._on_priority,
            h2.RST: self._on_reset,
            h2.SETTINGS: self._on_settings,
            h2.PUSH: self._on_push,
            h2.PING: self._on_ping,
            h2.GOAWAY: self._on_goaway,
            h2.WINDOW: self._on_window,
            h2.CONTINUATION: self._on_continuation,
        }

    # -- reading -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Read what came. Complete calls are then ready to be answered."""
        if self.closing:
            return
        self.streams.outbox.begin()
        try:
            self._parse(self._rest + data if self._rest else data)
            self.streams.intake.repay()
        except Broken as broken:
            self.out.append(h2.goaway(self.streams.last, broken.code))
            self.streams.forget_all()
            self.closing = True

    def answer(self, most: int) -> bool:
        """Answer so many calls that are ready. Whether some are left."""
        return self.streams.answer(most)

    def _parse(self, data: bytes) -> None:
        at, end, known = 0, len(data), self._heads.known
        if not self._preface:
            at = self._begin(data)
            if not at:
                self._rest = data
                return
        while end - at >= h2.HEAD:
            high, low, kind, flags, stream = head_of(data, at)
            start = at + h2.HEAD
            after = start + (high << 16 | low)
            if after - start > h2.FRAME:
                raise Broken(h2.FRAME_SIZE)
            if after > end:
                break
            if kind == HEADERS and flags == END_HEADERS:
                head = known.get(data[start:after])
                if head is not None and (then := self._whole_call(data, stream, head, after)):
                    at = then
                    continue
            self._frame(kind, flags, stream & MOST, data[start:after])
            at = after
        self._rest = data[at:] if at else data

    def _begin(self, data: bytes) -> int:
        """Where frames start (3.4); 0 while the preface is not all here."""
        if data[: len(h2.PREFACE)] != h2.PREFACE[: len(data)]:
            raise Broken(h2.PROTOCOL)
        self._preface = len(data) >= len(h2.PREFACE)
        return len(h2.PREFACE) if self._preface else 0

    def _whole_call(self, data: bytes, stream: int, head: Head, at: int) -> int:
        """What Envoy sends: a header block that we know, then one DATA h2.frame with the message.
        The place after it; 0 when it is not that, and nothing was done."""
        streams = self.streams
        if (
            not head.plain
            or self._block is not None
            or not streams.last < stream <= MOST
            or not stream & 1
            or len(data) - at < h2.HEAD
            or streams.refusing
            or streams.full
        ):
            return 0
        high, low, kind, flags, same = head_of(data, at)
        start = at + h2.HEAD
        size: int = high << 16 | low
        if (
            kind != DATA
            or flags != END_STREAM
            or same != stream
            or start + size > len(data)
            or size > h2.FRAME
            or size > self._limits.message + PREFIX
        ):
            return 0
        streams.whole(stream, head, data[start : start + size])
        return start + size

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != h2.CONTINUATION or stream != self._block_of[0]):
            raise Broken(h2.PROTOCOL)
        if not self._settled and (kind != h2.SETTINGS or flags & h2.ACK):
            raise Broken(h2.PROTOCOL)
        self._frames.get(kind, self._on_other)(stream, flags, payload)

    def _on_headers(self, stream: int, flags: int, payload: bytes) -> None:
        block = h2.block_of(flags, stream, payload)
        if flags & END_HEADERS:
            self._headers(stream, flags, block)
        else:
            self._block, self._block_of = bytearray(block), (stream, flags)
            self.owed = self._clock()

    def _on_continuation(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(h2.PROTOCOL)
        self._glitch()
        self._block += payload
        if len(self._block) > self._limits.headers:
            raise Broken(h2.CALM)
        if flags & END_HEADERS:
            block, self._block, self.owed = bytes(self._block), None, None
            self._headers(stream, self._block_of[1], block)

    def _headers(self, stream: int, flags: int, block: bytes) -> None:
        if not stream & 1:
            raise Broken(h2.PROTOCOL)
        # Also of a stream that is refused: the table must be followed.
        head = self._heads.of(block)
        if stream > self.streams.last:
            self.streams.start(stream, head, ended=bool(flags & END_STREAM))
            return
        state = self.streams.open.get(stream)  # then these are trailers
        if self.streams.outbox.was_reset(stream):
            return
        if state is None or state.done:
            raise Broken(h2.CLOSED)
        if not flags & END_STREAM:
            raise Broken(h2.PROTOCOL)
        self.streams.complete(state)

    # -- the other frames --------------------------------------------------------------------------

    def _on_data(self, stream: int, flags: int, payload: bytes) -> None:
        if not stream or stream > self.streams.last:
            raise Broken(h2.PROTOCOL)
        body, ended = h2.unpadded(flags, payload), bool(flags & END_STREAM)
        if not self.streams.data(stream, body, len(payload), ended=ended) or not body:
            self._glitch()

    def _on_priority(self, stream: int, _: int, payload: bytes) -> None:
        if not stream:
            raise Broken(h2.PROTOCOL)
        if len(payload) != 5:
            self.streams.reset(stream, h2.FRAME_SIZE)
        elif h2.depends_on(payload) == stream:
            self.streams.reset(stream, h2.PROTOCOL)
        self._glitch()

    def _on_reset(self, stream: int, _: int, payload: bytes) -> None:
        if not stream or stream > self.streams.last:
            raise Broken(h2.PROTOCOL)
        if len(payload) != 4:
            raise Broken(h2.FRAME_SIZE)
        # No glitch when it was complete: Envoy resets what timed out, and to close the connection
        # for that, just when we are slow, would end all the others' calls as well.
        state = self.streams.open.get(stream)
        if state is not None and not state.done:
            self._glitch(HALF)
        self.streams.forget(stream)

    def _on_settings(self, stream: int, flags: int, payload: bytes) -> None:
        if stream:
            raise Broken(h2.PROTOCOL)
        if flags & h2.ACK:
            if payload:
                raise Broken(h2.FRAME_SIZE)
            return self._glitch()
        if self._settled:
            self._glitch(HEAVY)
        self._settled, self.owed = True, None
        outbox = self.streams.outbox
        for name, value in h2.settings_of(payload).items():
            if name == h2.INITIAL_WINDOW:
                outbox.set_initial(value)
            elif name == h2.MAX_FRAME:
                outbox.set_frame(value)
            elif name == h2.PUSH_ENABLED and value > 1:
                raise Broken(h2.PROTOCOL)
        return self.out.append(h2.frame(h2.SETTINGS, h2.ACK, 0))

    def _on_push(self, *_: object) -> None:
        raise Broken(h2.PROTOCOL)  # a client has nothing to push (8.4)

    def _on_ping(self, stream: int, flags: int, payload: bytes) -> None:
        if stream or len(payload) != 8:
            raise Broken(h2.PROTOCOL if stream else h2.FRAME_SIZE)
        if not flags & h2.ACK:
            self._glitch()
            self.out.append(h2.frame(h2.PING, h2.ACK, 0, payload))
        elif self._draining and payload == _DRAINING and not self._ended:
            self.end()
        else:
            self._glitch()

    def _on_goaway(self, stream: int, *_: object) -> None:
        if stream:
            raise Broken(h2.PROTOCOL)
        self._glitch()

    def _on_other(self, *_: object) -> None:
        self._glitch()  # and ignored (4.1)

    def _on_window(self, stream: int, _: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(h2.FRAME_SIZE)
        more = int.from_bytes(payload, "big") & MOST
        streams = self.streams
        if more < DROP and streams.outbox.held:
            self._glitch(HALF)
        if not stream:
            streams.outbox.grant(more)
        elif stream > streams.last:
            raise Broken(h2.PROTOCOL)
        else:
            waiting = streams.waiting(stream)
            code = streams.outbox.grant_stream(stream, more, waiting=waiting)
            if code:
                streams.reset(stream, code)

    # -- the end -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Ask the peer to go elsewhere. What it sent until it knew is still answered: its answer to
        the h2.PING is behind that (6.8)."""
        if not self._draining:
            self._draining = True
            self.out.append(h2.goaway(MOST, h2.NO_ERROR))
            self.out.append(h2.frame(h2.PING, 0, 0, _DRAINING))

    def end(self) -> None:
        """Take nothing more, and say what the last one was."""
        if not self._ended:
            self._draining = self._ended = self.streams.refusing = True
            self.streams.hang_up()
            self.out.append(h2.goaway(self.streams.last, h2.NO_ERROR))

    @property
    def drained(self) -> bool:
        """Asked to go, and nothing is left to be answered."""
        return self._ended and self.streams.idle
