"""Requests as people write them down: a curl line, or the HTTP text itself."""

from __future__ import annotations

import argparse
import base64
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from authz.admin.credentials import Refused
from authz.values import Body, Headers, Request, raw

FORM = "application/x-www-form-urlencoded"
_START = re.compile(r"([A-Z][A-Z0-9_-]*) (\S+)(?: HTTP/[0-9.]+)?")
#: Options of curl that say nothing about the request.
_SILENT = ("-s", "-S", "-i", "-v", "-k", "-L", "-f", "-g", "-N", "-#", "--silent", "--show-error")
_SILENT_LONG = ("--include", "--verbose", "--insecure", "--location", "--fail", "--globoff")
_SILENT_LAST = ("--no-buffer", "--compressed", "--http1.1", "--http2", "--path-as-is")
_SILENT_VALUES = ("-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout")


class Written(Struct, frozen=True):
    """A request, and where it is sent to, such as `https://api.example.com`."""

    request: Request
    origin: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"this curl line is not understood: {message}")


def _curl_parser() -> _Parser:
    parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--url", dest="urls", action="append")
    parser.add_argument("-X", "--request", dest="method")
    parser.add_argument("-H", "--header", dest="headers", action="append", default=[])
    parser.add_argument("-A", "--user-agent")
    parser.add_argument("-b", "--cookie")
    parser.add_argument("-u", "--user")
    parser.add_argument("-I", "--head", action="store_true")
    parser.add_argument("-G", "--get", action="store_true")
    for names in (("-d", "--data", "--data-ascii"), ("--data-raw",), ("--data-binary",)):
        parser.add_argument(*names, dest="data", action=_Datum, default=[])
    parser.add_argument("--json", dest="data", action=_Datum)
    for name in (*_SILENT, *_SILENT_LONG, *_SILENT_LAST):
        parser.add_argument(name, dest=f"silent{name}", action="store_true")
    for name in _SILENT_VALUES:
        parser.add_argument(name, dest=f"silent{name}")
    return parser


class _Datum(argparse.Action):
    """Keeps which option a piece of the body came with."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option: str | None = None,
    ) -> None:
        namespace.data = [*namespace.data, (option, values)]


def curl(line: str | Sequence[str], at: float) -> Written:
    """The request that a curl line, or a bare URL, sends. Raises `Refused` for one that is not
    understood."""
    try:
        words = shlex.split(line) if isinstance(line, str) else list(line)
    except ValueError as error:
        raise Refused(f"this curl line is not understood: {error}") from None
    given = _curl_parser().parse_args(words[1:] if words[:1] == ["curl"] else words)
    if len(given.urls) != 1:
        raise Refused("expected one URL in the curl line")
    target = _split(given.urls[0] if "://" in given.urls[0] else f"http://{given.urls[0]}")
    host = target.netloc.rpartition("@")[2]
    return Written(_sent_by(given, target, host, at), f"{target.scheme}://{host}")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise Refused(f"this URL is not understood: {error}") from None


def _sent_by(given: argparse.Namespace, target: SplitResult, host: str, at: float) -> Request:
    body, default_type = _body(given.data)
    query = target.query
    if given.get and body:
        query, body = "&".join(filter(None, (query, body.decode("utf-8", "surrogateescape")))), b""
    login = given.user or unquote(target.netloc.rpartition("@")[0])
    lines = [*_written(given.headers), *_implied(given, body, default_type, login)]
    # A header that is given without a value is one that curl is not to send.
    named = {header.partition(":")[0].strip(" ;").lower() for header in given.headers}
    named |= {name.lower() for name, _ in lines}
    usual = (("Accept", "*/*"), ("User-Agent", "curl"))
    lines += [(name, value) for name, value in usual if name.lower() not in named]
    posted = "POST" if given.data and not given.get else "GET"
    method = given.method or ("HEAD" if given.head else posted)
    return _request(method, target.path or "/", query, lines, host, body, at)


def _body(data: list[tuple[str, str]]) -> tuple[bytes, str | None]:
    pieces = [_piece(option, text) for option, text in data]
    if any(option == "--json" for option, _ in data):
        return b"".join(pieces), "application/json"
    return b"&".join(pieces), FORM if data else None


def _piece(option: str, text: str) -> bytes:
    if not text.startswith("@") or option == "--data-raw":
        return text.encode("utf-8", "surrogateescape")
    try:
        content = Path(text[1:]).read_bytes()
    except OSError as error:
        raise Refused(f"{text[1:]}: {error.strerror}") from None
    # Without --data-binary curl takes line ends out of what it reads.
    keep = option in ("--data-binary", "--json")
    return content if keep else content.replace(b"\r", b"").replace(b"\n", b"")


def _written(headers: list[str]) -> list[tuple[str, str]]:
    lines = []
    for header in headers:
        name, colon, value = header.partition(":")
        if colon and value.strip():
            lines.append((name.strip(), value.strip()))
        elif header.endswith(";"):
            lines.append((header[:-1].strip(), ""))
    return lines


def _implied(
    given: argparse.Namespace, body: bytes, default_type: str | None, login: str
) -> list[tuple[str, str]]:
    named = {header.partition(":")[0].strip().lower() for header in given.headers}
    lines = []
    if login:
        lines.append(("Authorization", f"Basic {base64.b64encode(raw(login)).decode()}"))
    if given.cookie:
        lines.append(("Cookie", given.cookie))
    if given.user_agent:
        lines.append(("User-Agent", given.user_agent))
    if default_type and not given.get and "content-type" not in named:
        lines.append(("Content-Type", default_type))
    if body:
        lines.append(("Content-Length", str(len(body))))
    return lines


def http(text: bytes, at: float) -> Written:
    """The request of an HTTP/1.1 text: a request line, headers, a blank line, the body. Raises
    `Refused`."""
    head, _, body = (
        text.replace(b"\r\n", b"\n").partition(b"\n\n") if b"\r\n" not in text else _crlf(text)
    )
    start, *rest = head.decode("utf-8", "surrogateescape").splitlines() or [""]
    found = _START.fullmatch(start.strip())
    if not found:
        raise Refused("expected a request line such as `GET /ip HTTP/1.1`, or a curl line")
    lines = []
    for number, line in enumerate(rest, 2):
        name, colon, value = line.partition(":")
        if not colon:
            raise Refused(f"line {number}: expected `Name: value`")
        lines.append((name.strip(), value.strip()))
    path, _, query = found[2].partition("?")
    if "://" in path:
        path = _split(path).path or "/"
    host = next((value for name, value in lines if name.lower() == "host"), "")
    return Written(_request(found[1], path, query, lines, host, body, at), f"http://{host}")


def _crlf(text: bytes) -> tuple[bytes, bytes, bytes]:
    head, blank, body = text.partition(b"\r\n\r\n")
    return head.replace(b"\r\n", b"\n"), blank, body


def _request(
    method: str,
    path: str,
    query: str,
    lines: list[tuple[str, str]],
    host: str,
    body: bytes,
    at: float,
) -> Request:
    own_host = next((value for name, value in lines if name.lower() == "host"), host)
    return Request(
        method=method,
        path=path,
        query=query,
        headers=Headers((n, v) for n, v in lines if n.lower() != "host"),
        host=own_host,
        body=Body(body, complete=True, exact=True) if body else None,
        at=at,
    )
