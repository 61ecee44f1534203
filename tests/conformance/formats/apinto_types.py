"""Apinto's credential types: each a scheme of ours, its settings, and what a user of an app has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.conformance.case import Inexpressible, Plain
from tests.conformance.formats.weak import short_secret

AUTHORIZATION = "Authorization"


class Type(NamedTuple):
    """`settings` of an app's place; `user` is (name, credential) of a user of the app, told whether
    what the app lists for verification is all that is to be verified."""

    kind: str
    settings: Callable[[Plain], Plain]
    user: Callable[[Plain, Plain, bool], tuple[str, Plain]]


# -- apikey ----------------------------------------------------------------------------------------


def _apikey(app: Plain) -> Plain:
    header, query = None, None
    match app["position"]:
        case "header":
            header = app["token_name"]
        case "query":
            query = app["token_name"]
        case "":
            header = AUTHORIZATION
        case position:
            raise Inexpressible(f"a key in the {position} is not supported yet")
    return {"header": header, "query": query}


def _apikey_user(app: Plain, pattern: Plain, exact: bool) -> tuple[str, Plain]:
    return pattern["apikey"], {"key": pattern["apikey"]}


# -- basic -----------------------------------------------------------------------------------------


def _basic(app: Plain) -> Plain:
    place = app["position"] or "header", app["token_name"] or AUTHORIZATION
    if (place[0], place[1].lower()) != ("header", AUTHORIZATION.lower()):
        raise Inexpressible("basic-auth reads the header Authorization alone (RFC 7617)")
    return {}


def _basic_user(app: Plain, pattern: Plain, exact: bool) -> tuple[str, Plain]:
    return pattern["username"], {k: pattern[k] for k in ("username", "password")}


# -- jwt -------------------------------------------------------------------------------------------

_JWT = {
    *("iss", "algorithm", "secret", "rsa_public_key", "path"),
    *("claims_to_verify", "signature_is_base_64"),
}


def _jwt(app: Plain) -> Plain:
    config = app["config"]
    if set(config) - _JWT:
        raise Inexpressible(f"jwt's {sorted(set(config) - _JWT)} is not understood")
    # Without a path the issuer is the user.
    return {
        "position": app["position"] or "header",
        "name": app["token_name"] or AUTHORIZATION,
        "username_path": config.get("path") or "$.iss",
    }


def _jwt_user(app: Plain, pattern: Plain, exact: bool) -> tuple[str, Plain]:
    config = app["config"]
    algorithm, claims = config["algorithm"], config.get("claims_to_verify") or []
    made: Plain = {
        "username": pattern["username"],
        "algorithm": algorithm,
        "validation_fields": claims if claims or exact else None,
        "issuer": config.get("iss") or None,
    }
    # The form has a field for either key; of the other family's it takes no notice.
    if not algorithm.startswith("HS"):
        return pattern["username"], {**made, "public_key": config.get("rsa_public_key", "")}
    encoded = bool(config.get("signature_is_base_64"))
    secret = config.get("secret", "")
    made |= {"secret": secret, "base64_secret": encoded}
    if short_secret(secret, algorithm, encoded=encoded):
        made["allow_weak_secret"] = True
    return pattern["username"], made


TYPES = {
    "apikey": Type("key-auth", _apikey, _apikey_user),
    "apikey_auth": Type("key-auth", _apikey, _apikey_user),
    "basic": Type("basic-auth", _basic, _basic_user),
    "basic_auth": Type("basic-auth", _basic, _basic_user),
    "jwt": Type("jwt", _jwt, _jwt_user),
}
