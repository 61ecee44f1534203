"""Limits of a source on their way to a document."""

from __future__ import annotations

from typing import Any

import msgspec

from authz.access.limits import UNITS, Limit
from authz.admin.moving.wanted import Plain
from authz.plain import place_first

#: Why a consumer's or a group's limit is not quite what it was there.
BESIDE = "the limit of a route is met, too; there this one stood in its place"
#: Statuses of a refusal, and the one that a limit has if it does not say.
_STATUSES, _USUAL = range(400, 600), 429


class Unsaid(Exception):
    """A limit that no document can say. The text says why."""


class Taken:
    """Limits that were made of one plugin, and where they are not what they were there."""

    def __init__(self, *changes: str) -> None:
        self.limits: list[Plain] = []
        self.changes = dict.fromkeys(changes)

    def change(self, why: str) -> None:
        self.changes[why] = None

    def add(self, limit: Plain) -> None:
        """Raises `Unsaid`. Of two that count the same for the same time the lower one stays."""
        try:
            kind = msgspec.convert(limit, Limit).kind
        except msgspec.ValidationError as error:
            raise Unsaid(place_first(str(error), "limit")) from None
        for number, other in enumerate(self.limits):
            if msgspec.convert(other, Limit).kind == kind:
                self.limits[number] = min(limit, other, key=lambda each: int(each["requests"]))
                self.change("of two that count the same for the same time the lower one")
                return
        self.limits.append(limit)

    def pass_over(self, settings: Plain, known: set[str], store: tuple[str, ...]) -> None:
        """Say what is not taken over of a plugin's settings. How its counters are reached and kept,
        in settings that start as those of the `store` do, is no limit's matter."""
        if settings.get("policy", "local") == "local":
            self.change("counts for all workers together, not on each node")
        for name in sorted(settings.keys() - known):
            if not name.startswith(store):
                self.change(f"{name} is not taken over")

    def status(self, written: Any, name: str) -> Plain:
        """A refusal's status as a limit has it."""
        found = number(written)
        if found in _STATUSES:
            return {} if found == _USUAL else {"status": found}
        self.change(f"{name}: no refusal; {_USUAL} is told")
        return {}


def number(written: Any) -> int | None:
    """A whole number above 0, also as a text or a float; None for all else."""
    try:
        found = int(str(written).removesuffix(".0")) if not isinstance(written, bool) else 0
    except ValueError:
        return None
    return found if found > 0 else None


def period(seconds: int) -> str:
    """A time in the longest unit of which it is some: `10 minutes`."""
    unit = max((name for name in UNITS if not seconds * 1000 % UNITS[name]), key=UNITS.__getitem__)
    count = seconds * 1000 // UNITS[unit]
    return unit if count == 1 else f"{count} {unit}s"
