"""`authz test`: examples beside a document, decided offline as a worker decides them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz.admin import examples
from authz.cli import app, main
from authz.plain import DocumentError
from tests.support.memory import RING, CheapVault

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
WALKTHROUGHS = ROOT / "docs" / "walkthroughs"

DOCUMENT = """
services:
  - id: orders
    hosts: [api.example.com]
    auth: {key-auth: {hide_credentials: true}}
    routes:
      - {id: all, match: {path: /orders/*}}
      - {id: signed, match: {path: /signed}, auth: {hmac-auth: {nonce_header: X-Nonce}}}
      - {id: tokens, match: {path: /tokens}, auth: {jwt-auth: {header: null, key_claim_name: iss}}}
      - {id: seen, match: {path: /seen}, auth: {key-auth: {header: X-Key}}}
      - {id: both, match: {path: /both}, auth: {all: [{key-auth: {}}, {basic-auth: {}}]}}
consumers:
  - username: alice
    groups: [gold]
    credentials:
      - {id: primary, key-auth: {key: alice-secret-key}, expires_at: 2026-07-01T00:00:00Z}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
      - {id: mac, hmac-auth: {key_id: alice, secret_key: alice-hmac-secret}}
      - {id: token, jwt-auth: {key: alice, secret: a-secret-that-is-as-long-as-its-hash}}
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Write examples, run them, and give the result."""
    (tmp_path / "gateway.yaml").write_text(DOCUMENT)

    def run_(text: str, *options: str) -> Result:
        file = tmp_path / "gateway.test.yaml"
        file.write_text(f"document: gateway.yaml\nat: 2026-06-01T12:00:00Z\nexamples:\n{text}")
        return CliRunner().invoke(app, ["test", str(file), *options])

    return run_


def only(expect: str, request: str = "/orders/1", more: str = "") -> str:
    url = request if request.startswith("{") else f"GET https://api.example.com{request}"
    return f"  - {{name: it, request: {url}, expect: {expect}{more}}}\n"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (only("deny"), True),
        (only("deny 401"), True),
        (only("deny missing_key"), True),
        (only("deny 401 invalid_key"), False),
        (only("allow"), False),
        (only("allow alice/primary", more=", as: alice"), True),
        (only("allow bob", more=", as: alice"), False),
        (only("allow alice/web", more=", as: alice/primary"), False),
        (only("allow", "/nowhere", more=", as: alice/primary"), False),
        (only("{deny: {message: Missing API key found in request}}"), True),
        (only("{deny: {challenge: 'apikey realm=\"key\"'}}"), True),
        (only("{deny: {challenge: []}}"), False),
        (only("{allow: {headers: {X-Consumer-Groups: gold}}}", more=", as: alice"), True),
        (only("{allow: {headers: {X-Consumer-Groups: silver}}}", more=", as: alice"), False),
        (only("{allow: {without: [apikey]}}", more=", as: alice"), True),
        (only("{allow: {without: [x-key]}}", "/seen", more=", as: alice/primary"), False),
        (only("{allow: {scheme: key-auth, path: /orders/1?a=1}}", "/orders/1?a=1", ", as: alice"),
         True),
        (only("allow alice", "/both", ", as: [alice/primary, alice/web]"), True),
        (only("deny missing_authorization", "/both", ", as: alice/primary"), True),
        (only("allow alice/token", "/tokens", ", as: alice"), True),
        (only("deny token_expired", "/tokens", ", as: {consumer: alice, lifetime: -1}"), True),
        (only("allow alice", "{url: /x, context: {service: orders, route: all}}", ", as: alice"),
         True),
        (only("deny 403 no_route", "{url: /orders/1, headers: {host: other.example.com}}"), True),
    ],
)  # fmt: skip
def test_what_is_written_is_compared(run: Run, text: str, passes: bool) -> None:
    """And nothing else. The exit status says whether all of it held."""
    result = run(text)

    assert result.exit_code == (0 if passes else 1), result.output
    assert ("✓ it" in result.output) is passes


@pytest.mark.parametrize(
    ("at", "expect"),
    [
        ("2026-06-30T23:59:59Z", "allow alice"),
        ("2026-07-01T00:00:00Z", "deny credential_expired"),
        ("2026-07-01T00:00:00+01:00", "allow alice"),
    ],
)
def test_the_clock_is_the_examples_own(run: Run, at: str, expect: str) -> None:
    """To the second, over the file's."""
    result = run(only(expect, more=f", as: alice, at: {at}"))

    assert result.exit_code == 0, result.output


def test_what_may_be_used_once_is_used_up_by_the_first(run: Run) -> None:
    """`again` sends the same request; the next example knows nothing of it."""
    request = "{url: https://api.example.com/signed, headers: {x-nonce: n1}}"
    signed = only("allow alice/mac", request, ", as: alice, again: deny replayed")
    result = run(signed + signed + only("allow", request, ", as: alice, again: allow"))

    assert result.exit_code == 1
    assert result.output.count("✓ it") == 2
    assert "✗ it, again" in result.output
    assert "expected  allow" in result.output
    assert "actual    deny 401 replayed (the nonce was used before)" in result.output


def test_a_limit_is_used_up_by_the_first(run: Run, tmp_path: Path) -> None:
    """By `again`, beside what may be used once; the next example has it whole."""
    limits = "\n    access: {limits: [{requests: 1, per: day}]}"
    own = "    auth: {key-auth: {hide_credentials: true}}"
    other = tmp_path / "other.yaml"
    other.write_text(DOCUMENT.replace(own, own + limits))
    request = "{url: https://api.example.com/signed, headers: {x-nonce: n1}}"
    plain = only("allow alice", more=", as: alice, again: deny 429 too_many_requests")
    signed = only("allow alice/mac", request, ", as: alice, again: deny replayed")
    result = run(plain + plain + signed, "--document", str(other))

    assert result.exit_code == 0, result.output


def test_the_explanation_is_of_the_request_that_was_sent(run: Run) -> None:
    """Not of one that comes after it: its nonce was not used up then."""
    result = run(only("deny", "/signed", ", as: alice"))

    assert result.exit_code == 1
    assert "hmac-auth: proven" in result.output
    assert "decision: allowed" in result.output


def test_a_difference_says_what_the_reason_means_and_how_it_came_to_it(run: Run) -> None:
    """With the steps of `authz explain`."""
    output = run(only("allow alice", "/nowhere")).output

    assert "actual    deny 403 no_route (no service or route matches" in output
    assert "route: refused: no_route" in output
    assert "1 examples, 0 as expected, 1 not" in output


def test_no_credential_is_shown(run: Run) -> None:
    """Not even one that the upstream sees and should not."""
    text = only("{allow: {without: [x-key], path: /seen}}", "/seen?a=1", ", as: alice/primary")
    text += only("{allow: {headers: {authorization: none}}}", "/both",
                 ", as: [alice/primary, alice/web]")  # fmt: skip
    for result in (run(text), run(text, "--json")):
        assert result.exit_code == 1
        assert "alice-secret-key" not in result.output
        assert "YWxpY2U6" not in result.output


def test_json_has_all_of_it(run: Run) -> None:
    """For other programs: each example with its differences."""
    [first, second] = json.loads(run(only("deny 401") + only("allow"), "--json").output)

    assert (first["passed"], first["differences"]) == (True, [])
    assert (second["passed"], second["name"]) == (False, "it")
    assert second["differences"][0]["expected"] == "allow"
    assert second["differences"][0]["actual"].startswith("deny 401 missing_key")
    assert second["steps"][-1]["step"] == "decision"


def test_a_pattern_chooses_examples(run: Run) -> None:
    """By a part of the name, whatever the case; none at all is a mistake."""
    text = only("deny") + "  - {name: Other, request: /x, expect: allow}\n"

    assert run(text, "-k", "IT").exit_code == 0
    assert run(text, "-k", "oth").exit_code == 1
    assert "no example" in str(run(text, "-k", "nowhere").exception)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (only("alow"), "examples[0].expect: 'alow' is not understood; expected allow"),
        (only("deny 401 mising_key"), "no decision has the reason 'mising_key': did you mean"),
        (only("{deny: {reason: nonsense_}}"), "`authz reasons` lists all"),
        (only("{deny: {statuss: 401}}"), "examples[0].expect.deny: unknown field 'statuss'"),
        (only("{deny: {}, allow: {}}"), "expected one of allow, deny, answer, fault"),
        (only("fault 503"), "examples[0].expect: 'fault 503' is not understood"),
        (only("allow", more=", ass: alice"), "examples[0]: unknown field 'ass'"),
        (only("allow", more=", at: 2026-06-01"), "examples[0].at"),
        (only("allow", "{uri: /x}"), "examples[0].request: "),
        (only("allow", "{url: 'ftp://x/'}"), "examples[0] (it): request: expected a URL"),
        (only("allow", more=", as: carol"), "the document has no consumer 'carol'"),
        (only("allow", more=", as: alice/none"), "'alice' has no credential 'none': primary, web"),
        (only("allow", "/nowhere", ", as: alice"), "several: say alice/{primary|web|mac|token}"),
        ("  []\n", "examples"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_place(run: Run, text: str, complaint: str) -> None:
    """And nothing is run: half a test is none."""
    result = run(text)

    assert isinstance(result.exception, Exception)
    assert complaint in str(result.exception)
    assert "gateway.test.yaml" in str(result.exception)
    assert "✓" not in result.output


def test_a_broken_file_is_exit_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, as everywhere."""
    monkeypatch.setattr("sys.argv", ["authz", "test", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as left:
        main()

    assert left.value.code == 2
    assert "none.yaml: cannot be read" in capsys.readouterr().err


def test_the_document_may_be_another(run: Run, tmp_path: Path) -> None:
    """`--document` instead of the one that the file names."""
    other = tmp_path / "other.yaml"
    other.write_text("services: [{id: a, auth: {basic-auth: {}}}]")

    assert run(only("deny missing_authorization"), "--document", str(other)).exit_code == 0


def test_a_bad_document_is_refused_with_its_place(run: Run, tmp_path: Path) -> None:
    """As an apply would refuse it: here before anything is applied."""
    other = tmp_path / "other.yaml"
    for text, complaint in (
        ("consumers: [{username: a, credentials: [{id: x, key-auth: {key: ''}}]}]", "key-auth.key"),
        ("services: [{id: a}, {id: a}]", "services[1]: 'a' is already taken"),
        ("consumers: [{username: a, credentials: [{id: x, key-auth: {key: k}},"
         " {id: y, key-auth: {key: k}}]}]", "duplicate: credential 'x' of consumer 'a'"),
    ):  # fmt: skip
        other.write_text(text)
        result = run(only("deny"), "--document", str(other))

        assert isinstance(result.exception, DocumentError)
        assert complaint in str(result.exception)


def test_an_exported_document_needs_its_key_ring(tmp_path: Path) -> None:
    """Its digests and ciphertext: without the ring they prove nobody, and that is said."""
    vault = CheapVault(RING)
    ring, document, file = tmp_path / "ring", tmp_path / "gateway.yaml", tmp_path / "a.test.yaml"
    ring.write_text("k1:" + base64.b64encode(bytes(range(32))).decode())
    document.write_text(
        "services: [{id: a, auth: {any: [{key-auth: {}}, {hmac-auth: {}}]}}]\n"
        "consumers: [{username: john, credentials: ["
        f"{{id: k, key-auth: {{key: {{digest: {vault.digest('key-auth', '', 'john-key')}}}}}}},"
        f"{{id: m, hmac-auth: {{key_id: m, secret_key: {{encrypted: {vault.encrypt(b's')}}}}}}}]}}]"
    )
    file.write_text(
        "document: gateway.yaml\nexamples:\n"
        "  - {name: it, request: {url: /, headers: {apikey: john-key}}, expect: allow john/k}\n"
    )
    run = CliRunner().invoke
    with_it = run(app, ["test", str(file), "--keyring-file", str(ring)])
    without = run(app, ["test", str(file)], env={"AUTHZ_KEYRING_FILE": None})

    assert with_it.exit_code == 0, with_it.output
    assert without.exit_code == 1
    assert "consumers[0].credentials[0].key-auth: john/k proves nobody here" in without.output
    assert "john/m proves nobody here" in without.output


# -- what ships ------------------------------------------------------------------------------------


def test_the_demos_own_examples_hold() -> None:
    """Beside the document that `authz up` applies."""
    result = CliRunner().invoke(app, ["test", str(ROOT / "authz" / "stack" / "demo.test.yaml")])

    assert result.exit_code == 0, result.output
    assert "7 as expected, 0 not" in result.output


@pytest.mark.parametrize(
    ("name", "consumer", "credential"),
    [
        ("appcode", "app", "default"),
        ("basic-auth", "alice", "password"),
        ("hmac-auth", "john", "hmac"),
        ("jwt-auth", "john", "jwt"),
        ("jwt", "John Doe", "jwt"),
        ("key-auth", "alice", "primary"),
    ],
)
def test_a_credential_of_each_scheme_can_be_used(
    tmp_path: Path, name: str, consumer: str, credential: str
) -> None:
    """Attached or signed with, on the manuals' own documents."""
    file = tmp_path / "a.test.yaml"
    request = "{url: 'http://api.test/ip?a=1', method: POST, body: '{}'}"
    file.write_text(
        f"examples: [{{name: it, request: {request}, as: {consumer}, "
        f"expect: {{allow: {{consumer: {consumer}, credential: {credential}}}}}}}]"
    )
    path = WALKTHROUGHS / f"{name}.yaml"
    result = CliRunner().invoke(app, ["test", str(file), "--document", str(path)])

    assert result.exit_code == 0, result.output


def test_the_manuals_examples_are_understood(tmp_path: Path) -> None:
    """The files of docs/testing.md, and the one of the module's own text."""
    page = (ROOT / "docs" / "testing.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    assert len(blocks) >= 2
    for block in blocks:
        file = tmp_path / "a.test.yaml"
        file.write_text(block)
        assert examples.read(file).examples
