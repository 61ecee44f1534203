"""Signed requests with something changed: always an answer, never a crash, no secret in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz import signing
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.server.decision_log import DecisionLog
from authz.server.metrics import Recorder
from authz.server.service import Engine, Service
from authz.signing import Signed
from tests.support.checks import Seen
from tests.support.gateway import NOW, Gateway
from tests.support.texts import PRINTABLE

SECRET = "0123456789abcdef0123456789abcdef"
CODE = "3F2504E04F8911D39A0C0305E82C3301"
FORM = "application/x-www-form-urlencoded"
DOCUMENT = f"""
services:
  - {{id: digest, hosts: [digest], auth: {{any: [{{digest: {{hide_credentials: true}}}},
      {{appcode: {{app_code: HEADER_QUERY}}}}]}}}}
  - {{id: alibaba, hosts: [alibaba], auth: {{digest: {{profile: alibaba}}}}}}
  - {{id: hmac, hosts: [hmac], auth: {{hmac-auth: {{hide_credentials: true,
      validate_request_body: true, max_req_body_size: 64}}}}}}
  - {{id: lax, hosts: [lax], auth: {{hmac-auth: {{profile: apisix-3.18,
      anonymous_consumer: guest, validate_request_body: true}}}}}}
  - {{id: legacy, hosts: [legacy], auth: {{hmac-auth: {{profile: apisix-3.9}}}}}}
  - {{id: all, hosts: [all], auth: {{all: [{{hmac-auth: {{}}}}, {{jwt-auth: {{cookie: tok,
      hide_credentials: true, store_in_ctx: true, claims_to_headers: {{sub: X-Sub}}}}}}]}}}}
  - id: sign
    hosts: [sign]
    routes: [{{id: s, match: {{path: /x}}, endpoint: jwt-sign}}]
consumers:
  - {{username: guest}}
  - username: alice
    credentials:
      - {{id: d, digest: {{app_key: alice-app, app_secret: {SECRET}}}}}
      - {{id: a, appcode: {{code: {CODE}}}}}
      - {{id: h, hmac-auth: {{key_id: alice-id, secret_key: {SECRET}}}}}
      - {{id: l, hmac-auth: {{access_key: alice-old, secret_key: {SECRET}, keep_headers: true,
          clock_skew: 300, validate_request_body: true}}}}
      - {{id: j, jwt-auth: {{key: alice-jwt, secret: {SECRET}}}}}
