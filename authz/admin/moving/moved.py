"""One file of another gateway, read, moved in, and held against what a document must be."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from authz.admin.moving import apisix, htpasswd, kong
from authz.admin.moving.report import Path as Place
from authz.admin.moving.report import Report
from authz.admin.moving.source import Source, mapping
from authz.document import decode
from authz.plain import DocumentError, read_text
from authz.routes import RouteTable


class Kind(StrEnum):
    """Whose file it is."""

    apisix = "apisix"
    kong = "kong"
    htpasswd = "htpasswd"


class Moved(Struct, frozen=True):
    """The document's text, and what became of each line of the source."""

    kind: Kind
    document: str
    report: Report

    def __repr__(self) -> str:  # it holds the source's secrets
        return f"Moved({self.kind})"


def move(path: Path, kind: Kind | None = None) -> Moved:
    """Move a file in. Raises `DocumentError` for one that cannot be read."""
    try:
        written = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    try:
        found = kind or _kind(written)
        made, report = _moved(written, found)
        _check(made)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None
    text = yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return Moved(found, text, report)


class _Dumper(yaml.SafeDumper):
    """What is used twice is written twice, as people do."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _kind(written: str) -> Kind:
    if htpasswd.is_one(written):
        return Kind.htpasswd
    plain = mapping(read_text(kong.prepared(written)))
    if kong.is_one(plain):
        return Kind.kong
    if apisix.is_one(plain):
        return Kind.apisix
    raise DocumentError(f"whose file is it? Say --from {'|'.join(Kind)}")


def _moved(written: str, kind: Kind) -> tuple[dict[str, Any], Report]:
    if kind is Kind.htpasswd:
        report = Report(_line)
        return htpasswd.move(written, report), report
    source = Source(kong.prepared(written) if kind is Kind.kong else written)
    report = Report(source.line)
    return (kong if kind is Kind.kong else apisix).move(source, report), report


def _line(place: Place) -> int:
    return int(place[1]) if len(place) > 1 else 1


def _check(made: dict[str, Any]) -> None:
    """It must be a document that can be applied, whatever the source was."""
    try:
        RouteTable(decode(made))
    except DocumentError as error:
        raise DocumentError(f"what came of it is no document, please report it: {error}") from None
