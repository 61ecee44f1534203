"""Why a request passes or not, in steps that reveal no secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz import document, signing
from authz.admin.explain import Step, difference, explain
from authz.admin.reading import Reading
from authz.contracts import StoreDown
from authz.pipeline import decide
from authz.quotas import Quota, Spent
from authz.routes import RouteTable
from authz.values import Allow, Headers, Once, Request
from tests.admin.test_commands import Shell
from tests.support.checks import check
from tests.support.memory import Memory, MemoryLookup
from tests.support.valkey import Valkey
from tests.support.workers import apply, catalog, running

DOCUMENT = document.parse(
    """
services:
  - {id: api, hosts: [api.test], auth: {any: [{key-auth: {}}, {basic-auth: {}}]}}
  - {id: signed, hosts: [signed.test], auth: {hmac-auth: {nonce_header: x-nonce}}}
  - {id: nobody, hosts: [nobody.test]}
consumers:
  - username: alice
    credentials:
      - {id: main, key-auth: {key: canary-key-0123456789abcdef}}
      - {id: web, basic-auth: {username: al, password: canary-password}}
      - {id: sig, hmac-auth: {key_id: alice-id, secret_key: canary-hmac-secret}}
  - {username: dis, disabled: true, credentials: [{id: d, key-auth: {key: canary-disabled}}]}
"""
)
ROUTES = RouteTable(DOCUMENT)
AT = 1_800_000_000.0


class Looking(Memory):
    """As the command reads the store: a nonce is looked up, not used up."""

    def within(self, tenant: str) -> MemoryLookup:
        return LookingUp(self, tenant)


class LookingUp(MemoryLookup):
    def claim(self, nonce: str, seconds: int) -> bool:
        return nonce not in self._memory.nonces

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        before = set(self._memory.nonces), dict(self._memory.counters)
        spent = super().spend(quotas, onces)
        self._memory.nonces, self._memory.counters = before
        return spent


MEMORY = Looking().load(DOCUMENT)


def steps(host: str, *headers: tuple[str, str], target: str = "/x", client: str = "") -> list[Step]:
    path, _, query = target.partition("?")
    request = Request("GET", path, query, Headers(headers), host, at=AT)
    return list(explain(request, ROUTES, MEMORY, client or None))


def told(found: list[Step]) -> str:
    return json.dumps([(step.title, step.outcome, step.notes) for step in found])


def basic(pair: str) -> tuple[str, str]:
    return "authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.mark.parametrize(
    ("host", "headers", "outcomes"),
    [
        ("api.test", [("apikey", "canary-key-0123456789abcdef")], ["proven", "nothing", "allowed"]),
        ("api.test", [("apikey", "canary-wrong")], ["invalid_key", "nothing", "401"]),
        ("api.test", [basic("al:canary-password")], ["nothing", "proven", "allowed"]),
        ("api.test", [basic("al:canary-guess")], ["nothing", "invalid_password", "401"]),
        ("api.test", [("authorization", "Bearer canary")], ["nothing", "next may look", "401"]),
        ("api.test", [], ["nothing", "nothing", "missing_key"]),
        ("api.test", [("apikey", "canary-disabled")], ["consumer_disabled", "nothing", "401"]),
        ("nobody.test", [], ["no_scheme"]),
    ],
)
def test_the_steps(host: str, headers: list[tuple[str, str]], outcomes: list[str]) -> None:
    """Request, route, each scheme, decision; with meanings, and without the credentials."""
    found = steps(host, *headers)

    assert [step.title for step in found[:2]] == ["request", "route"]
    assert found[-1].title == "decision"
    for step, wanted in zip(found[2:], outcomes, strict=True):
        assert wanted in step.outcome
    refused = [step for step in found[2:-1] if step.outcome.startswith("refused")]
    assert all("meaning" in dict(step.notes) for step in refused)
    assert "canary" not in told(found)


def signed(client_signs: str = "/x") -> list[tuple[str, str]]:
    made = signing.sign_hmac_auth(
        "GET",
        client_signs,
        key_id="alice-id",
        secret="canary-hmac-secret",
        nonce_header="x-nonce",
        nonce="n1",
        at=AT,
    )
    assert made.string_to_sign
    return [*made.headers, ("string", made.string_to_sign)]


def test_a_signature_that_holds() -> None:
    """Says what was signed, and uses nothing up."""
    *headers, _ = signed()

    found = steps("signed.test", *headers)

    assert [step.outcome for step in found[2:]] == ["proven", "allowed"]
    assert "GET /x" in dict(found[2].notes)["string to sign"]
    assert "canary" not in told(found)


def test_a_signature_of_something_else() -> None:
    """The first byte in which the client's string to sign differs from the service's."""
    *headers, (_, client) = signed("/y")
    found = steps("signed.test", *headers, client=client)

    assert found[2].outcome == "refused: bad_signature"
    at = len("alice-id\nGET /")
    assert found[3].outcome == f"they differ from byte {at} on (line 2)"
    sides = dict(found[3].notes)
    assert sides["server's"].startswith("alice-id\\nGET /⟦x\\n")
    assert sides["client's"] == sides["server's"].replace("⟦x", "⟦y")


def test_a_nonce_that_was_used() -> None:
    """Is told as such, by looking at the store."""
    *headers, _ = signed()
    memory = Memory().load(DOCUMENT)
    request = Request("GET", "/x", headers=Headers(headers), host="signed.test", at=AT)
    assert isinstance(decide(request, ROUTES, memory).decision, Allow)

    found = list(explain(request, ROUTES, memory))

    assert found[2].outcome == "refused: replayed"


def test_what_a_limit_would_do(store: Valkey) -> None:
    """By the store's own count, of which it takes nothing; an allow and a refusal alike name the
    limit."""
    apply(
        store.url,
        """
