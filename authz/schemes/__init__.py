"""How to prove who is calling: one file a scheme, one line here."""

from __future__ import annotations

from typing import Any

from authz.schemes.basic_auth import BasicAuth
from authz.schemes.key_auth import KeyAuth

#: Every scheme, by its name in documents, in the store and in metrics.
SCHEMES: dict[str, Any] = {
    scheme.kind: scheme
    for scheme in (
        KeyAuth,
        BasicAuth,
    )
}
