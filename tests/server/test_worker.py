"""A worker on a real store: what it answers when things go well, and when they go wrong."""

from __future__ import annotations

import base64
import json
import logging
import time
from functools import partial
from pathlib import Path

import grpc
import pytest

from authz.admin import credentials
from authz.admin.catalog import Changes
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.schemes.key_auth import KeyAuth
from authz.server.probe import probe
from tests.support.checks import Seen, basic, check
from tests.support.pauses import Pauses
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import OTHER_RING, RING, Running, apply, catalog, running

ALICE = check("/ip", ("apikey", "alice-key"))
BOB = check("/ip", ("apikey", "bob-key"))
WRONG = check("/ip", ("apikey", "wrong"))
NOTHING = check("/ip")
WEB = check("/ip", basic("alice", "alice-password"))

ALLOWED = Seen("allow", 200, "allowed", "alice")
REVOKED = Seen("deny", 401, "invalid_key")


@pytest.fixture(params=["apikey", "password"])
def credential(request: pytest.FixtureRequest) -> CheckRequest:
    """One good credential of each kind."""
    return {"apikey": ALICE, "password": WEB}[request.param]


def outcomes(client: Running) -> list[Seen]:
    return [client.ask(request) for request in (ALICE, WEB, WRONG, NOTHING)]


def test_decisions(store: Valkey) -> None:
    """The straight path: two kinds of credential, a wrong one, none; asked twice."""
    apply(store.url)
    expected = [
        ALLOWED,
        ALLOWED,
        Seen("deny", 401, "invalid_key"),
        Seen("deny", 401, "missing_key"),
    ]

    with running(store.url) as client:
        assert outcomes(client) == expected
        assert outcomes(client) == expected


def test_metadata_and_headers_of_an_allow(store: Valkey) -> None:
    """Consumer, credential, scheme, route and reason are told to Envoy."""
    apply(store.url)

    with running(store.url) as client:
        answer = client.answer(ALICE)

    assert dict(answer.dynamic_metadata.items()) == {
        "consumer": "alice",
        "credential": "key",
        "scheme": "key-auth",
        "service": "api",
        "reason": "allowed",
    }
    told = {h.header.key: h.header.value for h in answer.ok_response.headers}
    assert told == {"x-consumer-username": "alice", "x-credential-identifier": "key"}


# -- revocation ------------------------------------------------------------------------------------


def is_revoked(client: Running) -> bool:
    return client.ask(ALICE) == REVOKED


def test_a_revocation_reaches_every_worker(store: Valkey) -> None:
    """Within milliseconds, not at the end of a time to live."""
    apply(store.url)
    with running(store.url) as one, running(store.url) as two:
        for client in (one, two):
            assert client.ask(ALICE) == ALLOWED

        credentials.revoke(catalog(store.url), ("", "alice"), "key")
        started = time.monotonic()
        for client in (one, two):
            until(partial(is_revoked, client), "the revocation is felt")
        assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("disable", "credential_disabled"),
        ("disable consumer", "consumer_disabled"),
        ("revoke consumer", "invalid_key"),
    ],
)
def test_every_change_is_felt(store: Valkey, change: str, reason: str) -> None:
    """Suspended and removed credentials and consumers are refused, with the reason logged."""
    apply(store.url)
    target = catalog(store.url)
    with running(store.url) as client:
        assert client.ask(ALICE) == ALLOWED
        if change == "disable":
            credentials.set_disabled(target, ("", "alice"), "key", disabled=True)
        elif change == "disable consumer":
            credentials.set_consumer_disabled(target, "", "alice", disabled=True)
        else:
            credentials.revoke_consumer(target, "", "alice")

        until(lambda: client.ask(ALICE) == Seen("deny", 401, reason), reason)
        assert client.ask(BOB).outcome == "allow"


def test_an_issued_key_works_at_once_though_it_was_asked_for_before(store: Valkey) -> None:
    """A remembered "unknown" ends when the credential appears."""
    apply(store.url)
    target = catalog(store.url)
    with running(store.url) as client:
        client.ask(WRONG)
        issued = credentials.issue(target, ("", "alice"), "key-auth", at=0)
        asked = check("/ip", ("apikey", issued.shown["key"]))

        until(lambda: client.ask(asked) == ALLOWED, "the new key works")


def test_a_changed_password_ends_the_old_one(store: Valkey) -> None:
    """Also when the old one was verified a moment ago and is remembered."""
    text = """
services: [{id: api, auth: {basic-auth: {}}}]
consumers:
  - {username: alice, credentials: [{basic-auth: {username: alice, password: PASSWORD}}]}
"""
    apply(store.url, text.replace("PASSWORD", "old-password"))
    with running(store.url) as client:
        old = check("/ip", basic("alice", "old-password"))
        assert client.ask(old) == ALLOWED
        apply(store.url, text.replace("PASSWORD", "new-password"))

        until(lambda: client.ask(old).outcome == "deny", "the old password ends")
        assert client.ask(check("/ip", basic("alice", "new-password"))) == ALLOWED


