"""Secrets as documents write them: the text, or where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from authz.contracts import Vault


class Unresolved(Exception):
    """A reference to a secret leads nowhere."""


class Secret:
    """A secret in a document: its text, or where to find it.

    `source` is `text`, `env`, `file`, or, for values that are already safe, `digest` (of a key),
    `hash` (of a password) or `encrypted` (under the key ring). `$env://NAME` is APISIX's spelling
    of an environment reference.
    """

    __slots__ = ("source", "value")
    SOURCES = ("env", "file", "digest", "hash", "encrypted")

    def __init__(self, value: str, source: str = "text") -> None:
        if source == "text" and value.startswith("$env://"):
            value, source = value.removeprefix("$env://"), "env"
        self.value = value
        self.source = source

    @classmethod
    def decode(cls, written: Any) -> Secret:
        """From a document. Raises ValueError in the words that a document's error uses."""
        if isinstance(written, str):
            return cls(written)
        if isinstance(written, dict) and len(written) == 1:
            source, value = next(iter(written.items()))
            if source in cls.SOURCES and isinstance(value, str):
                return cls(value, source)
        kind = {bool: "boolean", int: "number", float: "number", type(None): "null"}
        got = kind.get(type(written), "something else")
        raise ValueError(
            f"expected a string, or one of {{env: NAME}}, {{file: PATH}}, "
            f"{{digest: …}}, {{hash: …}}, {{encrypted: …}}, got {got}"
        )

    @property
    def safe(self) -> bool:
        """Whether this is no secret's text, but what may be shown of one."""
        return self.source in ("digest", "hash", "encrypted")

    @property
    def refers(self) -> bool:
        """Whether its text is elsewhere: what `resolve` leaves as it is does not refer."""
        return self.source in ("env", "file") or (
            self.source == "text" and self.value.startswith("$secret://")
        )

    def resolve(self, base: Path) -> Secret:
        """This secret with its text at hand; `base` is what relative file names start from."""
        if self.source == "env":
            text = os.environ.get(self.value)
            if text is None:
                raise Unresolved(f"environment variable {self.value} is not set")
            return Secret._literal(text)
        if self.source == "file":
            try:
                # A trailing newline is the editor's, not the secret's.
                return Secret._literal((base / self.value).read_text().rstrip("\r\n"))
            except (OSError, ValueError) as error:
                raise Unresolved(f"file {self.value}: {error.__class__.__name__}") from None
        if self.source == "text" and self.value.startswith("$secret://"):
            raise Unresolved("$secret:// references are not supported; use {env: …} or {file: …}")
        return self

    @staticmethod
    def _literal(text: str) -> Secret:
        secret = Secret("")
        secret.value = text
        return secret

    def __repr__(self) -> str:
        return f"Secret({self.source})"


def recover(secret: Secret, vault: Vault) -> bytes:
    """The bytes of a secret of a document, exported or as its owner wrote it. Raises ValueError."""
    if secret.source == "encrypted":
        return vault.decrypt(secret.value)
    if secret.safe or not secret.value:
        raise ValueError("expected a secret that is not empty, or its {encrypted: …}")
    return secret.value.encode("utf-8", "surrogateescape")
