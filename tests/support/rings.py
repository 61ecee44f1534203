"""Key rings of tests: a file, and what commands do with it."""

from __future__ import annotations

import base64
from pathlib import Path

from authz.admin.catalog import Catalog
from authz.admin.ring_file import RingFile
from authz.secrets import PREPARED
from authz.store.target import Target
from tests.support.workers import RING


def entry(name: str, octet: int = 7, *, prepared: bool = False) -> str:
    """A key as a ring's text has it."""
    key = base64.b64encode(bytes([octet]) * 32).decode()
    return f"{name}:{key}{PREPARED if prepared else ''}"


def ring_file(directory: Path, *keys: str) -> RingFile:
    """A ring's file of these keys, or of the tests' own."""
    path = directory / "ring"
    path.write_text("\n".join(["# ours", *(keys or (RING,))]) + "\n")
    return RingFile(path)


def opened(url: str, file: RingFile) -> Catalog:
    """What a command has that begins now."""
    return Catalog(Target(url), "authz", file.ring())
