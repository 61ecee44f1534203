"""What a gateway document is made of: its types, spelled as operators write them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from authz.access import ConsumerAccess, ServiceAccess
from authz.access.address import Network
from authz.access.grants import Stage
from authz.contracts import Draft, Scheme
from authz.schemes import SCHEMES
from authz.schemes.settings import Profile, whole
from authz.values import RELEASE, Grant

Id = Annotated[
    str,
    Meta(
        pattern=whole(r"[A-Za-z0-9_.-]{1,64}"),
        description="1 to 64 letters, digits, `_`, `.`, `-`.",
    ),
]
Host = Annotated[
    str,
    Meta(
        pattern=whole(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]"),
        description="A host name without port, or `*.example.com`.",
    ),
]
Tenant = Annotated[
    str,
    Meta(
        pattern=whole(r"[A-Za-z0-9_.-]{0,64}"),
        description="Whose: nothing is shared across tenants.",
    ),
]
MatchPath = Annotated[
    str,
    Meta(
        pattern=whole(r"/[!-~]*"), description="`/ip` for one path, `/api/*` for all below `/api/`."
    ),
]
Method = Annotated[str, Meta(pattern=whole(r"[A-Z][A-Z0-9_-]{0,31}"))]
Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with its zone.")]
# No control characters; what is not printable ASCII travels percent-encoded in headers.
Name = Annotated[
    str, Meta(pattern=whole(r"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,254}[^\x00-\x20\x7f])?"))
]
Endpoint = Annotated[
    Literal["jwt-sign"],
    Meta(description="What authz answers here by itself: `jwt-sign` issues tokens (jwt-auth)."),
]
TrustedProxies = Annotated[
    list[Network],
    Meta(description="Proxies in front of Envoy, which are believed when they say who called."),
]
OwnHeader = Annotated[str, Meta(pattern=whole(r"[Xx]-[Cc]onsumer-[A-Za-z0-9-]{1,64}"))]
HeaderText = Annotated[str, Meta(pattern=whole(r"[ -~]{0,1024}"))]

#: A scheme's kind as the name of a field, and the values of all these fields at once.
FIELDS = {kind: kind.replace("-", "_") for kind in SCHEMES}
_VALUES = attrgetter(*FIELDS.values())


def _choice(name: str, member: str) -> type[Struct]:
    """A Struct with one optional field for each scheme, spelled as in documents."""
    fields = [
        (FIELDS[kind], scheme if member == "self" else getattr(scheme, member), UNSET)
        for kind, scheme in SCHEMES.items()
    ]
    return defstruct(
        name,
        [(field, type_ | UnsetType, default) for field, type_, default in fields],
        rename={field: kind for kind, field in FIELDS.items()},
        forbid_unknown_fields=True,
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )


OneScheme = _choice("OneScheme", "self")
Auth = defstruct(
    "Auth",
    [
        ("any", list[OneScheme] | UnsetType, UNSET),  # type: ignore[valid-type]
        ("all", list[OneScheme] | UnsetType, UNSET),  # type: ignore[valid-type]
        ("same_consumer", bool, True),
    ],
    bases=(OneScheme,),
    forbid_unknown_fields=True,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
)


class GrantEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """That a consumer may call a service, or one route of it, in a stage, within a time."""

    service: Id
    route: Id | None = None
    stage: Stage = RELEASE
    not_before: Instant | None = None
    not_after: Instant | None = None

    def granted(self) -> Grant:
        """As it is stored."""
        return Grant(
            self.service,
            self.route or "",
            self.stage,
            self.not_before.timestamp() if self.not_before else 0.0,
            self.not_after.timestamp() if self.not_after else 0.0,
            managed=True,
        )


class NamedGrant(GrantEntry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grant that says to whom: to one consumer, or to every one of a group."""

    consumer: Name | None = None
    group: Id | None = None
    tenant: Tenant = ""

    def plain(self) -> GrantEntry:
        """Without whose it is."""
        return GrantEntry(
            service=self.service,
            route=self.route,
            stage=self.stage,
            not_before=self.not_before,
            not_after=self.not_after,
        )


class GroupEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the calls of every consumer of a group have to meet. A consumer's own rule of the same
    kind is asked instead."""

    id: Id
    tenant: Tenant = ""
    access: ConsumerAccess | None = None  # type: ignore[valid-type]


class Match(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a route is for. Nothing given: all of its service's."""

    path: MatchPath | None = None
    methods: list[Method] | None = None


class RouteEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One route of a service; its `auth` replaces the service's, and each part of its `access` that
    part of the service's. What an `endpoint` answers never reaches the upstream, and only the
    route's own `auth` guards it."""

    id: Id
    match: Match = Match()
    auth: Auth | None = None  # type: ignore[valid-type]
    access: ServiceAccess | None = None  # type: ignore[valid-type]
    endpoint: Endpoint | None = None

    def __post_init__(self) -> None:
        if self.endpoint is None or self.auth is not None or self.access is None:
            return
        asked = msgspec.structs.replace(self.access, ip_restriction=UNSET)
        if asked not in (ServiceAccess(), ServiceAccess(grant="none")):
            raise ValueError(
                "access: what is asked of a caller needs one who is known: give this route an "
                "`auth` of its own"
            )


class ServiceEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An API. Without routes it covers every path of its hosts; with routes exactly those."""

    id: Id
    tenant: Tenant = ""
    hosts: list[Host] = []
    auth: Auth | None = None  # type: ignore[valid-type]
    access: ServiceAccess | None = None  # type: ignore[valid-type]
    routes: list[RouteEntry] = []


CredentialEntry: Any = defstruct(
    "CredentialEntry",
    [
        ("id", Id | UnsetType, UNSET),
        ("not_before", Instant | UnsetType, UNSET),
        ("expires_at", Instant | UnsetType, UNSET),
        ("disabled", bool, False),
    ],
    bases=(_choice("OneDraft", "draft"),),
    forbid_unknown_fields=True,
    frozen=True,
    kw_only=True,
)


class ConsumerEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may call, with any number of credentials of any kinds."""

    username: Name
    tenant: Tenant = ""
    groups: list[Id] = []
    labels: dict[str, str] = {}
    headers: dict[OwnHeader, HeaderText] = {}
    disabled: bool = False
    not_before: Instant | None = None
    expires_at: Instant | None = None
    grants: list[GrantEntry] = []
    access: ConsumerAccess | None = None  # type: ignore[valid-type]
    credentials: list[CredentialEntry] = []


class Placed(NamedTuple):
    """A consumer, and what its places in a document begin with: `consumers[3].`, or
    `people.jsonl:17: `. `size` is its part of the whole document's."""

    at: str
    entry: ConsumerEntry
    size: int


class Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of it. `profile` is the default of every scheme's; `trusted_proxies` are believed in what
    they write into x-forwarded-for."""

    profile: Profile = "api7"
    trusted_proxies: TrustedProxies = []
    services: list[ServiceEntry] = []
    groups: list[GroupEntry] = []
    grants: list[NamedGrant] = []
    consumers: list[ConsumerEntry] = []

    @property
    def policy(self) -> Document:
        """What the workers need of it: everything but the consumers and what is theirs."""
        grants = [grant for grant in self.grants if grant.group is not None]
        return msgspec.structs.replace(self, consumers=[], grants=grants)

    @property
    def size(self) -> int:
        return len(self.consumers)

    def entries(self) -> Iterator[Placed]:
        for index, consumer in enumerate(self.consumers):
            yield Placed(f"consumers[{index}].", consumer, 1)

    def located(self, text: str) -> str:
        """A text that names places of `policy`."""
        return text


def chosen(choice: Any) -> tuple[str, Any]:
    """(kind, value) of the one scheme that an entry names."""
    for kind, field in FIELDS.items():
        if (value := getattr(choice, field)) is not UNSET:
            return kind, value
    raise LookupError


def count(choice: Any) -> int:
    """How many schemes an entry names."""
    return len(FIELDS) - _VALUES(choice).count(UNSET)


def schemes_of(auth: Any, profile: Profile) -> list[Scheme]:
    """An entry's schemes in order, each told the document's profile if it names none."""
    group = auth.any if auth.any is not UNSET else auth.all
    choices = [auth] if group is UNSET else group
    return [_with_profile(chosen(choice)[1], profile) for choice in choices]


def _with_profile(scheme: Any, profile: Profile) -> Scheme:
    if scheme.profile is None:
        scheme = msgspec.structs.replace(scheme, profile=profile)
    return cast(Scheme, scheme)


def draft_of(entry: Any) -> tuple[str, Draft]:
    """(kind, draft) of a credential entry."""
    kind, draft = chosen(entry)
    return kind, cast(Draft, draft)


def credential_id(entry: Any) -> str:
    """The id of a credential; one without an id is known by its kind."""
    return entry.id if entry.id is not UNSET else chosen(entry)[0]
