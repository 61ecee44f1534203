"""Consumers under construction, with credentials that the store would take."""

from __future__ import annotations

import re
from typing import Any

from authz.admin.moving.names import NameOf, id_of
from authz.admin.moving.report import Path, Report
from authz.admin.offline import CheapVault, fresh_ring
from authz.document import decode_consumer, draft_of
from authz.plain import DocumentError
from authz.references import Secret
from authz.schemes.settings import Profile

Plain = dict[str, Any]

_ENV = re.compile(r"\$env://([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
_REFERENCE = re.compile(r"\$(?:env|secret)://|\{vault://", re.IGNORECASE)
#: Fields of credentials that documents hold as secrets.
_SECRETS = ("key", "password", "secret", "secret_key", "public_key", "private_key")


class Elsewhere(Exception):
    """A secret is where nothing here can look. The text says where."""


class People:
    """Collects consumers. `profile` is the document's, `named` how it holds their names."""

    def __init__(self, report: Report, profile: Profile, named: NameOf) -> None:
        self._report = report
        self._profile: Profile = profile
        self._named = named
        self._vault = CheapVault(fresh_ring())
        self._made: dict[str, Plain] = {}
        self._owners: dict[tuple[str, str], str] = {}

    def consumers(self) -> list[Plain]:
        return list(self._made.values())

    def name(self, written: str) -> str:
        """What a consumer of the source is called here."""
        return self._named(written)

    def add(self, at: Path, written: str) -> Plain | None:
        """A new consumer, to be filled; None, reported, where there is one of that name."""
        name = self._named(written)
        if name in self._made:
            self._report.left(at, f"consumer {name!r} is there already")
            return None
        consumer: Plain = {"username": name}
        try:
            decode_consumer(consumer, self._profile)
        except DocumentError as error:
            self._report.left(at, f"no consumer can be called so: {error}")
            return None
        if name == written:
            self._report.took(at, f"consumer {name}")
        else:
            self._report.changed(at, f"consumer {name}: {written!r} holds what no name may")
        self._made[name] = consumer
        return consumer

    def find(self, written: str) -> Plain | None:
        return self._made.get(self._named(written))

    def credential(
        self, at: Path, consumer: Plain, identifier: str | None, kind: str, fields: Plain
    ) -> None:
        """Give a consumer a credential, if the store would take it."""
        named = {"id": self._free(consumer, id_of(identifier))} if identifier is not None else {}
        what = f"{consumer['username']}/{named.get('id', kind)}"
        try:
            entry = {**named, kind: {k: _secret(k, v) for k, v in fields.items()}}
        except Elsewhere as error:
            self._report.left(
                at, f"credential {what}: {error}; write {{env: NAME}} or {{file: PATH}} by hand"
            )
            return
        try:
            entry, note = self._fit(consumer, entry, kind)
        except DocumentError as error:
            self._report.left(at, f"credential {what}: {_bare(error, kind)}")
            return
        consumer.setdefault("credentials", []).append(entry)
        changed = identifier is not None and named["id"] != identifier
        if note or changed:
            why = ", ".join(filter(None, (note, f"{identifier!r} is no id" if changed else "")))
            self._report.changed(at, f"credential {what} ({kind}): {why}")
        else:
            self._report.took(at, f"credential {what} ({kind})")

    def _fit(self, consumer: Plain, entry: Plain, kind: str) -> tuple[Plain, str]:
        """The entry as the store takes it, and what was changed. Raises `DocumentError`."""
        try:
            self._seal(consumer, entry)
        except DocumentError:
            if kind != "jwt-auth" or "secret" not in entry[kind]:
                raise
            weak = {**entry, kind: {**entry[kind], "allow_weak_secret": True}}
            self._seal(consumer, weak)
            return weak, "its secret is shorter than the hash; allow_weak_secret says so"
        return entry, ""

    def _seal(self, consumer: Plain, entry: Plain) -> None:
        own = [*consumer.get("credentials", ()), entry]
        whole = decode_consumer({**consumer, "credentials": own}, self._profile)
        kind, draft = draft_of(whole.credentials[-1])
        if _is_elsewhere(draft):
            return
        try:
            index, _ = draft.seal(self._vault, "", None)
        except ValueError as error:
            raise DocumentError(str(error)) from None
        if (kind, index) in self._owners:
            raise DocumentError(f"consumer {self._owners[kind, index]!r} has the same already")
        self._owners[kind, index] = consumer["username"]

    def _free(self, consumer: Plain, identifier: str) -> str:
        taken = {entry.get("id") for entry in consumer.get("credentials", ())}
        number, made = 1, identifier
        while made in taken:
            number += 1
            made = id_of(f"{identifier}-{number}")
        return made


def _bare(error: DocumentError, kind: str) -> str:
    """Without the place, which is one of the new document."""
    text = str(error)
    return text.partition(f"{kind}.")[2] or text.partition(f"{kind}: ")[2] or text


def _secret(name: str, value: Any) -> Any:
    """A field of a credential, references as documents spell them. Raises `Elsewhere`."""
    if name not in _SECRETS or not isinstance(value, str):
        return value
    found = _ENV.fullmatch(value)
    if found:
        return {"env": found[1]}
    if _REFERENCE.search(value):
        raise Elsewhere(f"its {name} is a reference that cannot be followed here")
    return value


def _is_elsewhere(draft: Any) -> bool:
    values = (getattr(draft, name) for name in draft.__struct_fields__)
    return any(isinstance(each, Secret) and each.source in ("env", "file") for each in values)
