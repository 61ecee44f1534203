"""What a proven caller has to meet: a grant, and rules. `RULES` is the table of rules.

A rule is a frozen msgspec Struct: its fields are the settings that stand in a document's `access`
under its `kind`, and `require` is the check. A new one is one file here, one line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, defstruct

from authz.access import grants, guessing, limits
from authz.access.acl import Acl
from authz.access.address import NO_PROXY, Networks, client_address
from authz.access.attach_consumer_label import AttachConsumerLabel
from authz.access.consumer_restriction import ConsumerRestriction
from authz.access.ip_restriction import IpRestriction
from authz.access.limits import Counted, Limit, Owner
from authz.access.rule import Call, Rule
from authz.contracts import Scheme
from authz.denials import NO_SCHEME
from authz.values import Consumer, Deny, Grant, Identity, Request

#: In the order in which they are asked.
RULES: dict[str, Any] = {
    rule.kind: rule
    for rule in (
        IpRestriction,
        Acl,
        ConsumerRestriction,
    )
}


def field_of(kind: str) -> str:
    """A rule's kind as the name of a field."""
    return kind.replace("-", "_")


#: The `access` of a consumer or a group in a document: settings by rule.
ConsumerAccess = defstruct(
    "ConsumerAccess",
    [
        *((field_of(kind), rule | UnsetType, UNSET) for kind, rule in RULES.items()),
        ("limits", list[Limit] | UnsetType, UNSET),
    ],
    rename={field_of(kind): kind for kind in RULES},
    forbid_unknown_fields=True,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
)
#: That of a service or a route: whether a grant is needed, whether one that is asked for waits for
#: somebody to approve it, what the upstream is told of the caller, and how soon wrong credentials
#: are not looked at any more.
ServiceAccess = defstruct(
    "ServiceAccess",
    [
        ("grant", Literal["required", "none"] | UnsetType, UNSET),
        ("approval", Literal["manual", "auto"] | UnsetType, UNSET),
        ("attach_consumer_label", AttachConsumerLabel | UnsetType, UNSET),
        ("guessing", guessing.Setting | UnsetType, UNSET),
    ],
    bases=(ConsumerAccess,),
    rename={"attach_consumer_label": AttachConsumerLabel.kind},
    forbid_unknown_fields=True,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
)


class Access(Struct, frozen=True, dict=True):
    """What a route asks of its callers. `asks` is false where that is nothing, unless a consumer
    brings rules of its own.

    `doors`, `rules` and `limits` are the service's, or the route's in their place: `doors` are
    asked before anybody is identified. `group_grants`, `group_rules` and `group_limits` are by
    group, and of every route alike. `own_replace`: a rule of the consumer or its group is asked
    instead of the route's of that kind, as in APISIX; otherwise both are. `trusted` are the proxies
    that are believed.
    """

    service: str
    route: str = ""
    requires_grant: bool = False
    doors: tuple[IpRestriction, ...] = ()
    rules: tuple[Rule, ...] = ()
    labels: AttachConsumerLabel | None = None
    group_grants: Mapping[str, tuple[Grant, ...]] = {}
    group_rules: Mapping[str, Mapping[str, Rule]] = {}
    limits: tuple[Limit, ...] = ()
    limits_of: Owner = "service"
    group_limits: Mapping[str, tuple[Limit, ...]] = {}
    own_replace: bool = False
    trusted: Networks = NO_PROXY
    guessing: guessing.Mode = "on"

    @cached_property
    def asks(self) -> bool:
        rules = self.requires_grant or self.rules or self.group_rules
        return bool(rules or self.limits or self.group_limits)

    def require_address(self, request: Request, scheme: Scheme | None) -> None:
        """Raises `Denied`, in the words of a scheme, unless calls may come from there."""
        client = client_address(request, self.trusted)
        for door in self.doors:
            door.require_from(client, request, scheme)

    def call(self, request: Request, identity: Identity, scheme: Scheme) -> Call:
        """What a caller asks for here."""
        return Call(request, identity, scheme, self.service, self.route, self.trusted)

    def require(self, call: Call) -> None:
        """Raises `Denied` unless this caller may make this call."""
        if self.requires_grant:
            grants.require(call, tuple(self._grants(call.consumer)))
        own = tuple(self._own(call.consumer))
        replaced = {rule.kind for rule in own} if self.own_replace else ()
        for rule in (*(r for r in self.rules if r.kind not in replaced), *own):
            rule.require(call)

    def counted(self, call: Call) -> list[Counted]:
        """The limits that this call has to meet."""
        found: list[Counted] = []
        if self.limits:
            name = self.service if self.limits_of == "service" else f"{self.service}/{self.route}"
            found += limits.counted(self.limits_of, name, self.limits, call)
        own = limits_of(call.consumer.access)
        if own is not None:
            return [
                *found,
                *limits.counted("consumer", limits.part(call.consumer.username), own, call),
            ]
        for group in call.consumer.groups if self.group_limits else ():
            found += limits.counted("group", group, self.group_limits.get(group, ()), call)
        return found

    @cached_property
    def nobody(self) -> Deny:
        """The answer where no scheme says who calls: in the words of a rule about consumers, if one
        is there."""
        rules = (rule for rule in self.rules if isinstance(rule, Acl | ConsumerRestriction))
        return next((rule.nobody for rule in rules), NO_SCHEME)

    def _grants(self, consumer: Consumer) -> Iterator[Grant]:
        yield from consumer.grants
        for group in consumer.groups:
            yield from self.group_grants.get(group, ())

    def _own(self, consumer: Consumer) -> Iterator[Rule]:
        """The consumer's rules, and those of its groups of which it has none of its own."""
        own: Mapping[str, Rule] = chosen(consumer.access)
        yield from own.values()
        for group in consumer.groups if self.group_rules else ():
            for kind, rule in self.group_rules.get(group, {}).items():
                if kind not in own:
                    yield rule


def chosen(access: Any) -> dict[str, Rule]:
    """The rules of a document's `access`, by kind, in the order of `RULES`."""
    if access is None:
        return {}
    fields = ((kind, getattr(access, field_of(kind))) for kind in RULES)
    return {kind: rule for kind, rule in fields if rule is not UNSET}


def limits_of(access: Any) -> tuple[Limit, ...] | None:
    """The limits of a document's `access`; None where it does not say."""
    said = UNSET if access is None else access.limits
    return None if said is UNSET else tuple(said)
