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
from authz.access.limits import Counted, Limit, Owner
from authz.access.rule import Call, Rule
from authz.values import Consumer, Grant

#: In the order in which they are asked.
RULES: dict[str, Any] = {}


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
#: somebody to approve it, and how soon wrong credentials are not looked at any more.
ServiceAccess = defstruct(
    "ServiceAccess",
    [
        ("grant", Literal["required", "none"] | UnsetType, UNSET),
        ("approval", Literal["manual", "auto"] | UnsetType, UNSET),
        ("guessing", guessing.Setting | UnsetType, UNSET),
    ],
    bases=(ConsumerAccess,),
    forbid_unknown_fields=True,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
)


class Access(Struct, frozen=True, dict=True):
    """What a route asks of its callers. `asks` is false where that is nothing, unless a consumer
    brings rules of its own.

    `rules` are the service's, or the route's in their place, and so are `limits`. `group_grants`,
    `group_rules` and `group_limits` are by group, and of every route alike.
    """

    service: str
    route: str = ""
    requires_grant: bool = False
    rules: tuple[Rule, ...] = ()
    group_grants: Mapping[str, tuple[Grant, ...]] = {}
    group_rules: Mapping[str, Mapping[str, Rule]] = {}
    limits: tuple[Limit, ...] = ()
    limits_of: Owner = "service"
    group_limits: Mapping[str, tuple[Limit, ...]] = {}
    guessing: guessing.Mode = "on"

    @cached_property
    def asks(self) -> bool:
        rules = self.requires_grant or self.rules or self.group_rules
        return bool(rules or self.limits or self.group_limits)

    def require(self, call: Call) -> None:
        """Raises `Denied` unless this caller may make this call."""
        if self.requires_grant:
            grants.require(call, tuple(self._grants(call.consumer)))
        for rule in (*self.rules, *self._own(call.consumer)):
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
