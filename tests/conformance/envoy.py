"""Asking through the real Envoy, with the project's own configuration and a recording upstream."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import yaml
from msgspec.structs import replace

from authz.stack import envoy
from authz.stack.envoy import Wiring
from authz.stack.processes import Children
from tests.conformance import http1, http2
from tests.conformance.bench import Bench
from tests.conformance.case import Answer, Outcome, Sent
from tests.conformance.expect import require
from tests.conformance.upstream import Recorder

#: What the service decided, where it was neither an allow nor a fault.
_OWN: dict[str, Outcome] = {"deny": "deny", "answer": "answer"}


class Gateway:
    """Envoy in front of a bench's worker. It takes any free port."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ending = ExitStack()
        directory = bench.directory
        self._recorder = Recorder(directory / "upstream.sock")
        self._ending.callback(self._recorder.close)
        children = self._ending.enter_context(Children(directory / "logs"))
        admin = f"unix:{directory}/admin.sock"
        wiring = Wiring(
            listener="127.0.0.1:0",
            admin=admin,
            authz=(bench.socket,),
            upstream=f"unix:{directory}/upstream.sock",
        )
        config = directory / "envoy.yaml"
        config.write_text(_with_bodies(envoy.render(wiring)))
        children.start("envoy", envoy.command(config))
        children.wait_for("Envoy", lambda: envoy.live(admin))
        children.wait_for("authz", lambda: envoy.healthy(admin, "authz") == 1)
        self._address = _listener(directory / "admin.sock")

    def close(self) -> None:
        self._ending.close()

    def ask(self, sent: Sent) -> Answer:
        """Send the request's bytes; say what Envoy answered, what the service decided and what
        the upstream got."""
        decisions = self._bench.decisions.lines
        before = len(decisions)
        self._recorder.take()
        ask = http2.ask if sent.http == "2" else http1.ask
        answer = ask(self._address, sent)
        arrived = self._recorder.take()
        made = decisions[before:]
        require(len(arrived) <= 1, f"one request arrived {len(arrived)} times upstream")
        require(not arrived or made, "a request passed that the service was not asked about")
        told = made[-1] if made else {"outcome": "none", "reason": "the service was not asked"}
        require(not arrived or told["outcome"] == "allow", f"passed, although {told['outcome']}")
        return replace(
            answer,
            outcome=_outcome(answer, told["outcome"], bool(arrived)),
            upstream=arrived[0] if arrived else None,
            asked=bool(made),
            note=f"{answer.note} ({told['reason']})".strip(),
        )


def _outcome(answer: Answer, decided: str, arrived: bool) -> Outcome:
    """A denial and an answer are the service's own; everything else that Envoy refuses is an
    error."""
    if arrived and answer.status == 200:
        return "allow"
    if answer.status and not arrived:
        return _OWN.get(decided, "error")
    return "error"


def _with_bodies(config: str) -> str:
    """The same configuration with request bodies shown to the service, which a route turns on
    where a scheme signs the body (see envoy/README.md)."""
    plain = yaml.safe_load(config)
    for settings in _find(plain, "check_settings"):
        settings.pop("disable_request_body_buffering", None)
        settings.setdefault("context_extensions", {})
    return json.dumps(plain)


def _find(node: Any, name: str) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for each in node for found in _find(each, name)]
    if not isinstance(node, dict):
        return []
    here = [node[name]] if isinstance(node.get(name), dict) else []
    return here + [found for each in node.values() for found in _find(each, name)]


def _listener(admin: Path) -> tuple[str, int]:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin))) as client:
        listeners = client.get("http://admin/listeners?format=json").json()
    address = listeners["listener_statuses"][0]["local_address"]["socket_address"]
    return address["address"], int(address["port_value"])
