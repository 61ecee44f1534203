"""What a case of any format becomes: a document, the requests to send, and what to verify.

Formats translate to these values; the two ways of asking (`direct`, `envoy`) know nothing else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

Mode = Literal["direct", "envoy"]
#: `answer`: the service answered in the upstream's place, and refused nothing.
Outcome = Literal["allow", "deny", "answer", "error"]
Line = tuple[bytes, bytes]
Plain = dict[str, Any]

#: Where a request goes that names no host.
HOST = "api.example"


class Inexpressible(Exception):
    """This case asks for something that a gateway document, or this way of asking, cannot say."""


class Sent(Struct, frozen=True):
    """One request as the client writes it, byte for byte.

    `lines` are the header lines in their order, Host not among them unless the case wrote one.
    `raw` is a whole HTTP/1.1 request and `check` a whole CheckRequest, in place of all others.
    """

    method: bytes = b"GET"
    target: bytes = b"/"
    host: bytes = HOST.encode()
    lines: tuple[Line, ...] = ()
    body: bytes = b""
    http: Literal["1.1", "2"] = "1.1"
    raw: bytes | None = None
    check: Mapping[str, Any] | None = None
    partial: bool = False


class Seen(Struct, frozen=True):
    """What the upstream received. Header names are in lower case."""

    target: bytes
    headers: tuple[tuple[str, bytes], ...]
    body: bytes = b""

    def values(self, name: str) -> list[bytes]:
        return [value for each, value in self.headers if each == name.lower()]


class Answer(Struct, frozen=True):
    """What came of a request: what the client was told, and what the upstream saw.

    `asked`: the service was asked at all (Envoy refuses some requests by itself). `metadata` is
    the decision's, where it can be seen. `note` is for messages of failed tests.
    """

    outcome: Outcome
    status: int
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""
    upstream: Seen | None = None
    asked: bool = True
    metadata: Mapping[str, Any] | None = None
    note: str = ""

    def values(self, name: str) -> list[bytes]:
        return [value for each, value in self.headers if each == name.lower()]

    @property
    def told(self) -> str:
        """In a line, for a message."""
        body = self.body[:200].decode(errors="replace")
        return f"{self.outcome} {self.status} {body} {self.note}".rstrip()


#: Raises AssertionError. May return a remark, to be counted in the summary.
Verify = Callable[[Sequence[Answer]], str | None]
#: What a refused document means. `fail`: the case fails. `leave-out`: the credential that the error
#: names does not exist, and the case goes on. `error`: it is this answer, to every request, and the
#: policy before stays. `fine`: the case allows for it.
Refusal = Literal["fail", "leave-out", "error", "fine"]


class Exchange(Struct, frozen=True):
    """Apply `document`, send `requests` in turn, then `verify` the answers.

    `now` is the service's clock, in Unix seconds; None is the real one.
    """

    document: Plain
    requests: tuple[Sent, ...]
    verify: Verify
    now: float | None = None
    refusal: Refusal = "fail"


class Judgement(Struct, frozen=True):
    """Say whether `document` would be accepted; `verify` is given the error, or None."""

    document: Plain
    verify: Callable[[str | None], None]


class Format(Protocol):
    """One format of case files; each is a module of `formats/`."""

    def recognises(self, case: Plain, /) -> bool:
        """By its structure alone."""
        ...

    def group(self, case: Plain, /) -> str:
        """The row of the summary that it counts in."""
        ...

    def translate(self, case: Plain, shared: Plain, mode: Mode, /) -> Exchange | Judgement:
        """`shared` is the whole file: `cases`, and what stands beside them. Raises
        `Inexpressible`."""
        ...


# -- values as the formats write them --------------------------------------------------------------


def octets(value: Any) -> bytes:
    """Text is UTF-8; `{"b64": …}` is any bytes."""
    if isinstance(value, Mapping):
        if set(value) != {"b64"}:
            raise Inexpressible(f"a value written as {sorted(value)} is not understood")
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, bool) or value is None:
        raise Inexpressible(f"a value that is {value!r} is not understood")
    return str(value).encode("utf-8", "surrogateescape")


def header_lines(headers: Any) -> tuple[Line, ...]:
    """From `{name: value}`, `{name: [value, …]}` or `[[name, value], …]`, in their order."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return tuple(_lines(pairs))


def _lines(pairs: Any) -> Iterator[Line]:
    for name, value in pairs:
        for each in value if isinstance(value, list) else [value]:
            yield octets(name), octets(each)


def body_of(request: Plain) -> bytes:
    """`body` as text or `{"b64": …}`, or `body_base64`."""
    for name in ("body_base64", "body_b64"):
        if request.get(name) is not None:
            return base64.b64decode(request[name], validate=True)
    body = request.get("body")
    return b"" if body is None else octets(body)


#: Paths that Envoy, hardened as it is here, rewrites or refuses before it asks.
_REWRITTEN = re.compile(rb"//|\\|/\.{1,2}(?:[;/]|$)|%(?:2[eEfF]|5[cC]|00)")


def as_it_stands(request: Sent, mode: Mode) -> Sent:
    """A vendor's request, if it reaches the service as it stands. Raises `Inexpressible`."""
    if mode == "envoy":
        if any(b"_" in name for name, _ in request.lines):
            raise Inexpressible("Envoy is configured to refuse header names with underscores")
        if _REWRITTEN.search(request.target.partition(b"?")[0]):
            raise Inexpressible("Envoy is configured to rewrite or refuse this path")
    return request


def sent(request: Plain) -> Sent:
    """The parts that every format writes alike."""
    target = octets(request.get("path", "/"))
    if request.get("query"):
        target += b"?" + octets(request["query"])
    http = str(request.get("http", "1.1"))
    if http not in ("1.1", "2"):
        raise Inexpressible(f"HTTP/{http} is not understood")
    return Sent(
        method=octets(request.get("method", "GET")),
        target=target,
        host=octets(request.get("host") or HOST),
        lines=header_lines(request.get("headers")),
        body=body_of(request),
        http="2" if http == "2" else "1.1",
    )
