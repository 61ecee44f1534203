"""The gateway document: YAML or JSON that says which services there are and who may call.

Reading is strict. An error names its place in the document, such as
`services[0].auth.key-auth: unknown field 'heder'`, and one wrong field refuses the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from authz.contracts import Draft, Scheme
from authz.plain import DocumentError, read_text, require_storable
from authz.references import Secret, Unresolved
from authz.schemes import SCHEMES
from authz.schemes.settings import Profile, whole

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
OwnHeader = Annotated[str, Meta(pattern=whole(r"[Xx]-[Cc]onsumer-[A-Za-z0-9-]{1,64}"))]
HeaderText = Annotated[str, Meta(pattern=whole(r"[ -~]{0,1024}"))]
#: APISIX's rule for user names, under its profiles.
_APISIX_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
#: Headers that we set ourselves; a consumer's own headers may not take their names.
RESERVED = ("x-consumer-username", "x-consumer-custom-id", "x-consumer-groups")


#: A scheme's kind as the name of a field, and the values of all these fields at once.
_FIELDS = {kind: kind.replace("-", "_") for kind in SCHEMES}
_VALUES = attrgetter(*_FIELDS.values())


def _choice(name: str, member: str) -> type[Struct]:
    """A Struct with one optional field for each scheme, spelled as in documents."""
    fields = [
        (_FIELDS[kind], scheme if member == "self" else getattr(scheme, member), UNSET)
        for kind, scheme in SCHEMES.items()
    ]
    return defstruct(
        name,
        [(field, type_ | UnsetType, default) for field, type_, default in fields],
        rename={field: kind for kind, field in _FIELDS.items()},
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


class Match(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a route is for. Nothing given: all of its service's."""

    path: MatchPath | None = None
    methods: list[Method] | None = None


class RouteEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One route of a service; its `auth` replaces the service's. What an `endpoint` answers never
    reaches the upstream, and only the route's own `auth` guards it."""

    id: Id
    match: Match = Match()
    auth: Auth | None = None  # type: ignore[valid-type]
    endpoint: Endpoint | None = None


class ServiceEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An API. Without routes it covers every path of its hosts; with routes exactly those."""

    id: Id
    tenant: Tenant = ""
    hosts: list[Host] = []
    auth: Auth | None = None  # type: ignore[valid-type]
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
    credentials: list[CredentialEntry] = []


class Placed(NamedTuple):
    """A consumer, and what its places in a document begin with: `consumers[3].`, or
    `people.jsonl:17: `. `size` is its part of the whole document's."""

    at: str
    entry: ConsumerEntry
    size: int


class Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of it. `profile` is the default of every scheme's."""

    profile: Profile = "api7"
    services: list[ServiceEntry] = []
    consumers: list[ConsumerEntry] = []

    @property
    def policy(self) -> Document:
        """What the workers need of it: everything but the consumers."""
        return msgspec.structs.replace(self, consumers=[])

    @property
    def size(self) -> int:
        return len(self.consumers)

    def entries(self) -> Iterator[Placed]:
        for index, consumer in enumerate(self.consumers):
            yield Placed(f"consumers[{index}].", consumer, 1)

    def located(self, text: str) -> str:
        """A text that names places of `policy`."""
        return text


# -- reading ---------------------------------------------------------------------------------------


def parse(text: str, base: Path = Path()) -> Document:
    """A document from YAML or JSON text, checked whole, its secrets resolved."""
    plain = read_text(text)
    return resolve(decode(plain if plain is not None else {}), base)


