"""Rules as the commands see them: applied, changed, exported, explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz import document
from authz.admin.explain import Step, explain
from authz.cli import app
from authz.documents import load
from authz.plain import DocumentError
from authz.routes import RouteTable
from tests.admin.test_plan import preview, put
from tests.support.everything import exported
from tests.support.gateway import ask
from tests.support.memory import Memory
from tests.support.valkey import Valkey
from tests.support.workers import RING, catalog

DOCUMENT = """
trusted_proxies: [10.0.0.0/8]
services:
  - id: api
    hosts: [api.test]
    auth: {key-auth: {}}
    access:
      acl: {deny_labels: {status: [out]}}
      ip-restriction: {blacklist: [192.0.2.0/24]}
      attach-consumer-label: {headers: {X-Team: $team}}
    routes: [{id: read, match: {path: /r}}, {id: write}]
groups:
  - {id: apps, access: {consumer-restriction: {type: route_id, whitelist: [read]}}}
consumers:
  - username: ann
    groups: [apps]
    access: {ip-restriction: {whitelist: [198.51.100.0/24], message: Not here.}}
    credentials: [{id: k, key-auth: {key: canary-ann-key-0123}}]
"""


def test_changes_are_named_and_all_is_exported(store: Valkey) -> None:
    """What was applied comes back as it was, and changes nothing."""
    target = catalog(store.url)
    put(target, DOCUMENT)

    assert preview(target, DOCUMENT) == []
    for old, new, line in (
        ("[10.0.0.0/8]", "[10.0.0.0/9]", "~ trusted_proxies (10.0.0.0/9)"),
        ("status: [out]", "status: [gone]", "~ service api (access)"),
        ("whitelist: [read]", "whitelist: [write]", "~ group apps (access)"),
        ("message: Not here.", "message: No.", "~ consumer ann (access)"),
    ):
        assert preview(target, DOCUMENT.replace(old, new)) == [line]
    text = exported(target)
    assert preview(target, text) == []
    again = document.parse(text)
    assert again.trusted_proxies == ["10.0.0.0/8"]
    assert again.consumers[0].access == document.parse(DOCUMENT).consumers[0].access


def test_several_schemes_are_explained_one_by_one() -> None:
    """Where multi-auth's answer does not say what was wrong."""
    auth = "{any: [{key-auth: {}}, {basic-auth: {}}]}"
    made = document.parse(f"{{profile: apisix-3.18, services: [{{id: s, auth: {auth}}}]}}")
    request = ask("/", ("apikey", "canary"))
    found = list(explain(request, RouteTable(made), Memory().load(made)))

    assert dict(found[1].notes)["auth"] == "multi-auth of key-auth, basic-auth"
    assert [step.outcome for step in found[2:]] == [
        "refused: invalid_key",
        "found nothing of its own in the request",
        "401, refused: no_scheme_proven",
    ]


def test_files_that_are_applied_together_trust_together(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("a.yaml", "b.yaml", "c.jsonl"))
    one.write_text("trusted_proxies: [10.0.0.0/8]\nservices: [{id: a}]")
    two.write_text("trusted_proxies: [10.0.0.0/8, '::1']")
    three.write_text('{"trusted_proxies": ["192.0.2.1"]}\n')

    assert load([one, two, three]).policy.trusted_proxies == ["10.0.0.0/8", "::1", "192.0.2.1"]
    three.write_text('{"trusted_proxies": ["192.0.2.1/8"]}\n')
    with pytest.raises(DocumentError, match=r"c\.jsonl:1: trusted_proxies: 192.0.2.1/8 has host"):
        load([one, two, three])


def steps(path: str, peer: str) -> list[Step]:
    made = document.parse(DOCUMENT)
    request = ask(path, ("apikey", "canary-ann-key-0123"), host="api.test", address=peer)
    return list(explain(request, RouteTable(made), Memory().load(made)))


@pytest.mark.parametrize(
    ("path", "peer", "outcome", "rule"),
    [
        ("/r", "198.51.100.1", "allowed", None),
        ("/w", "198.51.100.1", "403, refused: restriction_whitelist", "consumer-restriction"),
        ("/r", "203.0.113.1", "403, refused: address_not_allowed", "ip-restriction"),
        ("/r", "192.0.2.1", "403, refused: address_blocked", "ip-restriction"),
        ("/r", "", "403, refused: address_unknown", "ip-restriction"),
    ],
)
def test_the_rule_that_refused_is_explained(
    path: str, peer: str, outcome: str, rule: str | None
) -> None:
    """Though the credential is proven."""
    found = steps(path, peer)
    decision = found[-1]

    assert dict(found[1].notes)["access"] == "ip-restriction, acl"
    assert [step.outcome for step in found if step.title == "key-auth"] == ["proven"]
    assert decision.outcome == outcome
    assert dict(decision.notes).get("refused by") == rule
    assert ("meaning" in dict(decision.notes)) is (rule is not None)
    assert "canary" not in str(found)


def test_the_command_takes_an_address(store: Valkey, tmp_path: Path) -> None:
    put(catalog(store.url), DOCUMENT)
    (tmp_path / "ring").write_text(RING)
    options = ("--redis-url", store.url, "--keyring-file", str(tmp_path / "ring"))
    curl = ("--", "curl", "-H", "apikey: canary-ann-key-0123", "http://api.test/r")

    def said(address: str) -> str:
        made = CliRunner().invoke(app, ["explain", *options, "--from", address, *curl])
        assert made.exit_code == 0, made.output
        return made.output

    assert "decision: allowed" in said("198.51.100.1")
    refused = said("203.0.113.1")
    for part in ("403, refused: address_not_allowed", "refused by:", "Not here."):
        assert part in refused
