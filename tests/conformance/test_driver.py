"""The driver itself: it reads what the formats may write, and it notices what is wrong."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from tests.conformance.case import Exchange, Inexpressible, Judgement, Sent, header_lines, sent
from tests.conformance.files import find
from tests.conformance.formats import apinto, apisix, attack

if TYPE_CHECKING:
    from tests.conformance.bench import Bench
    from tests.conformance.case import Answer, Plain
    from tests.conformance.envoy import Gateway

CONSUMER = {"username": "jack", "credentials": [{"id": "c", "type": "key-auth", "key": "good"}]}
VENDOR: dict[str, Any] = {
    "plugin": "key-auth",
    "kind": "request",
    "profile": "apisix-3.18",
    "compat": "must",
    "consumers": [CONSUMER],
    "route_config": {"key-auth": {"hide_credentials": True}},
    "request": {"method": "GET", "path": "/x?a=1", "headers": {"apikey": "good"}},
    "expect": {"status": 200, "headers_to_upstream": {"X-Consumer-Username": "jack"}},
}
HOSTILE: dict[str, Any] = {
    "category": "key-auth",
    "config": {"auth": ["key-auth"], "hide_credentials": True},
    "request": {"method": "GET", "path": "/x?apikey=good", "headers": []},
    "expect": "allow",
    "upstream": {"exact": {"x-consumer-username": ["jack"]}, "path": "/x"},
}
FIXTURES = {"fixtures": {"consumers": {"jack": {"keys": ["good"]}}}}
APP: dict[str, Any] = {
    "consumer": {
        "type": "apikey",
        "position": "query",
        "token_name": "k",
        "users": [{"pattern": {"apikey": "good"}, "expire": 0, "hide_credential": True}],
    },
    "class": "contract",
    "request": {"method": "GET", "path": "/x", "query": "k=good&a=1", "headers": {}},
    "expect": {"status": 200, "user": "good", "removed": ["query:k"]},
}


def merged(case: Plain, **changes: Any) -> Plain:
    """The case with some of its parts replaced; `request__path` is a part of a part."""
    made: Plain = json.loads(json.dumps(case))
    for place, value in changes.items():
        *outer, name = place.split("__")
        node = made
        for each in outer:
            node = node[each]
        node[name] = value
    return made


def run(bench: Bench, trial: Exchange | Judgement) -> str | None:
    assert isinstance(trial, Exchange)
    bench.now = trial.now
    assert bench.prepare(trial.document, trial.refusal) is None
    answers: list[Answer] = [bench.ask(each) for each in trial.requests]
    return trial.verify(answers)


@pytest.mark.parametrize(
    "changes",
    [
        {"expect__status": 401},
        {"expect__headers_to_upstream": {"X-Consumer-Username": "jim"}},
        {"expect__headers_to_upstream": {"X-Consumer-Username": ["jack", "jack"]}},
        {"expect__headers_removed": ["x-credential-identifier"]},
        {"expect__headers_kept": ["apikey"]},
        {"expect__query_to_upstream": {"a": "2"}},
        {"expect__query_removed": ["a"]},
        {"expect__response_headers": {"x-a": "1"}},
        {"expect__consumer_group_id": "gold"},
        {"expect_derived": {"identity": {"consumer": "jack", "credential_id": None}}},
        {"expect_derived": {"identity": {"consumer": "jack", "anonymous": True}}},
        {"request__headers": {"apikey": "bad"}},
        {"expect": {"status": 401, "body_contains": "{}"}, "request__headers": {}},
        {"expect": {"status": 401, "response_headers_absent": ["WWW-Authenticate"]},
         "request__headers": {}},
        {"expect": {"status": 401, "response_headers": {"www-authenticate": "Basic"}},
         "request__headers": {}},
    ],
)  # fmt: skip
def test_a_vendors_wrong_expectation_fails(bench: Bench, changes: dict[str, Any]) -> None:
    run(bench, apisix.translate(VENDOR, {}, "direct"))
    with pytest.raises(AssertionError):
        run(bench, apisix.translate(merged(VENDOR, **changes), {}, "direct"))


@pytest.mark.parametrize(
    "changes",
    [
        {"expect": "deny"},
        {"direct_expect": "error"},
        {"upstream__exact": {"x-consumer-username": []}},
        {"upstream__absent": ["X-Consumer-Username"]},
        {"upstream__path": "/x?"},
        {"upstream__must_not_contain": "jack"},
        {"upstream__must_not_contain": {"b64": base64.b64encode(b"jack").decode()}},
        {"repeat": 2, "repeat_expect": ["allow", "deny"]},
        {"config__query_enabled": False},
        {"config__policy": {"jack": ["/y/"]}},
    ],
)
def test_a_hostile_cases_wrong_expectation_fails(bench: Bench, changes: dict[str, Any]) -> None:
    run(bench, attack.translate(HOSTILE, FIXTURES, "direct"))
    with pytest.raises(AssertionError):
        run(bench, attack.translate(merged(HOSTILE, **changes), FIXTURES, "direct"))


@pytest.mark.parametrize(
    "changes",
    [
        {"expect__status": 401},
        {"expect__user": "other"},
        {"expect__removed": []},
        {"expect__removed": ["query:k", "query:a"]},
        {"consumer__disable": True},
        {"consumer__users": [{"pattern": {"apikey": "good"}, "expire": 1}]},
    ],
)
def test_an_apps_wrong_expectation_fails(bench: Bench, changes: dict[str, Any]) -> None:
    run(bench, apinto.translate(APP, {}, "direct"))
    with pytest.raises(AssertionError):
        run(bench, apinto.translate(merged(APP, **changes), {}, "direct"))


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_what_envoy_tells_is_told_apart(gateway: Gateway, bench: Bench, http: Any) -> None:
    trial = attack.translate(merged(HOSTILE, request__http=http), FIXTURES, "envoy")
    assert bench.prepare(trial.document, trial.refusal) is None
    (request,) = trial.requests
    allowed = gateway.ask(request)
    assert (allowed.outcome, allowed.status, allowed.asked) == ("allow", 200, True)
    assert allowed.upstream is not None
    assert allowed.upstream.target == b"/x"
    denied = gateway.ask(replace(request, target=b"/x"))
    assert (denied.outcome, denied.status, denied.upstream) == ("deny", 401, None)
    refused = gateway.ask(replace(request, lines=((b"a_b", b"1"),)))
    assert (refused.outcome, refused.upstream, refused.asked) == ("error", None, False)
    with pytest.raises(AssertionError, match="upstream path"):
        attack.translate(merged(HOSTILE, upstream__path="/y"), FIXTURES, "envoy").verify([allowed])
    for wanted in ("allow", "error"):
        with pytest.raises(AssertionError, match=f"expected {wanted}, got deny"):
            attack.translate(merged(HOSTILE, expect=wanted), FIXTURES, "envoy").verify([denied])


def judged(bench: Bench, written: Plain, expected: Plain) -> None:
    case = {**VENDOR, "kind": "config", "object": written, "expect": expected}
    trial = apisix.translate(case, {}, "direct")
    assert isinstance(trial, Judgement)
    trial.verify(bench.judge(trial.document))


def test_a_wrong_judgement_fails(bench: Bench) -> None:
    wrong = {"credential": {"type": "key-auth", "key": 1}}
    judged(bench, wrong, {"valid": False, "error_contains": 'property "key" validation failed'})
    with pytest.raises(AssertionError, match="refused, but it is fine"):
        judged(bench, wrong, {"valid": True})
    with pytest.raises(AssertionError, match="does not name 'realm'"):
        judged(bench, wrong, {"valid": False, "error_contains": 'property "realm" is required'})
    with pytest.raises(AssertionError, match="should be refused"):
        judged(bench, {"credential": {"type": "key-auth", "key": "k"}}, {"valid": False})


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({"route_config": {"key-auth": {}, "proxy-rewrite": {}}}, "direct"),
        ({"route_config": {}}, "direct"),
        ({"profile": "apisix-9.9"}, "direct"),
        ({"request__headers": {"x_a": "1"}}, "envoy"),
        ({"request__path": "/a%2Fb"}, "envoy"),
        ({"request__path": "/a/../b"}, "envoy"),
    ],
)
def test_what_cannot_be_expressed_is_said(changes: dict[str, Any], mode: Any) -> None:
    with pytest.raises(Inexpressible):
        apisix.translate(merged(VENDOR, **changes), {}, mode)


def test_values_may_be_bytes_and_lists() -> None:
    request = {
        "path": {"b64": base64.b64encode(b"/\xff").decode()},
        "headers": {"a": ["1", {"b64": "/w=="}], "b": "é"},
        "body_base64": "AAE=",
    }
    wanted = ((b"a", b"1"), (b"a", b"\xff"), (b"b", "é".encode()))
    assert sent(request) == Sent(target=b"/\xff", lines=wanted, body=b"\x00\x01")
    assert header_lines([["a", {"b64": "/w=="}], ["a", "1"]]) == ((b"a", b"\xff"), (b"a", b"1"))
    with pytest.raises(Inexpressible):
        header_lines([["a", {"hex": "ff"}]])


def test_formats_are_told_by_structure(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"cases": [VENDOR, HOSTILE, APP, {"id": "?"}]}))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "two.json").write_text(json.dumps([VENDOR]))
    (tmp_path / "other.json").write_text(json.dumps({"cases": [1], "a": 2}))
    found = find(tmp_path)
    assert [(case.file, case.group) for case in found] == [
        ("deep/two.json", "key-auth"),
        ("one.json", "key-auth"),
        ("one.json", "key-auth"),
        ("one.json", "apikey"),
        ("one.json", "unknown"),
    ]
    with pytest.raises(Inexpressible, match="no known format"):
        found[-1].translate("direct")
