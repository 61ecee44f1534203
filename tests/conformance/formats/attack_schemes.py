"""The schemes of hostile requests: what a route's `config` and a consumer's fixture say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from authz.schemes import SCHEMES
from tests.conformance.case import Inexpressible, Plain

_PLACES = ("header", "query", "cookie")
#: Long gone, whatever the clock says.
PAST = "2001-01-01T00:00:00Z"
#: Alibaba's window, which nobody can change.
_WINDOW_S = 900


class Named(NamedTuple):
    """`alternative` of a route (the scheme's name in documents, its settings), and the words of
    `config` that it understands."""

    alternative: Callable[[Plain], tuple[str, Plain]]
    words: set[str]


# -- a route's settings ----------------------------------------------------------------------------


def _key_auth(config: Plain) -> tuple[str, Plain]:
    settings: Plain = {}
    for place in _PLACES:
        if f"key_{place}" in config:
            settings[place] = config[f"key_{place}"]
        if config.get(f"{place}_enabled") is False:
            settings[place] = None
    return "key-auth", settings


def _basic_auth(config: Plain) -> tuple[str, Plain]:
    return "basic-auth", {}


def _taken(config: Plain, words: dict[str, str]) -> Plain:
    """Words that mean the same here, by the names that they have here."""
    return {ours: config[word] for word, ours in words.items() if word in config}


def _jwt_auth(config: Plain) -> tuple[str, Plain]:
    if "username_path" in config:
        return "jwt", _jwt(config)
    settings = _taken(
        config,
        {
            "key_claim": "key_claim_name",
            "verify_iat": "verify_iat",
            "jti_once": "require_jti_once",
            "iss": "issuer",
        },
    )
    if "claims_to_verify" in config:
        settings["claims_to_verify"] = _required(config["claims_to_verify"])
    if "aud" in config:
        settings["audience"] = config["aud"] if isinstance(config["aud"], list) else [config["aud"]]
    if "position" in config:
        if config["position"] not in _PLACES:
            raise Inexpressible(f"a token in the {config['position']} is for scheme jwt alone")
        settings |= dict.fromkeys(_PLACES)
        settings[config["position"]] = config["name"]
    return "jwt-auth", settings


def _required(verified: list[str]) -> list[str]:
    """Here a list says what is verified: exp has to be there then, but no token needs a start. Ours
    says what has to be there; what is not listed is verified all the same, where it is there."""
    return [name for name in verified if name != "nbf"]


def _jwt(config: Plain) -> Plain:
    """The scheme that finds its user by a path. The key claim then means nothing."""
    for word in ("verify_iat", "jti_once", "aud"):
        if word in config:
            raise Inexpressible(f"{word} beside username_path: no scheme has both")
    if config.get("position") == "body" and config.get("hide_credentials"):
        raise Inexpressible("a token in a body cannot be hidden")
    return _taken(
        config, {"position": "position", "name": "name", "username_path": "username_path"}
    )


def _hmac_auth(config: Plain) -> tuple[str, Plain]:
    if config.get("dialect", "apisix") != "apisix":
        raise Inexpressible(f"signatures in the dialect {config['dialect']} are not supported")
    words = ("clock_skew", "allowed_algorithms", "signed_headers", "validate_request_body")
    return "hmac-auth", _taken(config, {word: word for word in words})


def _appcode(config: Plain) -> tuple[str, Plain]:
    options = {"header": "HEADER", "header+query": "HEADER_QUERY", "disable": "DISABLE"}
    chosen = config.get("appcode", "header")
    if chosen not in options:
        raise Inexpressible(f"appcode {chosen} is not understood")
    return "appcode", {"app_code": options[chosen]}


def _digest(config: Plain) -> tuple[str, Plain]:
    """`dialect` is prose: the string to sign that there is."""
    if config.get("timestamp_window_s", _WINDOW_S) != _WINDOW_S:
        raise Inexpressible(f"a timestamp is good for {_WINDOW_S} s, as at Alibaba")
    return "digest", {"force_nonce_check": config.get("nonce", "required") == "required"}


#: What this format calls the schemes. Any other name is a mistake on purpose.
VOCABULARY: dict[str, Named] = {
    "key-auth": Named(
        _key_auth, {f"key_{place}" for place in _PLACES} | {f"{place}_enabled" for place in _PLACES}
    ),
    "basic-auth": Named(_basic_auth, set()),
    "jwt-auth": Named(
        _jwt_auth,
        {
            # `credential` names the one that is under attack.
            *("position", "name", "key_claim", "claims_to_verify", "credential"),
            *("verify_iat", "aud", "iss", "jti_once", "username_path"),
        },
    ),
    "hmac-auth": Named(
        _hmac_auth,
        {
            *("dialect", "clock_skew", "allowed_algorithms", "signed_headers"),
            *("validate_request_body", "partial_body"),
        },
    ),
    "aliyun-appcode": Named(_appcode, {"appcode"}),
    "aliyun-signature": Named(_digest, {"timestamp_window_s", "nonce", "dialect"}),
}


# -- a consumer's credentials ----------------------------------------------------------------------


def _keys(name: str, keys: Any, **bounds: Any) -> Iterator[Plain]:
    for number, key in enumerate(keys, 1):
        yield {"id": f"{name}-{number}", "key-auth": {"key": key}, **bounds}


def _basic(name: str, pairs: Any) -> Iterator[Plain]:
    for number, (username, password) in enumerate(pairs.items(), 1):
        pair = {"username": username, "password": password}
        yield {"id": f"{name}-{number}", "basic-auth": pair}


def _jwt_keys(name: str, keys: Any) -> Iterator[Plain]:
    for number, (key, material) in enumerate(keys.items(), 1):
        yield {"id": f"{name}-{number}", "jwt-auth": {"key": key, **_material(material)}}


def _material(material: Plain) -> Plain:
    return {"algorithm" if word == "alg" else word: each for word, each in material.items()}


def _hmac_keys(name: str, secrets: Any) -> Iterator[Plain]:
    for number, (key, secret) in enumerate(secrets.items(), 1):
        yield {"id": f"{name}-{number}", "hmac-auth": {"key_id": key, "secret_key": secret}}


def _code(name: str, code: Any) -> Iterator[Plain]:
    yield {"id": name, "appcode": {"code": code}}


FIXTURES: dict[str, Callable[[str, Any], Iterator[Plain]]] = {
    "keys": _keys,
    "expired_keys": partial(_keys, expires_at=PAST),
    "disabled_keys": partial(_keys, disabled=True),
    "basic": _basic,
    "jwt": _jwt_keys,
    "hmac": _hmac_keys,
    "appcode": _code,
}


def credentials(username: str, fixture: Plain, config: Plain) -> Iterator[Plain]:
    """All that a fixture holds for schemes that are there: no route asks for the others."""
    for made in _credentials(username, fixture, config):
        if not set(made).isdisjoint(SCHEMES):
            yield made


def _credentials(username: str, fixture: Plain, config: Plain) -> Iterator[Plain]:
    for word, make in FIXTURES.items():
        if word in fixture:
            yield from make(word.replace("_", "-"), fixture[word])
    if "appkey" in fixture:
        pair = {"app_key": fixture["appkey"], "app_secret": fixture["appsecret"]}
        yield {"id": "appkey", "digest": pair}
    material = fixture.get("jwt", {}).get(config.get("credential"))
    if "username_path" in config and material is not None:
        # The user that the path is to find is the consumer whose key signs. No list of fields: what
        # is not listed would not be verified.
        rules = _taken(config, {"iss": "issuer"})
        yield {"id": "jwt-user", "jwt": {"username": username, **_material(material), **rules}}
