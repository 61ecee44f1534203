"""HTTP/1.1 by hand: writing requests as no client library would, and reading raw ones."""

from __future__ import annotations

import http.client
import re
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec.structs import replace

from tests.conformance.case import Answer, Inexpressible, Line, Sent

_REQUEST_LINE = re.compile(rb"([!-~]+) ([!-\xff]+) HTTP/1\.1")
_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Seconds that an answer may take.
PATIENCE = 20.0


def write(sent: Sent) -> bytes:
    """The request's bytes. Only Host and Content-Length are added, where they are not given."""
    if sent.raw is not None:
        return sent.raw
    names = {name.lower() for name, _ in sent.lines}
    lines = list(sent.lines)
    if b"host" not in names:
        lines.insert(0, (b"host", sent.host))
    framed = names & {b"content-length", b"transfer-encoding"}
    if not framed and (sent.body or sent.method in (b"POST", b"PUT", b"PATCH")):
        lines.append((b"content-length", str(len(sent.body)).encode()))
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (sent.method, sent.target, head, sent.body)


def parse(raw: bytes) -> Sent:
    """A raw request as Envoy's parser reads it. Raises `Inexpressible` where Envoy answers 400."""
    head, end, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    lines = _header_lines(rest)
    names = {name.lower() for name, _ in lines}
    if not (end and found and b"host" in names) or b"transfer-encoding" in names:
        raise Inexpressible("a raw request that Envoy refuses or rewrites before it asks")
    method, target = found.groups()
    return Sent(method=method, target=target, lines=tuple(lines), body=body)


def without_origin(sent: Sent) -> Sent:
    """An absolute target is reduced to its path, and its authority wins over Host."""
    url = urlsplit(sent.target)
    if not (url.scheme and url.netloc):
        return sent
    target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
    lines = tuple(line for line in sent.lines if line[0].lower() != b"host")
    return replace(sent, target=target, host=url.netloc, lines=lines)


def _header_lines(rest: list[bytes]) -> list[Line]:
    lines: list[Line] = []
    for line in rest:
        if line[:1] in (b" ", b"\t") and lines:
            # Of a folded line (RFC 9112 section 5.2) Envoy 1.40 drops the line end alone.
            name, value = lines[-1]
            lines[-1] = name, value + line
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise Inexpressible("a raw request that Envoy refuses or rewrites before it asks")
        lines.append((name, value))
    return lines


def ask(address: tuple[str, int], sent: Sent) -> Answer:
    """Send it and read the answer; a connection that closes without one is an error."""
    with socket.create_connection(address, timeout=PATIENCE) as link:
        # What is refused before it was read whole ends the sending; the answer may be there.
        with suppress(OSError):
            link.sendall(write(sent))
        response = http.client.HTTPResponse(link, method=sent.method.decode("latin-1"))
        try:
            response.begin()
            body = response.read()
        except (http.client.HTTPException, OSError) as error:
            return Answer("error", 0, note=f"no answer: {error!r}")
        finally:
            response.close()
        headers = tuple((n.lower(), v.encode("latin-1")) for n, v in response.getheaders())
        return Answer("error", response.status, headers, body)