def test_expiry_needs_no_notice(store: Valkey) -> None:
    """A cached credential ends at its second, by the clock that the service is given."""
    apply(
        store.url,
        """
services: [{id: api, auth: {key-auth: {}}}]
consumers:
  - username: alice
    credentials:
      - {id: k, not_before: 2027-01-01T00:00:00Z, expires_at: 2027-01-02T00:00:00Z,
         key-auth: {key: alice-key}}
""",
    )
    start, end = 1798761600.0, 1798848000.0
    now = [start]
    with running(store.url, clock=lambda: now[0]) as client:
        assert client.ask(ALICE) == ALLOWED
        now[0] = start - 1
        assert client.ask(ALICE).reason == "credential_not_yet_valid"
        now[0] = end - 1
        assert client.ask(ALICE) == ALLOWED
        now[0] = end
        assert client.ask(ALICE).reason == "credential_expired"


# -- the store is away -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_store_away(own_valkey: Valkey, how: str, credential: CheckRequest) -> None:
    """What was verified lately still passes; all else is a fault, never a 401, never an allow;
    and when the store is back everything heals by itself."""
    apply(own_valkey.url)
    with running(own_valkey.url) as client:
        assert client.ask(credential) == ALLOWED
        getattr(own_valkey, how)()

        for request in (WRONG, BOB):
            seen = client.ask(request)
            assert seen.outcome == "fault"
            assert seen.status == 503
            assert seen.reason.startswith("store_")
        assert client.ask(credential) == ALLOWED
        assert client.ask(NOTHING).reason == "missing_key"

        if how == "kill":
            own_valkey.start()
            apply(own_valkey.url)
        else:
            own_valkey.thaw()
        until(lambda: client.ask(WRONG).outcome == "deny", "the store is back")
        assert client.ask(credential) == ALLOWED


def test_a_fault_says_when_to_come_back(own_valkey: Valkey) -> None:
    """`error_response`, 503, `Retry-After`: to Envoy an error, to the client a time."""
    apply(own_valkey.url)
    with running(own_valkey.url) as client:
        own_valkey.kill()
        answer = client.answer(ALICE)

    headers = {h.header.key: h.header.value for h in answer.error_response.headers}
    assert answer.status.code != 0
    assert answer.error_response.status.code == 503
    assert headers == {"content-type": "application/json", "retry-after": "1"}
    assert json.loads(answer.error_response.body) == {
        "message": "Authorization is not available, try again"
    }


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_store_away_costs_no_request_more_than_its_time(own_valkey: Valkey, how: str) -> None:
    """50 ms of store time, and nothing once the breaker is open."""
    apply(own_valkey.url)
    pauses, asked = Pauses(), []
    with running(own_valkey.url, store_timeout_ms=25) as client:
        client.ask(ALICE)
        getattr(own_valkey, how)()
        for number in range(20):
            started = time.monotonic()
            assert client.ask(check("/ip", ("apikey", f"x{number}"))).outcome == "fault"
            asked.append((started, time.monotonic()))
    pauses.end()

    slowest = max(end - start - pauses.within(start, end) for start, end in asked)
    assert slowest < 0.05 + 0.1  # and what a busy test machine adds


@pytest.mark.parametrize("stale_seconds", [0.0, 0.4])
def test_staleness_is_bounded(own_valkey: Valkey, stale_seconds: float) -> None:
    """With the store away, a cached credential ends after its time; at once in strict mode."""
    apply(own_valkey.url)
    with running(own_valkey.url, stale_seconds=stale_seconds) as client:
        assert client.ask(ALICE) == ALLOWED
        own_valkey.kill()
        lost = time.monotonic()
        until(lambda: client.ask(ALICE).outcome == "fault", "the cached credential ends")
        assert time.monotonic() - lost < 1.0 + stale_seconds + 1.0


def test_a_revocation_during_the_outage_is_felt_on_return(own_valkey: Valkey) -> None:
    """Nobody told the worker; it asks again all the same."""
    apply(own_valkey.url)
    with running(own_valkey.url) as client:
        assert client.ask(ALICE) == ALLOWED
        own_valkey.client().client_kill_filter(_type="normal", skipme=True)
        credentials.revoke(catalog(own_valkey.url), ("", "alice"), "key")

        until(lambda: client.ask(ALICE) == REVOKED, "the revocation is felt")


