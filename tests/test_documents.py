"""Several files as one gateway, and JSON Lines: what they say, and where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authz import documents
from authz.admin import plan as planning
from authz.plain import DocumentError
from tests.support.everything import accounts, exported
from tests.support.valkey import Valkey
from tests.support.workers import catalog

SERVICES = "services: [{id: api, auth: {key-auth: {}}}]\n"
JOHN = '{"username": "john", "credentials": [{"id": "k", "key-auth": {"key": "johns-key"}}]}\n'
MARY = JOHN.replace("john", "mary")


def write(directory: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    return [directory / name for name in files]


def usernames(paths: list[Path]) -> list[str]:
    return [placed.entry.username for placed in documents.load(paths).entries()]


def test_files_are_one_gateway(store: Valkey, tmp_path: Path) -> None:
    """What they hold together is what there is; what is in none of them goes."""
    paths = write(
        tmp_path,
        {
            "gateway.yaml": "profile: apisix-3.18\n" + SERVICES,
            "more.json": json.dumps({"services": [{"id": "more", "hosts": ["m.test"]}]}),
            "people.jsonl": JOHN + "\n" + MARY,
            "own.yaml": "consumers: [{username: own}]",
        },
    )
    target = catalog(store.url)
    planning.apply(target, planning.plan(documents.load(paths), target, 0.0))

    policy = target.policy()
    assert (policy["profile"], [s["id"] for s in policy["services"]]) == (
        "apisix-3.18",
        ["api", "more"],
    )
    assert [name for _, name in accounts(target)] == ["john", "mary", "own"]
    planning.apply(target, planning.plan(documents.load(paths[:2]), target, 0.0))
    assert accounts(target) == {}


def test_lines_may_bring_their_services(tmp_path: Path) -> None:
    """In the first line, as an export has them."""
    head = '{"profile": "alibaba", "services": [{"id": "api"}]}\n'
    (path,) = write(tmp_path, {"all.jsonl": head + JOHN})

    assert documents.load([path]).policy.profile == "alibaba"
    assert usernames([path]) == ["john"]


def test_secrets_of_lines_are_found_beside_their_file(tmp_path: Path) -> None:
    """As those of documents."""
    line = '{"username": "a", "credentials": [{"key-auth": {"key": {"file": "key"}}}]}'
    paths = write(tmp_path, {"g.yaml": SERVICES, "p.jsonl": line, "key": "the-key\n"})[:2]

    (placed,) = documents.load(paths).entries()
    assert getattr(placed.entry.credentials[0], "key_auth").key.value == "the-key"  # noqa: B009


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"p.jsonl": JOHN + '{"username": "a",}\n'}, "p.jsonl:2: not JSON: Expecting property"),
        ({"p.jsonl": JOHN + '["a"]'}, "p.jsonl:2: consumer: expected 'object', got 'array'"),
        ({"p.jsonl": '{"username": "a", "username": "b"}'}, "p.jsonl:1: not JSON that says one"),
        ({"p.jsonl": '{"username": "\\ud800"}'}, "p.jsonl:1: not JSON that says one thing"),
        ({"p.jsonl": JOHN + "\n\n" + '{"user": "a"}'}, "p.jsonl:4: consumer: unknown field 'user'"),
        (
            {"p.jsonl": JOHN.replace('"key":', '"kee":')},
            "p.jsonl:1: credentials[0].key-auth: unknown field 'kee'",
        ),
        (
            {"p.jsonl": JOHN.replace('"johns-key"', '{"env": "AUTHZ_TEST_UNSET"}')},
            "p.jsonl:1: credentials[0].key-auth: environment variable AUTHZ_TEST_UNSET is not set",
        ),
        (
            {"p.jsonl": JOHN.replace('"johns-key"', '""')},
            "p.jsonl:1: credentials[0].key-auth.key: expected a key that is not empty",
        ),
        (
            {"p.jsonl": JOHN + MARY + JOHN},
            "p.jsonl:3: username: 'john' is already taken: DIR/p.jsonl:1",
        ),
        (
            {"d.yaml": "consumers: [{username: mary}]", "p.jsonl": MARY},
            "p.jsonl:1: username: 'mary' is already taken: DIR/d.yaml: consumers[0]",
        ),
        (
            {"p.jsonl": JOHN, "q.jsonl": MARY.replace("marys-key", "johns-key")},
            "q.jsonl:1: credentials[0].key-auth: duplicate: credential 'k' of consumer 'john'",
        ),
        ({"p.jsonl": JOHN + '{"profile": "api7"}'}, "p.jsonl:2: consumer: unknown field 'profile'"),
        ({"p.jsonl": '{"profile": "api7", "consumers": []}'}, "p.jsonl:1: beside `profile`"),
        ({"p.jsonl": '{"profile": "no"}'}, "p.jsonl:1: profile: invalid enum value 'no'"),
        ({"p.jsonl": '{"username": "' + "a" * documents.MAX_LINE + '"}'}, "p.jsonl:1: longer than"),
        ({"d.yaml": "consumers: [{}]"}, "d.yaml: consumers[0]: missing field 'username'"),
        ({"d.yaml": SERVICES}, "d.yaml: services: 'api' is already taken in DIR/g.yaml"),
        (
            {"d.yaml": "services: [{id: b}, {id: c, hosts: [h.test, h.test]}]"},
            "d.yaml: services[1]: h.test/* is already taken by another route",
        ),
        (
            {"d.yaml": "profile: api7", "e.yaml": "profile: alibaba"},
            "profile: files that are applied together have one, not DIR/d.yaml: api7, DIR/e.yaml",
        ),
        ({"g.yaml": SERVICES}, "g.yaml: is given twice"),
    ],
)
def test_a_mistake_names_its_file_and_line(
    store: Valkey, tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    """And nothing is written, however much stood before it."""
    target = catalog(store.url)
    paths = [*write(tmp_path, {"g.yaml": SERVICES}), *write(tmp_path, files)]

    with pytest.raises(DocumentError) as caught:
        planning.apply(target, planning.plan(documents.load(paths), target, 0.0))
    assert complaint.replace("DIR", str(tmp_path)) in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert "johns-key" not in str(caught.value)
    assert store.client().dbsize() == 0


def test_consumers_alone_are_refused(tmp_path: Path) -> None:
    """Applied they would take every service away; the error says what to type."""
    with pytest.raises(DocumentError, match=r"authz apply gateway.yaml people.jsonl"):
        documents.load(write(tmp_path, {"people.jsonl": JOHN}))
    with pytest.raises(DocumentError, match="cannot be read"):
        documents.load([tmp_path / "gone.jsonl"])


def test_an_export_of_lines_changes_nothing(store: Valkey, tmp_path: Path) -> None:
    """Applied to the same store; to an empty one it makes the same."""
    text = """
profile: apisix-3.18
services: [{id: api, auth: {any: [{key-auth: {}}, {basic-auth: {realm: r}}]}}]
consumers:
  - {username: idle, disabled: true}
  - username: john
    tenant: t1
    labels: {custom_id: "4711", name: "Jürgen  "}
    not_before: 2026-01-01T00:00:00Z
    expires_at: 2027-01-01T00:00:00.5Z
    credentials:
      - {key-auth: {key: johns-key}}
      - {id: web, disabled: true, basic-auth: {username: j, password: a pass:word}}
"""
    target = catalog(store.url)
    (path,) = write(tmp_path, {"gateway.yaml": text})
    planning.apply(target, planning.plan(documents.load([path]), target, 0.0))
    before, yaml = accounts(target), exported(target)
    lines = write(tmp_path, {"all.jsonl": exported(target, "jsonl")})

    made = planning.plan(documents.load(lines), target, 0.0)
    assert (made.lines, made.changes) == ((), 0)
    store.client().flushall()
    planning.apply(target, planning.plan(documents.load(lines), target, 0.0))
    assert accounts(target) == before
    assert exported(target) == yaml
