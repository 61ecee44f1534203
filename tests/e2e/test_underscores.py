"""A deployment that drops header names with underscores where the project's refuses them: for
clients that send one which nobody reads, such as Alibaba's Java SDK (`ca_version`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from authz.signing import sign_digest
from tests.e2e.support.bootstraps import edited, manager, with_bodies
from tests.e2e.support.recording import Received
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line
from tests.support.tokens import SECRET, token

TARGET = "/x?a=1"
KEY, APP_SECRET = "203753385", "s3cr3t-AppSecret-1"
DOCUMENT = f"""
services:
  - {{id: api, hosts: [api.test], auth: {{digest: {{}}}}}}
  - {{id: told, hosts: [told.test], auth: {{jwt-auth: {{claims_to_headers: {{sub: X-Subject}}}}}}}}
  - {{id: old, hosts: [old.test], auth: {{key-auth: {{header: api_key}}}}}}
consumers:
  - username: app
    credentials:
      - {{id: digest, digest: {{app_key: "{KEY}", app_secret: {APP_SECRET}}}}}
      - {{id: jwt, jwt-auth: {{key: app, secret: "{SECRET.decode()}"}}}}
      - {{id: key, key-auth: {{key: app-api-key}}}}
"""
VERSION: Line = ("ca_version", "1")
LIES: tuple[Line, ...] = (
    ("x_consumer_username", "root"),
    ("X_Consumer_Username", "root"),
    ("x-consumer_username", "root"),
    ("x_credential_identifier", "root"),
    ("x-consumer-username", "root"),
)


def _drop(listener: dict[str, Any]) -> None:
    options = manager(listener)["common_http_protocol_options"]
    assert options["headers_with_underscores_action"] == "REJECT_REQUEST"
    options["headers_with_underscores_action"] = "DROP_HEADER"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT, bootstrap=edited(_drop, with_bodies)) as stack:
        yield stack


def signed(*lines: Line, **how: Any) -> tuple[Line, ...]:
    """With these headers, which the signature does not cover unless it is told to."""
    made = sign_digest("GET", TARGET, lines, app_key=KEY, app_secret=APP_SECRET, **how)
    return (*lines, *made.headers)


def passed(stack: Stack, target: str, *lines: Line, **how: Any) -> Received:
    """What the upstream received: nothing whose name has an underscore."""
    answer, seen = stack.send(target, *lines, **how)
    assert (answer.status, answer.message) == (200, None)
    assert seen is not None
    assert [name for name, _ in seen.lines if b"_" in name] == []
    return seen


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_header_that_nobody_reads(stack: Stack, http2: bool) -> None:
    """The request passes without it; the project's own configuration refuses it whole."""
    seen = passed(stack, TARGET, *signed(VERSION), http2=http2)
    assert seen.values("x-consumer-username") == [b"app"]


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("lie", LIES)
def test_nobody_states_who_calls(stack: Stack, lie: Line, http2: bool) -> None:
    """However the name is spelled, it is gone before anybody reads it."""
    seen = passed(stack, TARGET, *signed(VERSION), lie, http2=http2)
    assert seen.identity == [("x-consumer-username", "app"), ("x-credential-identifier", "digest")]


def test_nobody_states_what_a_token_tells(stack: Stack) -> None:
    text = token({"key": "app", "sub": "u-1", "exp": int(time.time()) + 60})
    lines = (("authorization", f"Bearer {text}"), ("x_subject", "root"))
    assert passed(stack, "/x", *lines, host="told.test").values("x-subject") == [b"u-1"]


def test_what_is_needed_must_not_have_one(stack: Stack) -> None:
    """What is dropped is not there: neither a credential, nor a header that was signed."""
    answer, seen = stack.send("/x", ("api_key", "app-api-key"), host="old.test")
    assert (answer.status, answer.message) == (401, "Missing API key found in request")
    assert seen is None
    answer, seen = stack.send(TARGET, *signed(("x_biz", "1"), signed_headers=["x_biz"]))
    assert (answer.status, answer.header("x-ca-error-code"), seen) == (403, "A403IS", None)