def test_an_emptied_store_is_a_fault(own_valkey: Valkey) -> None:
    """FLUSHALL, an empty restart: "unknown" would be a lie that locks everybody out."""
    apply(own_valkey.url)
    with running(own_valkey.url) as client:
        assert client.ask(ALICE) == ALLOWED
        own_valkey.client().flushall()

        until(lambda: client.ask(WRONG) == Seen("fault", 503, "store_empty"), "the loss is seen")
        assert client.ask(BOB) == Seen("fault", 503, "store_empty")
        assert client.ask(ALICE) == ALLOWED  # verified a moment ago
        apply(own_valkey.url)
        until(lambda: client.ask(BOB).outcome == "allow", "the store is filled again")


def test_a_corrupt_record_faults_alone(store: Valkey) -> None:
    """A record that does not open is neither known nor unknown; others are not touched."""
    apply(store.url)
    client_of_store = store.client()
    keys = list(client_of_store.keys("*credential:*key-auth*"))
    with running(store.url) as client:
        for key in keys:
            whole = client_of_store.get(key)
            client_of_store.set(key, whole[:-5] + b"x" + whole[-4:])
        until(lambda: client.ask(ALICE) == Seen("fault", 503, "record_corrupt"), "it is seen")
        assert client.ask(WEB) == ALLOWED
        assert client.ask(WRONG) == Seen("deny", 401, "invalid_key")


def test_two_records_cannot_be_swapped(store: Valkey) -> None:
    """Each is sealed for its own key: bob's record under alice's key does not open."""
    apply(store.url)
    one, two = store.client().keys("*credential:*key-auth*")
    a, b = store.client().mget(one, two)
    store.client().mset({one: b, two: a})

    with running(store.url) as client:
        assert client.ask(ALICE) == Seen("fault", 503, "record_corrupt")


def test_a_wrong_type_in_the_store_is_a_fault(store: Valkey) -> None:
    """WRONGTYPE is the store's error, not an unknown credential."""
    apply(store.url)
    with running(store.url) as client:
        for key in store.client().keys("*credential:*key-auth*"):
            store.client().delete(key)
            store.client().lpush(key, "x")
        until(lambda: client.ask(ALICE).outcome != "allow", "it is seen")
        # MGET answers nil for a list, as if it were not there: a refusal, and never an allow.
        assert client.ask(ALICE).outcome in ("deny", "fault")


# -- not ready -------------------------------------------------------------------------------------


