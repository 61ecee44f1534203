"""What is to be sent to one peer: answers within its flow-control windows (RFC 9113, 5.2)."""

from __future__ import annotations

from authz.server.h2.frames import (
    DATA,
    DONE,
    END_HEADERS,
    END_STREAM,
    FLOW,
    FRAME,
    HEADERS,
    MOST,
    OK,
    PROTOCOL,
    WINDOW_DEFAULT,
    Broken,
    after_message,
    before_message,
    failure,
    frame,
    literal,
    reset,
)

PREFIX = 5
#: Streams that we reset and remember, since more of them may be on its way.
RESETS = 1024
_LAST = END_HEADERS | END_STREAM


class Unsent:
    """A stream whose answer did not fit, or goes on."""

    __slots__ = ("body", "since", "trailers", "window")

    def __init__(self, window: int) -> None:
        self.body = bytearray()
        self.window = window
        self.trailers = b""  # none while more may come
        self.since: float | None = None  # when it was first seen to wait for the peer


class Outbox:
    """Collects frames in `out`; whoever sends them empties it."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._window = WINDOW_DEFAULT
        self._initial = WINDOW_DEFAULT
        self._frame = FRAME
        #: What streams were granted before they were answered.
        self._granted: dict[int, int] = {}
        self.unsent: dict[int, Unsent] = {}
        #: Octets of answers that wait for a window; and these with what was pushed since `begin`.
        self.held = self.pushed = 0
        self._reset: set[int] = set()

    def begin(self) -> None:
        """What is pushed from now on is counted."""
        self.pushed = self.held

    # -- answers -----------------------------------------------------------------------------------

    def answer(self, stream: int, message: bytes) -> None:
        """The whole answer to a unary call."""
        size = len(message)
        whole = size + PREFIX
        if whole > self._window or whole > self._initial or whole > self._frame:
            self.push(stream, message)
            self.finish(stream, DONE)
            return
        self._window -= whole
        self.settle(stream)
        self.out += (before_message(stream, size), message, after_message(stream))

    def push(self, stream: int, message: bytes) -> None:
        """One message of an answer that goes on."""
        unsent = self.unsent.get(stream)
        if unsent is None:
            self.out.append(frame(HEADERS, END_HEADERS, stream, OK))
            window = self._initial + self._granted.pop(stream, 0)
            unsent = self.unsent[stream] = Unsent(window)
        unsent.body += b"\0" + len(message).to_bytes(4, "big") + message
        self.held += len(message) + PREFIX
        self.pushed += len(message) + PREFIX
        self._pump(stream, unsent)

    def finish(self, stream: int, trailers: bytes) -> None:
        """The end of an answer that was pushed."""
        unsent = self.unsent[stream]
        unsent.trailers = frame(HEADERS, _LAST, stream, trailers)
        self._pump(stream, unsent)

    def fail(self, stream: int, status: int, message: str) -> None:
        """A gRPC status instead of an answer, or after the messages of one."""
        trailers = failure(status, message)
        if stream in self.unsent:
            self.finish(stream, trailers)
        else:
            self.out.append(frame(HEADERS, _LAST, stream, OK + trailers))

    def refuse(self, stream: int, status: bytes) -> None:
        """An HTTP status and nothing more."""
        self.out.append(frame(HEADERS, _LAST, stream, literal(b":status", status)))

    def forget(self, stream: int) -> None:
        """The stream is no more."""
        unsent = self.unsent.pop(stream, None)
        if unsent is not None:
            self.held -= len(unsent.body)
        self._granted.pop(stream, None)

    def settle(self, stream: int) -> None:
        """The stream was answered: what it was granted is no longer of interest."""
        if self._granted:
            self._granted.pop(stream, None)

    def reset(self, stream: int, code: int) -> None:
        """Tell the peer that we have done with the stream."""
        self.out.append(reset(stream, code))
        if len(self._reset) >= RESETS:
            self._reset.clear()
        self._reset.add(stream)

    def was_reset(self, stream: int) -> bool:
        """By us, not long ago: the peer may not know yet."""
        return stream in self._reset

    def stuck(self, now: float, patience: float) -> list[int]:
        """Streams whose answers waited so many seconds for a window."""
        found = []
        for stream, unsent in self.unsent.items():
            if not unsent.body:
                unsent.since = None
            elif unsent.since is None:
                unsent.since = now
            elif now - unsent.since > patience:
                found.append(stream)
        return found

    # -- windows -----------------------------------------------------------------------------------

    def grant(self, more: int) -> None:
        """The connection's window grew. Raises `Broken` (6.9.1)."""
        shut = self._window <= 0
        self._window += more
        if not more or self._window > MOST:
            raise Broken(FLOW if more else PROTOCOL)
        if shut:  # else it was not this window that anything waited for
            self._pump_all()

    def grant_stream(self, stream: int, more: int, *, waiting: bool) -> int:
        """A stream's window grew; `waiting` for its answer. The error that resets it, or 0."""
        unsent = self.unsent.get(stream)
        if unsent is not None:
            unsent.window += more
            window = unsent.window
        elif waiting:
            self._granted[stream] = self._granted.get(stream, 0) + more
            window = self._initial + self._granted[stream]
        else:
            return 0
        if not more or window > MOST:
            return FLOW if more else PROTOCOL
        if unsent is not None:
            self._pump(stream, unsent)
        return 0

    def set_initial(self, window: int) -> None:
        """Raises `Broken` (6.5.2, 6.9.2)."""
        if window > MOST:
            raise Broken(FLOW)
        for unsent in self.unsent.values():
            unsent.window += window - self._initial
            if unsent.window > MOST:
                raise Broken(FLOW)
        self._initial = window
        self._pump_all()

    def set_frame(self, size: int) -> None:
        """Raises `Broken` (6.5.2)."""
        if not FRAME <= size <= 0xFFFFFF:
            raise Broken(PROTOCOL)
        self._frame = size

    def _pump_all(self) -> None:
        for stream, unsent in list(self.unsent.items()):
            if self._window <= 0:
                break
            if unsent.window > 0:
                self._pump(stream, unsent)

    def _pump(self, stream: int, unsent: Unsent) -> None:
        at, body = 0, unsent.body
        while at < len(body):
            size = min(len(body) - at, self._window, unsent.window, self._frame)
            if size <= 0:
                break
            self.out.append(frame(DATA, 0, stream, bytes(body[at : at + size])))
            at += size
            self._window -= size
            unsent.window -= size
        del body[:at]
        self.held -= at
        if not body and unsent.trailers:
            self.out.append(unsent.trailers)
            del self.unsent[stream]
