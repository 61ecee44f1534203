"""The requests of a benchmark: as Envoy makes them, and none like another."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz import documents
from authz.bench import calls, candidates, people
from authz.bench.candidates import CACHED
from authz.config import read
from authz.pb.external_auth_pb2 import CheckRequest
from authz.server import reading

CAPTURE = Path(__file__).parents[1] / "vectors" / "captures"


def fields(message: CheckRequest) -> set[str]:
    """The names of all fields that are set, those of headers apart."""
    found: set[str] = set()

    def walk(part: object, prefix: str) -> None:
        for field, value in part.ListFields():  # type: ignore[attr-defined]
            found.add(f"{prefix}{field.name}")
            if field.message_type and not field.is_repeated:
                walk(value, f"{prefix}{field.name}.")

    walk(message, "")
    return found


def test_a_check_is_what_envoy_sends() -> None:
    """The same fields as in one that was captured, but for those of a body."""
    captured = CheckRequest.FromString(
        (CAPTURE / "10_http2_post_encode_raw_headers.bin").read_bytes()
    )
    made = CheckRequest.FromString(calls.check(people.keys([0])[0], 1, 1.8e9))
    http = "attributes.request.http"

    assert fields(captured) - fields(made) == {f"{http}.raw_body", f"{http}.size"}
    assert fields(made) <= fields(captured)


def test_no_two_checks_are_alike() -> None:
    """Path, query, id and time differ, so that remembering a message helps nobody."""
    made = [
        CheckRequest.FromString(calls.check(call, n, 1.8e9)).attributes
        for n, call in enumerate(people.keys([0] * 500))
    ]

    for values in (
        [each.request.http.path for each in made],
        [each.request.http.path.partition("?")[0] for each in made],
        [each.request.http.id for each in made],
        [(each.request.time.seconds, each.request.time.nanos) for each in made],
        [
            next(h.raw_value for h in each.request.http.header_map.headers if h.key == name)
            for each in made
            for name in ("x-request-id",)
        ],
    ):
        assert len(set(values)) == 500


def test_both_forms_are_one_request() -> None:
    """The Check and the HTTP request that Envoy would make it of."""
    call = people.signatures(1)[0]
    read_ = reading.read(calls.check(call, 0, 1.8e9), 1.8e9)
    head, *lines = calls.http(call).decode().split("\r\n")

    assert head == f"{read_.method} {read_.sent} HTTP/1.1"
    assert lines[0] == f"host: {read_.host}"
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert {name: read_.headers.first(name) for name in sent if name} == {
        name: value for name, value in sent.items() if name
    }


def test_the_document_is_one(tmp_path: Path) -> None:
    """It can be applied: a host for each scheme, a key for each consumer."""
    people.write_document(tmp_path / "3.jsonl", 3)
    made = documents.load([tmp_path / "3.jsonl"])

    assert {each.id for each in made.policy.services} == set(people.SERVICES) >= set(CACHED)
    assert [placed.entry.username for placed in made.entries()] == ["c0", "c1", "c2"]
    assert len({people.key(n) for n in range(1000)}) == 1000


@pytest.mark.parametrize("make", [*CACHED.values(), people.new_tokens, people.digests])
def test_each_call_is_of_its_own(make: object) -> None:
    targets = [call.target for call in make(50)]  # type: ignore[operator]
    assert len(set(targets)) == 50


def test_nonces_and_tokens_are_fresh() -> None:
    """What counts once is made once."""
    for made in (people.digests(20), people.signatures_with_nonce(20), people.new_tokens(20)):
        assert len({call.headers for call in made}) == 20


@pytest.mark.parametrize("transport", candidates.TRANSPORTS)
def test_transports_are_those_of_the_settings(transport: str) -> None:
    """A wrong name would be found only at the end of a long run."""
    assert read({"transport": transport}, {}, None).transport == transport
    assert candidates.DEFAULT in candidates.TRANSPORTS
