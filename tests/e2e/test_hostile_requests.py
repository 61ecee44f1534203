"""Oversized and malformed requests are refused: never let in, never a crash, never a trace."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.support.bootstraps import add_host, edited
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line, written
from tests.support.checks import check
from tests.support.texts import NAUGHTY, has_control

DOCUMENT = """
services:
  - id: api
    auth: {any: [{key-auth: {cookie: key}}, {basic-auth: {}}]}
    access: {guessing: off}  # hundreds of wrong credentials come from one address
consumers:
  - username: alice
    credentials:
      - {id: key, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
"""
GOOD: Line = ("apikey", "alice-key")
#: What Envoy shows the authorizer of a body, on two hosts that ask for it: as much as its buffers
#: hold, and more than the authorizer takes in one message (4 MiB).
BUFFERED = {"signed.test": 65536, "huge.test": 8 << 20}
GOOD_CHECK = check("/ip", GOOD)
#: What no answer to a client may hold.
INTERNALS = (b"Traceback", b".py", b"grpc", b"Error", b"redis", b"authz/")


def _show_bodies(listener: dict[str, Any]) -> None:
    listener["per_connection_buffer_limit_bytes"] = 16 << 20
    for host, size in BUFFERED.items():
        add_host(listener, host, max_request_bytes=size)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT, bootstrap=edited(_show_bodies)) as stack:
        yield stack
        # Whatever came: nothing crashed, and the same two workers are there.
        assert "a check crashed" not in stack.log("authz")
        assert "authz_worker_restarts_total 0.0" in stack.metrics()
        assert {seen.outcome for seen in stack.ask_each(GOOD_CHECK)} == {"allow"}


@pytest.fixture(autouse=True)
def good_requests_still_pass(stack: Stack) -> Iterator[None]:
    yield
    answer, seen = stack.send("/ip", GOOD)
    assert answer.status == 200
    assert seen is not None


def refused(stack: Stack, request: bytes, *statuses: int) -> None:
    """Send it; it must be refused with one of these, reach nobody, and give nothing away."""
    before = stack.recorder.total
    answer = stack.raw(request)
    assert answer.status in statuses
    assert stack.recorder.total == before
    assert len(answer.body) < 500
    assert not [each for each in INTERNALS if each in answer.body]
    if answer.status == 401:
        assert answer.header("www-authenticate")
        assert answer.message


def test_headers_larger_than_the_limit(stack: Stack) -> None:
    """431, whatever the header is."""
    for name in ("x-mine", "apikey", "authorization", "cookie"):
        refused(stack, written("/ip", (GOOD, (name, "x" * 40_000))), 431)
    refused(stack, written("/ip", (GOOD, *(("x-mine", "1") for _ in range(120)))), 431)
    refused(stack, written("/" + "x" * 40_000, (GOOD,)), 431)


@pytest.mark.parametrize("name", ["ca_version", "api_key", "_", "x-mine_"])
def test_header_names_with_underscores(stack: Stack, name: str) -> None:
    """400, also for those that nobody reads (test_underscores.py has the other way)."""
    refused(stack, written("/ip", (GOOD, (name, "1"))), 400)


def test_credentials_larger_than_any_credential(stack: Stack) -> None:
    """Envoy lets them through, the authorizer does not look them up."""
    long = "x" * 20_000
    refused(stack, written("/ip", (("apikey", long),)), 401)
    refused(stack, written(f"/ip?apikey={long}"), 401)
    refused(stack, written("/ip", (("cookie", f"key={long}"),)), 401)
    pair = base64.b64encode(f"alice:{long}".encode()).decode()
    refused(stack, written("/ip", (("authorization", f"Basic {pair}"),)), 401)
    refused(stack, written("/ip?" + "&".join("a" for _ in range(5000)), ()), 401)


def test_bodies_larger_than_what_is_buffered(stack: Stack) -> None:
    """413 where the authorizer wants to see the body; below that it passes, whole."""
    head = written("/ip", (GOOD, ("x-tag", "fits"), ("content-length", "60000")), method="POST")
    fits = head.replace(b"api.test", b"signed.test") + b"b" * 60_000
    assert stack.raw(fits).status == 200
    [seen] = stack.recorder.of("fits")
    assert seen.body == b"b" * 60_000
    head = written("/ip", (GOOD, ("content-length", "100000")), method="POST")
    refused(stack, head.replace(b"api.test", b"signed.test") + b"b" * 100_000, 413)


def test_a_check_larger_than_a_message(stack: Stack) -> None:
    """A body that Envoy buffers and the authorizer's limit refuses is a fault, not a way in."""
    size = 5 << 20
    head = written("/ip", (GOOD, ("content-length", str(size))), method="POST")
    refused(stack, head.replace(b"api.test", b"huge.test") + b"b" * size, 503)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n\r\nnonsense\r\n\r\n",
        b"GET /ip\r\n\r\n",
        b"GET /ip HTTP/1.1\r\napikey: alice-key\r\n\r\n",
        b"GET /ip HTTP/9.9\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"get /ip HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"GET /ip HTTP/1.1\r\nhost: a\r\napikey : alice-key\r\n\r\n",
        b"GET /ip HTTP/1.1\r\nhost: a\r\napikey: alice\x00key\r\n\r\n",
        b"GET /ip HTTP/1.1\r\nhost: a\r\napi\x01key: alice-key\r\n\r\n",
        b"GET /i\x00p HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"GET /ip#x HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"GET /ip%00 HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"GET /a%2f..%2fip HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n\r\n",
        b"POST /ip HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n"
        b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST /ip HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\n"
        b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /ip HTTP/1.1\r\nhost: a\r\napikey: alice-key\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    ],
    ids=lambda value: repr(value[:40]),
)
def test_what_is_not_http(stack: Stack, request_bytes: bytes) -> None:
    """400 (or another refusal of Envoy's own) although a good key stands in it."""
    refused(stack, request_bytes, 400, 403, 404, 426)


@pytest.mark.parametrize(
    "value",
    [
        *("Basic", "Basic ", "Basic  ", "Basic =", "Basic ====", "Basic not-base64!"),
        *("Basic YWxpY2U", "Basic YWxpY2U=", "Basic OnBhc3M=", "Basic YWxpY2U6", "Basic AAAA"),
        *("basic\tYWxpY2U6YQ==", "Basic YWxpY2U6YQ==,Basic YWxpY2U6YQ==", "Bearer x", "\xff"),
    ],
)
def test_authorization_that_is_none(stack: Stack, value: str) -> None:
    """401 with a challenge and a message, whatever is wrong with it."""
    refused(stack, written("/ip", (("authorization", value),)), 401)


def test_strings_that_broke_other_software(stack: Stack) -> None:
    """As a key, a cookie or a password they open nothing and break nothing."""
    strings = [text.strip() for text in NAUGHTY if text.strip() and not has_control(text)]
    for number, text in enumerate(strings):
        raw = text.encode("utf-8", "surrogatepass").decode("latin-1")
        refused(stack, written("/ip", (("apikey", raw),)), 401)
        refused(stack, written("/ip", (("cookie", f"key={raw}"),)), 401)
        if number % 20 == 0:  # a password costs the time of its hash
            pair = base64.b64encode(f"alice:{raw}".encode("latin-1")).decode()
            refused(stack, written("/ip", (("authorization", f"Basic {pair}"),)), 401)
