"""`authz serve`: workers that are replaced, drained and never orphaned, and what they show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from authz.server.probe import probe
from authz.server.workers import addresses
from tests.support.checks import Seen, check
from tests.support.serving import Serving, serving
from tests.support.valkey import Valkey, free_ports
from tests.support.waiting import until
from tests.support.workers import RING, apply

ALICE = check("/ip", ("apikey", "alice-key"))
ALLOWED = Seen("allow", 200, "allowed", "alice")


def _checks(metrics: dict[str, float]) -> float:
    return sum(value for name, value in metrics.items() if name.startswith("authz_checks_total"))


def test_every_worker_decides_and_is_counted(store: Valkey) -> None:
    """Each on its own address; metrics and decisions of all together."""
    apply(store.url)
    with serving(store.url) as command:
        assert [command.ask(ALICE, worker) for worker in (0, 1)] == [ALLOWED, ALLOWED]
        assert command.ask(check("/ip", ("apikey", "x")), 1).reason == "invalid_key"
        until(lambda: len(command.decisions()) == 3, "three decisions are logged")
        until(lambda: _checks(command.metrics()) == 3, "three decisions are counted")
        metrics = command.metrics()

    labels = 'outcome="allow",reason="allowed",route="",scheme="key-auth",service="api"'
    assert metrics[f"authz_checks_total{{{labels}}}"] == 2
    assert metrics['authz_check_seconds_count{outcome="allow"}'] == 2
    assert metrics['authz_cache_lookups_total{kind="key-auth",result="miss"}'] == 3
    assert metrics["authz_store_seconds_count"] > 0
    assert metrics["authz_ready_workers"] == 2
    assert metrics["authz_worker_restarts_total"] == 0
    assert 0 <= metrics["authz_invalidation_age_seconds"] < 5


def test_store_errors_are_counted(own_valkey: Valkey) -> None:
    """By reason; and the age of what the workers know grows."""
    apply(own_valkey.url)
    with serving(own_valkey.url, workers=1) as command:
        own_valkey.kill()
        assert command.ask(ALICE).outcome == "fault"
        until(lambda: command.metrics()["authz_invalidation_age_seconds"] > 0.3, "the age grows")
        until(lambda: _checks(command.metrics()) == 1, "the fault is counted")
        metrics = command.metrics()

    assert metrics['authz_store_errors_total{reason="store_unreachable"}'] >= 1
    assert metrics['authz_invalidation_link_events_total{event="lost"}'] >= 1
    faults = [n for n in metrics if n.startswith("authz_checks_total") and '"fault"' in n]
    assert len(faults) == 1


def test_a_killed_worker_is_replaced_and_others_serve(store: Valkey) -> None:
    """The other worker never stops; the dead one's address comes back, and it is counted."""
    apply(store.url)
    with serving(store.url) as command:
        before = set(command.worker_pids())
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        until(lambda: "ended with status" in command.messages(), "the death is told")

        alive = [worker for worker in (0, 1) if probe(command.addresses[worker], 1) == "SERVING"]
        assert alive
        assert command.ask(ALICE, alive[0]) == ALLOWED
        command.until_ready()
        assert [command.ask(ALICE, worker) for worker in (0, 1)] == [ALLOWED, ALLOWED]
        assert command.metrics()["authz_worker_restarts_total"] == 1
        assert command.metrics()["authz_ready_workers"] == 2
        assert 0 <= command.metrics()["authz_invalidation_age_seconds"] < 5


def deaths(command: Serving, count: int) -> bool:
    return command.messages().count("ended with status") == count


def test_a_worker_that_keeps_dying_is_replaced_more_and_more_slowly(store: Valkey) -> None:
    """The pause doubles, so that a crash loop does not eat the machine."""
    apply(store.url)
    with serving(store.url, workers=1) as command:
        for count in range(1, 4):
            (pid,) = until(command.worker_pids, "a worker")
            os.kill(pid, signal.SIGKILL)
            until(partial(deaths, command, count), "its death")

        pauses = [
            line.split("a new one in ")[1][:3]
            for line in command.messages().splitlines()
            if "a new one in" in line
        ]
    assert pauses == ["0.1", "0.2", "0.4"]


def test_sigterm_drains(store: Valkey) -> None:
    """Health turns NOT_SERVING while Checks are still answered; then all end, status 0."""
    apply(store.url)
    with serving(store.url, workers=1) as command:
        seen: list[Seen] = []
        failed: list[grpc.StatusCode] = []
        stop = threading.Event()

        def load() -> None:
            with grpc.insecure_channel(command.addresses[0]) as channel:
                stub = AuthorizationStub(channel)
                while not stop.is_set():
                    try:
                        seen.append(Seen.of(stub.Check(ALICE, timeout=10)))
                    except grpc.RpcError as error:
                        failed.append(error.code())
                        return

        thread = threading.Thread(target=load)
        thread.start()
        until(lambda: len(seen) > 20, "load")
        command.process.send_signal(signal.SIGTERM)
        until(lambda: probe(command.addresses[0], 1) == "NOT_SERVING", "health says so")
        answered = len(seen)
        until(lambda: len(seen) > answered, "Checks are still answered")
        stop.set()
        thread.join()

        assert command.process.wait(timeout=20) == 0
    assert failed == []
    assert set(seen) == {ALLOWED}


