"""Looking for secrets in everything that can be read: answers, logs, metrics, command lines, what
commands print, and the store."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from authz.cli import app
from tests.e2e.support.stack import Stack, environment
from tests.e2e.support.wire import Answer
from tests.support.waiting import until
from tests.support.workers import RING


def logged(stack: Stack, name: str, answer: Answer) -> dict[str, Any]:
    """A log's line about this request; Envoy and the service write in the background."""
    return until_logged(stack, name, [answer])[0]


def until_logged(stack: Stack, name: str, answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """A log's lines about these requests. There may be two about one, where Envoy asked again."""
    wanted = [answer.header("x-request-id") for answer in answers]

    def find() -> list[dict[str, Any]] | None:
        found = {line.get("id"): line for line in stack.lines(name)}
        return [found[each] for each in wanted] if found.keys() >= set(wanted) else None

    return until(find, f"{name} logs them") or []


def spellings(secret: str | bytes) -> set[bytes]:
    """A secret as it might be written down: as it is, escaped, in hex, in both base64 at each
    alignment."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = {raw, raw.hex().encode()}
    if isinstance(secret, str):
        found.add(json.dumps(secret)[1:-1].encode())
    for shift in range(3):
        for coded in (
            base64.b64encode(b"x" * shift + raw),
            base64.urlsafe_b64encode(b"x" * shift + raw),
        ):
            found.add(coded[4:-4])
    return found


def places(stack: Stack, answers: Iterable[Answer]) -> dict[str, bytes]:
    """All that the service and its Envoy show, and what the clients were answered."""
    return {
        "answers": b"\n".join(answer.everything for answer in answers),
        "Envoy's log": stack.log("envoy").encode(),
        "the service's log": stack.log("authz").encode(),
        "metrics": stack.metrics().encode(),
        "Envoy's statistics": json.dumps(stack.admin("/stats?format=json")).encode(),
        "command lines": b"\n".join(_command_lines(stack)),
    }


def require_absent(found: Mapping[str, bytes], secrets: Iterable[bytes]) -> None:
    """None of these stands anywhere, in any letter case; nor does the service's own key ring."""
    ring = RING.partition(":")[2]
    wanted = {*secrets, ring.encode(), base64.b64decode(ring)}
    for place, text in found.items():
        assert text, place
        for secret in wanted:
            assert len(secret) >= 8
            assert secret.lower() not in text.lower(), (place, secret)


def _command_lines(stack: Stack) -> list[bytes]:
    """Of all processes of the service, which everybody on the machine can read."""
    supervisor = stack.authz["authz"].process.pid
    pids = [supervisor, *stack.pids()]
    assert len(pids) == 3
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]


def command(stack: Stack, *words: str, status: int = 0, text: str | None = None) -> bytes:
    """What an operator is shown."""
    done = CliRunner().invoke(app, words, env=environment(stack.store_url), input=text)
    assert done.exit_code == status, (words, done.exception)
    return done.output.encode()


def dump(stack: Stack, password: str | None = None) -> bytes:
    """Every name and every value, as it lies in the store."""
    client = stack.valkey.client(password=password)
    # Else what is long is shown compressed, and nothing would be found in it.
    client.config_set("rdbcompression", "no")
    names = list(client.scan_iter())
    assert len(names) > 5
    return b"\n".join(part for name in names for part in (name, client.dump(name) or b""))
