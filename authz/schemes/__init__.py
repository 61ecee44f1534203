"""How to prove who is calling: one file a scheme, one line here."""

from __future__ import annotations

from typing import Any

from authz.schemes.appcode import AppCode
from authz.schemes.basic_auth import BasicAuth
from authz.schemes.digest import Digest
from authz.schemes.hmac_auth import HmacAuth
from authz.schemes.jwt import Jwt
from authz.schemes.jwt_auth import JwtAuth
from authz.schemes.jwt_plugin import JwtPlugin
from authz.schemes.key_auth import KeyAuth

#: Every scheme, by its name in documents, in the store and in metrics.
SCHEMES: dict[str, Any] = {
    scheme.kind: scheme
    for scheme in (
        KeyAuth,
        BasicAuth,
        JwtAuth,
        Jwt,
        JwtPlugin,
        HmacAuth,
        AppCode,
        Digest,
    )
}
