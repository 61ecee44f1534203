"""The gateway document: YAML or JSON that says which services there are and who may call.

Reading is strict. An error names its place in the document, such as
`services[0].auth.key-auth: unknown field 'heder'`, and one wrong field refuses the whole.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import yaml
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from authz.contracts import Draft, Scheme
from authz.schemes import SCHEMES, strict_json
from authz.schemes.settings import Profile, whole
from authz.secrets import Secret, Unresolved

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
OwnHeader = Annotated[str, Meta(pattern=whole(r"[Xx]-[Cc]onsumer-[A-Za-z0-9-]{1,64}"))]
HeaderText = Annotated[str, Meta(pattern=whole(r"[ -~]{0,1024}"))]
#: No document is nested as deep, or has as many values.
MAX_DEPTH, MAX_VALUES = 64, 50_000_000
#: APISIX's rule for user names, under its profiles.
_APISIX_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
#: Headers that we set ourselves; a consumer's own headers may not take their names.
RESERVED = ("x-consumer-username", "x-consumer-custom-id", "x-consumer-groups")


class DocumentError(Exception):
    """The document is refused. The text names the place and what was expected there."""


def _field(kind: str) -> str:
    return kind.replace("-", "_")


def _choice(name: str, member: str) -> type[Struct]:
    """A Struct with one optional field for each scheme, spelled as in documents."""
    fields = [
        (_field(kind), scheme if member == "self" else getattr(scheme, member), UNSET)
        for kind, scheme in SCHEMES.items()
    ]
    return defstruct(
        name,
        [(field, type_ | UnsetType, default) for field, type_, default in fields],
        rename={_field(kind): kind for kind in SCHEMES},
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
    """One route of a service; its `auth` replaces the service's."""

    id: Id
    match: Match = Match()
    auth: Auth | None = None  # type: ignore[valid-type]


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


class Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of it. `profile` is the default of every scheme's."""

    profile: Profile = "api7"
    services: list[ServiceEntry] = []
    consumers: list[ConsumerEntry] = []


# -- reading ---------------------------------------------------------------------------------------


class _Loader(yaml.CSafeLoader):
    """YAML that refuses a mapping with one key twice, which hides the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = node.start_mark.line + 1
                raise DocumentError(f"line {line}: {key!r} is given twice in one mapping")
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Document:
    """Read a document from a YAML or JSON file; secrets are resolved relative to it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    return parse(text, path.parent)


def parse(text: str, base: Path = Path()) -> Document:
    """A document from YAML or JSON text, checked whole, its secrets resolved."""
    plain = _plain(text)
    return resolve(decode(plain if plain is not None else {}), base)


