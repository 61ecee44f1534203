"""How much may be on its way to us: flow control, the receiving side (RFC 9113, 5.2)."""

from __future__ import annotations

from collections import deque

from authz.server.h2.calls import PREFIX, announced
from authz.server.h2.frames import FLOW, Broken, window_update
from authz.server.h2.outbox import Outbox
from authz.server.h2.stream import Stream

#: A connection's window, in octets.
WINDOW = 4 * 1024 * 1024


class Intake:
    """One connection's windows. `most` is what long messages together may hold."""

    def __init__(self, outbox: Outbox, most: int) -> None:
        self._outbox, self._most = outbox, most
        self._incoming, self._credit = WINDOW, 0  # left, and to be given back
        self._reserved = 0  # octets of long messages that were asked for
        self._long: deque[Stream] = deque()  # calls that wait to be

    def receive(self, size: int) -> None:
        """Of DATA, whatever becomes of it. Raises `Broken`."""
        # Given back at once: were it only when a call is complete, incomplete ones could use up the
        # window and wait for each other. What bounds memory is the windows of the streams.
        self._incoming -= size
        self._credit += size
        if self._incoming < 0:
            raise Broken(FLOW)

    def repay(self) -> None:
        """Open the connection's window again, when half of it is used."""
        if self._credit > WINDOW >> 1:
            self._outbox.out.append(window_update(0, self._credit))
            self._incoming += self._credit
            self._credit = 0

    def ask(self, stream: Stream) -> None:
        """For the rest of a message that is longer than a stream's window."""
        rest = PREFIX + announced(stream.body) - len(stream.body)
        if rest > stream.window and not stream.long:
            stream.long = rest
            self._long.append(stream)
            self._grant()

    def _grant(self) -> None:
        """As many long messages as there is room for, one at the least."""
        while self._long:
            stream = self._long[0]
            if not stream.gone:
                if self._reserved and self._reserved + stream.long > self._most:
                    return
                self._reserved += stream.long
                stream.granted = stream.long
                stream.window += stream.long
                self._outbox.out.append(window_update(stream.number, stream.long))
            self._long.popleft()

    def release(self, stream: Stream) -> None:
        """It is over: its room is for others."""
        if stream.granted:
            self._reserved -= stream.granted
            stream.granted = 0
            self._grant()
