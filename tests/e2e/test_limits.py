"""Limits through the real Envoy: what clients get, whichever worker is asked, and what becomes of
them when the store dies."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from authz.server.wire import FAULT_MESSAGE
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Answer
from tests.support.waiting import until

DOCUMENT = """
services:
  - id: standard
    hosts: [standard.test]
    auth: {key-auth: {}}
    access: {limits: [{requests: 4, per: month}, {requests: 9, per: hour, burst: 7, by: address}]}
  - id: apisix
    hosts: [apisix.test]
    auth: {key-auth: {profile: apisix-3.18}}
    access: {limits: [{requests: 2, per: month, status: 503}]}
  - id: short
    hosts: [short.test]
    auth: {key-auth: {}}
    access: {limits: [{requests: 1, per: second}]}
  - id: closed
    hosts: [closed.test]
    auth: {key-auth: {}}
    access: {limits: [{requests: 1000, per: month}]}
  - id: open
    hosts: [open.test]
    auth: {key-auth: {}}
    access: {limits: [{requests: 1000, per: month, when_away: open}]}
consumers:
  - {username: ann, credentials: [{key-auth: {key: ann-key}}]}
"""
FIELDS = ("ratelimit-policy", "ratelimit", "retry-after")
OLDER = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


def send(stack: Stack, host: str) -> Answer:
    """As ann. What the client is told of limits the upstream is not."""
    answer, seen = stack.send("/x", ("apikey", "ann-key"), host=host)
    assert (seen is None) == (answer.status != 200)
    assert seen is None or "ratelimit" not in str(seen)
    return answer


def told(answer: Answer, *names: str) -> list[str | None]:
    return [answer.header(name) for name in names]


def test_the_standard_fields(stack: Stack) -> None:
    """Of an allow and of a refusal, two workers counting together."""
    answers = [send(stack, "standard.test") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    policy = '"service/consumer/month";q=4;w=2592000, "service/address/hour";q=9;w=3600'
    assert {answer.header("ratelimit-policy") for answer in answers} == {policy}
    lefts = [str(answer.header("ratelimit")).split(", ") for answer in answers]
    assert [left[0].partition(";t=")[0][-1] for left in lefts] == ["3", "2", "1", "0", "0", "0"]
    # A refusal that is remembered says nothing of what was not asked.
    assert [left[1].split(";")[1] for left in lefts[:4]] == ["r=6", "r=5", "r=4", "r=3"]
    assert told(answers[0], "retry-after", *OLDER) == [None] * 4
    wait = int(answers[4].header("retry-after") or 0)
    assert 2_592_000 - 600 < wait <= 2_592_000
    assert answers[4].message == "Too many requests"
    assert answers[4].header("x-consumer-username") is None


def test_in_apisix_words(stack: Stack) -> None:
    answers = [send(stack, "apisix.test") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert [told(answer, *OLDER[:2]) for answer in answers] == [["2", "1"], ["2", "0"], ["2", "0"]]
    assert all(int(answer.header("x-ratelimit-reset") or 0) > 2_591_000 for answer in answers)
    assert told(answers[0], *FIELDS) == [None] * 3


def test_who_waits_as_told_is_let_in_again(stack: Stack) -> None:
    """And who does not, is not."""
    assert send(stack, "short.test").status == 200
    refusals: list[Answer] = []

    def refused() -> bool:
        refusals.append(send(stack, "short.test"))
        return refusals[-1].status == 429

    until(refused, "it is refused")
    assert refusals[-1].header("retry-after") == "1"
    time.sleep(1)
    assert send(stack, "short.test").status == 200


def test_the_store_dies(stack: Stack) -> None:
    """A closed limit is a fault that says when to come back, an open one lets in and tells
    nothing."""
    hosts = ("closed.test", "open.test")
    for host in hosts:
        assert [send(stack, host).status for _ in range(8)] == [200] * 8
    stack.valkey.kill()
    answers = {host: [send(stack, host) for _ in range(4)] for host in hosts}
    stack.valkey.start()
    assert {(a.status, a.message) for a in answers["closed.test"]} == {(503, FAULT_MESSAGE)}
    assert {a.header("retry-after") for a in answers["closed.test"]} == {"1"}
    assert {a.status for a in answers["open.test"]} == {200}
    assert {tuple(told(a, *FIELDS, *OLDER)) for a in answers["open.test"]} == {(None,) * 6}
    assert 'authz_limits_total{limit="service/consumer/month",result="away"' in stack.metrics()
