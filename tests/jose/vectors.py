"""The vectors of `tests/vectors/jose`, and what the code under test says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from authz.jose.key_set import KeySet
from authz.jose.keys import UnfitKey
from authz.jose.tokens import NotAToken, parse_jws

VECTORS = Path(__file__).parents[1] / "vectors" / "jose"
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi")


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def plain(key: Any) -> Any:
    """Wycheproof writes some keys as JSON within JSON."""
    return json.loads(key) if isinstance(key, str) else key


def public(jwk: dict[str, Any]) -> dict[str, Any]:
    """A JWK without its private half."""
    return {name: value for name, value in jwk.items() if name not in _PRIVATE}


def holds(key: Any, text: Any) -> bool:
    """Whether a registered key, or a set of them, finds this token signed by it."""
    if not isinstance(text, str):
        return False  # a JSON serialization, which no header can carry as a compact token
    try:
        keys, jws = KeySet.of(key, oct=True), parse_jws(text)
    except (UnfitKey, NotAToken):
        return False
    found = keys.find(jws.key_id, jws.algorithm)
    return found is not None and found.holds(jws)
