"""What a rule is, and what it may ask about."""

from __future__ import annotations

from typing import ClassVar, Protocol

from msgspec import Struct

from authz.contracts import Scheme
from authz.values import Consumer, Denied, Identity, Request


class Call(Struct, frozen=True, gc=False):
    """A request, who makes it, by which scheme, and where it goes."""

    request: Request
    identity: Identity
    scheme: Scheme
    service: str
    route: str

    @property
    def consumer(self) -> Consumer:
        return self.identity.consumer

    def forbidden(self, reason: str) -> Denied:
        """The refusal of a caller who is known, in the words that clients of its scheme know."""
        return Denied(self.scheme.forbidden(reason, self.request))


class Rule(Protocol):
    """One thing that is asked of callers. See `authz.access`."""

    kind: ClassVar[str]
    # Every reason that it may give for a refusal, and what it means.
    reasons: ClassVar[dict[str, str]]

    def require(self, call: Call) -> None:
        """Raises `Denied`."""
        ...
