"""Every scheme as an `httpx.Auth`: `httpx.Client(auth=HmacAuth("key-id", "secret"))`.

Each request is signed anew, just before it is sent. httpx is needed for this module alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

import httpx

from authz.signing import digest, hmac_auth, hmac_legacy, simple, tokens
from authz.signing.signed import Signed

Clock = Callable[[], float]


class SignedAuth(httpx.Auth):
    """What all of them do: add to each request what `sign` gives for it."""

    def __init__(
        self, sign: Callable[[httpx.Request], Signed], *, requires_request_body: bool = False
    ) -> None:
        self._sign = sign
        self.requires_request_body = requires_request_body

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        add(self._sign(request), request)
        yield request


def add(signed: Signed, request: httpx.Request) -> None:
    """Put what was signed into a request, in place of headers of the same names. Cookies join
    those that are there; parameters follow them, which keep their bytes."""
    for name, value in signed.headers:
        if name == "Cookie" and "cookie" in request.headers:
            request.headers["Cookie"] = f"{request.headers['cookie']}; {value}"
        else:
            request.headers[name] = value
    if signed.query:
        more = urlencode(signed.query, quote_via=quote, errors="surrogateescape").encode()
        before = request.url.raw_path
        joint = b"&" if b"?" in before else b"?"
        request.url = request.url.copy_with(raw_path=before + joint + more)


def _target(request: httpx.Request) -> str:
    return request.url.raw_path.decode("ascii")


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """As bytes are told everywhere here, not as httpx guesses their charset."""
    return [
        (name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
        for name, value in request.headers.raw
    ]


class KeyAuth(SignedAuth):
    """key-auth; see `simple.key_auth`."""

    def __init__(
        self,
        key: str,
        *,
        header: str = "apikey",
        query: str | None = None,
        cookie: str | None = None,
    ) -> None:
        signed = simple.key_auth(key, header=header, query=query, cookie=cookie)
        super().__init__(lambda _: signed)


class BasicAuth(SignedAuth):
    """basic-auth; see `simple.basic_auth`."""

    def __init__(self, username: str, password: str) -> None:
        signed = simple.basic_auth(username, password)
        super().__init__(lambda _: signed)


class AppCodeAuth(SignedAuth):
    """appcode; see `simple.appcode`."""

    def __init__(self, code: str, *, query: str | None = None) -> None:
        signed = simple.appcode(code, query=query)
        super().__init__(lambda _: signed)


class JwtAuth(SignedAuth):
    """jwt-auth, jwt and jwt-plugin: a fresh token for every request; see `tokens.sign`."""

    def __init__(
        self,
        claims: Mapping[str, Any],
        key: str | bytes,
        algorithm: tokens.Algorithm = "HS256",
        *,
        kid: str | None = None,
        lifetime: float | None = 300,
        header: str = "Authorization",
        query: str | None = None,
        cookie: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(
            lambda _: tokens.sign(
                claims,
                key=key,
                algorithm=algorithm,
                kid=kid,
                lifetime=lifetime,
                at=clock(),
                header=header,
                query=query,
                cookie=cookie,
            )
        )


class HmacAuth(SignedAuth):
    """hmac-auth; see `hmac_auth.sign`. With a digest, the whole body is read before it is sent."""

    def __init__(
        self,
        key_id: str,
        secret: str | bytes,
        algorithm: hmac_auth.Algorithm = "hmac-sha256",
        *,
        signed_headers: Sequence[str] = hmac_auth.SIGNED_HEADERS,
        with_digest: bool = True,
        nonce_header: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(
            lambda request: hmac_auth.sign(
                request.method,
                _target(request),
                _headers(request),
                request.content if with_digest else None,
                key_id=key_id,
                secret=secret,
                algorithm=algorithm,
                signed_headers=signed_headers,
                nonce_header=nonce_header,
                at=clock(),
            ),
            requires_request_body=with_digest,
        )


class LegacyHmacAuth(SignedAuth):
    """hmac-auth of the profile apisix-3.9; see `hmac_legacy.sign`."""

    def __init__(
        self,
        access_key: str,
        secret: str | bytes,
        algorithm: hmac_auth.Algorithm = "hmac-sha256",
        *,
        signed_headers: Sequence[str] = (),
        carrier: Literal["headers", "authorization"] = "headers",
        with_digest: bool = True,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(
            lambda request: hmac_legacy.sign(
                request.method,
                _target(request),
                _headers(request),
                request.content if with_digest else None,
                access_key=access_key,
                secret=secret,
                algorithm=algorithm,
                signed_headers=signed_headers,
                carrier=carrier,
                at=clock(),
            ),
            requires_request_body=with_digest,
        )


class DigestAuth(SignedAuth):
    """digest (Alibaba Cloud API Gateway); see `digest.sign`. The body is read before it is sent."""

    def __init__(
        self,
        app_key: str,
        app_secret: str | bytes,
        algorithm: digest.Algorithm = digest.DEFAULT,
        *,
        signed_headers: Sequence[str] = (),
        stage: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(
            lambda request: digest.sign(
                app_key=app_key,
                app_secret=app_secret,
                method=request.method,
                target=_target(request),
                headers=_headers(request),
                body=request.content,
                signed_headers=signed_headers,
                stage=stage,
                algorithm=algorithm,
                at=clock(),
            ),
            requires_request_body=True,
        )