def test_no_worker_outlives_a_killed_supervisor(store: Valkey) -> None:
    """kill -9 of the command leaves nothing that answers."""
    apply(store.url)
    with serving(store.url) as command:
        pids = command.worker_pids()
        assert len(pids) == 2
        command.stop(signal.SIGKILL)

        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the workers end")


def test_an_address_in_use_ends_the_command(store: Valkey) -> None:
    """Restarting would not help: it says which address, and exits."""
    with serving(store.url, workers=1, ready=False) as command:
        taken = command.metrics_port
        until(lambda: "workers on" in command.messages(), "it runs")
        second = subprocess.run(
            [
                *(sys.executable, "-m", "authz", "serve", "--redis-url", store.url),
                *("--listen", f"127.0.0.1:{taken}", "--workers", "1", "--metrics-listen", ""),
            ],
            env={**os.environ, "AUTHZ_KEYRING": RING},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert second.returncode == 2
    assert f"127.0.0.1:{taken} cannot be listened on" in second.stderr


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--listen", "nowhere"], "--listen: expected HOST:PORT or unix:"),
        (["--listen", "unix:/tmp/x.sock", "--workers", "2"], "needs {worker} in its name"),
        (["--workers", "0"], "--workers: expected 'int' >= 1"),
        (["--redis-url", "http://x"], "expected redis://HOST:PORT/DB"),
        (["--namespace", "a b"], "--namespace: expected 'str' matching"),
    ],
)
def test_a_bad_flag_is_named(flags: list[str], complaint: str) -> None:
    """One line, the flag's name, what was expected, status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "authz", "serve", *flags],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_reflection_is_an_option(store: Valkey) -> None:
    """Off by default; with --reflection the service and its messages can be asked for."""
    apply(store.url)

    def services(address: str) -> list[str]:
        with grpc.insecure_channel(address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    with serving(store.url, "--reflection", workers=1) as command:
        assert "envoy.service.auth.v3.Authorization" in services(command.addresses[0])
    with serving(store.url, workers=1) as command, pytest.raises(grpc.RpcError):
        services(command.addresses[0])


@pytest.mark.parametrize(
    ("listen", "workers", "expected"),
    [
        ("127.0.0.1:9000", 2, ["127.0.0.1:9000", "127.0.0.1:9001"]),
        ("unix:/run/w-{worker}.sock", 2, ["unix:/run/w-0.sock", "unix:/run/w-1.sock"]),
        ("unix:/run/w.sock", 1, ["unix:/run/w.sock"]),
        ("[::1]:9000", 1, ["[::1]:9000"]),
        ("h:65534", 2, ["h:65534", "h:65535"]),
        ("unix:/w-{worker}, h:9000", 2, ["unix:/w-0,h:9000", "unix:/w-1,h:9001"]),
    ],
)
def test_addresses(listen: str, workers: int, expected: list[str]) -> None:
    """One address a worker, so that Envoy balances requests and not connections."""
    assert addresses(listen, workers) == expected


@pytest.mark.parametrize("listen", ["h:65535", ":9000", "h:0", "h", "", "unix:/{worker},", "a,b"])
def test_no_addresses(listen: str) -> None:
    """Of two workers: what is expected is said."""
    with pytest.raises(ValueError, match="--listen: expected HOST:PORT or unix:"):
        addresses(listen, 2)


def test_sockets_and_ports_of_their_own(store: Valkey) -> None:
    """Each worker on both, if it is told so."""
    apply(store.url)
    with serving(store.url, port=free_ports(2)) as command:
        assert len(command.addresses) == 4
        assert [command.ask(ALICE, number) for number in range(4)] == [ALLOWED] * 4


def test_a_slow_reader_of_the_log_costs_lines_and_not_decisions() -> None:
    """A full pipe: decisions go on, what could not be written is counted."""
    from authz.server.decision_log import CAPACITY, DecisionLog
    from authz.server.metrics import LOG_DROPPED

    class Padded(NamedTuple):
        number: int

        def line(self) -> dict[str, Any]:
            return {"number": self.number, "padding": "x" * 200}

    reader, writer = os.pipe()
    before = LOG_DROPPED._value.get()
    log = DecisionLog(writer)
    started = time.monotonic()
    for number in range(CAPACITY * 3):
        log.write(Padded(number))
    assert time.monotonic() - started < 20
    assert LOG_DROPPED._value.get() > before

    os.close(reader)
    log.close()
    os.close(writer)
