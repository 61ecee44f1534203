"""Frames that cost us and bring nothing: how many of them a peer may send."""

from __future__ import annotations

from collections.abc import Callable

from authz.server.h2.frames import CALM, Broken

#: Points a second.
GLITCHES = 10_000
#: What one costs that makes us look at every stream, and one that begins what is never ended.
HEAVY, HALF = 100, 10


class Glitches:
    """One connection's. By the second, so that a peer that pings now and then stays."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._points, self._second = 0, 0.0

    def add(self, points: int = 1) -> None:
        """Raises `Broken` when it is too much."""
        now = self._clock()
        if now - self._second > 1:
            self._second, self._points = now, 0
        self._points += points
        if self._points > GLITCHES:
            raise Broken(CALM)
