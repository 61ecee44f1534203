"""Grants by command: what waits, what holds, and what the document and the commands own."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from authz import documents
from authz.admin import grants
from authz.admin import plan as planning
from authz.admin.catalog import Catalog, Unknown
from authz.admin.credentials import Refused, Validity, consumer_of
from authz.admin.grants import MAX_NOTE, Wanted
from authz.plain import DocumentError
from tests.admin.test_commands import Shell
from tests.admin.test_plan import put
from tests.support.everything import exported
from tests.support.valkey import Valkey
from tests.support.workers import catalog

DOCUMENT = """
services:
  - id: api
    auth: {key-auth: {}}
    access: {grant: required, approval: auto}
    routes: [{id: one, match: {path: /one}, access: {approval: manual}}, {id: two}]
  - {id: slow, hosts: [slow.test], auth: {key-auth: {}}, access: {grant: required}}
  - {id: theirs, tenant: t, hosts: [t.test], auth: {key-auth: {}}}
grants: [{group: gold, service: slow}]
consumers:
  - {username: ann, grants: [{service: slow, stage: TEST}]}
  - {username: tom, tenant: t}
"""
ANN = ("", "ann")
SLOW = Wanted("slow")


@pytest.fixture
def store_(store: Valkey) -> Catalog:
    made = catalog(store.url)
    put(made, DOCUMENT)
    return made


def states(store: Catalog, wanted: Wanted = SLOW) -> list[tuple[str, float, float, str]]:
    held = consumer_of(store, *ANN).grants
    return [(g.state, g.not_before, g.not_after, g.note) for g in held if wanted.is_of(g)]


def test_a_request_waits_and_is_settled_once(store_: Catalog) -> None:
    times = Validity(10.0, 20.0)
    grants.request(store_, ANN, SLOW, validity=times, note="please", at=1.0)
    assert states(store_) == [("requested", 10.0, 20.0, "please")]
    with pytest.raises(Refused, match="'ann' has asked for slow already"):
        grants.request(store_, ANN, SLOW, at=2.0)
    grants.refuse(store_, ANN, SLOW, note="no", at=3.0)
    assert states(store_) == [("refused", 10.0, 20.0, "no")]
    with pytest.raises(Unknown, match="has not asked for slow, or it is settled"):
        grants.approve(store_, ANN, SLOW, at=4.0)
    # Whoever was refused may ask again, which takes the refusal's place.
    grants.request(store_, ANN, SLOW, at=5.0)
    grants.approve(store_, ANN, SLOW, validity=Validity(expires_at=30.0), at=6.0)
    assert states(store_) == [("approved", 0.0, 30.0, "")]
    with pytest.raises(Refused, match="has a grant for slow already"):
        grants.request(store_, ANN, SLOW, at=29.0)
    # What has ended may be asked for again; nothing is lost of what was.
    grants.request(store_, ANN, SLOW, at=30.0)
    assert [state for state, *_ in states(store_)] == ["approved", "requested"]


def test_a_service_or_a_route_says_whether_a_request_waits(store_: Catalog) -> None:
    assert grants.request(store_, ANN, Wanted("api"), at=1.0).state == "approved"
    assert grants.request(store_, ANN, Wanted("api", "two"), at=1.0).state == "approved"
    assert grants.request(store_, ANN, Wanted("api", "one"), at=1.0).state == "requested"


def test_given_grants_follow_each_other_and_settle_a_request(store_: Catalog) -> None:
    grants.request(store_, ANN, SLOW, at=1.0)
    grants.give(store_, ANN, SLOW, validity=Validity(0.0, 20.0), at=2.0)
    grants.give(store_, ANN, SLOW, validity=Validity(20.0, 30.0), at=2.0)
    assert states(store_) == [("approved", 0.0, 20.0, ""), ("approved", 20.0, 30.0, "")]
    assert len(grants.revoke(store_, ANN, SLOW)) == 2
    # Of another stage, and the document's.
    assert states(store_, Wanted("slow", stage="TEST")) != []
    with pytest.raises(Unknown, match="no grant for slow; it has: slow in stage TEST"):
        grants.revoke(store_, ANN, SLOW)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Wanted("ghost"), "there is no service 'ghost'; there are: api, slow"),
        (Wanted("theirs"), "there is no service 'theirs'"),
        (Wanted("api", "ghost"), "api has no route 'ghost'; it has: one, two"),
        (Wanted("slow", "ghost"), "slow has no route 'ghost'; it has: none"),
    ],
)
def test_what_nobody_can_call_cannot_be_granted(store_: Catalog, wanted: Wanted, text: str) -> None:
    for do in (grants.request, grants.give):
        with pytest.raises(Unknown, match=text):
            do(store_, ANN, wanted, at=1.0)


def test_what_makes_no_sense_is_refused(store_: Catalog) -> None:
    with pytest.raises(Refused, match="ends before it begins"):
        grants.give(store_, ANN, SLOW, validity=Validity(20.0, 20.0), at=1.0)
    grants.request(store_, ANN, SLOW, validity=Validity(20.0, 30.0), at=1.0)
    with pytest.raises(Refused, match="ends before it begins"):
        grants.approve(store_, ANN, SLOW, validity=Validity(expires_at=20.0), at=1.0)
    assert [state for state, *_ in states(store_)] == ["requested"]
    with pytest.raises(Refused, match="no longer than"):
        grants.give(store_, ANN, SLOW, note="x" * (MAX_NOTE + 1), at=1.0)
    with pytest.raises(Refused, match="stage"):
        Wanted("slow", stage="a b")
    with pytest.raises(Unknown, match="no consumer 'ghost'"):
        grants.give(store_, ("", "ghost"), SLOW, at=1.0)


def test_an_apply_keeps_what_the_commands_made(store_: Catalog) -> None:
    grants.give(store_, ANN, SLOW, at=1.0)
    grants.request(store_, ANN, Wanted("api", "one"), at=1.0)
    assert put(store_, DOCUMENT) == []
    assert put(store_, DOCUMENT.replace("stage: TEST", "stage: PRE")) == ["~ consumer ann (grants)"]
    held = {(g.service, g.stage, g.state) for g in consumer_of(store_, *ANN).grants}
    assert held == {
        ("slow", "PRE", "approved"),
        ("slow", "RELEASE", "approved"),
        ("api", "RELEASE", "requested"),
    }
    # An export has all that lets somebody in, and can be applied.
    document = msgspec.yaml.decode(exported(store_))
    [ann] = [each for each in document["consumers"] if each["username"] == "ann"]
    assert ann["grants"] == [{"service": "slow", "stage": "PRE"}, {"service": "slow"}]
    assert document["grants"] == [{"group": "gold", "service": "slow"}]


def test_the_commands(store: Valkey, tmp_path: Path) -> None:
    shell = Shell(tmp_path, store.url)
    shell.run("keyring", "create", "ring")
    (shell.directory / "gateway.yaml").write_text(DOCUMENT)
    shell.run("apply", "gateway.yaml")
    asked = shell.run("grant", "request", "ann", "slow", "--note", "for [bold]tests")
    assert asked == "ann: slow waits for approval\n"
    until = "2030-01-01T00:00:00Z"
    shell.run("grant", "approve", "ann", "slow", "--until", until)
    [waiting, ann] = json.loads(shell.run("grant", "list", "--service", "slow", "--json"))[:2]
    assert (waiting["group"], waiting["from"]) == ("gold", "document")
    assert (ann["stage"], ann["from"]) == ("TEST", "document")
    table = shell.run("grant", "list", "--state", "approved")
    assert until in table
    assert "for [bold]tests" in table
    shell.run("grant", "revoke", "ann", "slow", "--stage", "TEST")
    wrong = shell.run("grant", "add", "ann", "slow", "--until", "tomorrow", status=2)
    assert "--until tomorrow: expected an instant such as" in wrong


@pytest.mark.parametrize(
    ("grant", "text"),
    [
        ("{service: ghost}", "consumers[0].grants[0].service: there is no service 'ghost'"),
        ("{service: api, route: ghost}", "consumers[0].grants[0].route: api has no route 'ghost'"),
        ("{service: theirs}", "consumers[0].grants[0].service: there is no service 'theirs'"),
    ],
)
def test_a_document_grants_what_is_there(store_: Catalog, grant: str, text: str) -> None:
    """A typing error would let nobody in, and be found much later."""
    with pytest.raises(DocumentError) as refused:
        put(store_, DOCUMENT.replace("{service: slow, stage: TEST}", grant))
    assert text in str(refused.value)


def test_lines_of_consumers_have_their_grants(store_: Catalog, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(DOCUMENT.partition("grants:")[0])
    people = tmp_path / "people.jsonl"
    people.write_text('{"username": "ann", "grants": [{"service": "slow", "route": "ghost"}]}\n')
    files = [tmp_path / "gateway.yaml", people]
    with pytest.raises(
        DocumentError, match=r"people.jsonl:1: grants\[0\].route: slow has no route"
    ):
        planning.plan(documents.load(files), store_, at=1.0)
    people.write_text('{"username": "ann", "grants": [{"service": "slow"}]}\n')
    planning.apply(store_, planning.plan(documents.load(files), store_, at=1.0))
    assert [(g.service, g.stage) for g in consumer_of(store_, *ANN).grants] == [("slow", "RELEASE")]
    # One that names its consumer stands in that consumer's own file.
    people.write_text('{"grants": [{"consumer": "ann", "service": "slow"}]}\n{"username": "ann"}\n')
    with pytest.raises(DocumentError, match="on its own line"):
        documents.load(files)
