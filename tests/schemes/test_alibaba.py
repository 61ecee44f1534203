"""How Alibaba Cloud API Gateway's schemes refuse."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given

from authz.schemes import alibaba
from authz.schemes.alibaba import Refusal, deny, echo, request_id
from authz.values import Request
from tests.support.texts import PRINTABLE, wire_texts

UUID = "0F0E0D0C-0B0A-4908-8706-050403020100"
WITH_CODE = Refusal("a_reason", "why", "Invalid AppKey", "A400IK")
WITHOUT = Refusal("a_reason", "why", "Invalid Content-MD5", status=413)


def _request(identifier: str) -> Request:
    return Request("GET", "/", id=identifier)


def test_the_answer() -> None:
    """Error code, message and request id in headers, and an empty body."""
    answer = deny(WITH_CODE, "digest", _request(UUID.lower()), vendor=True)

    assert (answer.reason, answer.status, answer.message) == ("a_reason", 400, "Invalid AppKey")
    assert (answer.challenges, answer.scheme, answer.body) == ((), "digest", "")
    assert answer.headers == (
        ("x-ca-error-code", "A400IK"),
        ("x-ca-error-message", "Invalid AppKey"),
        ("x-ca-request-id", UUID),
    )


def test_an_answer_without_a_code() -> None:
    """Where the vendor has none, as on its classic instances."""
    names = [name for name, _ in deny(WITHOUT, "digest", None, vendor=True).headers]

    assert names == ["x-ca-error-message", "x-ca-request-id"]


@pytest.mark.parametrize(("vendor", "status"), [(True, 413), (False, 403)])
def test_the_status(vendor: bool, status: int) -> None:
    """The vendor's own under its profile; else 403, which asks for no challenge."""
    assert deny(WITHOUT, "digest", None, vendor=vendor).status == status


def test_the_request_id() -> None:
    """The request's own where it is a UUID; another id always gives the same one."""
    assert request_id(_request(UUID.lower())) == UUID
    made = request_id(_request("req-1"))
    assert made == request_id(_request("req-1")) == str(uuid.UUID(made)).upper()
    assert made != request_id(_request("req-2"))
    for unknown in (None, _request("")):
        fresh = request_id(unknown)
        assert fresh != request_id(unknown)
        assert fresh == str(uuid.UUID(fresh)).upper()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET\n\n/v1?a=b", "GET##/v1?a=b"),
        ("a\r\nx-evil: 1\r\n\r\n<b>", "a%0D#x-evil: 1%0D#%0D#<b>"),
        ("中\x00\x7f\t", "%E4%B8%AD%00%7F%09"),
        ("\udcff", "%FF"),
        ("x" * alibaba.MAX_ECHO, "x" * alibaba.MAX_ECHO),
        ("x" * (alibaba.MAX_ECHO + 1), "x" * (alibaba.MAX_ECHO - 3) + "..."),
        # Not within an escape.
        ("x" * 1020 + "\x00" * 9, "x" * 1020 + "..."),
        ("x" * 1019 + "\x00" * 9, "x" * 1019 + "..."),
        ("x" * 1018 + "\x00" * 9, "x" * 1018 + "%00..."),
    ],
)
def test_echo(text: str, expected: str) -> None:
    """A string to sign as it may stand in an answer."""
    assert echo(text) == expected


@given(wire_texts(max_size=2000))
def test_nothing_escapes_from_an_echo(text: str) -> None:
    """Whatever a client sends: one line of printable ASCII, not too long."""
    made = echo(text)

    assert PRINTABLE.fullmatch(made)
    assert len(made) <= alibaba.MAX_ECHO
    assert not re.search(r"%[0-9A-F]?\.\.\.$", made) or "%" in text
