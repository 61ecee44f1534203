"""The demo's requests: printed as curl lines, or sent and compared with what must come back."""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

DOCUMENT = Path(__file__).with_name("demo.yaml")
PATH = "/ip"
REVOKED = ("alice", "alice-primary")
#: A revocation that takes longer than this to be felt is a failure.
REVOCATION_SECONDS = 1.0
#: Requests for each worker, after which hardly one was left out.
ROUNDS = 10


class Call(Struct, frozen=True):
    """One request and its answer: the status, and for a 200 whom the upstream must see."""

    what: str
    status: int
    consumer: str | None = None
    key: str | None = None
    user: str | None = None

    def curl(self, url: str) -> str:
        """This call as a line for a shell."""
        words = ["curl", "-i", url + PATH]
        if self.key:
            words += ["-H", f"apikey: {self.key}"]
        if self.user:
            words += ["-u", self.user]
        return shlex.join(words)

    def headers(self) -> dict[str, str]:
        """What `curl` would send for it."""
        if self.key:
            return {"apikey": self.key}
        if self.user:
            return {"Authorization": f"Basic {base64.b64encode(self.user.encode()).decode()}"}
        return {}


ALICE = Call("right key", 200, "alice", key="alice-primary-key")
CALLS = (
    Call("no key", 401),
    Call("wrong key", 401, key="wrong-key"),
    ALICE,
    Call("Basic", 200, "alice", user="alice:alice-password"),
    Call("another consumer", 200, "bob", key="bob-key"),
)
AFTER = Call("the revoked key", 401, key=ALICE.key)


class Seen(Struct, frozen=True):
    """What came back for a call, and how long it took."""

    call: Call
    status: int
    note: str
    ok: bool
    seconds: float


def check(host: str, port: int, workers: int, revoke: Callable[[], None]) -> Iterator[Seen]:
    """Send every call, then revoke alice's key and wait until every worker refuses it."""
    for call in CALLS:
        yield send(host, port, call)
    revoke()
    yield _after_revocation(host, port, ROUNDS * workers)


def send(host: str, port: int, call: Call) -> Seen:
    """Send one call. Nobody answering is an answer too: status 0."""
    began = time.monotonic()
    try:
        status, body = _get(host, port, call.headers())
    except (OSError, http.client.HTTPException) as error:
        status, body = 0, {"message": f"{error.__class__.__name__}: {error}"}
    note, as_expected = _judge(call, status, body)
    return Seen(call, status, note, as_expected, time.monotonic() - began)


def _after_revocation(host: str, port: int, in_a_row: int) -> Seen:
    """As often refused as makes it unlikely that some worker was never asked."""
    began = felt = time.monotonic()
    refusals = 0
    while True:
        seen = send(host, port, AFTER)
        refusals = refusals + 1 if seen.ok else 0
        felt = felt if seen.ok else time.monotonic()
        late = felt - began > REVOCATION_SECONDS
        if refusals >= in_a_row or late:
            return Seen(seen.call, seen.status, seen.note, seen.ok and not late, felt - began)


def _get(host: str, port: int, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    link = http.client.HTTPConnection(host, port, timeout=5)
    try:
        link.request("GET", PATH, headers=headers)
        answer = link.getresponse()
        text = answer.read().decode("utf-8", "replace")
    finally:
        link.close()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return answer.status, body if isinstance(body, dict) else {"message": text.strip()}


def _judge(call: Call, status: int, body: dict[str, Any]) -> tuple[str, bool]:
    """(what to tell, whether it is as it must be)."""
    if status != 200:  # noqa: PLR2004
        return str(body.get("message", "")), status == call.status
    received = body.get("headers", {})
    consumer = received.get("X-Consumer-Username")
    if {"Apikey", "Authorization"} & set(received):
        return "the upstream saw the credential", False
    return f"the upstream saw {consumer}", (status, consumer) == (call.status, call.consumer)
