"""Credentials of which the store holds a keyed digest alone: keys and codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from authz.contracts import Vault
from authz.references import Secret

#: How a credential is recognised in a list.
Hint = Annotated[str, Meta(max_length=64)]
#: From this length on, a secret's ends may be shown without making the rest guessable.
SHOWABLE = 24


class Digested(Struct, frozen=True, omit_defaults=True):
    """What is stored beside the digest, which is the look-up key."""

    hint: str = ""


def seal(
    field: str,
    secret: Secret,
    named: Digested,
    before: Digested | None,
    vault: Vault,
    digest: Callable[[str], str],
    *,
    head: int = 4,
) -> tuple[str, Digested]:
    """(look-up key, form) of a draft's secret. `digest` checks it, and raises ValueError when it is
    unfit; one that was exported as `{digest: …}` is taken as it is, with what was known of it.
    `head` is how many of its first characters a list may show."""
    if secret.source == "digest":
        if not vault.is_digest(secret.value):
            raise ValueError(f"{field}: this digest is not of a {field} that the key ring holds")
        return secret.value, named if named.hint else before or named
    index = digest("" if secret.safe else secret.value)
    return index, named if named.hint else Digested(_ends(secret.value, head))


def _ends(secret: str, head: int) -> str:
    return f"{secret[:head]}…{secret[-4:]}" if len(secret) >= SHOWABLE else ""


def reopen(field: str, index: str, form: Digested) -> dict[str, Any]:
    """As a document may hold it."""
    named = {"hint": form.hint} if form.hint else {}
    return {field: {"digest": index}, **named}
