"""`authz import`: files of other gateways as gateway documents that apply, and that open nothing
which was closed there."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from authz.admin.moving.moved import Kind, move
from authz.admin.moving.report import Report
from authz.cli import app
from authz.document import decode
from authz.plain import DocumentError

VECTORS = Path(__file__).parents[1] / "vectors" / "import"
FILES = {"apisix.yaml": "apisix", "adc.yaml": "apisix", "kong.yaml": "kong", "htpasswd": "htpasswd"}
ELSEWHERE = {"JACK_PASSWORD": "jack-password", "DECK_ALICE_KEY": "from-deck"}


def lines(report: Report, word: str) -> list[str]:
    return [f"{e.line} {e.path}: {e.why}" for e in report.entries() if e.word == word]


def moved(tmp_path: Path, text: str, kind: Kind | None = None) -> tuple[dict[str, Any], Report]:
    file = tmp_path / "source"
    file.write_text(text)
    made = move(file, kind)
    return yaml.safe_load(made.document), made.report


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env=ELSEWHERE)


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_a_file_is_known_by_what_is_in_it(name: str, kind: str, tmp_path: Path) -> None:
    """And becomes a document that can be read as strictly as any."""
    output = tmp_path / "gateway.yaml"
    result = run("import", VECTORS / name, "-o", output)

    assert result.exit_code == 0, result.output
    assert f"{kind}: took " in result.output
    assert decode(yaml.safe_load(output.read_text())).consumers
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["apisix", "adc", "kong"])
def test_the_document_decides_as_the_source_did(name: str, tmp_path: Path) -> None:
    """Or refuses. The examples are beside the files."""
    output = tmp_path / "gateway.yaml"
    run("import", VECTORS / f"{name}.yaml", "-o", output)
    result = run("test", VECTORS / f"{name}.test.yaml", "--document", output)

    assert result.exit_code == 0, result.output
    assert ", 0 not" in result.output


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_one_of_the_source(name: str) -> None:
    """On which the part is named that became something else."""
    text = (VECTORS / name).read_text().splitlines()
    entries = move(VECTORS / name).report.entries()
    for entry in entries:
        last = re.split(r"[.\[]", entry.path.rstrip("]"))[-1]
        if not last.isdigit() and last != "file":
            assert last in text[entry.line - 1]

    assert len(entries) > 5


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_reported(name: str, tmp_path: Path) -> None:
    """They are in the document, and there alone."""
    result = run("import", VECTORS / name, "-o", tmp_path / "gateway.yaml")

    for secret in ("jack-api-key", "unused", "tom-api-key", "tom-hmac-secret", "ann-password",
                   "alice-other-key", "alice-password", "alice-hmac-secret", "5baa61e4", "$apr1$",
                   "$2y$", "$argon2id$", "as-long-as-its-hash", "third-key"):  # fmt: skip
        assert secret not in result.output


@pytest.mark.parametrize(
    ("name", "word", "line"),
    [
        ("apisix", "left", "17 routes[2].plugins.openid-connect: cannot be asked for here: what "
         "it guards admits nobody"),
        ("apisix", "left", "22 routes[6]: nobody is asked who they are: here it admits nobody"),
        ("apisix", "changed", "12 routes[1]: /invoices*: only /invoices itself and what is below"),
        ("apisix", "changed", "19 routes[4]: /orders/*: routes[1] asks the same, and stands for"),
        ("apisix", "left", "54 consumers[2].plugins.key-auth: credential jack/vault: its"),
        ("apisix", "changed", "52 consumers[1].plugins.jwt-auth: credential jack/token (jwt"),
        ("apisix", "changed", "58 consumers[5]: consumer not-a-name-fa8664: 'not a name' holds"),
        ("apisix", "left", "59 consumers[5].plugins.key-auth: credential "
         "not-a-name-fa8664/key-auth: consumer 'jack' has the same already"),
        ("apisix", "other", "65 upstreams: does not say who may call"),
        ("apisix", "took", "37 services[0].plugins.attach-consumer-label: as labels that the"),
        ("apisix", "left", "37 services[0].plugins.limit-req: is not taken over"),
        ("apisix", "took", "38 services[0].plugins.limit-count: as limits"),
        ("apisix", "changed", "49 consumers[0].plugins.limit-count: the limit of a route is met, "
         "too; there this one stood in its place; counts for all workers together"),
        ("kong", "left", "10 services[0].plugins[1]: nothing is counted by path here: so this is "
         "not limited"),
        ("kong", "changed", "37 services[1].routes[1].plugins[2]: a window begins with the first"),
        ("adc", "left", "17 services[0].routes[1]: /orders/:id: a path with parameters"),
        ("adc", "left", "32 consumers[0].credentials[2].config: jwe-decrypt is no scheme"),
        ("kong", "left", "23 services[0].routes[2]: ~/invoices/\\d+$: an expression"),
        ("kong", "changed", "30 services[1].routes[0].plugins[0]: clients sign otherwise"),
        ("kong", "left", "56 consumers[0].basicauth_credentials[1]: the password is a hash that "
         "cannot be verified here: give its owner another one: authz credential issue alice"),
        ("kong", "left", "59 consumers[0].jwt_secrets[1]: credential alice/jwt-auth-2: its secret"),
        ("kong", "changed", "68 consumers[1].plugins[0]: as a consumer that is disabled"),
    ],
)  # fmt: skip
def test_what_became_of_a_line_is_said(name: str, word: str, line: str) -> None:
    """With its number, its place and why."""
    found = lines(move(VECTORS / f"{name}.yaml").report, word)

    assert any(each.startswith(line) for each in found), "\n".join(found)


def test_htpasswd_hashes_that_cannot_be_verified_are_left() -> None:
    """The users are there, and what to do for them is said; argon2id is taken as it is."""
    made = move(VECTORS / "htpasswd")
    consumers = yaml.safe_load(made.document)["consumers"]
    left = lines(made.report, "left")

    assert [each["username"] for each in consumers] == ["anna", "ben", "cora", "dora"]
    assert [each["username"] for each in consumers if "credentials" in each] == ["dora"]
    assert left[0].endswith("give them another one: authz credential issue anna basic-auth")
    assert [line.split(" ")[0] for line in left] == ["3", "4", "5"]
    assert ["bcrypt" in left[0], "apr1" in left[1], "SHA-1" in left[2]] == [True] * 3


def test_strict_says_by_its_exit_status_that_something_was_left(tmp_path: Path) -> None:
    """What does not say who may call is no loss."""
    whole = tmp_path / "whole.yaml"
    whole.write_text(
        "routes: [{id: a, uri: /a, plugins: {key-auth: {}, proxy-rewrite: {uri: /}}}]\n"
    )

    assert run("import", VECTORS / "apisix.yaml", "--strict").exit_code == 1
    assert run("import", whole, "--strict").exit_code == 0


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A document that is there may be somebody's work."""
    there = tmp_path / "gateway.yaml"
    there.write_text("mine")
    result = run("import", VECTORS / "kong.yaml", "-o", there)

    assert "is there already" in str(result.exception)
    assert there.read_text() == "mine"


def test_whose_file_it_is_can_be_said(tmp_path: Path) -> None:
    """Where the file does not say it."""
    with pytest.raises(DocumentError, match=r"Say --from apisix\|kong\|htpasswd"):
        moved(tmp_path, "plugins: []")
    assert moved(tmp_path, "plugins: []", Kind.kong)[0] == {"services": [], "consumers": []}


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "routes: 1", "routes: [1]", "a: &a [*a]", "_format_version: '3'\nservices: {}"],
)
def test_what_is_no_file_of_theirs_is_refused(text: str, tmp_path: Path) -> None:
    """In words, with the file's name."""
    with pytest.raises(DocumentError, match="source: "):
        moved(tmp_path, text)


def test_names_are_changed_the_same_way_each_time(tmp_path: Path) -> None:
    """And no two of them to one."""
    text = "consumers: [{username: 'a b'}, {username: 'a_b'}, {username: 'a  b'}, {username: é}]"
    document, _ = moved(tmp_path, text)
    names = [each["username"] for each in document["consumers"]]

    assert len(set(names)) == 4
    assert names[0].startswith("a-b-")
    assert names[1] == "a_b"
    assert names == [each["username"] for each in moved(tmp_path, text)[0]["consumers"]]
