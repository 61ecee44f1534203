"""Kong's consumers, their credentials and groups.

Facts: https://developer.konghq.com/gateway/entities/consumer/ and the pages of the plugins; a
password that was read from a Kong is the SHA-1 of itself and its consumer's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from authz.admin.moving.names import id_of
from authz.admin.moving.people import People
from authz.admin.moving.report import Path, Report
from authz.admin.moving.source import items, mapping, text, texts
from authz.admin.moving.wanted import Plain

_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
#: Where credentials stand, in a consumer or at the top of a file: (list, scheme, fields there and
#: here).
_LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "keyauth_credentials": ("key-auth", {"key": "key"}),
    "keyauth_enc_credentials": ("key-auth", {"key": "key"}),
    "basicauth_credentials": ("basic-auth", {"username": "username", "password": "password"}),
    "hmacauth_credentials": ("hmac-auth", {"username": "key_id", "secret": "secret_key"}),
    "jwt_secrets": (
        "jwt-auth",
        {
            "key": "key",
            "secret": "secret",
            "algorithm": "algorithm",
            "rsa_public_key": "public_key",
        },
    ),
}
_NAMED = {"id", "username", "custom_id", "tags", "groups", "acls", "plugins", *_LISTS}
#: The lists at the top of a file that are people's.
LISTS = {"consumers", "consumer_groups", "acls", *_LISTS}


class Consumers:
    """Fills `people`. `hashed`: the file says that its passwords are hashes. `encoded`: the route's
    plugins say that secrets of tokens are base64."""

    def __init__(self, people: People, report: Report, *, hashed: bool, encoded: bool) -> None:
        self._people = people
        self._report = report
        self._hashed = hashed
        self._encoded = encoded
        self._names: dict[str, str] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def take(self, plain: Plain) -> None:
        written = list(items(plain.get("consumers"), ("consumers",)))
        for at, own in written:
            self._consumer(at, own)
        for at, own in written:
            self._belongings(at, own, text(own.get("username")) or text(own.get("custom_id")))
        for name in (*_LISTS, "acls"):
            for at, own in items(plain.get(name), (name,)):
                self._belonging(at, name, own, _reference(own.get("consumer")))
        for at, group in items(plain.get("consumer_groups"), ("consumer_groups",)):
            for path, member in items(group.get("consumers"), (*at, "consumers")):
                self._join(path, text(group.get("name")), _reference(member))

    def name_of(self, reference: str) -> str:
        """What a consumer is called here who is meant by a name or an id; empty for nobody."""
        made = self.find(reference)
        return str(made["username"]) if made is not None else ""

    def find(self, reference: str) -> Plain | None:
        """A consumer, to be changed, who is meant by a name or an id."""
        return self._people.find(self._names.get(reference, reference))

    def members(self, group: str) -> list[Plain]:
        """The consumers of a group, to be changed."""
        name = id_of(group)
        return [each for each in self._people.consumers() if name in each.get("groups", ())]

    def _consumer(self, at: Path, own: Plain) -> None:
        name = text(own.get("username")) or text(own.get("custom_id"))
        made = self._people.add(at, name)
        if made is None:
            return
        self._names.update((text(own[n]), name) for n in ("id", "custom_id") if own.get(n))
        labels = {"custom_id": text(own["custom_id"])} if own.get("custom_id") else {}
        if own.get("tags"):
            labels["tags"] = ",".join(texts(own["tags"]))
            self._report.changed((*at, "tags"), "as a label")
        if labels:
            made["labels"] = labels
        for field in own.keys() - _NAMED:
            self._report.left((*at, field), "is not understood")

    def _belongings(self, at: Path, own: Plain, name: str) -> None:
        for field in (*_LISTS, "acls"):
            for path, each in items(own.get(field), (*at, field)):
                self._belonging(path, field, each, name)
        for path, each in items(own.get("groups"), (*at, "groups")):
            self._join(path, text(each.get("name")), name)

    def _belonging(self, at: Path, field: str, own: Plain, owner: str) -> None:
        if field == "acls":
            self._join(at, text(own.get("group")), owner)
            return
        made = self.find(owner)
        if made is None:
            self._report.left(at, f"there is no consumer {owner!r}")
            return
        kind, fields = _LISTS[field]
        number = self._numbers[owner, kind] = self._numbers.get((owner, kind), 0) + 1
        if kind == "basic-auth" and self._is_hash(own):
            what = made["username"]
            self._report.left(
                at,
                "the password is a hash that cannot be verified here: give its owner another "
                f"one: authz credential issue {what} basic-auth",
            )
            return
        given = {ours: own[theirs] for theirs, ours in fields.items() if own.get(theirs)}
        if kind == "jwt-auth":
            self._settle(at, given)
        identifier = text(own.get("id")) or (kind if number == 1 else f"{kind}-{number}")
        self._people.credential(at, made, identifier, kind, given)

    def _is_hash(self, own: Plain) -> bool:
        password = text(own.get("password"))
        return self._hashed or bool(own.get("skip_hash") or _SHA1.fullmatch(password))

    def _settle(self, at: Path, given: Plain) -> None:
        symmetric = str(given.get("algorithm", "HS256")).startswith("HS")
        for name in ("public_key",) if symmetric else ("secret",):
            if given.pop(name, None) is not None:
                self._report.changed(at, f"its {name} is not used beside the algorithm")
        if symmetric and self._encoded:
            given["base64_secret"] = True

    def _join(self, at: Path, group: str, owner: str) -> None:
        made = self.find(owner)
        if made is None or not group:
            self._report.left(at, f"there is no consumer {owner!r}, or no group")
            return
        name = id_of(group)
        own = made.setdefault("groups", [])
        if name not in own:
            own.append(name)
        told = self._report.took if name == group else self._report.changed
        told(at, f"{made['username']} is of group {name}")


def _reference(written: object) -> str:
    """Who is meant by `alice`, by `{username: alice}` or by `{id: …}`."""
    if isinstance(written, dict):
        return text(written.get("username")) or text(written.get("id"))
    return text(written)


#: What a plugin may be for.
_SCOPES = ("service", "route", "consumer", "consumer_group")


def scopes(plugin: Plain) -> list[tuple[str, str]]:
    """What a plugin is for: `("service", "orders")`; nothing for everything."""
    found = []
    for kind in _SCOPES:
        own = mapping(plugin.get(kind))
        name = text(own.get("name")) or text(own.get("username")) or text(own.get("id"))
        found.append((kind, name if own else text(plugin.get(kind))))
    return [(kind, name) for kind, name in found if name]


def own_plugins(plain: Plain) -> Iterator[tuple[Path, list[tuple[str, str]], Plain]]:
    """The plugins of consumers and groups: (where, of whom and of what else, plugin)."""
    for at, own in items(plain.get("consumers"), ("consumers",)):
        name = text(own.get("username")) or text(own.get("custom_id"))
        for path, plugin in items(own.get("plugins"), (*at, "plugins")):
            yield path, [("consumer", name), *scopes(plugin)], plugin
    for at, own in items(plain.get("consumer_groups"), ("consumer_groups",)):
        for path, plugin in items(own.get("plugins"), (*at, "plugins")):
            yield path, [("consumer_group", text(own.get("name"))), *scopes(plugin)], plugin
    for at, plugin in items(plain.get("plugins"), ("plugins",)):
        if is_personal(plugin):
            yield at, scopes(plugin), plugin


def is_personal(plugin: Plain) -> bool:
    """Whether a plugin at the top of a file is for a consumer or a group."""
    return any(kind.startswith("consumer") for kind, _ in scopes(plugin))
