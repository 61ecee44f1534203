"""ip-restriction: from which addresses calls may come, as APISIX has it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from authz.access import address
from authz.access.address import Address, Network, Networks
from authz.access.rule import FORBIDDEN, Call, Message, Status, worded
from authz.contracts import Scheme
from authz.values import Denied, Request

NOT_ALLOWED = "address_not_allowed"
BLOCKED = "address_blocked"
MESSAGE = "Your IP address is not allowed"
_List = Annotated[list[Network], Meta(min_length=1)]


class IpRestriction(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True
):
    """A service's or a route's is asked before anybody is identified, that of a consumer or a group
    once it is known whose call it is."""

    whitelist: _List | UnsetType = UNSET
    blacklist: _List | UnsetType = UNSET
    message: Message | None = None
    response_code: Status = FORBIDDEN

    kind: ClassVar[str] = "ip-restriction"
    reasons: ClassVar[dict[str, str]] = {
        BLOCKED: "the client's address is in the `blacklist` of an ip-restriction",
        NOT_ALLOWED: "it is not in the `whitelist` of one",
        **address.REASONS,
    }

    def __post_init__(self) -> None:
        if self.whitelist is UNSET and self.blacklist is UNSET:
            raise ValueError("expected whitelist, blacklist or both")
        _ = self._allowed, self._blocked

    @cached_property
    def _allowed(self) -> Networks | None:
        return None if self.whitelist is UNSET else Networks(self.whitelist)

    @cached_property
    def _blocked(self) -> Networks:
        return Networks(() if self.blacklist is UNSET else self.blacklist)

    def require(self, call: Call) -> None:
        self.require_from(call.address, call.request, call.scheme)

    def require_from(self, client: Address, request: Request, scheme: Scheme | None) -> None:
        """The same for a caller of whom nothing but the address is known. Raises `Denied`."""
        if client in self._blocked:
            reason = BLOCKED
        elif self._allowed is not None and client not in self._allowed:
            reason = NOT_ALLOWED
        else:
            return
        raise Denied(worded(scheme, request, reason, self.response_code, self.message, MESSAGE))
