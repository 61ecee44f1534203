"""What is moved in opens nothing: a doubt about what the source asks for admits nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import Struct

from authz.access import RULES
from authz.admin.moving.apisix_auth import Plugins
from authz.admin.moving.moved import move
from authz.admin.moving.people import People
from authz.admin.moving.report import Path as Path_
from authz.admin.moving.report import Report
from authz.admin.moving.wanted import NOBODY, Policy


def moved(tmp_path: Path, text: str) -> tuple[dict[str, Any], Report]:
    file = tmp_path / "source"
    file.write_text(text)
    made = move(file)
    return yaml.safe_load(made.document), made.report


KEY = "plugins: {key-auth: {}}"


def policies(document: dict[str, Any]) -> dict[str, object]:
    """What each route asks for, by path and methods."""
    found = {}
    for service in document["services"]:
        for route in service["routes"]:
            match = route["match"]
            name = f"{match['path']} {','.join(match.get('methods', []))}".strip()
            for host in service.get("hosts", [""]):
                found[f"{host}{name}"] = route.get("auth", service.get("auth"))
    return found


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        # Two for the same requests, asking for different things: which is meant?
        (f"{{id: a, uri: /x, {KEY}}}, {{id: b, uri: /x, plugins: {{basic-auth: {{}}}}}}",
         {"/x": None}),
        (f"{{id: a, uri: /x, {KEY}}}, {{id: b, uri: /x, {KEY}}}", {"/x": {"key-auth": {}}}),
        # What one of them has beside the other is not given to a broader route.
        (f"{{id: a, uri: /x, methods: [GET], {KEY}}}, {{id: b, uri: /x, methods: [GET, PUT], "
         "plugins: {basic-auth: {}}}", {"/x GET": None, "/x PUT": None}),
        (f"{{id: a, uri: /x, methods: [GET], {KEY}}}, {{id: b, uri: /x, methods: [GET, PUT], "
         f"{KEY}}}", {"/x GET": {"key-auth": {}}, "/x PUT": {"key-auth": {}}}),
        # A condition that cannot be asked for closes what may be meant by it, and no more.
        (f"{{id: a, uri: /x, vars: [[a, ==, b]], plugins: {{openid-connect: {{}}}}}}, "
         f"{{id: b, uri: /x, {KEY}}}", {"/x": None}),
        (f"{{id: a, uri: /x, remote_addr: 10.0.0.1, {KEY}}}, {{id: b, uri: /*, {KEY}}}",
         {"/*": {"key-auth": {}}, "/x": None}),
        (f"{{id: a, uri: '/x/:id/y', plugins: {{cas-auth: {{}}}}}}, {{id: b, uri: /*, {KEY}}}",
         {"/*": {"key-auth": {}}, "/x/*": None}),
        (f"{{id: a, uri: /x, host: 'api.*', plugins: {{cas-auth: {{}}}}}}, "
         f"{{id: b, uri: /*, {KEY}}}", {"/*": {"key-auth": {}}, "/x": None}),
        (f"{{id: a, uri: /x, hosts: [a.b, 'a.*'], plugins: {{cas-auth: {{}}}}}}, "
         f"{{id: b, uri: /*, host: a.b, {KEY}}}, {{id: c, uri: /*, {KEY}}}",
         {"a.b/*": {"key-auth": {}}, "a.b/x": None, "/*": {"key-auth": {}}, "/x": None}),
        (f"{{id: a, uri: /x, host: 'a.*', plugins: {{cas-auth: {{}}}}}}, "
         f"{{id: b, uri: /*, host: a.b, {KEY}}}",
         {"a.b/*": {"key-auth": {}}, "a.b/x": None, "/x": None}),
        # What is not in the file, or not understood, is not left out of what is asked.
        (f"{{id: a, uri: /x, plugin_config_id: gone, {KEY}}}", {"/x": None}),
        (f"{{id: a, uri: /x, service_id: gone, {KEY}}}", {"/x": None}),
        ("{id: a, uri: /x, plugins: {key-auth: {headers: [a]}}}", {"/x": None}),
        ("{id: a, uri: /x, plugins: {key-auth: {}, opa: {}}}", {"/x": None}),
        ("{id: a, uri: /x, plugins: {basic-auth: {}, key-auth: {headers: [a]}}}", {"/x": None}),
        (f"{{id: a, uri: /x, methods: [a b], {KEY}}}, {{id: b, uri: /y, methods: [GET], {KEY}}}",
         {"/y GET": {"key-auth": {}}}),
        ("{id: a, uri: /x, plugins: {key-auth: {}, forward-auth: {_meta: {disable: true}}}}",
         {"/x": {"key-auth": {}}}),
        ("{id: a, uri: /x, plugins: {multi-auth: {auth_plugins: [{key-auth: {}}, {jwe-decrypt: "
         "{}}]}}}", {"/x": None}),
    ],
)  # fmt: skip
def test_a_doubt_admits_nobody(routes: str, expected: dict[str, object], tmp_path: Path) -> None:
    """Which requests another route answers instead would be a guess."""
    document, report = moved(tmp_path, f"routes: [{routes}]")

    assert policies(document) == expected
    if None in expected.values():
        assert report.counts()["left"] > 0


class _Rule(Struct, forbid_unknown_fields=True):
    allow_labels: dict[str, list[str]]


def test_a_rule_that_documents_know_is_taken_under_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the very settings, if they are understood; else nobody passes."""
    monkeypatch.setitem(RULES, "acl", _Rule)
    report = Report(lambda path: 1)
    plugins = Plugins(report, People(report, "api7", str))
    key: tuple[Path_, dict[str, Any]] = ("a",), {}
    good, bad = {"allow_labels": {"team": ["a"]}}, {"allow_labels": {}, "unheard_of": 1}

    taken = plugins.policy({"key-auth": key, "acl": (("b",), good)}, ())
    assert taken == Policy({"key-auth": {}}, {"acl": good})
    assert plugins.policy({"key-auth": key, "acl": (("c",), bad)}, ()) == NOBODY
    assert [(e.word, e.path) for e in report.entries()] == [
        ("took", "b"),
        ("took", "a"),
        ("left", "c"),
    ]


