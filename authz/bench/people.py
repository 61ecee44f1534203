"""Who may call, and how each one proves it: the document that is applied, and the clients' calls.

Every consumer has an API key; the first one has a credential of each other scheme as well, and a
host for each of them. What is secret here is published here, and lives as long as a run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from authz.bench.calls import Call, target
from authz.signing import sign_basic_auth, sign_digest, sign_hmac_auth, sign_jwt, sign_key_auth
from authz.signing.signed import Signed

FIRST = "c0"
PASSWORD = "bench-password-of-c0"
SECRET = "bench-secret-that-is-longer-than-any-hash-needs"
NONCE = "x-nonce"
REFUSED = "401"
#: What a call without a credential is answered, where that is not `REFUSED`.
MISSING = {"digest": "403"}
#: Seconds that a token holds: longer than any run.
LIFETIME = 86_400

#: The services, by what a table calls them: each has a host `NAME.bench.test`.
SERVICES: dict[str, dict[str, Any]] = {
    "key-auth": {"key-auth": {}},
    "basic-auth": {"basic-auth": {}},
    "jwt-auth": {"jwt-auth": {}},
    "hmac-auth": {"hmac-auth": {}},
    "hmac-auth-nonce": {"hmac-auth": {"nonce_header": NONCE}},
    "digest": {"digest": {}},
    "wrong-key": {"key-auth": {}},
    "wrong-password": {"basic-auth": {}},
}
#: Where guesses are not counted: what is measured there is what a wrong credential costs.
UNGUARDED = ("wrong-key", "wrong-password")


def key(number: int) -> str:
    """The API key of consumer `c<number>`."""
    return hashlib.sha256(b"bench key %d" % number).hexdigest()[:40]


def write_document(path: Path, credentials: int) -> None:
    """A gateway document in JSON Lines: so many API keys, each of a consumer of its own."""
    services = [
        {
            "id": name,
            "hosts": [host(name)],
            "auth": auth,
            "access": {"guessing": "off" if name in UNGUARDED else "on"},
        }
        for name, auth in SERVICES.items()
    ]
    with path.open("w") as file:
        file.write(json.dumps({"services": services}) + "\n")
        for number in range(credentials):
            file.write(json.dumps(_consumer(number)) + "\n")


def host(service: str) -> str:
    return f"{service}.bench.test"


def _consumer(number: int) -> dict[str, Any]:
    held: list[dict[str, Any]] = [{"id": "key", "key-auth": {"key": key(number)}}]
    if number == 0:
        held += [
            {"id": "basic", "basic-auth": {"username": FIRST, "password": PASSWORD}},
            {"id": "jwt", "jwt-auth": {"key": FIRST, "secret": SECRET}},
            {"id": "hmac", "hmac-auth": {"key_id": FIRST, "secret_key": SECRET}},
            {"id": "digest", "digest": {"app_key": FIRST, "app_secret": SECRET}},
        ]
    return {"username": f"c{number}", "groups": ["gold"], "credentials": held}


# -- calls -----------------------------------------------------------------------------------------


def keys(numbers: Iterable[int]) -> list[Call]:
    """A call with the API key of each of these consumers."""
    return [
        _call("key-auth", n, sign_key_auth(key(who)), f"c{who}") for n, who in enumerate(numbers)
    ]


def unknown_keys(count: int) -> list[Call]:
    """Calls with keys that nobody has, none of them twice."""
    return [
        _call("wrong-key", n, sign_key_auth(secrets.token_hex(20)), REFUSED) for n in range(count)
    ]


def passwords(count: int) -> list[Call]:
    return [_call("basic-auth", n, sign_basic_auth(FIRST, PASSWORD)) for n in range(count)]


def wrong_passwords(count: int) -> list[Call]:
    """Each another one, so that each has to be hashed."""
    return [
        _call("wrong-password", n, sign_basic_auth(FIRST, secrets.token_hex(8)), REFUSED)
        for n in range(count)
    ]


def same_token(count: int) -> list[Call]:
    """One token that all calls carry, as clients do while it holds."""
    token = _token("bench")
    return [_call("jwt-auth", n, token) for n in range(count)]


def new_tokens(count: int) -> list[Call]:
    """A token of its own for each call."""
    return [_call("jwt-auth", n, _token(secrets.token_hex(8))) for n in range(count)]


def _token(identifier: str) -> Signed:
    claims = {"key": FIRST, "iss": "bench", "sub": FIRST, "jti": identifier}
    return sign_jwt(claims, key=SECRET, lifetime=LIFETIME)


def signatures(count: int) -> list[Call]:
    """hmac-auth over request line and date."""
    return [
        _call("hmac-auth", n, sign_hmac_auth("GET", target(n), key_id=FIRST, secret=SECRET))
        for n in range(count)
    ]


def signatures_with_nonce(count: int) -> list[Call]:
    """The same with a nonce: each counts once."""

    def sign(number: int) -> Signed:
        return sign_hmac_auth(
            "GET", target(number), key_id=FIRST, secret=SECRET, nonce_header=NONCE
        )

    return [_call("hmac-auth-nonce", n, sign(n)) for n in range(count)]


def digests(count: int) -> list[Call]:
    """Alibaba's signature, with timestamp and nonce: each counts once."""

    def sign(number: int) -> Signed:
        accept = [("accept", "application/json, text/plain, */*")]
        return sign_digest("GET", target(number), accept, app_key=FIRST, app_secret=SECRET)

    return [_call("digest", n, sign(n)) for n in range(count)]


def nobody(service: str) -> Call:
    """A call without a credential: what is not refused here guards nothing."""
    return _call(service, 0, Signed(), MISSING.get(service, REFUSED))


def _call(service: str, number: int, signed: Signed, expected: str = FIRST) -> Call:
    return Call(host(service), target(number), signed.headers, expected)


# -- the same credentials, as Envoy's own filters want them ----------------------------------------


def envoy_password() -> str:
    """The line of Envoy's basic_auth filter: an htpasswd line with SHA-1, all that it knows."""
    digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
    return f"{FIRST}:{{SHA}}{base64.b64encode(digest).decode()}\n"


def envoy_key_set() -> str:
    """The JWK Set of Envoy's jwt_authn filter."""
    k = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    return json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": k}]})
