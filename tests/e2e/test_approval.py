"""A consumer asks for an API, somebody says yes, no, or not any more: through the real Envoy, felt
by every worker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from authz.admin import grants
from authz.admin.credentials import Validity
from authz.admin.grants import Wanted
from tests.e2e.support.stack import Stack, running
from tests.support.waiting import until
from tests.support.workers import catalog

DOCUMENT = """
services:
  - {id: orders, hosts: [api.test], auth: {key-auth: {}}, access: {grant: required}}
  - {id: news, hosts: [news.test], auth: {key-auth: {}}, access: {grant: required, approval: auto}}
consumers:
  - {username: ann, credentials: [{key-auth: {key: ann-key}}]}
"""
ANN = ("", "ann")
ORDERS = Wanted("orders")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


def statuses(stack: Stack, host: str = "api.test") -> set[int]:
    """Of as many requests as reach both workers."""
    return {stack.send("/x", ("apikey", "ann-key"), host=host)[0].status for _ in range(8)}


def until_all(stack: Stack, status: int, host: str = "api.test") -> None:
    until(lambda: statuses(stack, host) == {status}, f"{status} of every worker")


def test_from_a_request_to_a_revocation(stack: Stack) -> None:
    store, now = catalog(stack.store_url), time.time()
    answer, seen = stack.send("/x", ("apikey", "ann-key"))
    assert (answer.status, seen) == (403, None)
    assert answer.body == b'{"message":"Not authorized to call this API"}'

    asked = grants.request(store, ANN, ORDERS, note="for the app", at=now)
    assert asked.state == "requested"
    assert statuses(stack) == {403}

    grants.refuse(store, ANN, ORDERS, note="not yet", at=now)
    assert statuses(stack) == {403}

    grants.request(store, ANN, ORDERS, at=now)
    grants.approve(store, ANN, ORDERS, validity=Validity(expires_at=now + 3600), at=now)
    until_all(stack, 200)

    grants.revoke(store, ANN, ORDERS)
    until_all(stack, 403)


def test_a_service_may_approve_by_itself(stack: Stack) -> None:
    assert statuses(stack, "news.test") == {403}
    asked = grants.request(catalog(stack.store_url), ANN, Wanted("news"), at=time.time())
    assert asked.state == "approved"
    until_all(stack, 200, "news.test")
