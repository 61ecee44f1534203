"""Schemes that look at a request's body, which Envoy shows whole, in part, or not at all.

`docs/schemes.md`: a body that was not shown, or not whole, is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from authz.signing import sign_digest, sign_hmac_auth
from tests.e2e.support.bootstraps import add_host, edited
from tests.e2e.support.secrecy import logged
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Answer, Line, written
from tests.support.tokens import SECRET, token

KEY, APP_SECRET, HMAC_SECRET = "203753385", "s3cr3t-AppSecret-1", "john-hmac-key"
#: What Envoy shows of bodies, by host.
SHOWN: dict[str, dict[str, Any]] = {
    "shown.test": {"max_request_bytes": 2048, "allow_partial_message": False},
    "partial.test": {"max_request_bytes": 64, "allow_partial_message": True},
    "unshown.test": {},
}
MOST = 2048
DOCUMENT = f"""
services:
  - id: api
    hosts: [{", ".join(SHOWN)}]
    routes:
      - id: token
        match: {{path: /token}}
        auth: {{jwt: {{position: body, name: access_token, username_path: $.name}}}}
      - {{id: digest, match: {{path: /digest}}, auth: {{digest: {{}}}}}}
      - id: hmac
        match: {{path: /hmac}}
        auth: {{hmac-auth: {{validate_request_body: true, max_req_body_size: 1024}}}}
consumers:
  - username: ann
    credentials:
      - {{id: jwt, jwt: {{username: Ann, algorithm: HS256, secret: "{SECRET.decode()}"}}}}
      - {{id: digest, digest: {{app_key: "{KEY}", app_secret: {APP_SECRET}}}}}
      - {{id: hmac, hmac-auth: {{key_id: ann-key, secret_key: {HMAC_SECRET}}}}}
