"""The calls of one connection, from their headers to their answers (RFC 9113, 5 and 8.1)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from authz.server.h2.calls import (
    DEADLINE,
    EXHAUSTED,
    INTERNAL,
    PREFIX,
    UNAVAILABLE,
    Failed,
    Head,
    Streaming,
    announced,
    message_of,
)
from authz.server.h2.frames import (
    CANCEL,
    CLOSED,
    DONE,
    FLOW,
    NO_ERROR,
    PROTOCOL,
    REFUSED,
    WINDOW_DEFAULT,
    window_update,
)
from authz.server.h2.intake import Intake
from authz.server.h2.outbox import Outbox
from authz.server.h2.room import Room
from authz.server.h2.stream import Defer, Limits, Stream

logger = logging.getLogger("authz")

LATE = "Deadline Exceeded"
TOO_LARGE = "the message is too large"
NO_ROOM = "too many long messages at once"
UNREAD = "more is asked than is read"


class Streams:
    """`ready` calls are complete and wait for `answer`; `open` ones for the peer or a thread."""

    def __init__(
        self,
        limits: Limits,
        defer: Defer,
        room: Room,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outbox = Outbox()
        self.open: dict[int, Stream] = {}
        self.ready: dict[int, tuple[Head, bytes]] = {}
        self.last = 0
        self.refusing = False
        self._limits, self._defer, self._room, self._clock = limits, defer, room, clock
        self.intake = Intake(self.outbox, limits.long)

    @property
    def full(self) -> bool:
        waiting = len(self.open) + len(self.ready) + len(self.outbox.unsent)
        return waiting >= self._limits.streams or self.outbox.held > self._limits.pending

    @property
    def idle(self) -> bool:
        return not (self.open or self.ready or self.outbox.unsent)

    def waiting(self, number: int) -> bool:
        """Whether a call is to be answered yet."""
        return number in self.open or number in self.ready

    # -- requests ----------------------------------------------------------------------------------

    def whole(self, number: int, head: Head, body: bytes) -> None:
        """A request in one piece: headers, then one DATA frame that ends it."""
        self.intake.receive(len(body))
        self.last = number
        self.ready[number] = head, body

    def start(self, number: int, head: Head, *, ended: bool) -> None:
        """A request's headers."""
        self.last = number
        if self.refusing or self.full:
            self.reset(number, REFUSED)
        elif head.bad or (ended and head.content_length):
            self.reset(number, PROTOCOL)
        else:
            stream = self._opened(number, head)
            if ended:
                self.complete(stream)

    def _opened(self, number: int, head: Head) -> Stream:
        seconds = head.timeout
        if not isinstance(head.method, Streaming):
            most = self._limits.call
            seconds = most if seconds is None else min(seconds, most)
        deadline = None if seconds is None else self._clock() + seconds
        stream = self.open[number] = Stream(number, head, deadline, self.outbox)
        return stream

    def data(self, number: int, payload: bytes, size: int, *, ended: bool) -> bool:
        """A DATA frame of `size` octets. Whether anybody waited for it. Raises `Broken`."""
        self.intake.receive(size)
        stream = self.open.get(number)
        if stream is None or stream.done:
            if not self.outbox.was_reset(number):  # else it was on its way (RFC 9113, 5.1)
                self.reset(number, CLOSED)
            return False
        stream.window -= size
        stream.body += payload
        if stream.window < 0:
            self.reset(number, FLOW)
        elif not self._holds(stream, len(payload)):
            self.fail(number, EXHAUSTED, NO_ROOM)
        elif isinstance(stream.head.method, Streaming):
            self._take(stream, stream.head.method)
        elif announced(stream.body) > self._limits.message:
            self.fail(number, EXHAUSTED, TOO_LARGE)
        elif not ended:
            self.intake.ask(stream)
        if ended and not stream.gone:
            self.complete(stream)
        return True

    def _holds(self, stream: Stream, octets: int) -> bool:
        taken = self._room.take(octets)
        stream.held += octets if taken else 0
        return taken

    def complete(self, stream: Stream) -> None:
        """The peer has said all."""
        stream.done = True
        head, length = stream.head, stream.head.content_length
        streaming = isinstance(head.method, Streaming)  # its body was taken as it came
        if length is not None and length != len(stream.body) and not streaming:
            self.reset(stream.number, PROTOCOL)
        elif head.http:
            self.outbox.refuse(stream.number, head.http)
            self._settle(stream.number)
        elif head.status:
            self.fail(stream.number, head.status, "")
        elif isinstance(head.method, Streaming):
            if not head.method.endless:
                self._end(stream)
        else:
            self.ready[stream.number] = head, bytes(stream.body)
            stream.body.clear()

    # -- answers -----------------------------------------------------------------------------------

    def answer(self, most: int) -> bool:
        """Answer so many of the ready. Whether some are left."""
        batch = list(islice(self.ready.items(), most))
        if len(batch) == len(self.ready):
            self.ready.clear()
        else:
            for number, _ in batch:
                del self.ready[number]
        send = self.outbox.answer
        for number, (head, body) in batch:
            method: Any = head.method  # a Unary one, or it would not be ready
            try:
                message = message_of(head, body, self._limits.message)
                answer = method.answer(message)
            except Failed as failed:
                self.fail(number, failed.status, failed.message)
                continue
            except Exception:
                logger.exception("a call crashed")
                self.fail(number, INTERNAL, "")
                continue
            if type(answer) is bytes:
                send(number, answer)
                if self.open:
                    self._settle(number)
            else:
                self._later(number, head, answer, len(body))
        return bool(self.ready)

    def _later(self, number: int, head: Head, deferred: Any, size: int) -> None:
        method: Any = head.method
        stream = self.open.get(number) or self._opened(number, head)
        stream.done = True
        if stream.held or self._holds(stream, size):
            stream.job = self._defer(stream, method, deferred)
        if stream.job is None:
            self.outbox.answer(number, method.shed(deferred))
            self._settle(number)

    def finish(self, stream: Stream, answer: bytes | None) -> None:
        """A thread is done (None: it crashed, or came too late). Nobody may be waiting any more."""
        if stream.gone:
            return
        stream.job = None
        if answer is None and stream.deadline is not None and self._clock() >= stream.deadline:
            self.fail(stream.number, DEADLINE, LATE)
        elif answer is None:
            self.fail(stream.number, INTERNAL, "")
        else:
            self.outbox.answer(stream.number, answer)
            self._settle(stream.number)

    def expire(self, now: float) -> None:
        """End what is too late, and what the peer does not want to read."""
        late = [n for n, s in self.open.items() if s.deadline is not None and now >= s.deadline]
        for number in late:
            self.fail(number, DEADLINE, LATE)
        for number in self.outbox.stuck(now, self._limits.unread):
            self.reset(number, CANCEL)

    def fail(self, number: int, status: int, message: str) -> None:
        """End a call by a gRPC status."""
        self.outbox.fail(number, status, message)
        stream = self.open.get(number)
        if stream is not None and not stream.done and number not in self.outbox.unsent:
            # The peer may stop sending (RFC 9113, 8.1).
            self.outbox.reset(number, NO_ERROR)
        self._settle(number)

    # -- streams of messages -----------------------------------------------------------------------

    def _take(self, stream: Stream, method: Streaming) -> None:
        body = stream.body
        while len(body) >= PREFIX and len(body) >= PREFIX + announced(body):
            after = PREFIX + announced(body)
            message, compressed = bytes(body[PREFIX:after]), body[0]
            del body[:after]
            try:
                if compressed:
                    raise Failed(INTERNAL, "compression is for unary calls alone")
                for answer in method.take(stream, message):
                    stream.send(answer)
                    if self.outbox.pushed > self._limits.pending:
                        raise Failed(EXHAUSTED, UNREAD)
            except Failed as failed:
                return self.fail(stream.number, failed.status, failed.message)
            except Exception:
                logger.exception("a call crashed")
                return self.fail(stream.number, INTERNAL, "")
        if announced(body) > self._limits.message:
            return self.fail(stream.number, EXHAUSTED, TOO_LARGE)
        if stream.window < WINDOW_DEFAULT:
            self.outbox.out.append(window_update(stream.number, WINDOW_DEFAULT - stream.window))
            stream.window = WINDOW_DEFAULT
        return None

    def _end(self, stream: Stream) -> None:
        if stream.number in self.outbox.unsent:
            self.outbox.finish(stream.number, DONE)
            self._settle(stream.number)
        else:
            self.fail(stream.number, 0, "")

    def hang_up(self) -> None:
        """End the calls that have no end of their own."""
        for number, stream in list(self.open.items()):
            if isinstance(stream.head.method, Streaming):
                self.fail(number, UNAVAILABLE, "shutting down")

    # -- ends --------------------------------------------------------------------------------------

    def reset(self, number: int, code: int) -> None:
        self.outbox.reset(number, code)
        self.forget(number)

    def forget(self, number: int) -> None:
        """The stream was reset by either side: nothing more of it is done or sent."""
        self._drop(number)
        self.outbox.forget(number)
        self.ready.pop(number, None)

    def forget_all(self) -> None:
        """The connection is gone."""
        self.ready.clear()
        for number in list(self.open):
            self._drop(number)

    def _settle(self, number: int) -> None:
        self._drop(number)
        self.outbox.settle(number)

    def _drop(self, number: int) -> None:
        stream = self.open.pop(number, None)
        if stream is not None:
            stream.gone = True
            self.intake.release(stream)
            self._room.give(stream.held)
            stream.held = 0
            if stream.job is not None:
                stream.job.cancel()
