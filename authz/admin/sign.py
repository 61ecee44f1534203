"""Ready curl lines: a request with what a scheme's client adds to it."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, urlencode

from msgspec import Struct

from authz import signing
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused, consumer_of, credential_of
from authz.admin.described import Written
from authz.schemes import SCHEMES
from authz.signing.signed import Signed
from authz.values import Request

#: A credential's fields, as documents name them, with secrets as text or bytes.
Fields = Mapping[str, Any]


class Wanted(Struct, frozen=True):
    """How to sign. `claims` and `lifetime` (seconds) are for tokens, `private_key` is PEM."""

    header: str | None = None
    query: str | None = None
    cookie: str | None = None
    algorithm: str | None = None
    claims: Mapping[str, Any] = {}
    lifetime: float = 300.0
    private_key: str | None = None
    signed_headers: tuple[str, ...] = ()
    nonce_header: str | None = None
    legacy: bool = False
    at: float = 0.0

    def __repr__(self) -> str:  # it may hold a private key
        return "Wanted()"


class Line(Struct, frozen=True):
    """A curl line, and what was signed (None: nothing)."""

    curl: str
    string_to_sign: str | None

    def __repr__(self) -> str:  # it holds a credential
        return "Line()"


def sign(kind: str, written: Written, fields: Fields, wanted: Wanted) -> Line:
    """The request as a curl line that authenticates. Raises `Refused`."""
    signer = SIGNERS.get(kind)
    if signer is None:
        raise Refused(f"{kind!r} is not a scheme; expected one of {', '.join(SIGNERS)}")
    try:
        signed = signer(written.request, fields, wanted)
    except ValueError as error:
        raise Refused(f"{kind}: {error}") from None
    return Line(_curl(written.request, written.origin, signed), signed.string_to_sign)


def _curl(request: Request, origin: str, signed: Signed) -> str:
    words = ["curl", "-i"]
    if request.method != "GET":
        words += ["-X", request.method]
    lines = [*_kept(request, origin, signed), *signed.headers]
    words += [word for line in lines for word in ("-H", _header(*line))]
    body = _body(request)
    text = _typed(body or b"")
    if body is not None:
        # Not --data-binary, which takes what starts with `@` for the name of a file.
        words += ["--data-binary", "@-"] if text is None else ["--data-raw", text]
    url = origin + request.target
    if signed.query:
        query = urlencode(signed.query, quote_via=quote, errors="surrogateescape")
        url = f"{url}{'&' if '?' in url else '?'}{query}"
    line = " ".join(shlex.quote(word) for word in (*words, url))
    piped = base64.b64encode(body or b"").decode()
    return line if text is not None else f"echo {piped} | base64 -d | {line}"


def _kept(request: Request, origin: str, signed: Signed) -> Iterator[tuple[str, str]]:
    """The request's own headers, but for those that curl or the signer make."""
    made = {"content-length", "user-agent", *(name.lower() for name, _ in signed.headers)}
    if request.host != origin.partition("://")[2]:
        yield "host", request.host
    for name in request.headers:
        if name not in made:
            yield from ((name, value) for value in request.headers.get(name))


def _header(name: str, value: str) -> str:
    """As curl wants it: without a value it would leave the header out."""
    return f"{name}: {value}" if value else f"{name};"


def _typed(body: bytes) -> str | None:
    """A body as it may stand in a command; None for one that may not."""
    try:
        return body.decode() if b"\0" not in body else None
    except UnicodeDecodeError:
        return None


# -- the credential --------------------------------------------------------------------------------


def stored_fields(
    catalog: Catalog, kind: str, consumer: tuple[str, str], identifier: str | None
) -> dict[str, Any]:
    """The fields of a consumer's credential, its secret recovered. Raises `Unknown`, and `Refused`
    where the store has no more than a digest."""
    owner = consumer_of(catalog, *consumer)
    own = [name for name, at in owner.credentials.items() if at.kind == kind]
    if identifier is None and len(own) != 1:
        what = f"several: say --credential {'|'.join(own)}" if own else "none"
        raise Refused(f"of {kind} credentials, consumer {owner.username!r} has {what}")
    at, record = credential_of(catalog, *consumer, identifier or own[0])
    if at.kind != kind:
        raise Refused(f"credential {record.id!r} is of {at.kind}, not {kind}")
    written = SCHEMES[kind].draft.reopen(at.index, record.form, catalog.vault)
    return {name: _opened(name, value, catalog) for name, value in written.items()}


def _opened(name: str, value: Any, catalog: Catalog) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return value
    source, text = next(iter(value.items()))
    if source == "encrypted":
        return catalog.vault.decrypt(text)
    if source in ("digest", "hash"):
        raise Refused(f"the store has only a {source} of this {name}: give it with -c {name}=…")
    return value