"""
JSON: Line = ("content-type", "application/json")
FORM: Line = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
BINARY = b"\x00\xff\r\n\r\n\xfe not UTF-8"


def _show(listener: dict[str, Any]) -> None:
    for host, how in SHOWN.items():
        add_host(listener, host, **how)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT, bootstrap=edited(_show)) as stack:
        yield stack


def made(key: bytes = SECRET) -> str:
    return token({"name": "Ann", "exp": int(time.time()) + 60}, key)


def in_json(text: str, **more: Any) -> bytes:
    return json.dumps({"a": 1, "access_token": text, **more}).encode()


def in_form(text: str, **more: str) -> bytes:
    return urlencode({"a": "1", "access_token": text, **more}).encode()


def by_digest(body: bytes | None, *lines: Line, target: str = "/digest") -> tuple[Line, ...]:
    signed = sign_digest("POST", target, lines, body, app_key=KEY, app_secret=APP_SECRET)
    return (*lines, *signed.headers)


def by_hmac(body: bytes) -> tuple[Line, ...]:
    return sign_hmac_auth("POST", "/hmac", (), body, key_id="ann-key", secret=HMAC_SECRET).headers


def posted(
    stack: Stack, target: str, lines: tuple[Line, ...], body: bytes | None, **how: Any
) -> tuple[Answer, bytes | None]:
    """The answer, and the body that the upstream received."""
    chosen = {"host": "shown.test", **how}
    answer, seen = stack.send(target, *lines, method="POST", body=body, **chosen)
    assert (seen is not None) is (answer.status == 200)
    assert seen is None or seen.values("x-consumer-username") == [b"ann"]
    return answer, seen.body if seen is not None else None


def reason(stack: Stack, answer: Answer) -> str:
    """What our log says of it."""
    return str(logged(stack, "authz", answer)["reason"])


# -- shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_what_is_shown_passes_and_arrives_whole(stack: Stack, http2: bool) -> None:
    """A token in JSON or a form, a signed form, a signed body of any bytes; over HTTP/2 without a
    Content-Length."""
    form = b"b=%20+&a=1&c="
    for target, lines, body in (
        ("/token", (JSON,), in_json(made())),
        ("/token", (FORM,), in_form(made())),
        ("/token", (JSON,), in_json(made(), filler="x" * 1500)),
        ("/digest", by_digest(form, FORM), form),
        ("/digest", by_digest(BINARY), BINARY),
        ("/digest", by_digest(b""), b""),
        ("/hmac", by_hmac(BINARY), BINARY),
        ("/hmac", by_hmac(b""), b""),
    ):
        answer, arrived = posted(stack, target, lines, body, http2=http2)
        assert (answer.status, arrived) == (200, body), (target, body, answer)


def test_in_chunks(stack: Stack) -> None:
    """Envoy puts them together before it asks."""
    body = in_json(made())
    head = (JSON, ("transfer-encoding", "chunked"), ("x-tag", "chunks"))
    start = written("/token", head, host="shown.test", method="POST")
    cut = len(body) // 2
    parts = (body[:cut], body[cut:], b"")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    assert stack.raw(start + chunks).status == 200
    [seen] = stack.recorder.of("chunks")
    assert seen.body == body


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize(
    ("target", "sign", "status"), [("/digest", by_digest, 403), ("/hmac", by_hmac, 401)]
)
def test_another_body_than_was_signed(
    stack: Stack, target: str, sign: Any, status: int, http2: bool
) -> None:
    """Changed, taken away, or added to what had none."""
    for signed, sent in ((BINARY, BINARY + b"."), (BINARY, b""), (b"", BINARY), (b"", b"a=1")):
        answer, _ = posted(stack, target, sign(signed), sent, http2=http2)
        assert (answer.status, answer.header("x-consumer-username")) == (status, None)


@pytest.mark.parametrize(
    ("lines", "body", "why"),
    [
        ((JSON,), in_json("@").replace(b'"a": 1', b'"access_token": "x"'), "malformed_credential"),
        ((JSON,), b"[" * 900, "malformed_credential"),
        ((FORM,), in_form("@") + b"&access_token=x", "duplicate_credential"),
        ((FORM,), in_json("@"), "missing_token"),
        ((), in_json("@"), "missing_token"),
        ((JSON, JSON), in_json("@"), "missing_token"),
        ((JSON,), in_json("@", b=1).replace(b"access_token", b"Access_Token"), "missing_token"),
    ],
)
def test_a_body_in_which_no_token_is_found(
    stack: Stack, lines: tuple[Line, ...], body: bytes, why: str
) -> None:
    """Beside a good token: another one, another type, another name."""
    answer, _ = posted(stack, "/token", lines, body.replace(b"@", made().encode()))
    assert (answer.status, answer.message) == (401, "missing or invalid token")
    assert reason(stack, answer) == why


# -- too much, and not shown -----------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_more_than_envoy_shows(stack: Stack, http2: bool) -> None:
    """413 from Envoy itself: nobody asks us."""
    asked = sum(stack.asked().values())
    for target, lines, body in (
        ("/token", (JSON,), in_json(made(), filler="x" * MOST)),
        ("/digest", by_digest(b"x" * (MOST + 1)), b"x" * (MOST + 1)),
    ):
        answer, _ = posted(stack, target, lines, body, http2=http2)
        assert answer.status == 413
    assert sum(stack.asked().values()) == asked


def test_more_than_we_take(stack: Stack) -> None:
    """413 of our own, where a route takes less than Envoy shows."""
    answer, _ = posted(stack, "/hmac", by_hmac(b"x" * 1025), b"x" * 1025)
    assert (answer.status, reason(stack, answer)) == (413, "body_too_large")


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_part_is_not_enough(stack: Stack, http2: bool) -> None:
    """However good the part is that was shown."""
    form = b"b=%20+&a=" + b"1" * 64
    for target, lines, body in (
        ("/token", (FORM,), b"access_token=" + made().encode() + b"&a=1"),
        ("/digest", by_digest(form, FORM), form),
        ("/hmac", by_hmac(BINARY * 8), BINARY * 8),
    ):
        answer, _ = posted(stack, target, lines, body, host="partial.test", http2=http2)
        assert answer.status in (401, 403)
        assert reason(stack, answer) == "body_incomplete"


def test_what_is_not_shown(stack: Stack) -> None:
    """A body that its headers tell of is missed; and without a body there is nothing to miss."""
    form = b"a=1"
    for target, lines, body, why in (
        ("/token", (JSON,), in_json(made()), "body_incomplete"),
        ("/digest", by_digest(form, FORM), form, "body_not_shown"),
        ("/digest", by_digest(BINARY), BINARY, "body_not_shown"),
        ("/digest", by_digest(b""), BINARY, "body_not_shown"),
        ("/hmac", by_hmac(BINARY), BINARY, "body_not_shown"),
    ):
        answer, _ = posted(stack, target, lines, body, host="unshown.test")
        assert (answer.status in (401, 403), reason(stack, answer)) == (True, why)
    answer, arrived = posted(stack, "/digest", by_digest(b""), None, host="unshown.test")
    assert (answer.status, arrived) == (200, b"")


def test_what_cannot_be_missed(stack: Stack) -> None:
    """The limit that envoy/README.md names: over HTTP/2 a body that is not shown, and of which no
    header tells, looks like none. What needs a body is refused; a signature over none holds."""
    form = b"a=1"
    for target, lines, body in (
        ("/token", (JSON,), in_json(made())),
        ("/digest", by_digest(form, FORM), form),
        ("/digest", by_digest(BINARY), BINARY),
        ("/hmac", by_hmac(BINARY), BINARY),
    ):
        answer, _ = posted(stack, target, lines, body, host="unshown.test", http2=True)
        assert answer.status in (401, 403)
    for target, lines in (("/digest", by_digest(b"")), ("/hmac", by_hmac(b""))):
        answer, arrived = posted(stack, target, lines, BINARY, host="unshown.test", http2=True)
        assert (answer.status, arrived) == (200, BINARY)
