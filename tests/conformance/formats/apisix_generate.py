"""Requests that a case describes instead of writing them out: tokens and signatures made on the
spot, by code that shares nothing with what verifies them.

`generate` holds `kind`, and what the functions in `KINDS` read. A word that none of them knows is
not passed over: the request would be another one than was meant.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, quote

from jwt.algorithms import get_default_algorithms

from tests.conformance.case import Inexpressible, Plain, header_lines, octets

#: The clock of a case that names none: what is made for it is as fresh whenever it is asked about.
MOMENT = 1_790_000_000

_MACS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_PUBLIC = {n: each for n, each in get_default_algorithms().items() if n[:2] in ("RS", "ES", "PS")}
_PUBLIC["EdDSA"] = get_default_algorithms()["EdDSA"]
_PLACEHOLDER = re.compile(r"\{(\w+|header:[^{}]+)\}")
_SIGNATURE_FIELDS = ("keyId", "algorithm", "headers", "signature")


def materialise(request: Plain, recipe: Plain, now: int) -> Plain:
    """The request with what the recipe adds to it. Raises `Inexpressible`."""
    kind = recipe["kind"]
    if kind not in KINDS:
        raise Inexpressible(f"requests made by {kind} are not understood")
    make, words = KINDS[kind]
    unknown = sorted(set(recipe) - words - {"kind"})
    if unknown:
        raise Inexpressible(f"generate {unknown} is not understood")
    made = {**request, "headers": dict(request.get("headers") or {})}
    make(made, recipe, now)
    return made


def moved(value: Any, now: int) -> Any:
    """A value of a token, `{"now_plus": seconds}` told in Unix seconds."""
    if isinstance(value, dict):
        if set(value) == {"now_plus"}:
            return now + value["now_plus"]
        return {name: moved(each, now) for name, each in value.items()}
    return [moved(each, now) for each in value] if isinstance(value, list) else value


def _put(headers: Plain, name: str, value: str) -> None:
    """In place of any header of this name."""
    for each in [each for each in headers if each.lower() == name.lower()]:
        del headers[each]
    headers[name] = value


def _value(request: Plain, name: str) -> str:
    """The first value of a header; nothing where it is absent."""
    for each, value in header_lines(request["headers"]):
        if each.decode().lower() == name.lower():
            return value.decode()
    return ""


# -- jwt -------------------------------------------------------------------------------------------


def _jwt(request: Plain, recipe: Plain, now: int) -> None:
    place = recipe["place"]
    name, text = place["name"], place.get("prefix", "") + _token(recipe, now)
    match place["in"]:
        case "header":
            _put(request["headers"], name, text)
        case "query":
            joint = "&" if "?" in request["path"] else "?"
            request["path"] += f"{joint}{name}={text}"
        case "cookie":
            before = _value(request, "Cookie")
            joint = "; " if before else ""
            _put(request["headers"], "Cookie", f"{before}{joint}{name}={text}")
        case where:
            raise Inexpressible(f"a token in the {where} is not understood")


def _token(recipe: Plain, now: int) -> str:
    parts = (moved(recipe[part], now) for part in ("header", "payload"))
    signed = ".".join(_base64url(json.dumps(p, separators=(",", ":")).encode()) for p in parts)
    literal = recipe.get("signature_literal")
    if literal is None:
        algorithm = str(recipe["header"].get("alg"))
        literal = _base64url(_signature(algorithm, recipe["signing_key"], signed.encode()))
    return f"{signed}.{literal}"


def _signature(algorithm: str, key: Any, message: bytes) -> bytes:
    """What is no public-key algorithm's is a MAC: with a public key for a secret too, as attackers
    do it, and SHA-256 for a name that means nothing."""
    if algorithm in _PUBLIC:
        signer = _PUBLIC[algorithm]
        return signer.sign(message, signer.prepare_key(key))
    return hmac.digest(octets(key), message, _MACS.get(algorithm, "sha256"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# -- hmac-auth, and what it was up to APISIX 3.10 --------------------------------------------------


def _hmac_signature(request: Plain, recipe: Plain, now: int) -> None:
    _put_date(request, recipe, "date_offset_s", now)
    signature = _mac(request, recipe, {"key_id": recipe["key_id"]})
    # What is sent may be another date than was signed.
    _put_date(request, recipe, "sent_date_offset_s", now)
    names = recipe.get("headers_param")
    fields = {
        "keyId": recipe["key_id"],
        "algorithm": recipe.get("algorithm"),
        "headers": " ".join(names) if isinstance(names, list) else names,
        "signature": signature,
    }
    pairs = [(n, fields[n]) for n in recipe.get("field_order") or _SIGNATURE_FIELDS]
    pairs += [(name, value) for name, value in recipe.get("extra_fields") or ()]
    left_out = {*(recipe.get("omit_fields") or ()), *(n for n, v in pairs if v is None)}
    written = [f'{name}="{value}"' for name, value in pairs if name not in left_out]
    start = recipe.get("scheme", "Signature") + recipe.get("scheme_sep", " ")
    _put(request["headers"], "Authorization", start + recipe.get("field_sep", ",").join(written))


def _put_date(request: Plain, recipe: Plain, offset: str, now: int) -> None:
    if recipe.get(offset) is not None:
        date = _date(now + recipe[offset], recipe.get("date_format"))
        _put(request["headers"], "Date", date)


def _hmac_v1(request: Plain, recipe: Plain, now: int) -> None:
    headers = request["headers"]
    date = _date(now + recipe.get("date_offset_s", 0), recipe.get("date_format"))
    key, algorithm = recipe["access_key"], recipe["algorithm"]
    dated = {**request, "headers": {**headers, "Date": date}}
    signature = _mac(dated, recipe, {"access_key": key})
    signed = ";".join(recipe.get("signed_headers") or ())
    match recipe["carrier"]:
        case "x-hmac-headers":
            _put(headers, "Date", date)
            _put(headers, "X-HMAC-ACCESS-KEY", key)
            _put(headers, "X-HMAC-SIGNATURE", signature)
            _put(headers, "X-HMAC-ALGORITHM", algorithm)
            if signed:
                _put(headers, "X-HMAC-SIGNED-HEADERS", signed)
        case "authorization-hash":
            parts = ("hmac-auth-v1", key, signature, algorithm, date, signed)
            _put(headers, "Authorization", "#".join(parts))
        case carrier:
            raise Inexpressible(f"a signature carried by {carrier} is not understood")


def _mac(request: Plain, recipe: Plain, given: Plain) -> str:
    """The signature over the lines of the recipe, unless it is given."""
    if recipe.get("signature_literal") is not None:
        return str(recipe["signature_literal"])
    text = "\n".join(_filled(line, request, given) for line in recipe["signing_lines"])
    text += "\n" if recipe.get("trailing_newline", True) else ""
    name = str(recipe.get("algorithm")).lower().removeprefix("hmac-")
    digest = name if name in hashlib.algorithms_available else "sha256"
    return base64.b64encode(hmac.digest(octets(recipe["secret"]), text.encode(), digest)).decode()


def _filled(line: str, request: Plain, given: Plain) -> str:
    path, _, query = request["path"].partition("?")
    known = {
        **given,
        "method": request["method"].upper(),
        "path": request["path"],
        "path_only": path,
        "canonical_query": _sorted(query),
    }

    def fill(found: re.Match[str]) -> str:
        word, _, header = found[1].partition(":")
        return _value(request, header) if header else str(known.get(word, found[0]))

    return _PLACEHOLDER.sub(fill, line)


def _sorted(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


def _date(at: float, form: str | None) -> str:
    when = time.gmtime(at)
    match form:
        case None | "imf" | "imf-fixdate":
            return formatdate(at, usegmt=True)
        case "rfc850":
            return time.strftime("%A, %d-%b-%y %H:%M:%S GMT", when)
        case "asctime":
            return time.asctime(when)
        case "iso8601":
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", when)
    raise Inexpressible(f"a date in the form {form} is not understood")


Make = Callable[[Plain, Plain, int], None]
#: Each kind: what makes it, and the words of a recipe that it understands.
KINDS: dict[str, tuple[Make, set[str]]] = {
    "jwt": (_jwt, {"header", "payload", "signing_key", "place", "signature_literal"}),
    "hmac-signature": (
        _hmac_signature,
        {
            *("key_id", "secret", "algorithm", "headers_param", "signing_lines"),
            *("date_offset_s", "sent_date_offset_s", "date_format"),
            *("field_order", "field_sep", "scheme", "scheme_sep"),
            *("omit_fields", "extra_fields", "signature_literal", "trailing_newline"),
        },
    ),
    "hmac-v1": (
        _hmac_v1,
        {
            *("access_key", "secret", "algorithm", "signed_headers", "signing_lines", "carrier"),
            *("date_offset_s", "date_format", "signature_literal", "trailing_newline"),
        },
    ),
}