def decode(plain: Any) -> Document:
    """A document from plain values, as YAML and JSON give them; secrets are left as written."""
    require_storable(plain)
    try:
        document = msgspec.convert(plain, Document, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise DocumentError(_place_first(str(error))) from None
    _check(document)
    return document


def decode_consumer(plain: Any, profile: Profile) -> ConsumerEntry:
    """One of `consumers`, from plain values that JSON gave: places are relative to it."""
    try:
        consumer = msgspec.convert(plain, ConsumerEntry, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise DocumentError(_place_first(str(error), "consumer")) from None
    _check_consumer("", consumer, profile)
    return consumer


def _decode_secret(type_: type, written: Any) -> Any:
    if type_ is Secret:
        return Secret.decode(written)
    raise NotImplementedError(type_)


def _place_first(message: str, whole: str = "document") -> str:
    """msgspec's `Expected `str`, got `int` - at `$.a`` as `a: expected str, got int`."""
    text, _, place = message.partition(" - at `")
    place = place.removeprefix("key` in `").removeprefix("$")
    text = text.replace("Object contains unknown field `", "unknown field `")
    text = text.replace("Object missing required field `", "missing field `").replace("`", "'")
    where = place.rstrip("`").lstrip(".")
    return f"{where or whole}: {text[:1].lower()}{text[1:]}"


def chosen(choice: Any) -> tuple[str, Any]:
    """(kind, value) of the one scheme that an entry names."""
    for kind, value in zip(_FIELDS, _VALUES(choice), strict=True):
        if value is not UNSET:
            return kind, value
    raise LookupError


def _count(choice: Any) -> int:
    return len(_FIELDS) - _VALUES(choice).count(UNSET)


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


# -- what types alone cannot say -------------------------------------------------------------------


def _check(document: Document) -> None:
    _unique("services", [service.id for service in document.services])
    for index, service in enumerate(document.services):
        place = f"services[{index}]"
        _check_auth(f"{place}.auth", service.auth)
        _unique(f"{place}.routes", [route.id for route in service.routes])
        for number, route in enumerate(service.routes):
            _check_auth(f"{place}.routes[{number}].auth", route.auth)
    _unique("consumers", [f"{c.tenant}/{c.username}" for c in document.consumers])
    for index, consumer in enumerate(document.consumers):
        _check_consumer(f"consumers[{index}].", consumer, document.profile)


def _unique(place: str, names: list[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise DocumentError(f"{place}[{index}]: {name.lstrip('/')!r} is already taken")
        seen.add(name)


def _check_auth(place: str, auth: Any) -> None:
    if auth is None:
        return
    groups = [name for name in ("any", "all") if getattr(auth, name) is not UNSET]
    if _count(auth) + len(groups) != 1:
        raise DocumentError(f"{place}: expected one of {', '.join([*SCHEMES, 'any', 'all'])}")
    for name in groups:
        members = getattr(auth, name)
        if not members:
            raise DocumentError(f"{place}.{name}: expected at least one scheme")
        for index, member in enumerate(members):
            if _count(member) != 1:
                where = f"{place}.{name}[{index}]"
                raise DocumentError(f"{where}: expected exactly one of {', '.join(SCHEMES)}")
    if not auth.same_consumer and "all" not in groups:
        raise DocumentError(f"{place}.same_consumer: only means something beside `all`")


def _check_consumer(at: str, consumer: ConsumerEntry, profile: Profile) -> None:
    if profile.startswith("apisix") and not _APISIX_NAME.fullmatch(consumer.username):
        raise DocumentError(
            f"{at}username: the profile {profile} takes letters, digits, '_' and '-'"
        )
    lower = [header.lower() for header in consumer.headers]
    if len(set(lower)) < len(lower):
        raise DocumentError(f"{at}headers: one name is given in two spellings")
    for header in consumer.headers:
        if header.lower() in RESERVED:
            raise DocumentError(f"{at}headers: {header} is set by the authorizer itself")
    for number, entry in enumerate(consumer.credentials):
        if _count(entry) != 1:
            where = f"{at}credentials[{number}]"
            raise DocumentError(f"{where}: expected exactly one of {', '.join(SCHEMES)}")
    _unique(f"{at}credentials", [credential_id(entry) for entry in consumer.credentials])


# -- secrets ---------------------------------------------------------------------------------------


def resolve(document: Document, base: Path) -> Document:
    """The document with every reference to a secret followed.

    Under the APISIX profiles a credential whose reference leads nowhere is left out, as there;
    otherwise it refuses the document.
    """
    consumers = [
        resolve_consumer(placed.at, placed.entry, base, document.profile)
        for placed in document.entries()
    ]
    return msgspec.structs.replace(document, consumers=consumers)


def resolve_consumer(
    at: str, consumer: ConsumerEntry, base: Path, profile: Profile
) -> ConsumerEntry:
    """The same for one consumer, whose places begin with `at`."""
    lenient = profile.startswith("apisix")
    kept = list(_resolved(f"{at}credentials", consumer, base, lenient=lenient))
    if kept == consumer.credentials:
        return consumer
    return msgspec.structs.replace(consumer, credentials=kept)


def _resolved(place: str, consumer: ConsumerEntry, base: Path, *, lenient: bool) -> Iterator[Any]:
    for number, entry in enumerate(consumer.credentials):
        kind, draft = draft_of(entry)
        try:
            changes = {
                field: resolved
                for field in draft.__struct_fields__  # type: ignore[attr-defined]
                if isinstance(value := getattr(draft, field), Secret)
                and (resolved := value.resolve(base)) is not value
            }
        except Unresolved as error:
            if lenient:
                continue
            raise DocumentError(f"{place}[{number}].{kind}: {error}") from None
        if not changes:
            yield entry
            continue
        followed = msgspec.structs.replace(cast(Any, draft), **changes)
        yield msgspec.structs.replace(entry, **{_FIELDS[kind]: followed})


def schema() -> dict[str, Any]:
    """The document's JSON Schema (draft 2020-12), for editors."""
    made = msgspec.json.schema(Document, schema_hook=_secret_schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _secret_schema(type_: type) -> dict[str, Any]:
    if type_ is Secret:
        reference = {
            "type": "object",
            "properties": {source: {"type": "string"} for source in Secret.SOURCES},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "string"}, reference]}
    raise NotImplementedError(type_)
