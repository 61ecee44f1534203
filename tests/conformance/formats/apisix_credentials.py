"""APISIX's credentials as a gateway document has them: what is ignored there is left out here."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.case import Plain
from tests.conformance.formats.weak import short_secret

#: Whose words and defaults a case speaks.
PROFILES = {
    "apisix-3.18": "apisix-3.18",
    "apisix-3.10": "apisix-3.9",
    "apisix-3.9": "apisix-3.9",
    "api7-3.3": "api7",
}
#: The vendor whose profile is the default one.
OURS = "api7-3.3"
#: Of a legacy hmac-auth credential, what is the route's to say since 3.11, and then ignored here.
_HMAC_LEGACY = {
    *("algorithm", "clock_skew", "signed_headers", "keep_headers"),
    *("encode_uri_params", "validate_request_body", "max_req_body"),
}
#: Of a jwt-auth credential, what is ignored beside an algorithm of the other family.
_JWT_UNUSED = {"HS": {"public_key", "private_key"}, "": {"secret", "base64_secret"}}


def _jwt_credential(own: Plain, profile: str) -> Plain:
    algorithm = str(own.get("algorithm", "HS256"))
    family = "HS" if algorithm.startswith("HS") else ""
    made = {word: value for word, value in own.items() if word not in _JWT_UNUSED[family]}
    if short_secret(made.get("secret"), algorithm, encoded=bool(made.get("base64_secret"))):
        made["allow_weak_secret"] = True
    return made


def _hmac_credential(own: Plain, profile: str) -> Plain:
    ignored = set() if PROFILES[profile] == "apisix-3.9" else _HMAC_LEGACY
    return {word: value for word, value in own.items() if word not in ignored}


#: Credentials that are not written as APISIX does, by kind; the profile is the case's.
CREDENTIALS: dict[str, Callable[[Plain, str], Plain]] = {
    "jwt-auth": _jwt_credential,
    "hmac-auth": _hmac_credential,
}


def own_fields(kind: str, own: Plain, profile: str) -> Plain:
    """A credential's own fields as a document has them."""
    return CREDENTIALS[kind](own, profile) if kind in CREDENTIALS else own
