"""The files of one apply, which say together who may call: documents, read whole, and JSON Lines,
read a line at a time, for very many consumers.

A file of JSON Lines (https://jsonlines.org) has one consumer on each line, with the fields of a
document's `consumers`. Its first line may be what else a document has instead: `profile`,
`trusted_proxies`, `services`, `groups` and the `grants` of groups.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from authz import strict_json
from authz.document import Document, Placed, decode, decode_consumer, resolve, resolve_consumer
from authz.plain import DocumentError, read_text, require_storable

#: What ends the name of a file of JSON Lines.
SUFFIXES = (".jsonl", ".ndjson")
#: No consumer's line is longer, in bytes.
MAX_LINE = 1024 * 1024
_SERVICE = re.compile(r"\bservices\[(\d+)\]")


class Gateway(Protocol):
    """One document, or several files that are one together. `size` is that of all `entries`."""

    @property
    def policy(self) -> Document:
        """What it says without its consumers."""
        ...

    @property
    def size(self) -> int: ...

    def entries(self) -> Iterator[Placed]:
        """Its consumers, one after the other. Raises `DocumentError`."""
        ...

    def located(self, text: str) -> str:
        """A text that names places of `policy`, with the files that these are in."""
        ...


class _Part(NamedTuple):
    """One file: what it says but for the lines of a file of JSON Lines. `skip` is how many lines
    these start after. `names_profile`: whether the profile is more than the default."""

    path: Path
    document: Document
    names_profile: bool
    skip: int | None
    size: int


class Files:
    """A `Gateway` of files. Whoever wants consumers reads them again."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        self._alone = len(parts) == 1
        self.size = sum(part.size for part in parts)
        self.policy = _merged(parts)

    def entries(self) -> Iterator[Placed]:
        for part in self._parts:
            if part.skip is not None:
                yield from _lines(part, self.policy.profile)
                continue
            found = part.document.consumers
            before = "" if self._alone else f"{part.path}: "
            for index, entry in enumerate(found):
                yield Placed(f"{before}consumers[{index}].", entry, part.size // len(found))

    def located(self, text: str) -> str:
        return text if self._alone else _SERVICE.sub(self._located, text)

    def _located(self, found: re.Match[str]) -> str:
        index = int(found[1])
        for part in self._parts:
            if index < len(part.document.services):
                return f"{part.path}: services[{index}]"
            index -= len(part.document.services)
        return found[0]


def load(paths: Sequence[Path]) -> Files:
    """The documents in these files, checked but for the consumers in JSON Lines; secrets are
    resolved relative to their file. Raises `DocumentError`."""
    parts: list[_Part] = []
    for path in paths:
        if any(part.path.samefile(path) for part in parts if path.exists()):
            raise DocumentError(f"{path}: is given twice")
        before = "" if len(paths) == 1 else f"{path}: "
        parts.append(_head(path) if path.suffix in SUFFIXES else _whole(path, before))
    if all(part.skip == 0 for part in parts):
        raise DocumentError(
            "consumers alone, and applied without its services a gateway has none: give the "
            "document of these, too, as in: authz apply gateway.yaml people.jsonl"
        )
    return Files(parts)


def _merged(parts: Sequence[_Part]) -> Document:
    named = {part.document.profile: part.path for part in parts if part.names_profile}
    if len(named) > 1:
        said = ", ".join(f"{path}: {profile}" for profile, path in named.items())
        raise DocumentError(f"profile: files that are applied together have one, not {said}")
    taken: dict[str, Path] = {}
    for part in parts:
        for service in part.document.services:
            if service.id in taken:
                first = taken[service.id]
                raise DocumentError(
                    f"{part.path}: services: {service.id!r} is already taken in {first}"
                )
        taken.update((service.id, part.path) for service in part.document.services)
    groups = [group for part in parts for group in part.document.groups]
    names = Counter(f"{group.tenant}/{group.id}".lstrip("/") for group in groups)
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        raise DocumentError(f"groups: {twice[0]!r} is in more than one file")
    return Document(
        profile=next(iter(named), Document().profile),
        trusted_proxies=list(
            dict.fromkeys(each for part in parts for each in part.document.trusted_proxies)
        ),
        services=[service for part in parts for service in part.document.services],
        groups=groups,
        grants=[grant for part in parts for grant in part.document.policy.grants],
    )


def _whole(path: Path, before: str) -> _Part:
    with _readable(path):
        text = path.read_text(encoding="utf-8")
    with _placed(before):
        plain = read_text(text)
        document = resolve(decode(plain if plain is not None else {}), path.parent)
    named = isinstance(plain, dict) and "profile" in plain
    return _Part(path, document, named, None, len(text))


# -- JSON Lines ------------------------------------------------------------------------------------


def _head(path: Path) -> _Part:
    """A file of JSON Lines, and what its first line says of services."""
    with _readable(path):
        if path.exists() and not path.is_file():
            raise DocumentError(f"{path}: cannot be read twice: JSON Lines stand in a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            line = file.readline(MAX_LINE + 1)
    plain = None
    if line.strip():
        with _placed(f"{path}:1: "):
            plain = _plain(line)
            if isinstance(plain, dict) and "username" not in plain and plain.keys() & _POLICY:
                require_storable(plain)
                if plain.keys() - _POLICY:
                    raise DocumentError(
                        "beside `profile`, `trusted_proxies`, `services`, `groups` and `grants` "
                        "nothing stands here"
                    )
                return _Part(path, decode(plain), "profile" in plain, 1, size)
    return _Part(path, Document(), False, 0, size)


_POLICY = {"profile", "trusted_proxies", "services", "groups", "grants"}


def _lines(part: _Part, profile: Any) -> Iterator[Placed]:
    name, base, number = str(part.path), part.path.parent, 0
    with _readable(part.path), part.path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if number <= (part.skip or 0) or line.isspace():
                continue
            at = f"{name}:{number}: "
            try:
                entry = decode_consumer(_plain(line), profile)
                entry = resolve_consumer("", entry, base, profile)
            except DocumentError as error:
                raise DocumentError(f"{at}{error}") from None
            yield Placed(at, entry, len(line))


def _plain(line: bytes) -> Any:
    if len(line) > MAX_LINE:
        raise DocumentError(f"longer than {MAX_LINE} bytes")
    try:
        return strict_json.loads(line)
    except strict_json.NotStrict:
        raise DocumentError(_complaint(line)) from None


def _complaint(line: bytes) -> str:
    """What is wrong with a line that is not strict JSON, and nothing of what it holds."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at column {error.colno}; one whole consumer stands on a line"
    except (ValueError, RecursionError):
        pass
    return "not JSON that says one thing: a name twice, NaN, endless digits, half a character"


@contextmanager
def _placed(at: str) -> Iterator[None]:
    """A `DocumentError` within gets this before its text."""
    try:
        yield
    except DocumentError as error:
        raise DocumentError(f"{at}{error}") from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
