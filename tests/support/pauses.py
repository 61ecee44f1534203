"""How long the machine itself stood still: time that no process of ours can be blamed for."""

from __future__ import annotations

import json
import subprocess
import sys

#: Looks at the clock without end. A gap is a time in which nobody looked: the machine's, since
#: this process waits for nothing else.
_LOOKING = """
import json, select, sys, time
tick, gaps, last = 0.002, [], time.monotonic()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], tick)[0]:
    now = time.monotonic()
    if now - last > 10 * tick:
        gaps.append((last, now))
    last = now
print(json.dumps(gaps))
"""


class Pauses:
    """Watches from when it is made until `end`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"
        self._gaps: list[tuple[float, float]] = []

    def end(self) -> None:
        """Take down what was seen."""
        told, _ = self._process.communicate(timeout=10)
        self._gaps = [(start, end) for start, end in json.loads(told)]

    def within(self, start: float, end: float) -> float:
        """Seconds between these instants (`time.monotonic`) in which the machine stood still."""
        return sum(max(0.0, min(end, late) - max(start, early)) for early, late in self._gaps)