def test_a_plugin_of_everything_is_of_every_route(tmp_path: Path) -> None:
    """In either spelling."""
    for written in ("[{id: 1, plugins: {opa: {}}}]", "{opa: {}}"):
        document, _ = moved(tmp_path, f"global_rules: {written}\nroutes: [{{uri: /x, {KEY}}}]")
        assert policies(document) == {"/x": None}


def test_a_consumers_own_guard_is_not_lost(tmp_path: Path) -> None:
    """Nor that of its group: without it the consumer calls nothing."""
    text = (
        "consumers:\n"
        "  - {username: a, plugins: {key-auth: {key: a}, opa: {}}}\n"
        "  - {username: b, group_id: g, plugins: {key-auth: {key: b}}}\n"
        "  - {username: c, plugins: {key-auth: {key: c}}}\n"
        "consumer_groups: [{id: g, plugins: {opa: {}}}]\n"
    )
    document, _ = moved(tmp_path, text)

    assert [each.get("disabled", False) for each in document["consumers"]] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("[{name: acl, config: {allow: [x]}}]", None),
        ("[{name: key-auth}, {name: ip-restriction, config: {allow: [10.0.0.0/8]}}]", None),
        ("[{name: key-auth, config: {key_in_header: false}}]",
         {"key-auth": {"header": None, "query": "apikey"}}),
        ("[{name: jwt}]", {"jwt-auth": {"header": "authorization", "query": "jwt", "cookie": None,
                                        "key_claim_name": "iss", "claims_to_verify": []}}),
        ("[{name: oauth2}, {name: key-auth, config: {anonymous: x}}]", None),
        ("[{name: basic-auth}, {name: key-auth, config: {anonymous: x}}]", {"basic-auth": {}}),
        ("[{name: hmac-auth, config: {algorithms: [hmac-sha384]}}]", None),
        ("[{name: request-termination}, {name: key-auth}]", None),
    ],
)  # fmt: skip
def test_kongs_plugins(plugins: str, expected: object, tmp_path: Path) -> None:
    """Those that are not here admit nobody, whatever stands beside them."""
    document, _ = moved(
        tmp_path,
        f"_format_version: '3.0'\nservices: [{{name: a, plugins: {plugins}, "
        "routes: [{name: r, paths: [/x/]}]}]\n",
    )

    assert policies(document) == {"/x/*": expected}


def test_kongs_own_guards_are_not_lost(tmp_path: Path) -> None:
    """Of a consumer or a group, also where they are for one service alone."""
    guard = "name: ip-restriction, config: {allow: [10.0.0.0/8]}"
    document, report = moved(
        tmp_path,
        "_format_version: '3.0'\nconsumers:\n"
        f"  - {{username: a, plugins: [{{{guard}}}]}}\n"
        "  - {username: b, groups: [{name: g}]}\n"
        "  - {username: c}\n"
        "  - {username: d, plugins: [{name: rate-limiting-advanced}]}\n"
        f"consumer_groups: [{{name: g, plugins: [{{{guard}}}]}}]\n"
        f"plugins: [{{{guard}, consumer: c, service: s}}]\n",
    )

    assert [each.get("disabled", False) for each in document["consumers"]] == [
        *(True, True, True),
        False,
    ]
    assert report.counts()["left"] == 4


def test_kongs_hashed_passwords_are_known(tmp_path: Path) -> None:
    """By their form, or because the file says that nothing is to be hashed any more."""
    text = (
        "_format_version: '3.0'\n_transform: {}\nconsumers:\n"
        "  - {{username: a, basicauth_credentials: [{{username: a, password: {}}}]}}\n"
    )
    plain, _ = moved(tmp_path, text.format("true", "hunter2"))
    transformed, _ = moved(tmp_path, text.format("false", "hunter2"))
    hashed, _ = moved(tmp_path, text.format("true", "a" * 40))

    assert "credentials" in plain["consumers"][0]
    assert "credentials" not in transformed["consumers"][0]
    assert "credentials" not in hashed["consumers"][0]
