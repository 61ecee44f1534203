"""The gateway document: YAML or JSON that says which services there are and who may call.

Reading is strict. An error names its place in the document, such as
`services[0].auth.key-auth: unknown field 'heder'`, and one wrong field refuses the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import UNSET

from authz.access import limits_of
from authz.access.address import networks
from authz.access.limits import Owner, require_sound
from authz.access.told import IDENTITY
from authz.entries import (
    FIELDS,
    ConsumerEntry,
    Document,
    GrantEntry,
    NamedGrant,
    Placed,
    RouteEntry,
    ServiceEntry,
    chosen,
    count,
    credential_id,
    draft_of,
    schemes_of,
)
from authz.plain import DocumentError, place_first, read_text, require_storable
from authz.references import Secret, Unresolved
from authz.schemes import SCHEMES
from authz.schemes.settings import Profile

__all__ = [
    "ConsumerEntry",
    "Document",
    "GrantEntry",
    "NamedGrant",
    "Placed",
    "RouteEntry",
    "ServiceEntry",
    "chosen",
    "credential_id",
    "decode",
    "decode_consumer",
    "draft_of",
    "parse",
    "resolve",
    "resolve_consumer",
    "schema",
    "schemes_of",
]

#: APISIX's rule for user names, under its profiles.
_APISIX_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")


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
        raise DocumentError(place_first(str(error))) from None
    _check(document)
    return _with_grants(document)


def _with_grants(document: Document) -> Document:
    """With each grant of one consumer beside that consumer's own."""
    found: dict[tuple[str, str], list[GrantEntry]] = {}
    kept: list[NamedGrant] = []
    names = {(consumer.tenant, consumer.username) for consumer in document.consumers}
    for index, grant in enumerate(document.grants):
        place = f"grants[{index}]"
        if (grant.consumer is None) == (grant.group is None):
            raise DocumentError(f"{place}: expected one of consumer, group")
        if grant.consumer is None:
            kept.append(grant)
        elif (grant.tenant, grant.consumer) not in names:
            raise DocumentError(
                f"{place}.consumer: {grant.consumer!r} is not in this document; in a file of JSON "
                "Lines a consumer has its `grants` on its own line"
            )
        else:
            found.setdefault((grant.tenant, grant.consumer), []).append(grant.plain())
    if not found:
        return document
    consumers = [
        msgspec.structs.replace(c, grants=[*c.grants, *found.get((c.tenant, c.username), ())])
        for c in document.consumers
    ]
    return msgspec.structs.replace(document, consumers=consumers, grants=kept)


