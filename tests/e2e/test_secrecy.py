"""What was decided is told to the access log; what was secret is told to nobody.

Secrets of every kind carry a mark. They are used rightly, wrongly, in every place, while all is
well and while the store is away; then everything that can be read is searched for the mark.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.support import secrecy
from tests.e2e.support.secrecy import logged, spellings
from tests.e2e.support.stack import Stack, environment, running
from tests.e2e.support.wire import Answer, Line
from tests.support.checks import basic
from tests.support.valkey import Valkey
from tests.support.waiting import until

#: In the middle of every secret: a list of keys may show a key's first and last characters.
MARK = "cAnArY7f3e9d"
GOOD_KEY = f"good-key-{MARK}-0123456789"
REVOKED_KEY = f"gone-key-{MARK}-0123456789"
WRONG_KEY = f"wrong-key-{MARK}-0123456789"
PASSWORD = f"good pass-{MARK}:é"
WRONG_PASSWORD = f"wrong-pass-{MARK}"
STORE_PASSWORD = f"store-{MARK}"

DOCUMENT = f"""
services:
  - id: api
    hosts: [api.test]
    auth:
      any:
        - key-auth: {{cookie: key, hide_credentials: true}}
        - basic-auth: {{hide_credentials: true}}
  - id: routed
    hosts: [routed.test]
    routes: [{{id: get-ip, match: {{path: /ip}}, auth: {{key-auth: {{}}}}}}]
  - {{id: open, hosts: [open.test], auth: {{key-auth: {{anonymous_consumer: guest}}}}}}
consumers:
  - username: alice
    credentials:
      - {{id: primary, key-auth: {{key: {GOOD_KEY}}}}}
      - {{id: gone, key-auth: {{key: {REVOKED_KEY}}}, disabled: true}}
      - {{id: web, basic-auth: {{username: alice, password: "{PASSWORD}"}}}}
  - {{username: guest}}
"""
#: What is sent: name, target, headers, host.
Sent = tuple[str, str, tuple[Line, ...], str]
SENT: tuple[Sent, ...] = (
    ("key", "/ip", (("apikey", GOOD_KEY),), "api.test"),
    ("key in the query", f"/ip?a=1&apikey={GOOD_KEY}", (), "api.test"),
    ("key in a cookie", "/ip", (("cookie", f"a=1; key={GOOD_KEY}"),), "api.test"),
    ("key on a route", "/ip", (("apikey", GOOD_KEY),), "routed.test"),
    ("password", "/ip", (basic("alice", PASSWORD),), "api.test"),
    ("nobody", "/ip", (), "open.test"),
    ("nothing", "/ip", (), "api.test"),
    ("wrong key", "/ip", (("apikey", WRONG_KEY),), "api.test"),
    ("wrong key in the query", f"/ip?apikey={WRONG_KEY}", (), "api.test"),
    ("wrong key in a cookie", "/ip", (("cookie", f"key={WRONG_KEY}"),), "api.test"),
    ("disabled key", "/ip", (("apikey", REVOKED_KEY),), "api.test"),
    ("wrong password", "/ip", (basic("alice", WRONG_PASSWORD),), "api.test"),
    ("unknown user", "/ip", (basic(f"user-{MARK}", WRONG_PASSWORD),), "api.test"),
    ("not base64", "/ip", (("authorization", f"Basic {WRONG_PASSWORD}"),), "api.test"),
    ("another scheme", "/ip", (("authorization", f"Bearer {WRONG_KEY}"),), "api.test"),
    ("two keys", f"/ip?apikey={WRONG_KEY}", (("apikey", GOOD_KEY),), "api.test"),
    ("no route", "/other", (("apikey", GOOD_KEY),), "routed.test"),
    ("a look-alike", "/ip", (("apikey", GOOD_KEY), ("x.consumer.username", MARK)), "api.test"),
)
#: What the access log says of them: status, reason, consumer, credential.
TOLD: dict[str, tuple[int, str, str | None, str | None]] = {
    "key": (200, "allowed", "alice", "primary"),
    "key in the query": (200, "allowed", "alice", "primary"),
    "key in a cookie": (200, "allowed", "alice", "primary"),
    "key on a route": (200, "allowed", "alice", "primary"),
    "password": (200, "allowed", "alice", "web"),
    "nobody": (200, "anonymous", "guest", None),
    "nothing": (401, "missing_key", None, None),
    "wrong key": (401, "invalid_key", None, None),
    "wrong key in the query": (401, "invalid_key", None, None),
    "wrong key in a cookie": (401, "invalid_key", None, None),
    "disabled key": (401, "credential_disabled", None, None),
    "wrong password": (401, "invalid_password", None, None),
    "unknown user": (401, "invalid_password", None, None),
    "not base64": (401, "malformed_basic", None, None),
    "another scheme": (401, "not_basic", None, None),
    "two keys": (401, "duplicate_credential", None, None),
    "no route": (403, "no_route", None, None),
    "a look-alike": (403, "spoofed_identity_header", None, None),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The store wants a password, which is part of its URL."""

    def protected(valkey: Valkey) -> str:
        valkey.client().config_set("requirepass", STORE_PASSWORD)
        return f"redis://:{STORE_PASSWORD}@127.0.0.1:{valkey.port}/0"

    with running(DOCUMENT, store_url=protected) as stack:
        yield stack