def test_not_ready_without_a_document(
    store: Valkey, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """An empty store: health says so, Checks fault, the log says what to do; then it heals."""
    with running(store.url, ready=False) as client:
        assert client.ask(ALICE) == Seen("fault", 503, "not_ready")
        assert probe(client.address, 5) == "NOT_SERVING"
        until(lambda: "authz apply FILE" in caplog.text, "the advice")

        apply(store.url)
        client.until_ready()
        assert probe(client.address, 5) == "SERVING"
        assert client.ask(ALICE) == ALLOWED


def test_not_ready_without_a_key_ring(
    store: Valkey, tmp_path: Path, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """A missing key ring: not ready, with the command that makes one; ready when it appears."""
    apply(store.url)
    ring = tmp_path / "ring"
    with running(store.url, ready=False, keyring=None, keyring_file=str(ring)) as client:
        until(lambda: f"authz keyring create {ring}" in caplog.text, "the advice")
        assert client.ask(ALICE) == Seen("fault", 503, "not_ready")
        assert probe(client.address, 5) == "NOT_SERVING"

        ring.write_text(RING)
        client.until_ready()
        assert client.ask(ALICE) == ALLOWED


def test_not_ready_with_another_key_ring(
    store: Valkey, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """The wrong key ring would make every credential unknown; it makes the worker not ready."""
    apply(store.url)
    with running(store.url, ready=False, keyring=OTHER_RING) as client:
        until(lambda: "do not open with this key ring" in caplog.text, "the advice")
        assert client.ask(ALICE) == Seen("fault", 503, "not_ready")


def test_a_bad_policy_leaves_the_old_one(
    store: Valkey, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """A document that this release cannot read is refused whole; decisions go on."""
    apply(store.url)
    with running(store.url) as client:
        target = catalog(store.url)
        bad = {"profile": "api7", "services": [{"id": "api", "auth": {"no-such-auth": {}}}]}
        target.change(lambda _: Changes(config=bad))

        until(lambda: "no-such-auth" in caplog.text, "the complaint")
        assert "services[0].auth: unknown field" in caplog.text
        assert client.ask(ALICE) == ALLOWED


def test_a_new_policy_replaces_the_old_one(store: Valkey) -> None:
    """An applied document is in force everywhere, without a restart."""
    apply(store.url)
    with running(store.url) as client:
        assert client.ask(ALICE) == ALLOWED
        apply(store.url, "services: [{id: other, hosts: [other.test], auth: {key-auth: {}}}]")

        until(lambda: client.ask(ALICE) == Seen("deny", 403, "no_route"), "the new policy")


def test_a_new_policy_does_not_end_a_drain(store: Valkey) -> None:
    """A worker about to stop takes the policy, and still says that nothing more may be sent."""
    apply(store.url)
    with running(store.url) as client:
        client.worker.drain()
        apply(store.url, "services: [{id: other, hosts: [other.test], auth: {key-auth: {}}}]")

        until(lambda: client.ask(ALICE) == Seen("deny", 403, "no_route"), "the new policy")
        assert probe(client.address, 5) == "NOT_SERVING"


# -- hostile and broken requests -------------------------------------------------------------------


def raw_call(client: Running, message: bytes) -> bytes:
    with grpc.insecure_channel(client.address) as channel:
        call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
        return bytes(call(message, timeout=5, wait_for_ready=True))


def test_what_is_no_check_request_is_a_fault(store: Valkey) -> None:
    """Not a stack trace, not an allow, and the worker lives."""
    apply(store.url)
    with running(store.url) as client:
        answer = CheckResponse.FromString(raw_call(client, b"\xff\xff\xff\xff"))

        assert Seen.of(answer) == Seen("fault", 503, "not_a_check_request")
        assert client.ask(ALICE) == ALLOWED


def test_an_empty_check_request_is_refused(store: Valkey) -> None:
    """It names no request, so nothing may pass by it."""
    apply(store.url)
    with running(store.url) as client:
        assert client.ask(CheckRequest()) == Seen("deny", 403, "malformed_request")


def test_an_oversized_check_is_an_error(store: Valkey) -> None:
    """gRPC refuses it before it is parsed; Envoy takes that as an error, and fails closed."""
    apply(store.url)
    request = check("/ip", ("apikey", "alice-key"))
    request.attributes.request.http.raw_body = b"x" * (5 * 1024 * 1024)
    with running(store.url) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.ask(request)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.ask(ALICE) == ALLOWED


def test_a_crash_in_a_scheme_is_a_fault(
    store: Valkey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """Logged with its place, counted, told to the client as a 503 without a word of why."""

    def crash(*_: object) -> None:
        raise RuntimeError("canary-in-a-trace")

    apply(store.url)
    with running(store.url) as client:
        monkeypatch.setattr(KeyAuth, "authenticate", crash)
        answer = client.answer(ALICE)

    assert Seen.of(answer) == Seen("fault", 503, "internal_error")
    assert "canary" not in str(answer)
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert errors.count("a check crashed") == 1


# -- secrets ---------------------------------------------------------------------------------------

CANARIES = ("alice-key", "bob-key", "alice-password")


def test_a_dump_of_the_store_holds_no_secret(store: Valkey) -> None:
    """Neither names nor values of keys hold a credential, in clear, in base64 or reversed."""
    apply(store.url)
    credentials_issued = [
        credentials.issue(catalog(store.url), ("", "alice"), "key-auth", at=0).shown["key"],
        credentials.issue(catalog(store.url), ("", "bob"), "basic-auth", login="bobby", at=0).shown[
            "password"
        ],
    ]
    client = store.client()
    dump = b"\n".join(
        key
        + b"\n"
        + (client.get(key) if client.type(key) == b"string" else b"".join(client.smembers(key)))
        for key in client.keys("*")
    )
    assert b"alice" in dump  # it is the dump that we think it is

    for secret in (*CANARIES, *credentials_issued, RING.partition(":")[2]):
        plain = secret.encode()
        for form in (plain, base64.b64encode(plain), plain.hex().encode(), plain[::-1]):
            assert form not in dump


def test_no_secret_in_the_decision_log(store: Valkey) -> None:
    """Right or wrong, in a header or in the query: what was presented is not written down."""
    apply(store.url)
    asked = [
        ALICE,
        check("/ip?apikey=alice-key&x=1"),
        WEB,
        check("/ip", ("apikey", "canary-wrong")),
        check("/ip", basic("canary-user", "canary-password")),
        check("/ip", ("authorization", "Basic canary")),
        check("/ip?apikey=canary-query"),
    ]
    with running(store.url) as client:
        for request in asked:
            client.ask(request)
        until(lambda: client.log.read_text().count("\n") == len(asked), "the log is written")
        text = client.log.read_text()

    for secret in (*CANARIES, "canary", basic("alice", "alice-password")[1]):
        assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["consumer"] == "alice"
    assert {
        "at",
        "outcome",
        "status",
        "us",
        "service",
        "scheme",
        "reason",
        "method",
        "path",
    } <= set(lines[0])
