"""Fetching a small public document over HTTPS, such as an issuer's keys.

No redirects and no proxies: each would choose an address of its own, and only those that
`authz.store.connecting` judged are connected to.
"""

from __future__ import annotations

import re
import ssl
import time
from urllib.parse import urlsplit

import httpcore
from httpcore import URL
from msgspec import Struct

from authz.store.connecting import (
    MALFORMED,
    REDIRECTED,
    STATUS,
    TIMEOUT,
    TOO_LARGE,
    UNREACHABLE,
    URL_REFUSED,
    FetchError,
    Network,
)

#: What may come beside the document, in bytes: headers, interim answers, the frames of chunks.
OVERHEAD = 64 * 1024

_MAX_AGE = re.compile(r'max-age="?([0-9]{1,10})"?', re.IGNORECASE)
_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (httpcore.TimeoutException, TIMEOUT),
    (httpcore.NetworkError, UNREACHABLE),
    (httpcore.ProtocolError, MALFORMED),
)


class Fetched(Struct, frozen=True):
    """A whole answer. `max_age`: the seconds that it stays fresh (RFC 9111 section 4.2), None if
    the answer does not say."""

    body: bytes
    max_age: float | None


class Fetcher:
    """Thread-safe. Every connection is checked against the system's certificates, or those of
    `ca_file` instead. `allow_private` takes any address, and `http:` too: for development, and for
    issuers inside a network that is trusted. `timeout` bounds the whole fetch, in seconds."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        ca_file: str | None = None,
        timeout: float = 2.0,
        max_bytes: int = 256 * 1024,
    ) -> None:
        self._allow_private = allow_private
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._timeout = timeout
        self._max_bytes = max_bytes

    def get(self, url: str) -> Fetched:
        """The document at a URL. Raises `FetchError`."""
        target, host = self._target(url)
        deadline = time.monotonic() + self._timeout
        network = Network(deadline, self._allow_private, self._max_bytes + OVERHEAD)
        headers = [("Host", host), ("Accept", "application/json"), ("Accept-Encoding", "identity")]
        try:
            with (
                httpcore.ConnectionPool(self._tls, network_backend=network) as pool,
                pool.stream("GET", target, headers=headers) as response,
            ):
                return self._read(response)
        except tuple(kind for kind, _ in _ERRORS) as error:
            reason = next(reason for kind, reason in _ERRORS if isinstance(error, kind))
            raise FetchError(reason) from error

    def _target(self, url: str) -> tuple[URL, str]:
        """The URL taken apart, and the Host header that goes with it."""
        schemes = ("https", "http") if self._allow_private else ("https",)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise FetchError(URL_REFUSED) from None
        plain = url.isascii() and url.isprintable() and " " not in url
        if not plain or parts.scheme not in schemes or not host or "@" in parts.netloc:
            raise FetchError(URL_REFUSED)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return URL(scheme=parts.scheme, host=host, port=port, target=path), parts.netloc

    def _read(self, response: httpcore.Response) -> Fetched:
        if 300 <= response.status < 400:  # noqa: PLR2004
            raise FetchError(REDIRECTED)
        if response.status != 200:  # noqa: PLR2004
            raise FetchError(STATUS)
        if _values(response, b"content-encoding").strip().lower() not in ("", "identity"):
            raise FetchError(MALFORMED)  # we asked for none, and what is small may unpack large
        body = bytearray()
        for part in response.iter_stream():
            body += part
            if len(body) > self._max_bytes:
                raise FetchError(TOO_LARGE)
        return Fetched(bytes(body), _max_age(response))


def _values(response: httpcore.Response, name: bytes) -> str:
    return ",".join(v.decode("latin-1") for n, v in response.headers if n.lower() == name)


def _max_age(response: httpcore.Response) -> float | None:
    directives = [d.strip() for d in _values(response, b"cache-control").split(",")]
    if any(d.lower() in ("no-store", "no-cache") for d in directives):
        return 0.0
    given = next(filter(None, map(_MAX_AGE.fullmatch, directives)), None)
    if given is None:
        return None
    age = re.fullmatch(r"[0-9]{1,10}", _values(response, b"age").strip())
    return max(0.0, float(given[1]) - (float(age[0]) if age else 0.0))