def decode_consumer(plain: Any, profile: Profile) -> ConsumerEntry:
    """One of `consumers`, from plain values that JSON gave: places are relative to it."""
    try:
        consumer = msgspec.convert(plain, ConsumerEntry, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise DocumentError(place_first(str(error), "consumer")) from None
    _check_consumer("", consumer, profile)
    return consumer


def _decode_secret(type_: type, written: Any) -> Any:
    if type_ is Secret:
        return Secret.decode(written)
    raise NotImplementedError(type_)


# -- what types alone cannot say -------------------------------------------------------------------


def _check(document: Document) -> None:
    try:
        networks(tuple(document.trusted_proxies))
    except ValueError as error:
        raise DocumentError(f"trusted_proxies: {error}") from None
    _unique("services", [service.id for service in document.services])
    for index, service in enumerate(document.services):
        place = f"services[{index}]"
        _check_auth(f"{place}.auth", service.auth)
        _check_limits(place, "service", service.access)
        _unique(f"{place}.routes", [route.id for route in service.routes])
        for number, route in enumerate(service.routes):
            _check_auth(f"{place}.routes[{number}].auth", route.auth)
            _check_limits(f"{place}.routes[{number}]", "route", route.access)
    _unique("groups", [f"{group.tenant}/{group.id}" for group in document.groups])
    for index, group in enumerate(document.groups):
        _check_limits(f"groups[{index}]", "group", group.access)
    for index, named in enumerate(document.grants):
        _check_grant(f"grants[{index}]", named)
    _unique("consumers", [f"{c.tenant}/{c.username}" for c in document.consumers])
    for index, consumer in enumerate(document.consumers):
        _check_consumer(f"consumers[{index}].", consumer, document.profile)


def _unique(place: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise DocumentError(f"{place}[{index}]: {name.lstrip('/')!r} is already taken")
        seen.add(name)


def _check_auth(place: str, auth: Any) -> None:
    if auth is None:
        return
    groups = [name for name in ("any", "all") if getattr(auth, name) is not UNSET]
    if count(auth) + len(groups) != 1:
        raise DocumentError(f"{place}: expected one of {', '.join([*SCHEMES, 'any', 'all'])}")
    for name in groups:
        members = getattr(auth, name)
        if not members:
            raise DocumentError(f"{place}.{name}: expected at least one scheme")
        for index, member in enumerate(members):
            if count(member) != 1:
                where = f"{place}.{name}[{index}]"
                raise DocumentError(f"{where}: expected exactly one of {', '.join(SCHEMES)}")
    if not auth.same_consumer and "all" not in groups:
        raise DocumentError(f"{place}.same_consumer: only means something beside `all`")


def _check_consumer(at: str, consumer: ConsumerEntry, profile: Profile) -> None:
    if profile.startswith("apisix") and not _APISIX_NAME.fullmatch(consumer.username):
        raise DocumentError(
            f"{at}username: the profile {profile} takes letters, digits, '_' and '-'"
        )
    if consumer.headers:
        _check_headers(f"{at}headers", consumer.headers)
    for number, entry in enumerate(consumer.credentials):
        if count(entry) != 1:
            where = f"{at}credentials[{number}]"
            raise DocumentError(f"{where}: expected exactly one of {', '.join(SCHEMES)}")
    _unique(f"{at}credentials", [credential_id(entry) for entry in consumer.credentials])
    _check_limits(at.removesuffix("."), "consumer", consumer.access)
    for number, grant in enumerate(consumer.grants):
        _check_grant(f"{at}grants[{number}]", grant)


def _check_limits(place: str, owner: Owner, access: Any) -> None:
    require_sound(f"{place}.access.limits".lstrip("."), owner, limits_of(access) or ())


def _check_grant(place: str, grant: GrantEntry) -> None:
    begins, ends = grant.not_before, grant.not_after
    if begins is not None and ends is not None and begins >= ends:
        raise DocumentError(f"{place}.not_after: ends before it begins")


def _check_headers(place: str, headers: Iterable[str]) -> None:
    seen: set[str] = set()
    for header in headers:
        lower = header.lower()
        if lower in seen:
            raise DocumentError(f"{place}: one name is given in two spellings")
        if lower in IDENTITY:
            raise DocumentError(f"{place}: {header} is set by the authorizer itself")
        seen.add(lower)


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
    if not any(map(_refers, consumer.credentials)):
        return consumer
    lenient = profile.startswith("apisix")
    kept = list(_resolved(f"{at}credentials", consumer, base, lenient=lenient))
    return msgspec.structs.replace(consumer, credentials=kept)


def _refers(entry: Any) -> bool:
    """Whether some secret of a credential is elsewhere."""
    _, draft = draft_of(entry)
    for value in msgspec.structs.astuple(cast(Any, draft)):
        if isinstance(value, Secret) and value.refers:
            return True
    return False


def _resolved(place: str, consumer: ConsumerEntry, base: Path, *, lenient: bool) -> Iterator[Any]:
    for number, entry in enumerate(consumer.credentials):
        kind, draft = draft_of(entry)
        try:
            changes = {
                field: value.resolve(base)
                for field, value in msgspec.structs.asdict(cast(Any, draft)).items()
                if isinstance(value, Secret)
            }
        except Unresolved as error:
            if lenient:
                continue
            raise DocumentError(f"{place}[{number}].{kind}: {error}") from None
        followed = msgspec.structs.replace(cast(Any, draft), **changes)
        yield msgspec.structs.replace(entry, **{FIELDS[kind]: followed})


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