services: [{id: s, auth: {key-auth: {}}, access: {limits: [{requests: 2, per: hour}]}}]
consumers: [{username: ann, credentials: [{key-auth: {key: k}}]}]
""",
    )
    commands = catalog(store.url)
    routes = RouteTable(document.decode(commands.policy()))
    request = Request("GET", "/x", "", Headers([("apikey", "k")]), "h", at=AT)

    def decision() -> Step:
        no_key_sets: Any = None
        return list(explain(request, routes, Reading(commands, no_key_sets)))[-1]

    for _ in "ab":
        assert decision().outcome == "allowed"
        told = "service/consumer/hour: 1 of 2 left, whole again in 3600 s"
        assert ("limit", told) in decision().notes
    with running(store.url) as worker:
        asked = [worker.ask(check("/x", ("apikey", "k"))).outcome for _ in range(3)]
    assert asked == ["allow", "allow", "deny"]
    assert decision().outcome == "429, refused: too_many_requests"
    assert {"limit": "service/consumer/hour"}.items() <= dict(decision().notes).items()
    assert "retry-after" in dict(decision().notes)


def test_a_request_without_a_route() -> None:
    """Is explained as far as it comes."""
    found = steps("elsewhere.test")

    assert found[-1].outcome == "refused: no_route"
    assert "what to do" in dict(found[-1].notes)


def test_a_fault_is_explained() -> None:
    """As what it is: no denial."""

    class Down(MemoryLookup):
        def find_secret(self, kind: str, secret: str) -> None:
            raise StoreDown("store_unreachable")

    class AllDown(Memory):
        def within(self, tenant: str) -> MemoryLookup:
            return Down(self, tenant)

    request = Request("GET", "/x", headers=Headers([("apikey", "k")]), host="api.test", at=AT)
    found = list(explain(request, ROUTES, AllDown().load(DOCUMENT)))

    assert found[2].outcome == "fault: store_unreachable"
    assert found[-1].outcome == "503, fault: store_unreachable"


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_first_difference(one: str, other: str) -> None:
    """The byte is the first that differs; equal strings have none."""
    outcome, sides = difference(f"a\n{one}", f"a\n{other}")

    if one == other:
        assert not sides
        return
    at = int(outcome.split("byte ")[1].split(" ")[0])
    ours, theirs = f"a\n{one}".encode(), f"a\n{other}".encode()
    assert ours[:at] == theirs[:at]
    assert ours[at : at + 1] != theirs[at : at + 1]
    assert [what for what, _ in sides] == ["server's", "client's"]


def test_a_string_as_alibabas_gateway_echoes_it() -> None:
    """With `#` for its line ends, on one line."""
    assert not difference("GET\n\n/x", "GET##/x")[1]
    assert "byte 3" in difference("GET\n\n/x", "GET-#/x")[0]


def test_the_command(store: Valkey, tmp_path: object) -> None:
    """A curl line, an HTTP text and a logged decision, as typed."""
    shell = Shell(tmp_path, store.url)  # type: ignore[arg-type]
    shell.run("keyring", "create", "ring")
    shell.run("apply", "gateway.yaml")
    (shell.directory / "request.http").write_text("GET /x HTTP/1.1\nHost: h\napikey: canary\n\n")
    line = {"id": "r-1", "outcome": "deny", "reason": "invalid_key", "scheme": "key-auth"}
    (shell.directory / "log").write_text(json.dumps(line) + "\n")

    right = shell.run("explain", "--", "curl", "-H", "apikey: key-from-a-file", "http://h/x")
    text = shell.run("explain", "--file", "request.http")
    logged = json.loads(shell.run("explain", "--decision", "r-1", "--log", "log", "--json"))

    assert "decision: allowed" in right
    assert "key-from-a-file" not in right
    assert "refused: invalid_key" in text
    assert "canary" not in text
    assert logged[0]["outcome"] == "deny: invalid_key"
    assert {"what": "meaning", "text": "no credential has this key"} in logged[0]["notes"]
    for words, status in ((["--decision", "r-2", "--log", "log"], "r-2"), ([], "curl line")):
        assert status in shell.run("explain", *words, status=2)
