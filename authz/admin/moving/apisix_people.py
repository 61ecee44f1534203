"""APISIX's consumers, their credentials and groups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from authz.admin.moving.apisix_auth import SCHEMES_THERE, Plugins, in_force
from authz.admin.moving.names import id_of
from authz.admin.moving.people import People
from authz.admin.moving.report import Path, Report
from authz.admin.moving.source import items, mapping, text
from authz.admin.moving.wanted import Plain

#: In standalone files a credential is a consumer whose id has this between owner and its own id.
_BETWEEN = "/credentials/"
#: What beside its own properties an object may have.
_NOTED = ("desc", "description", "create_time", "update_time", "modifiedIndex")
#: Of a credential of hmac-auth, what is the route's to say since 3.11.
_HMAC_LEGACY = {
    *("algorithm", "clock_skew", "signed_headers", "keep_headers"),
    *("encode_uri_params", "validate_request_body", "max_req_body"),
}


def take_people(plain: Plain, people: People, plugins: Plugins, report: Report) -> list[Plain]:
    """Fill `people`, and give the groups."""
    taken = _Taken(people, plugins, report)
    written = list(items(plain.get("consumers"), ("consumers",)))
    groups = []
    for at, group in items(plain.get("consumer_groups"), ("consumer_groups",)):
        groups += taken.group(at, group)
        written += [
            (path, {**consumer, "group_id": text(group.get("id")) or text(group.get("name"))})
            for path, consumer in items(group.get("consumers"), (*at, "consumers"))
        ]
    for at, own in written:
        if "username" in own:
            taken.consumer(at, own)
    for at, own in written:
        if "username" not in own:
            taken.apart(at, own)
    return groups


class _Taken:
    def __init__(self, people: People, plugins: Plugins, report: Report) -> None:
        self._people = people
        self._plugins = plugins
        self._report = report
        #: Groups with a rule that is left.
        self._shut: set[str] = set()

    def consumer(self, at: Path, own: Plain) -> None:
        made = self._people.add(at, text(own["username"]))
        if made is None:
            return
        if own.get("group_id") is not None:
            made["groups"] = [self._group_id((*at, "group_id"), text(own["group_id"]))]
        labels = {name: self._label(at, name, v) for name, v in mapping(own.get("labels")).items()}
        if labels:
            made["labels"] = labels
        found = in_force((*at, "plugins"), own.get("plugins"), self._report)
        embedded = {name: found.pop(name) for name in SCHEMES_THERE if name in found}
        access, whole = self._plugins.access(found, "consumer")
        if access:
            made["access"] = access
        if not whole or text(own.get("group_id")) in self._shut:
            made["disabled"] = True
            self._report.left(at, "disabled, as a rule for it is left: see that it is not needed")
        for name, (path, fields) in embedded.items():
            self._credential(path, made, None, name, fields)
        for path, credential in items(own.get("credentials"), (*at, "credentials")):
            self._written(path, made, credential)

    def _written(self, at: Path, made: Plain, own: Plain) -> None:
        """As ADC has it: with `type` and `config`; or, as the Admin API, with `plugins`."""
        identifier = text(own.get("id")) or text(own.get("name")) or None
        if "type" in own:
            kind = text(own["type"])
            config = mapping(own.get("config"))
            self._credential((*at, "config"), made, identifier or kind, kind, config)
            return
        for name, fields in mapping(own.get("plugins")).items():
            path = (*at, "plugins", name)
            self._credential(path, made, identifier or name, name, mapping(fields))

    def apart(self, at: Path, own: Plain) -> None:
        """A credential that names its consumer in its id."""
        owner, between, identifier = text(own.get("id")).partition(_BETWEEN)
        made = self._people.find(owner) if between else None
        if made is None:
            self._report.left(at, "neither a consumer nor the credential of one")
            return
        self._written(at, made, {**own, "id": identifier})

    def _credential(
        self, at: Path, made: Plain, identifier: str | None, kind: str, fields: Plain
    ) -> None:
        if kind not in SCHEMES_THERE:
            self._report.left(at, f"{kind} is no scheme here")
            return
        own = {name: v for name, v in fields.items() if name not in ("_meta", *_NOTED)}
        unused = set(_unused(kind, own))
        for name in sorted(unused):
            self._report.changed((*at, name), "is not used beside the others")
        kept = {name: value for name, value in own.items() if name not in unused}
        self._people.credential(at, made, identifier, kind, kept)

    def group(self, at: Path, own: Plain) -> list[Plain]:
        name = text(own.get("id")) or text(own.get("name"))
        found = in_force((*at, "plugins"), own.get("plugins"), self._report)
        access, whole = self._plugins.access(found, "group")
        if not whole:
            self._shut.add(name)
        made = self._group_id(at, name)
        self._report.took(at, f"group {made}")
        return [{"id": made, "access": access}] if access else []

    def _group_id(self, at: Path, name: str) -> str:
        made = id_of(name)
        if made != name:
            self._report.changed(at, f"group {made}: {name!r} is no id")
        return made

    def _label(self, at: Path, name: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        self._report.changed((*at, "labels", name), "as JSON: a label is a text")
        return json.dumps(value, ensure_ascii=False)


def _unused(kind: str, own: Plain) -> Iterator[str]:
    """What APISIX ignores of a credential, and a document refuses."""
    if kind == "jwt-auth":
        symmetric = str(own.get("algorithm", "HS256")).startswith("HS")
        names = ("public_key", "private_key") if symmetric else ("secret", "base64_secret")
        yield from (name for name in names if name in own)
    if kind == "hmac-auth":
        yield from (name for name in own if name in _HMAC_LEGACY)
