"""Routes of a source, and what they ask of callers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from authz.admin.moving.report import Path

Plain = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What is counted together for all routes that are under the same place of the source."""

    at: Path
    limits: list[Plain]


@dataclass(frozen=True)
class Policy:
    """What a route asks of callers; without `auth` it admits nobody. Its limits are no part of what
    makes two of them the same: they say how often, not who."""

    auth: Plain | None = None
    access: Plain = field(default_factory=dict)
    limits: Limits | None = field(default=None, compare=False)

    @property
    def counted(self) -> Path | None:
        """Where its limits stand."""
        return self.limits.at if self.auth is not None and self.limits is not None else None


NOBODY = Policy()
#: Characters of a path that are not to be percent-encoded.
AS_IT_IS = "/-._~!$&'()*+,;=:@%"


@dataclass
class Wanted:
    """A route of the source. `conditioned`: it is for fewer requests than its paths and methods
    say, in a way that cannot be said here."""

    at: Path
    service: str
    hosts: tuple[str, ...]
    id: str
    paths: tuple[str, ...]
    methods: frozenset[str]
    policy: Policy
    conditioned: bool = False


@dataclass
class Made:
    at: Path
    id: str
    path: str
    methods: frozenset[str]
    policy: Policy
