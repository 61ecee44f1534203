"""What a rule is, and what it may ask about."""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol

from msgspec import Meta, Struct
from msgspec.structs import replace

from authz.access.address import NO_PROXY, Address, Networks, client_address
from authz.contracts import Scheme
from authz.values import Consumer, Denied, Deny, Identity, Request

UNAUTHORIZED = 401
FORBIDDEN = 403
#: How a rule may refuse, where an operator says so.
Status = Annotated[int, Meta(ge=400, le=599, description="The refusal's status.")]
Message = Annotated[str, Meta(min_length=1, max_length=1024, description="The refusal's words.")]


class Call(Struct, frozen=True, gc=False):
    """A request, who makes it, by which scheme, and where it goes."""

    request: Request
    identity: Identity
    scheme: Scheme
    service: str
    route: str
    trusted: Networks = NO_PROXY

    @property
    def consumer(self) -> Consumer:
        return self.identity.consumer

    @property
    def address(self) -> Address:
        """The client's. Raises `Denied` where it cannot be told."""
        return client_address(self.request, self.trusted)

    def forbidden(self, reason: str) -> Denied:
        """The refusal of a caller who is known, in the words that clients of its scheme know."""
        return Denied(self.scheme.forbidden(reason, self.request))

    def refused(self, reason: str, status: int, said: str | None, usual: str) -> Denied:
        """The same with a status. `said` is what the operator says; `usual` are the rule's words,
        for schemes whose clients know no others."""
        return Denied(worded(self.scheme, self.request, reason, status, said, usual))


def worded(
    scheme: Scheme | None, request: Request, reason: str, status: int, said: str | None, usual: str
) -> Deny:
    """A refusal by a rule. See `Call.refused`; without a scheme nobody has been identified yet."""
    if scheme is None:
        return Deny(reason, status, said or usual)
    deny = scheme.forbidden(reason, request)
    if said is not None or deny.body is None:
        deny = replace(deny, message=said or usual, body=None)
    # Every 401 offers a way in (RFC 9110 section 11.6.1).
    offers = scheme.missing().challenges if status == UNAUTHORIZED else ()
    return replace(deny, status=status, challenges=offers)


class Rule(Protocol):
    """One thing that is asked of callers. See `authz.access`."""

    kind: ClassVar[str]
    # Every reason that it may give for a refusal, and what it means.
    reasons: ClassVar[dict[str, str]]

    def require(self, call: Call) -> None:
        """Raises `Denied`."""
        ...
