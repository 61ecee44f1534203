"""Requests as people write them down, and what curl itself sends for the same line."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from authz.admin import described
from authz.admin.credentials import Refused
from authz.values import Request

LINES = [
    "curl http://{host}/ip",
    "curl -sS -i '{host}/ip?a=1&b=%20'",
    "curl -H 'apikey: k' -H 'X-Two: a' -H 'X-Two: b' http://{host}/ip",
    "curl -H 'X-Empty;' -H 'Accept:' -H 'accept-language:  de ' http://{host}/",
    "curl -X PUT -d 'a=1' -d b=2 http://{host}/form",
    "curl -d @{file} http://{host}/form",
    "curl --data-binary @{file} -H 'content-type: text/plain' http://{host}/text",
    "curl --data-raw @not-a-file http://{host}/text",
    "curl --json '{{\"a\": 1}}' -H 'Accept: text/html' http://{host}/json",
    "curl -u alice:secret -A me http://{host}/",
    "curl http://alice:secret@{host}/",
    "curl -b 'a=1; b=2' http://{host}/",
    "curl -G -d a=1 -d b=2 'http://{host}/search?q=x'",
    "curl -XDELETE http://{host}/thing",
    "curl -I http://{host}/",
    "curl -H 'Host: other.example' http://{host}/",
]


def arrived(line: list[str]) -> bytes:
    """What curl sends, byte for byte."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                data = b""
                while not _whole(data):
                    data += connection.recv(65536)
                received.append(data)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        words = [word.replace("{host}", host) for word in line]
        subprocess.run(words, capture_output=True, check=True, timeout=20)
        thread.join(10)
    return received[0].replace(host.encode(), b"{host}")


def _whole(data: bytes) -> bool:
    head, blank, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(x.partition(b":")[2]) for x in head.lower().splitlines() if b"content-length" in x
    ]
    return bool(blank) and len(body) >= (lengths[0] if lengths else 0)


def parts(request: Request) -> tuple[object, ...]:
    headers = {
        name: request.headers.get(name)
        for name in sorted(request.headers)
        if name not in ("user-agent", "connection")
    }
    agent = (
        request.headers.first("user-agent") if request.headers.first("user-agent") == "me" else ""
    )
    body = request.body.data if request.body else b""
    return request.method, request.target, request.host, headers, agent, body


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("line", LINES)
def test_a_line_means_what_curl_makes_of_it(line: str, tmp_path: Path) -> None:
    """The request that curl really sends."""
    file = tmp_path / "body"
    file.write_bytes(b"one\r\ntwo\n")
    words = shlex.split(line.format(host="{host}", file=file))

    sent = described.http(arrived([*words, "--noproxy", "*"]), 0.0).request

    assert parts(described.curl(words, 0.0).request) == parts(sent)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("curl", "one URL"),
        ("curl http://a/ http://b/", "one URL"),
        ("curl --frobnicate http://a/", "--frobnicate"),
        ("curl -d @/does/not/exist http://a/", "/does/not/exist"),
        ("curl 'http://a/", "not understood"),
        ("curl http://[/", "URL"),
    ],
)
def test_what_is_not_understood_is_refused(line: str, words: str) -> None:
    """In words that name it."""
    with pytest.raises(Refused, match=words):
        described.curl(line, 0.0)


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    """In a query made of a body, and in a login."""
    request = described.curl(["curl", "-G", "-d", "a=\udcff", "-u", "u:\udcff", "h"], 0.0).request

    assert request.target == "/?a=\udcff"
    assert request.headers.get("authorization") == ("Basic dTr/",)


def test_a_bare_url_is_a_get() -> None:
    """Of that host and target."""
    written = described.curl("https://api.example:8443/a?b=c", 5.0)

    assert written.origin == "https://api.example:8443"
    assert (written.request.method, written.request.target) == ("GET", "/a?b=c")
    assert (written.request.host, written.request.at) == ("api.example:8443", 5.0)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_http_text_is_read(end: str) -> None:
    """Request line, headers in their order, and the body byte for byte."""
    text = end.join(["POST /a?b=c HTTP/1.1", "Host: h", "X-A: 1", "x-a: 2", "", "body\n"])

    request = described.http(text.encode(), 0.0).request

    assert (request.method, request.target, request.host) == ("POST", "/a?b=c", "h")
    assert request.headers.get("x-a") == ("1", "2")
    assert request.body is not None
    assert request.body.data == b"body\n"


@pytest.mark.parametrize(
    "text", ["", "hello", "GET", "GET /\nno colon here", "GET http://[/ HTTP/1.1\nHost: h"]
)
def test_a_text_that_is_no_request_is_refused(text: str) -> None:
    """With the line, or with what was expected."""
    with pytest.raises(Refused, match=r"request line|line 2|URL"):
        described.http(text.encode(), 0.0)
