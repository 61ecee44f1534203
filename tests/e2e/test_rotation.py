"""A credential and the key ring are rotated while requests keep coming: no answer is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz import signing
from authz.cli import app
from authz.secrets import KeyRing
from tests.e2e.support.load import Load, Shot, of, since, steadily, tally
from tests.e2e.support.stack import Stack, environment, running
from tests.e2e.support.wire import Line
from tests.support.checks import basic
from tests.support.waiting import until
from tests.support.workers import RING

SECRET = "0123456789abcdef0123456789abcdef"
DOCUMENT = f"""
services:
  - id: api
    auth: {{any: [{{key-auth: {{}}}}, {{basic-auth: {{}}}}, {{hmac-auth: {{}}}}]}}
consumers:
  - username: ann
    credentials:
      - {{id: key, key-auth: {{key: ann-key}}}}
      - {{id: web, basic-auth: {{username: ann, password: ann-password}}}}
  - username: ben
    credentials:
      - {{id: key, key-auth: {{key: ben-key}}}}
      - {{id: sig, hmac-auth: {{key_id: ben-id, secret_key: "{SECRET}"}}}}
"""
#: Requests of each kind before and after, so that what is remembered is at work, too.
ENOUGH = 20


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "ring"
    path.write_text(f"{RING}\n")
    return path


@pytest.fixture(scope="module")
def stack(ring: Path) -> Iterator[Stack]:
    with running(DOCUMENT, env=from_file(ring)) as stack:
        yield stack


def from_file(ring: Path) -> dict[str, str]:
    return {"AUTHZ_KEYRING": "", "AUTHZ_KEYRING_FILE": str(ring)}


def authz(stack: Stack, ring: Path, *words: str) -> str:
    """Run the command to its end, as an operator does."""
    done = CliRunner().invoke(app, words, env=environment(stack.store_url, from_file(ring)))
    assert done.exit_code == 0, done.exception
    return done.stdout


def signed() -> tuple[Line, ...]:
    made = signing.sign_hmac_auth("GET", "/ip", key_id="ben-id", secret=SECRET)
    return tuple(made.headers)


#: Who each kind of request is from; None: nobody.
CALLERS = {"ann/key": "ann", "ann/web": "ann", "ben/key": "ben", "ben/sig": "ben", "wrong": None}
MIX = {
    "ann/key": steadily(("apikey", "ann-key")),
    "ann/web": steadily(basic("ann", "ann-password")),
    "ben/key": steadily(("apikey", "ben-key")),
    "ben/sig": signed,
    "wrong": steadily(("apikey", "nobodys-key")),
}


def enough(load: Load, after: float) -> bool:
    found = tally(since(load.shots, after))
    return len(found) == len(MIX) and all(sum(c.values()) >= ENOUGH for c in found.values())


def warm(load: Load) -> float:
    """When every kind was answered rightly, again and again: from then on none is wrong. (The first
    check of a password may be one too many at once.)"""
    started = time.monotonic()

    def well() -> bool:
        newest = tally(load.shots[-ENOUGH * len(MIX) :])
        wanted = {kind: {401} if caller is None else {200} for kind, caller in CALLERS.items()}
        return enough(load, started) and {k: set(found) for k, found in newest.items()} == wanted

    until(well, "everything is remembered")
    return time.monotonic()


def account(stack: Stack, shots: list[Shot]) -> None:
    """Every single answer: the status, and whom the upstream was told of."""
    for shot in shots:
        caller = CALLERS[shot.kind]
        assert shot.status == (401 if caller is None else 200), tally(shots)
        told = [dict(each.identity)["x-consumer-username"] for each in stack.recorder.of(shot.tag)]
        assert told == ([] if caller is None else [caller])


def test_the_key_ring(stack: Stack, ring: Path) -> None:
    """One command, both phases and the resealing: everybody who was let in still is, nobody else,
    and the old key is no more needed than the status says."""
    with Load(stack.port, MIX) as load:
        well = warm(load)
        authz(stack, ring, "keyring", "rotate", str(ring), "--patience", "20s")
        done, writer = time.monotonic(), KeyRing.parse(ring.read_text()).writer
        until(lambda: enough(load, done), "and everything was asked again")
    account(stack, since(load.shots, well))
    assert writer != RING.partition(":")[0]
    [new, old] = json.loads(authz(stack, ring, "keyring", "status", "--json"))
    assert (new["key"], new["state"], new["workers"]) == (writer, "writes", "2 of 2")
    assert (old["records"], old["looked_up_by"]) == (0, 2)
    assert f'authz_keyring_workers{{key="{writer}"}} 2.0' in stack.metrics()


def test_a_credential(stack: Stack, ring: Path) -> None:
    """Old and new hold together; the old one ends by itself, to the moment, and nothing else."""
    with Load(stack.port, MIX) as load:
        well = warm(load)
        words = ("credential", "rotate", "ann", "key", "--overlap", "2s", "--id", "new", "--json")
        rotated = json.loads(authz(stack, ring, *words).splitlines()[0])
        ends = rotated["old_expires_at"] - time.time() + time.monotonic()
        with Load(stack.port, {"new": steadily(("apikey", rotated["key"]))}, rate=30) as fresh:
            until(lambda: enough(load, ends), "the old one ended long ago")
    old = of(load.shots, "ann/key")
    assert {shot.status for shot in old if shot.ended < ends} == {200}
    assert {shot.status for shot in since(old, ends)} == {401}
    assert [stack.recorder.of(shot.tag) for shot in since(old, ends)] == [[]] * len(
        since(old, ends)
    )
    account(stack, [s for s in since(load.shots, well) if s.kind != "ann/key"])
    assert tally(fresh.shots) == {"new": {200: len(fresh.shots)}}
    for shot in fresh.shots:
        [seen] = stack.recorder.of(shot.tag)
        assert dict(seen.identity) == {
            "x-consumer-username": "ann",
            "x-credential-identifier": "new",
        }
