"""Calls: what a request's headers ask for, what a method is, and a message out of its frame."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import grpc
from msgspec import Struct

from authz.server.h2.hpack import Line

#: gRPC's status codes, by number.
DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED.value[0]
INTERNAL = grpc.StatusCode.INTERNAL.value[0]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
#: Before a message: whether it is compressed, and its length in four octets.
PREFIX = 5

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_UNITS = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
#: Fields that belong to a connection of HTTP/1.1 (RFC 9113, 8.2.2).
_FORBIDDEN = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
_PSEUDO = {b":method", b":path", b":scheme", b":authority"}
_TAKEN = {b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding"}
_GZIP = 31  # zlib's word for gzip's format and the largest window
#: A compressed message of more than `_FREE` octets may be so many times as long as what came:
#: else some kilobytes would cost the loop's thread as much as some megabytes.
_RATIO, _FREE = 32, 64 * 1024


class Failed(Exception):
    """A method's answer is a gRPC status that is not OK."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Caller(Protocol):
    """Who called a method of a stream of answers."""

    @property
    def gone(self) -> bool: ...

    def send(self, message: bytes) -> None:
        """On the loop's thread alone."""
        ...


class Unary:
    """A method that answers a message by a message. It fails by raising `Failed`."""

    def answer(self, message: bytes) -> Any:
        """The answer's bytes, or, when it would have to wait, something else to `finish`."""
        raise NotImplementedError

    def finish(self, deferred: Any) -> bytes:
        """Called on a thread of the pool. Just one of `finish`, `shed` and `drop` is called."""
        raise NotImplementedError

    def shed(self, deferred: Any) -> bytes:
        """The answer when too many wait already."""
        raise NotImplementedError

    def drop(self, deferred: Any) -> None:
        """Nobody waits for the answer any more: cancelled, or too late."""


class Simple(Unary):
    """A method that never waits."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer

    def answer(self, message: bytes) -> bytes:
        return self._answer(message)


class Streaming:
    """A method that takes messages one by one and answers each with some.

    An `endless` one goes on when the caller has said all, until it leaves or we do.
    """

    def __init__(
        self, take: Callable[[Caller, bytes], Iterable[bytes]], *, endless: bool = False
    ) -> None:
        self.take, self.endless = take, endless


Method = Unary | Streaming


class Head(Struct, frozen=True):
    """A request's headers, understood once. `bad` ones are malformed: their stream is reset.
    `http` and `status` are answers already, where they are not empty."""

    method: Method | None = None
    timeout: float | None = None
    gzip: bool = False
    status: int = 0
    http: bytes = b""
    bad: bool = False
    content_length: int | None = None
    # To be answered from one DATA frame without further ado.
    plain: bool = False


def understand(lines: list[Line], methods: Mapping[bytes, Method]) -> Head:
    """What a header list asks for (RFC 9113, 8.3; gRPC over HTTP/2, "Request-Headers")."""
    seen = _seen(lines)
    if seen is None or not all(seen.get(name) for name in (b":path", b":method", b":scheme")):
        return Head(bad=True)
    length = seen.get(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        return Head(bad=True)
    method = methods.get(seen[b":path"])
    encoding = seen.get(b"grpc-encoding", b"identity")
    known = method is not None and encoding in (b"identity", b"gzip")
    timeout, good = _timeout(seen.get(b"grpc-timeout"))
    status = (0 if good else INTERNAL) if known else UNIMPLEMENTED
    http = _http(seen)
    return Head(
        method=method,
        timeout=timeout,
        gzip=encoding == b"gzip",
        status=status,
        http=http,
        content_length=None if length is None else int(length),
        plain=isinstance(method, Unary) and not (status or http or length is not None),
    )


def _seen(lines: list[Line]) -> dict[bytes, bytes] | None:
    """The fields that we look at; None when there is one that may not be there."""
    seen: dict[bytes, bytes] = {}
    regular = False
    for name, value in lines:
        if name[:1] == b":":
            if regular or name not in _PSEUDO or name in seen:
                return None
            seen[name] = value
            continue
        regular = True
        if name != name.lower() or name in _FORBIDDEN or (name == b"te" and value != b"trailers"):
            return None
        if name in _TAKEN:
            seen[name] = value
    return seen


def _http(seen: Mapping[bytes, bytes]) -> bytes:
    """An HTTP status for what is not gRPC at all."""
    kind = seen.get(b"content-type", b"")
    if seen[b":method"] != b"POST":
        return b"405"
    if kind[:16] != b"application/grpc" or kind[16:17] not in (b"", b"+", b";"):
        return b"415"
    return b""


def _timeout(text: bytes | None) -> tuple[float | None, bool]:
    """Seconds, and whether it can be read."""
    if text is None:
        return None, True
    match = _TIMEOUT.fullmatch(text)
    return (int(match[1]) * _UNITS[match[2]], True) if match else (None, False)


def message_of(head: Head, body: bytes, largest: int) -> bytes:
    """The one message of a unary call. Raises `Failed`."""
    size = len(body) - PREFIX
    if size < 0 or int.from_bytes(body[1:PREFIX], "big") != size or body[0] > 1:
        raise Failed(INTERNAL, "not one gRPC message")
    if not body[0]:
        return body[PREFIX:]
    if not head.gzip:
        raise Failed(INTERNAL, "a compressed message without grpc-encoding")
    return _inflated(body[PREFIX:], largest)


def _inflated(data: bytes, largest: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    largest = min(largest, max(_FREE, _RATIO * len(data)))
    try:
        message = inflater.decompress(data, largest + 1)
    except zlib.error:
        raise Failed(INTERNAL, "not gzip") from None
    if len(message) > largest:
        raise Failed(EXHAUSTED, "the message is too large")
    if not inflater.eof or inflater.unused_data:
        raise Failed(INTERNAL, "not one gzip member")
    return message


def announced(body: bytes | bytearray) -> int:
    """The size of a message whose first octets are here; 0 while it cannot be told."""
    return int.from_bytes(body[1:PREFIX], "big") if len(body) >= PREFIX else 0
