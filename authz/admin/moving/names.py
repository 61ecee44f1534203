"""Names of other gateways as names that a gateway document can hold, always the same ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from authz.schemes.settings import whole

_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,256}")
_NAME = re.compile(whole(r"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,254}[^\x00-\x20\x7f])?"))
_HOST = re.compile(
    whole(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
)
#: Room for the mark that keeps two names apart.
_LENGTH = 57


def id_of(name: str) -> str:
    """A name as an id: itself, or what is left of it with a mark of the whole."""
    return name if _ID.fullmatch(name) else _marked(name)


def plain_name_of(name: str) -> str:
    """A consumer's name under the APISIX profiles."""
    return name if _PLAIN.fullmatch(name) else _marked(name).replace(".", "-")


def name_of(name: str) -> str:
    """A consumer's name."""
    return name if _NAME.search(name) else _marked(name)


def is_host(name: str) -> bool:
    return _HOST.search(name) is not None


def _marked(name: str) -> str:
    core = _OTHER.sub("-", name).strip("-")[: _LENGTH - 1]
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{core}-{mark}" if core else mark


NameOf = Callable[[str], str]
