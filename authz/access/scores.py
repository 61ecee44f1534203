"""How many attempts failed lately, by who made them. Bounded, and it forgets by itself."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

#: The exponent from which a pause is longer than any that is allowed.
_LONGEST = 30
#: Seconds by which a difference of two instants may be off, and far more.
_ROUNDING = 1.0


class Limit(Struct, frozen=True):
    """`failures` are free; one is forgotten every `seconds`. After each further one there is a
    pause: a second, then twice as long each time, up to `seconds`."""

    failures: int
    seconds: float

    def pause(self, level: float) -> float:
        over = level - self.failures
        return 0.0 if over < 0 else min(self.seconds, 2.0 ** min(over, _LONGEST))

    def most(self, seconds: float) -> float:
        """No more failures than this are had in so many seconds, whatever is tried: where pauses
        have grown to `seconds`, just as many are forgotten as are made."""
        steps = 0
        while self.pause(self.failures + steps) < self.seconds:
            steps += 1
        return self.failures + steps + 1 + seconds / self.seconds


class _Score(Struct, gc=False):
    level: float
    at: float
    until: float


class Scores:
    """Levels by mark, an integer that nothing can be read from. Not thread-safe. At most `size`
    marks: those that failed last stay."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._scores: OrderedDict[int, _Score] = OrderedDict()

    def failed(self, mark: int, limit: Limit, at: float) -> float:
        """Count one; the level that it reached. `at` is now, in Unix seconds."""
        score = self._scores.get(mark)
        if score is None:
            score = self._scores[mark] = _Score(0.0, at, 0.0)
            if len(self._scores) > self._size:
                self._scores.popitem(last=False)
        else:
            self._scores.move_to_end(mark)
        forgotten = max(0.0, at - score.at) / limit.seconds
        score.level = max(0.0, score.level - forgotten) + 1
        score.at, score.until = at, at + limit.pause(score.level)
        return score.level

    def wait(self, mark: int, limit: Limit, at: float) -> float:
        """Seconds until the next attempt, 0 for at once. A pause that is longer than any was made
        before the clock was set back, and is over."""
        score = self._scores.get(mark)
        left = score.until - at if score is not None else 0.0
        return left if 0.0 < left < limit.seconds + _ROUNDING else 0.0

    def __len__(self) -> int:
        return len(self._scores)


class Marks:
    """A set of marks that forgets the oldest. Not thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._marks: OrderedDict[int, None] = OrderedDict()

    def add(self, mark: int) -> bool:
        """False if it is there."""
        if mark in self._marks:
            return False
        self._marks[mark] = None
        if len(self._marks) > self._size:
            self._marks.popitem(last=False)
        return True

    def __contains__(self, mark: int) -> bool:
        return mark in self._marks

    def __len__(self) -> int:
        return len(self._marks)
