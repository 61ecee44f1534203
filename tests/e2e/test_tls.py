"""The real Envoy speaks mutual TLS to authz, over either transport, and keeps its connections."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.stack import envoy
from authz.stack.envoy import Wiring
from tests.e2e.support.stack import Stack, running
from tests.support.certificates import Authority
from tests.support.waiting import until
from tests.support.workers import DEMO

MANUAL = Path(__file__).parents[2] / "envoy" / "README.md"
KEY = ("apikey", "alice-key")
#: Seconds between Envoy's pings, and until it gives an unanswered one up.
PING, GIVEN_UP = 0.1, 1.0


def socket_of_the_manual(ca: Authority) -> Any:
    """Envoy's side as envoy/README.md has it, with these files."""
    [text] = re.findall(r"```yaml\n(transport_socket:.*?)```", MANUAL.read_text(), re.DOTALL)
    cert, key = ca.issue("envoy", server=False)
    for name, path in (("envoy.pem", cert), ("envoy.key", key), ("authz-ca.pem", ca.file)):
        text = text.replace(f"/etc/envoy/{name}", str(path))
    return yaml.safe_load(text)


def secured(ca: Authority) -> Callable[[Wiring], str]:
    """The project's own configuration with TLS to authz and keepalive."""

    def bootstrap(wiring: Wiring) -> str:
        document = yaml.safe_load(envoy.render(wiring))
        [cluster] = [c for c in document["static_resources"]["clusters"] if c["name"] == "authz"]
        cluster |= socket_of_the_manual(ca)
        [options] = cluster["typed_extension_protocol_options"].values()
        options["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"] = {
            "interval": f"{PING}s",
            "timeout": f"{GIVEN_UP}s",
        }
        return json.dumps(document)

    return bootstrap


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stack(ca: Authority) -> Iterator[Stack]:
    """One worker of each transport."""
    cert, key = ca.issue("server")
    clients = ca.directory / "clients.pem"
    clients.write_bytes(ca.file.read_bytes())
    env = {
        "AUTHZ_TLS_CERT_FILE": str(cert),
        "AUTHZ_TLS_KEY_FILE": str(key),
        "AUTHZ_TLS_CLIENT_CA_FILE": str(clients),
    }
    trust = ca.trust("operator")
    with running(DEMO, secured(ca), env=env, serve=serve, trust=trust) as stack:
        yield stack


def serve(stack: Stack) -> None:
    for number, name in enumerate(("h2", "grpcio")):
        stack.start_authz(name, "--transport", name, first=number, workers=1)


def statuses(stack: Stack, count: int) -> list[int]:
    return [stack.send("/ip", KEY)[0].status for _ in range(count)]


def test_checks(stack: Stack) -> None:
    """Of both workers: allowed, refused."""
    until(lambda: set(statuses(stack, 10)) == {200} and min(stack.asked().values()) >= 5, "both")
    answer, received = stack.send("/ip", ("apikey", "wrong"))
    assert (answer.status, received) == (401, None)
    assert stack.stat("cluster.authz.ssl.handshake") >= 2
    assert stack.stat("cluster.authz.ssl.connection_error") == 0


def test_envoy_keeps_its_connections(stack: Stack) -> None:
    """Its pings are answered, many of them; and it does ping: a worker that is stopped is found by
    that."""
    statuses(stack, 10)
    before = stack.stat("cluster.authz.upstream_cx_total")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 20 * PING, "some pings are over")
    assert set(statuses(stack, 10)) == {200}
    assert stack.stat("cluster.authz.upstream_cx_total") == before
    assert stack.stat("cluster.authz.http2.keepalive_timeout") == 0

    [worker] = stack.pids("h2")
    os.kill(worker, signal.SIGSTOP)
    try:
        until(lambda: stack.stat("cluster.authz.http2.keepalive_timeout") > 0, "a ping is missed")
    finally:
        os.kill(worker, signal.SIGCONT)
    stack.until_workers(2)
    assert set(statuses(stack, 10)) == {200}


def test_an_envoy_whose_ca_is_not_known(stack: Stack, ca: Authority) -> None:
    """Cannot ask, so everything is a 503 and nothing passes; once its CA is put in the file, all is
    well, and nobody restarted."""
    clients = ca.directory / "clients.pem"
    clients.write_bytes(Authority(ca.directory, "stranger").file.read_bytes())
    for name in ("h2", "grpcio"):
        assert stack.stop_authz(name) == 0
    stack.until_workers(0)
    serve(stack)
    until(lambda: stack.stat("cluster.authz.ssl.connection_error") > 3, "it is refused")
    for _ in range(2):
        answer, received = stack.send("/ip", KEY)
        assert (answer.status, received) == (503, None)

    clients.write_bytes(ca.file.read_bytes())
    stack.until_workers(2)
    assert set(statuses(stack, 10)) == {200}
