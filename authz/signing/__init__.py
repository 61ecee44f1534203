"""Reference signers: what a client adds to a request so that the service knows who is calling.

Pure functions: no I/O, and no clock or random number where `at` and `nonce` are given.

    from authz import signing

    body = b'{"a": 1}'
    signed = signing.sign_hmac_auth(
        "POST", "/orders?dry=1", [], body, key_id="john-key", secret="john-hmac-key"
    )
    httpx.post("https://api.example/orders?dry=1", content=body, headers=dict(signed.headers))

Each gives a `Signed`: headers and query parameters to add, and the string that was signed, for
comparison with the service's (`authz explain`). `authz.signing.httpx_auth` has the same as
`httpx.Auth`, to be given to a client once.
"""

from __future__ import annotations

from authz.signing.digest import sign as sign_digest
from authz.signing.hmac_auth import sign as sign_hmac_auth
from authz.signing.hmac_legacy import sign as sign_hmac_legacy
from authz.signing.signed import Signed
from authz.signing.simple import appcode as sign_appcode
from authz.signing.simple import basic_auth as sign_basic_auth
from authz.signing.simple import key_auth as sign_key_auth
from authz.signing.tokens import sign as sign_jwt

__all__ = [
    "Signed",
    "sign_appcode",
    "sign_basic_auth",
    "sign_digest",
    "sign_hmac_auth",
    "sign_hmac_legacy",
    "sign_jwt",
    "sign_key_auth",
]