"""
GATEWAY = Gateway(DOCUMENT)


class Parts(NamedTuple):
    """A request before Envoy describes it: all of it bytes."""

    host: bytes
    method: bytes
    target: bytes
    lines: list[tuple[bytes, bytes]]
    body: bytes

    def check(self, *, exact: bool = True, partial: bytes = b"false") -> CheckRequest:
        """As the hardened Envoy describes it, or one that sends no raw bytes."""
        made = CheckRequest()
        http = made.attributes.request.http
        http.method, http.path, http.host = map(_text, (self.method, self.target, self.host))
        http.raw_body, http.size = self.body, len(self.body)
        pseudo = [(b":method", self.method), (b":path", self.target), (b":authority", self.host)]
        buffered = [(b"x-envoy-auth-partial-body", partial)] if self.body else []
        for name, value in (*pseudo, *self.lines, *buffered):
            if exact:
                http.header_map.headers.add(key=_text(name), raw_value=value)
            elif _text(name) in http.headers:
                http.headers[_text(name)] += f",{_text(value)}"
            else:
                http.headers[_text(name)] = _text(value)
        return made


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\ufffd", "!")


def _parts(host: str, signed: Signed, *lines: tuple[str, str], body: bytes = b"") -> Parts:
    sent = [(name.lower().encode(), value.encode()) for name, value in (*lines, *signed.headers)]
    query = b"".join(f"&{name}={value}".encode() for name, value in signed.query)
    target = b"/x?b=2&a=%C3%A9&c=" + query
    return Parts(host.encode(), b"POST" if body else b"GET", target, sent, body)


def _made() -> Iterator[Parts]:
    carrier: Any
    target, form, data = "/x?b=2&a=%C3%A9&c=", [("content-type", FORM)], b"a=1&d="
    for host in ("digest", "alibaba"):
        app: Any = {"app_key": "alice-app", "app_secret": SECRET, "at": NOW, "nonce": host}
        yield _parts(host, signing.sign_digest("GET", target, **app))
        unlike = signing.sign_digest("POST", target, form, b"e=1", **app)
        yield _parts(host, unlike, *form, body=b"e=1")
        json = [("content-type", "application/json")]
        put = signing.sign_digest("POST", target, json, b"{}", **app)
        yield _parts(host, put, *json, body=b"{}")
    yield _parts("digest", signing.sign_appcode(CODE))
    yield _parts("digest", signing.sign_appcode(CODE, query="appCODE"))
    for host in ("hmac", "lax"):
        key: Any = {"key_id": "alice-id", "secret": SECRET, "at": NOW}
        yield _parts(host, signing.sign_hmac_auth("GET", target, [], b"", **key))
        yield _parts(host, signing.sign_hmac_auth("POST", target, [], data, **key), body=data)
    for carrier in ("headers", "authorization"):
        legacy = signing.sign_hmac_legacy(
            *("GET", target, [("x-a", "1")], b""),
            access_key="alice-old",
            secret=SECRET,
            signed_headers=["x-a"],
            carrier=carrier,
            at=NOW,
        )
        yield _parts("legacy", legacy, ("x-a", "1"))
    both = signing.sign_hmac_auth("GET", target, key_id="alice-id", secret=SECRET, at=NOW)
    claims = {"key": "alice-jwt", "sub": ["é", 1, {"x": None}]}
    jwt = signing.sign_jwt(claims, key=SECRET, at=NOW, cookie="tok")
    yield _parts("all", both, *jwt.headers, ("cookie", "a=1"))
    yield _parts("sign", Signed(query=(("key", "alice-jwt"), ("payload", '{"x":1}'))))


GOOD = list(_made())
NOISE = [
    *(
        b"",
        b"\xff",
        b"\x00",
        b"%",
        b"%zz",
        b"%00",
        b"%ff",
        b",",
        b'"',
        b"=",
        b"#",
        b";",
        b" ",
        b"!",
    ),
    *(b"\t", b"\r\n", b"\xed\xa0\x80", b"\xc3\xa9", b"\xef\xbc\x91", b"a" * 300, b"&" * 1001, b"["),
    *(b"{", b":", b"\\", b"/../", b"//", b"+", b"-1", b"9" * 20, b"1e400", b"nan", b"APPCODE "),
    *(b"Signature ", b"hmac-auth-v1#", b"Bearer ", b"Basic "),
]
NAMES = [
    *sorted({name for parts in GOOD for name, _ in parts.lines}),
    *(b"host", b"x-nonce", b"x_sub", b"x-sub", b"x-consumer-username", b"x-request-id", b"apikey"),
    *(b"x-envoy-auth-partial-body", b"transfer-encoding", b"content-length", b"x-ca-stage"),
    *(b"content-md5", b"x-hmac-signed-headers", b"x-hmac-algorithm", b"x-ca-error-message"),
]


def _noisy(draw: st.DrawFn, data: bytes) -> bytes:
    """One byte or several replaced, taken out or put in."""
    start = draw(st.integers(0, len(data)))
    end = start + draw(st.sampled_from([0, 0, 1, 1, 8, 10_000]))
    return data[:start] + draw(st.sampled_from(NOISE) | st.binary(max_size=3)) + data[end:]


@st.composite
def _mutated(draw: st.DrawFn) -> CheckRequest:
    parts = draw(st.sampled_from(GOOD))
    host, method, target, lines, body = parts
    lines = list(lines)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, 20)) % (len(lines) or 1)
        what = draw(st.sampled_from(["value", "value", "value", "copy", "drop", "add", "target"]))
        match draw(st.just(what) | st.sampled_from(["body", "method", "host"])):
            case "value" if lines:
                lines[at] = (lines[at][0], _noisy(draw, lines[at][1]))
            case "copy" if lines:
                lines.append(lines[at])
            case "drop" if lines:
                del lines[at]
            case "add":
                value = draw(st.sampled_from([*NOISE, *(value for _, value in parts.lines)]))
                lines.append((draw(st.sampled_from(NAMES)), value))
            case "target":
                target = _noisy(draw, target)
            case "body":
                body = _noisy(draw, body)
            case "method":
                method = _noisy(draw, method)
            case "host":
                host = _noisy(draw, host)
    exact, partial = draw(st.booleans()), draw(st.sampled_from([b"false", b"false", b"true", b"x"]))
    return Parts(host, method, target, lines, body).check(exact=exact, partial=partial)


class Running(NamedTuple):
    service: Service
    log: Path

    def ask(self, request: CheckRequest) -> bytes:
        GATEWAY.memory.nonces.clear()
        return self.service.check(request.SerializeToString())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    log = DecisionLog(descriptor)
    service = Service(Recorder(), log, clock=lambda: NOW)
    service.engine = Engine(GATEWAY.routes, GATEWAY.memory, GATEWAY.memory)
    yield Running(service, file)
    log.close()
    os.close(descriptor)
    assert SECRET.encode() not in file.read_bytes()
    assert CODE.encode() not in file.read_bytes()


@pytest.mark.parametrize("parts", GOOD, ids=lambda parts: parts.host.decode())
def test_unchanged(parts: Parts, running: Running) -> None:
    """They hold, so that what is said of changed ones says something."""
    seen = Seen.of(CheckResponse.FromString(running.ask(parts.check())))

    assert seen.reason == ("token_signed" if parts.host == b"sign" else "allowed")


def _padded(parts: Parts) -> CheckRequest:
    """What follows its padding does not count in a signature as APISIX reads it."""
    lines = [
        (name, value + b"\xff" if name == b"x-hmac-signature" else value)
        for name, value in parts.lines
    ]
    return parts._replace(lines=lines).check()


@settings(max_examples=400)
@given(_mutated())
@example(_padded(next(parts for parts in GOOD if parts.host == b"legacy")))
def test_changed(running: Running, request_: CheckRequest) -> None:
    """A decision, whatever was changed: no fault, which would be a bug of ours or an alarm that a
    stranger can raise; and an answer of which no byte ends a header or tells a secret."""
    answer = running.ask(request_)
    found = CheckResponse.FromString(answer)
    seen = Seen.of(found)

    assert seen.outcome in ("allow", "deny")
    assert (seen.consumer == "") == (seen.outcome == "deny")
    assert SECRET.encode() not in answer
    options = (*found.denied_response.headers, *found.ok_response.headers)
    assert all(PRINTABLE.fullmatch(option.header.value) for option in options)
    assert all(option.header.key.isascii() for option in options)
