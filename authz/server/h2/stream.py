"""One call on its way, and what bounds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from authz.server.h2.calls import Head, Unary
from authz.server.h2.frames import WINDOW_DEFAULT
from authz.server.h2.outbox import Outbox


class Limits(Struct, frozen=True):
    """What one peer may ask of us; sizes in octets, times in seconds."""

    message: int = 4 * 1024 * 1024
    #: As many as Envoy's circuit breaker lets through (envoy/envoy.yaml): what it sends before it
    #: has read our settings is not refused, either.
    streams: int = 1024
    headers: int = 64 * 1024
    #: What long messages together may hold while they come; one alone may hold more.
    long: int = 16 * 1024 * 1024
    #: Answers that wait for the peer's windows. More calls are refused meanwhile.
    pending: int = 512 * 1024
    #: A call that is not answered by then ends, whatever deadline it has; and an answer for which
    #: the peer opens no window is not kept longer than this.
    call: float = 60.0
    unread: float = 30.0


class Job(Protocol):
    """Work that a thread will do."""

    def cancel(self) -> None: ...


#: Has a thread of the pool `finish` what was deferred; None when too many wait.
Defer = Callable[["Stream", Unary, Any], Job | None]


class Stream:
    """A call that did not come, or was not answered, at once. A `Caller`."""

    __slots__ = (
        *("body", "deadline", "done", "gone", "granted", "head", "held", "job", "long"),
        *("number", "outbox", "window"),
    )

    def __init__(self, number: int, head: Head, deadline: float | None, outbox: Outbox) -> None:
        self.number, self.head, self.deadline, self.outbox = number, head, deadline, outbox
        self.body = bytearray()
        self.window = WINDOW_DEFAULT
        self.long = self.granted = 0  # what a long message needs more, and was given
        self.held = 0  # octets of room that its request has
        self.done = False  # the request is complete
        self.gone = False
        self.job: Job | None = None

    def send(self, message: bytes) -> None:
        if not self.gone:
            self.outbox.push(self.number, message)
