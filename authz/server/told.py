"""What is told of a decision, to those who count and to those who log."""

from __future__ import annotations

from msgspec import Struct


class Told(Struct, frozen=True, gc=False):
    """What a decision's log line and its count say of it; small, since many of them wait to be
    written. `metadata` has a `reason`."""

    outcome: str
    status: int
    metadata: dict[str, str]
