"""Routes of a source, and what they ask of callers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from authz.admin.moving.report import Path

Plain = dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """What a route asks of callers; without `auth` it admits nobody."""

    auth: Plain | None = None
    access: Plain = field(default_factory=dict)


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
