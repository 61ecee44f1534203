"""The link over which the store tells of changes, and what may be trusted without it.

While the link is alive, a record read through it stays true until the store says otherwise. Each
link begins a new generation, because changes between two links were heard by nobody: records of an
older one must be read again, and are used only while the store is away and they are young enough.
"""

from __future__ import annotations


class Link:
    """Written by the listening thread, read by all. All instants are `time.monotonic`.

    `bound` is the silence, in seconds, that counts as loss.
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.generation = 0
        self.seen = float("-inf")
        self._lost_at = float("-inf")

    def alive(self, now: float) -> bool:
        return now - self.seen < self.bound

    def begin(self, at: float) -> None:
        """A new link listens, at `at` or a little later."""
        self.generation += 1
        self.seen = at

    def hear(self, at: float) -> None:
        """A sign of life arrived that is no older than `at`."""
        self.seen = at

    def lose(self) -> None:
        """What is cached can no longer be kept true."""
        self._lost_at = max(self._lost_at, self.seen)
        self.seen = float("-inf")

    def true_at(self, read_at: float, generation: int) -> float:
        """The last instant at which a record of that generation is known to have been true."""
        if generation == self.generation:
            return max(read_at, self.seen, self._lost_at)
        if generation == self.generation - 1:
            return max(read_at, self._lost_at)
        return read_at