@pytest.fixture(scope="module")
def answers(stack: Stack) -> dict[str, Answer]:
    """To everything that is sent, by its name."""
    return {sent[0]: send(stack, sent) for sent in SENT}


def send(stack: Stack, sent: Sent) -> Answer:
    _, target, lines, host = sent
    return stack.send(target, *lines, host=host)[0]


@pytest.mark.parametrize("sent", SENT, ids=[sent[0] for sent in SENT])
def test_the_access_log_says_what_was_decided(
    stack: Stack, answers: dict[str, Answer], sent: Sent
) -> None:
    """Status, reason, consumer and credential in Envoy's log, and the same in the service's."""
    answer = answers[sent[0]]
    line = logged(stack, "envoy", answer)
    seen = (line["status"], line["reason"], line["consumer"], line["credential"])
    assert (answer.status, *seen[1:]) == TOLD[sent[0]]
    assert seen == TOLD[sent[0]]
    decision = logged(stack, "authz", answer)
    assert (decision["status"], decision["reason"]) == seen[:2]
    assert (decision.get("consumer"), decision.get("credential")) == seen[2:]
    assert line["path"] == decision["path"] == sent[1].partition("?")[0]


def test_the_access_log_tells_a_fault_from_a_denial(stack: Stack) -> None:
    """A 503 with its reason, and nobody's name."""
    stack.valkey.freeze()
    try:
        line = until(lambda: fault(stack), "the store is missed")
    finally:
        stack.valkey.thaw()
    assert line is not None
    assert line["reason"] in ("store_timeout", "store_breaker_open")
    assert (line["consumer"], line["credential"]) == (None, None)
    until(lambda: send(stack, SENT[0]).status == 200, "it is back")


def fault(stack: Stack) -> dict[str, Any] | None:
    """A key never asked for before, while the store does not answer."""
    answer, _ = stack.send("/ip", ("apikey", f"{WRONG_KEY}-{len(stack.log('authz'))}"))
    return logged(stack, "envoy", answer) if answer.status == 503 else None


def test_no_secret_is_written_or_shown_anywhere(stack: Stack) -> None:
    """Not in an answer, a log, a metric, a command line, or the store; neither the clients'
    secrets nor the service's own."""
    answers = [send(stack, sent) for sent in SENT]
    secrecy.until_logged(stack, "authz", answers)
    stack.valkey.freeze()
    answers += [send(stack, sent) for sent in SENT]
    stack.valkey.thaw()
    secrecy.until_logged(stack, "envoy", answers)
    found = {"the store": secrecy.dump(stack, STORE_PASSWORD), "commands": commands(stack)}
    found |= secrecy.places(stack, answers)
    secrets = (spellings(each) for each in (PASSWORD, GOOD_KEY, WRONG_KEY))
    secrecy.require_absent(found, {MARK.encode()}.union(*secrets))


def commands(stack: Stack) -> bytes:
    """What an operator is shown, also about a store that does not answer: in processes of their
    own, whose every word counts."""
    found = b""
    wrong = stack.store_url.replace(f":{stack.valkey.port}", ":1")
    for url, words in (
        (stack.store_url, ("credential", "list")),
        (stack.store_url, ("credential", "show", "alice", "primary")),
        (stack.store_url, ("export",)),
        (wrong, ("export",)),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "authz", *words],
            env=environment(url),
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == (0 if url == stack.store_url else 2)
        found += done.stdout + done.stderr
    return found
