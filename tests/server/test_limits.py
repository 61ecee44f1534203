"""Limits that several processes keep, asked over gRPC: exact to the request, whatever they are by;
and what the answers' bytes say."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import grpc
import pytest

from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from tests.support.checks import check
from tests.support.serving import Serving, serving
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import apply, running

BYS = ("consumer", "credential", "group", "service", "route", "address")
#: Each of a count of its own: two consumers, three keys, two routes and addresses.
COUNTS = dict(zip(BYS, (2, 3, 1, 1, 2, 2), strict=True))
EACH, LEASED, LEASE = 8, 60, 5
WORKERS, THREADS = 2, 2
SERVICE = """
  - id: {name}
    hosts: [{name}.test]
    auth: {{key-auth: {{}}}}
    access: {{limits: [{limit}]}}
    routes: [{{id: one, match: {{path: /1}}}}, {{id: two, match: {{path: /2}}}}]"""
DOCUMENT = (
    "services:"
    + "".join(
        SERVICE.format(name=by, limit=f"{{requests: {EACH}, per: month, by: {by}}}") for by in BYS
    )
    + SERVICE.format(name="burst", limit=f"{{requests: 1, per: month, burst: {EACH}, by: service}}")
    + SERVICE.format(
        name="leased",
        limit=f"{{requests: {LEASED}, per: month, by: service, mode: leased, lease: {LEASE}}}",
    )
    + """
consumers:
  - username: ann
    groups: [g]
    credentials: [{id: a1, key-auth: {key: a1}}, {id: a2, key-auth: {key: a2}}]
  - {username: ben, groups: [g], credentials: [{id: b1, key-auth: {key: b1}}]}
"""
)


def asked(service: str, key: str, path: str = "/1", address: str = "192.0.2.1") -> CheckRequest:
    request = check(path, ("apikey", key), host=f"{service}.test")
    request.attributes.source.address.socket_address.address = address
    return request


@pytest.fixture(scope="module")
def command(shared_valkey: Valkey) -> Iterator[Serving]:
    apply(shared_valkey.url, DOCUMENT)
    with serving(shared_valkey.url, "--store-timeout-ms", "1000", workers=WORKERS) as command:
        yield command


def let_in(command: Serving, service: str) -> int:
    """Of many requests of every kind, by several clients of each worker at once."""
    kinds = itertools.product(("a1", "a2", "b1"), ("/1", "/2"), ("192.0.2.1", "192.0.2.2"))
    requests = [asked(service, *kind) for kind in kinds] * 2
    codes: list[int] = []
    ready = threading.Barrier(WORKERS * THREADS)

    def run(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = AuthorizationStub(channel)
            ready.wait()
            codes.extend(stub.Check(each, timeout=20).status.code for each in requests)

    threads = [
        threading.Thread(target=run, args=(address,))
        for address in command.addresses
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == WORKERS * THREADS * len(requests)
    return codes.count(0)


def test_exactly_so_many_whatever_it_is_by(command: Serving) -> None:
    """Also of a burst, and told so in the metric; a leased limit stays within its bound."""
    found = {by: let_in(command, by) for by in (*BYS, "burst")}
    assert found == {by: EACH * count for by, count in COUNTS.items()} | {"burst": EACH}
    leased = let_in(command, "leased")
    assert LEASED - WORKERS * (LEASE - 1) <= leased <= LEASED

    found |= {"leased": leased}
    limits = {by: f"service/{by}/month" for by in BYS}
    limits |= dict.fromkeys(("burst", "leased"), "service/service/month")

    def counted(result: str) -> dict[str, float]:
        told = command.metrics()
        return {
            service: told.get(
                f'authz_limits_total{{limit="{limit}",result="{result}",service="{service}"}}', 0
            )
            for service, limit in limits.items()
        }

    until(lambda: counted("allowed") == found, "all are counted")
    total = WORKERS * THREADS * 24
    assert counted("refused") == {service: total - count for service, count in found.items()}
    assert set(counted("away").values()) == {0}


def test_the_answers_bytes(store: Valkey) -> None:
    """An allow carries the identity and the numbers, made anew each time; a refusal names the
    limit for the operator, and is an outcome of its own."""
    apply(store.url, DOCUMENT)
    with running(store.url, store_timeout_ms=1000) as worker:
        answers: list[CheckResponse] = [
            worker.answer(asked("consumer", "a1")) for _ in range(EACH + 1)
        ]
        *allows, refusal = answers
        told = [
            {option.header.key: option.header.value for option in each.response_headers_to_add}
            for each in (allow.ok_response for allow in allows)
        ]
        limit = '"service/consumer/month"'
        assert {lines.pop("ratelimit-policy") for lines in told} == {f"{limit};q={EACH};w=2592000"}
        left = [lines["ratelimit"].partition(";t=")[0] for lines in told]
        assert left == [f"{limit};r={number}" for number in reversed(range(EACH))]
        for allow in allows:
            assert allow.WhichOneof("http_response") == "ok_response"
            set_ = {o.header.key: o.header.value for o in allow.ok_response.headers}
            assert set_["x-consumer-username"] == "ann"
            assert allow.dynamic_metadata["consumer"] == "ann"
        assert refusal.denied_response.status.code == 429
        assert dict(refusal.dynamic_metadata.items()) == {
            "service": "consumer",
            "route": "one",
            "scheme": "key-auth",
            "reason": "too_many_requests",
            "limit": "service/consumer/month",
        }
        until(lambda: '"limit":"service/consumer/month"' in worker.log.read_text(), "it is logged")
