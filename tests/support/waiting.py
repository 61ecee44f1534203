"""Waiting for something to become true, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which something will not come true any more. Far above what is expected.
PATIENCE = 20.0


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """The first true answer of `condition`; fails when it takes too long."""
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain: {what}")
        time.sleep(0.005)
    return answer
