"""consumer-restriction: which consumers, groups, services or routes, by method too, as APISIX has
it. On a consumer or a group, by service or route, it says which APIs that app may call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from authz.access.rule import FORBIDDEN, UNAUTHORIZED, Call, Message, Status
from authz.denials import NO_SCHEME
from authz.values import Deny

BLACKLIST = "restriction_blacklist"
WHITELIST = "restriction_whitelist"
METHOD = "restriction_method"
NO_VALUE = "restriction_no_value"

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Names = Annotated[list[_Name], Meta(min_length=1)]
_Method = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_-]{0,31}$(?!\n)")]


class MethodsOf(Struct, frozen=True, forbid_unknown_fields=True):
    """What `user`, a name of the rule's type, may do."""

    user: _Name
    methods: list[_Method]


class ConsumerRestriction(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who is in the blacklist is refused, then who is not in a whitelist. Methods concern those who
    are in neither, and of these the ones that are named."""

    type: Annotated[
        Literal["consumer_name", "consumer_group_id", "service_id", "route_id"],
        Meta(description="What the lists name."),
    ] = "consumer_name"
    whitelist: _Names | UnsetType = UNSET
    blacklist: _Names | UnsetType = UNSET
    allowed_by_methods: list[MethodsOf] | UnsetType = UNSET
    rejected_code: Status = FORBIDDEN
    rejected_msg: Message | None = None

    kind: ClassVar[str] = "consumer-restriction"
    reasons: ClassVar[dict[str, str]] = {
        BLACKLIST: "a consumer-restriction's `blacklist` has it",
        WHITELIST: "a consumer-restriction's `whitelist` does not have it",
        METHOD: "a consumer-restriction's `allowed_by_methods` has it, and not this method (403)",
        NO_VALUE: "a consumer-restriction by group meets a consumer without one, or one by route a "
        "service without routes (401)",
    }

    def __post_init__(self) -> None:
        if (self.whitelist, self.blacklist, self.allowed_by_methods) == (UNSET, UNSET, UNSET):
            raise ValueError("expected whitelist, blacklist or allowed_by_methods")

    def names(self) -> Iterator[str]:
        """All that its lists name."""
        for listed in (self.whitelist, self.blacklist):
            yield from () if listed is UNSET else listed
        for entry in () if self.allowed_by_methods is UNSET else self.allowed_by_methods:
            yield entry.user

    @property
    def nobody(self) -> Deny:
        """The answer where no scheme says who calls."""
        return Deny(NO_SCHEME.reason, UNAUTHORIZED, self._no_value)

    @property
    def _no_value(self) -> str:
        return f"The request is rejected, please check the {self.type} for this request"

    def require(self, call: Call) -> None:
        values = self._values(call)
        if not values:
            raise call.refused(NO_VALUE, UNAUTHORIZED, None, self._no_value)
        reason = self._reason(values, call.request.method)
        if reason is not None:
            usual = f"The {self.type} is forbidden."
            raise call.refused(reason, self.rejected_code, self.rejected_msg, usual)

    def _values(self, call: Call) -> tuple[str, ...]:
        match self.type:
            case "consumer_name":
                return (call.consumer.username,)
            case "consumer_group_id":
                return call.consumer.groups
            case "service_id":
                return (call.service,)
            case "route_id":
                return (call.route,) if call.route else ()

    def _reason(self, values: tuple[str, ...], method: str) -> str | None:
        if self.blacklist is not UNSET and any(value in self.blacklist for value in values):
            return BLACKLIST
        if self.whitelist is not UNSET:
            return None if any(value in self.whitelist for value in values) else WHITELIST
        entries = () if self.allowed_by_methods is UNSET else self.allowed_by_methods
        named = [entry.methods for entry in entries if entry.user in values]
        return METHOD if named and not any(method in each for each in named) else None