def _need(fields: Fields, *names: str) -> Any:
    for name in names:
        if fields.get(name) not in (None, "", b""):
            return fields[name]
    raise ValueError(f"{names[0]} is missing: give it with -c {names[0]}=…, or name a --consumer")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


# -- one function a scheme -------------------------------------------------------------------------


def _headers(request: Request) -> list[tuple[str, str]]:
    lines = [(name, value) for name in request.headers for value in request.headers.get(name)]
    return [("host", request.host), *lines]


def _body(request: Request) -> bytes | None:
    return request.body.data if request.body is not None else None


def _key_auth(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    return signing.sign_key_auth(
        _text(_need(fields, "key")),
        header=wanted.header or "apikey",
        query=wanted.query,
        cookie=wanted.cookie,
    )


def _basic_auth(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    return signing.sign_basic_auth(_need(fields, "username"), _text(_need(fields, "password")))


def _appcode(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    return signing.sign_appcode(_text(_need(fields, "code")), query=wanted.query)


def _hmac_auth(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    algorithm = cast(Any, wanted.algorithm or fields.get("algorithm") or "hmac-sha256")
    secret = _need(fields, "secret_key")
    body = _body(request)
    if body is None and "digest" in (name.lower() for name in wanted.signed_headers):
        body = b""  # a route that checks bodies wants to know that there is none
    about = (request.method, request.target, _headers(request), body)
    if wanted.legacy or "access_key" in fields:
        return signing.sign_hmac_legacy(
            *about,
            access_key=_need(fields, "access_key", "key_id"),
            secret=secret,
            algorithm=algorithm,
            signed_headers=wanted.signed_headers,
            at=wanted.at,
        )
    return signing.sign_hmac_auth(
        *about,
        key_id=_need(fields, "key_id"),
        secret=secret,
        algorithm=algorithm,
        signed_headers=("@request-target", "date", *wanted.signed_headers),
        nonce_header=wanted.nonce_header,
        at=wanted.at,
    )


def _digest(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    return signing.sign_digest(
        request.method,
        request.target,
        _headers(request),
        _body(request),
        app_key=_need(fields, "app_key"),
        app_secret=_need(fields, "app_secret"),
        algorithm=cast(Any, wanted.algorithm or "HmacSHA256"),
        signed_headers=wanted.signed_headers,
        at=wanted.at,
    )


def _token(caller: dict[str, Any], fields: Fields, wanted: Wanted) -> Signed:
    key = wanted.private_key or fields.get("private_key")
    if not key:
        key = _need(fields, "secret")
        if fields.get("base64_secret"):
            key = _decoded(_text(key))
    return signing.sign_jwt(
        {**caller, **wanted.claims},
        key=key,
        algorithm=cast(Any, wanted.algorithm or fields.get("algorithm") or "HS256"),
        lifetime=wanted.lifetime,
        at=wanted.at,
        header=wanted.header or "Authorization",
        query=wanted.query,
        cookie=wanted.cookie,
    )


def _decoded(secret: str) -> bytes:
    padded = secret + "=" * (-len(secret) % 4)
    return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)


def _jwt_auth(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    audience = fields.get("audience")
    held = {"iss": fields.get("issuer"), "aud": audience[0] if audience else None}
    caller = {"key": _need(fields, "key"), **{k: v for k, v in held.items() if v}}
    return _token(caller, fields, wanted)


def _jwt(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    caller = {"name": _need(fields, "username")}
    return _token(
        caller | ({"iss": fields["issuer"]} if fields.get("issuer") else {}), fields, wanted
    )


def _jwt_plugin(request: Request, fields: Fields, wanted: Wanted) -> Signed:
    if wanted.private_key is None:
        raise ValueError("its keys are public: give --private-key FILE")
    return _token({}, {"algorithm": "RS256", **fields}, wanted)


SIGNERS: dict[str, Callable[[Request, Fields, Wanted], Signed]] = {
    "key-auth": _key_auth,
    "basic-auth": _basic_auth,
    "jwt-auth": _jwt_auth,
    "jwt": _jwt,
    "jwt-plugin": _jwt_plugin,
    "hmac-auth": _hmac_auth,
    "appcode": _appcode,
    "digest": _digest,
}


def parse_pairs(written: Sequence[str], what: str) -> dict[str, str]:
    """`name=value` as typed. Raises `Refused`."""
    pairs = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise Refused(f"{what} {each!r}: expected NAME=VALUE")
        pairs[name] = value
    return pairs


def parse_claims(written: Sequence[str]) -> dict[str, Any]:
    """`name=value` with values as JSON, or as text where they are none. Raises `Refused`."""
    claims: dict[str, Any] = {}
    for name, value in parse_pairs(written, "--claim").items():
        try:
            claims[name] = json.loads(value)
        except ValueError:
            claims[name] = value
    return claims