def _plain(text: str) -> Any:
    try:
        return strict_json.loads(text.encode())
    except (strict_json.NotStrict, UnicodeEncodeError):
        pass  # YAML, or JSON with a mistake, which YAML's reader puts in better words
    try:
        _check_depth(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise DocumentError(f"not YAML: {' '.join(str(error).split())}") from None
    except DocumentError:
        raise
    except Exception as error:
        # PyYAML's own converters trip over scalars such as `0b_` or `2024-99-99`.
        raise DocumentError(f"not YAML: {error.__class__.__name__} in a scalar") from None


def _check_depth(text: str) -> None:
    """libyaml's composer recurses on the C stack; its event stream does not."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1


def decode(plain: Any) -> Document:
    """A document from plain values, as YAML and JSON give them; secrets are left as written."""
    _weigh(plain, {})
    try:
        document = msgspec.convert(plain, Document, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise DocumentError(_place_first(str(error))) from None
    _check(document)
    return document


def _weigh(plain: Any, known: dict[int, int], depth: int = 0) -> int:
    """How many values there are, aliases counted as often as they are used.

    Raises `DocumentError` for what YAML can write and nothing can store: a value inside itself, a
    few lines that stand for billions, half a character (an escaped lone surrogate).
    """
    if isinstance(plain, str):
        if not plain.isascii() and any("\ud800" <= character <= "\udfff" for character in plain):
            # Which text is not said: it may be a secret.
            raise DocumentError("document: a text holds half a character (a lone surrogate)")
    elif isinstance(plain, (dict, list)):
        if depth > MAX_DEPTH:
            raise DocumentError(f"document: nested deeper than {MAX_DEPTH}")
        if id(plain) not in known:
            parts = (
                (p for pair in plain.items() for p in pair) if isinstance(plain, dict) else plain
            )
            known[id(plain)] = 1 + sum(_weigh(part, known, depth + 1) for part in parts)
            if known[id(plain)] > MAX_VALUES:
                raise DocumentError(f"document: aliases make more than {MAX_VALUES} values of it")
        return known[id(plain)]
    return 1


def _decode_secret(type_: type, written: Any) -> Any:
    if type_ is Secret:
        return Secret.decode(written)
    raise NotImplementedError(type_)


def _place_first(message: str) -> str:
    """msgspec's `Expected `str`, got `int` - at `$.a`` as `a: expected str, got int`."""
    text, _, place = message.partition(" - at `")
    place = place.removeprefix("key` in `").removeprefix("$")
    text = text.replace("Object contains unknown field `", "unknown field `")
    text = text.replace("Object missing required field `", "missing field `").replace("`", "'")
    where = place.rstrip("`").lstrip(".")
    return f"{where or 'document'}: {text[:1].lower()}{text[1:]}"


def chosen(choice: Any) -> tuple[str, Any]:
    """(kind, value) of the one scheme that an entry names."""
    for kind in SCHEMES:
        value = getattr(choice, _field(kind))
        if value is not UNSET:
            return kind, value
    raise LookupError


def _count(choice: Any) -> int:
    return sum(getattr(choice, _field(kind)) is not UNSET for kind in SCHEMES)


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
        _check_consumer(f"consumers[{index}]", consumer, document.profile)


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


def _check_consumer(place: str, consumer: ConsumerEntry, profile: Profile) -> None:
    if profile.startswith("apisix") and not _APISIX_NAME.fullmatch(consumer.username):
        raise DocumentError(
            f"{place}.username: the profile {profile} takes letters, digits, '_' and '-'"
        )
    lower = [header.lower() for header in consumer.headers]
    if len(set(lower)) < len(lower):
        raise DocumentError(f"{place}.headers: one name is given in two spellings")
    for header in consumer.headers:
        if header.lower() in RESERVED:
            raise DocumentError(f"{place}.headers: {header} is set by the authorizer itself")
    for number, entry in enumerate(consumer.credentials):
        if _count(entry) != 1:
            where = f"{place}.credentials[{number}]"
            raise DocumentError(f"{where}: expected exactly one of {', '.join(SCHEMES)}")
    _unique(f"{place}.credentials", [credential_id(entry) for entry in consumer.credentials])


# -- secrets ---------------------------------------------------------------------------------------


def resolve(document: Document, base: Path) -> Document:
    """The document with every reference to a secret followed.

    Under the APISIX profiles a credential whose reference leads nowhere is left out, as there;
    otherwise it refuses the document.
    """
    consumers = []
    for index, consumer in enumerate(document.consumers):
        place = f"consumers[{index}].credentials"
        kept = list(_resolved(place, consumer, base, lenient=document.profile != "api7"))
        consumers.append(msgspec.structs.replace(consumer, credentials=kept))
    return msgspec.structs.replace(document, consumers=consumers)


def _resolved(place: str, consumer: ConsumerEntry, base: Path, *, lenient: bool) -> Iterator[Any]:
    for number, entry in enumerate(consumer.credentials):
        kind, draft = draft_of(entry)
        try:
            changes = {
                field: value.resolve(base)
                for field in draft.__struct_fields__  # type: ignore[attr-defined]
                if isinstance(value := getattr(draft, field), Secret)
            }
        except Unresolved as error:
            if lenient:
                continue
            raise DocumentError(f"{place}[{number}].{kind}: {error}") from None
        resolved = msgspec.structs.replace(cast(Any, draft), **changes)
        yield msgspec.structs.replace(entry, **{_field(kind): resolved})


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
