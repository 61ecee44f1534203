"""The `authz` command as a stranger types it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.valkey import Valkey, free_port

DOCUMENT = """
services: [{id: api, auth: {key-auth: {}}}]
consumers:
  - username: john
    credentials:
      - {id: env, key-auth: {key: {env: JOHN_KEY}}}
      - {id: file, key-auth: {key: {file: john.key}}}
"""


class Shell:
    """Runs the command in a directory, against one store and key ring."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "AUTHZ_REDIS_URL": url,
            "AUTHZ_KEYRING_FILE": str(directory / "ring"),
            "JOHN_KEY": "key-from-the-environment",
            "COLUMNS": "200",
        }
        (directory / "john.key").write_text("key-from-a-file\n")
        (directory / "gateway.yaml").write_text(DOCUMENT)

    def run(self, *words: str, status: int = 0) -> str:
        """What it prints: standard output, or standard error when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "authz", *words],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr


@pytest.fixture
def shell(store: Valkey, tmp_path: Path) -> Shell:
    made = Shell(tmp_path, store.url)
    made.run("keyring", "create", "ring")
    return made


def test_a_life_of_a_credential(shell: Shell) -> None:
    """Apply, list, issue, show, disable, enable, revoke."""
    assert "+ credential john/env" in shell.run("plan", "gateway.yaml")
    assert "+ consumer john" in shell.run("apply", "gateway.yaml")
    assert shell.run("apply", "gateway.yaml") == "nothing to change\n"

    issued = json.loads(
        shell.run(
            "credential", "issue", "john", "key-auth", "--id", "new", "--expires-in", "1d", "--json"
        )
    )
    assert issued["id"] == "new"
    assert issued["key"].startswith("authz_")
    rows = json.loads(shell.run("credential", "list", "--json"))
    assert [row["id"] for row in rows] == ["env", "file", "new"]
    assert [row["from"] for row in rows] == ["document", "document", "command"]
    shown = json.loads(shell.run("credential", "show", "john", "new"))
    assert shown["expires_at"]
    assert shown["hint"] == f"{issued['key'][:8]}…{issued['key'][-4:]}"

    assert shell.run("credential", "disable", "john", "new") == "disabled john/new\n"
    assert json.loads(shell.run("credential", "show", "john", "new"))["disabled"] is True
    shell.run("credential", "enable", "john", "new")
    shell.run("credential", "revoke", "john", "new")
    assert "has no credential 'new'; it has: env, file" in shell.run(
        "credential", "show", "john", "new", status=2
    )


def test_a_secret_is_shown_once(shell: Shell) -> None:
    """No later command prints it, nor any secret of the document."""
    shell.run("apply", "gateway.yaml")
    text = shell.run("credential", "issue", "john", "basic-auth", "--login", "johnny")
    password = text.split("password: ")[1].strip()
    assert "username: johnny" in text

    later = "".join(
        shell.run(*words)
        for words in (
            ["export"],
            ["credential", "list"],
            ["credential", "list", "--json"],
            ["consumer", "list"],
            ["consumer", "show", "john"],
            ["plan", "gateway.yaml"],
        )
    )
    for secret in (password, "key-from-the-environment", "key-from-a-file"):
        assert secret not in later


def test_a_life_of_a_consumer(shell: Shell) -> None:
    """Add, show, disable, enable, revoke."""
    shell.run("apply", "gateway.yaml")
    shell.run("consumer", "add", "mary", "--group", "gold")
    assert json.loads(shell.run("consumer", "show", "mary"))["groups"] == ["gold"]
    shell.run("consumer", "disable", "mary")
    assert json.loads(shell.run("consumer", "show", "mary"))["disabled"] is True
    shell.run("consumer", "enable", "mary")
    assert [r["username"] for r in json.loads(shell.run("consumer", "list", "--json"))] == [
        "john",
        "mary",
    ]
    shell.run("consumer", "revoke", "mary")
    assert "there is no consumer 'mary'" in shell.run("consumer", "show", "mary", status=2)


def test_export_is_a_document(shell: Shell) -> None:
    """Fit for `apply`, valid by `authz schema`."""
    shell.run("apply", "gateway.yaml")
    text = shell.run("export")
    (shell.directory / "exported.yaml").write_text(text)

    assert shell.run("plan", "exported.yaml") == "nothing to change\n"
    schema = json.loads(shell.run("schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(text), schema)
    jsonschema.validate(yaml.safe_load(DOCUMENT), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": [{"id": "a", "auth": {"key-auht": {}}}]}, schema)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (
            "services: [{id: a, auth: {key-auth: {heder: x}}}]",
            "services[0].auth.key-auth: unknown field 'heder'",
        ),
        ("services: [{id: a, auth: {key-auht: {}}}]", "services[0].auth: unknown field 'key-auht'"),
        (
            "consumers: [{username: a, credentials: [{key-auth: {key: {env: NOT_SET}}}]}]",
            "consumers[0].credentials[0].key-auth: environment variable NOT_SET is not set",
        ),
        (
            "consumers: [{username: a, credentials: [{key-auth: {key: {file: none}}}]}]",
            "consumers[0].credentials[0].key-auth: file none: FileNotFoundError",
        ),
        ("consumers: [{username: a, username: b}]", "line 1: 'username' is given twice"),
        ("consumers: [", "not YAML"),
    ],
)
def test_a_mistake_names_its_place(shell: Shell, document: str, complaint: str) -> None:
    """One line on standard error, status 2."""
    (shell.directory / "bad.yaml").write_text(document)

    said = shell.run("apply", "bad.yaml", status=2)
    assert complaint in said
    assert said.startswith("authz: ")
    assert said.count("\n") == 1


def test_what_is_missing_is_said(shell: Shell) -> None:
    """Key ring, store, file, scheme: each with the next step."""
    assert "gone.yaml: cannot be read" in shell.run("apply", "gone.yaml", status=2)
    shell.run("apply", "gateway.yaml")
    assert "'no-auth' is not a scheme; expected one of key-auth" in shell.run(
        "credential", "issue", "john", "no-auth", status=2
    )
    assert "is overwritten" not in shell.run("keyring", "create", "ring", status=2)
    shell.environment["AUTHZ_KEYRING_FILE"] = "other"
    assert "authz keyring create other" in shell.run("export", status=2)
    shell.run("keyring", "create", "other")
    assert "another key ring" in shell.run("export", status=2)
    shell.environment["AUTHZ_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}"
    assert "the store does not answer: store_unreachable" in shell.run("export", status=2)


def test_a_key_ring_is_its_owners_alone(shell: Shell) -> None:
    """Mode 0600, never overwritten."""
    ring = shell.directory / "ring"
    before = ring.read_text()

    assert stat.S_IMODE(ring.stat().st_mode) == 0o600
    assert "never overwritten" in shell.run("keyring", "create", "ring", status=2)
    assert ring.read_text() == before


def test_settings_come_from_a_file_too(shell: Shell, store: Valkey) -> None:
    """--config, with names relative to it; an unknown setting is refused."""
    del shell.environment["AUTHZ_REDIS_URL"], shell.environment["AUTHZ_KEYRING_FILE"]
    config = shell.directory / "authz.yaml"
    config.write_text(f"redis_url: {store.url}\nkeyring_file: ring\n")
    shell.run("apply", "gateway.yaml", "--config", "authz.yaml")
    assert "john" in shell.run("consumer", "list", "--config", "authz.yaml")

    config.write_text("redis_ulr: x\n")
    assert "unknown setting 'redis_ulr'" in shell.run(
        "consumer", "list", "--config", "authz.yaml", status=2
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["apply", "--help"], ["credential"]])
def test_help_teaches(shell: Shell, words: list[str]) -> None:
    """Also when somebody types a command without knowing more."""
    done = subprocess.run(
        [sys.executable, "-m", "authz", *words], capture_output=True, text=True, check=False
    )
    assert "Usage:" in done.stdout + done.stderr
