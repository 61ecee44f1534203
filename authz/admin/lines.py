"""What changes, for people to read: of very many changes the first, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from authz.admin.catalog import Held
from authz.store.records import ConsumerRecord

Sign = Literal["+", "~", "-", "="]
#: So many lines of consumers, and as many of credentials, are told; of the others how many.
TOLD = 100


class Line(Struct, frozen=True):
    """One change: `~ credential john/primary (expires_at)`."""

    sign: Sign
    what: str
    detail: str = ""


class Lines:
    """Collects the changes of consumers and credentials, which come in any order. `counts` is by
    sign and kind."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Sign, str]] = Counter()
        self._first: dict[str, list[tuple[tuple[str, ...], Line]]] = {"consumer": []}
        self._first["credential"] = []
        self._last: dict[str, tuple[str, ...]] = {}

    def add(self, sign: Sign, kind: str, name: tuple[str, ...], detail: str = "") -> None:
        self.counts[sign, kind] += 1
        last = self._last.get(kind)
        if last is not None and name > last:
            return
        first = self._first[kind]
        what = f"{kind} {'/'.join(part for part in name if part)}"
        first.append((name, Line(sign, what, detail)))
        if len(first) >= 2 * TOLD:
            first.sort(key=lambda line: line[0])
            del first[TOLD:]
            self._last[kind] = first[-1][0]

    def told(self) -> Iterator[Line]:
        """Consumers, then credentials, each in the order of their names."""
        for found in self._first.values():
            yield from (line for _, line in sorted(found, key=lambda line: line[0])[:TOLD])


def consumer_fields(old: ConsumerRecord, new: ConsumerRecord) -> str:
    """In which fields a consumer changes."""
    return ", ".join(_fields(old, new, ("credentials", "managed")))


def credential_fields(old: Held, new: Held) -> str:
    """In which fields a credential changes. What proves it is only ever called a secret."""
    secret = old[0] != new[0] or old[1].form != new[1].form
    fields = _fields(old[1], new[1], ("form", "created_at", "managed"))
    return ", ".join((["secret"] if secret else []) + fields)


def _fields(old: Any, new: Any, ignore: tuple[str, ...]) -> list[str]:
    if old == new:
        return []
    return [
        field
        for field in old.__struct_fields__
        if field not in ignore and getattr(old, field) != getattr(new, field)
    ]
