"""`authz up` as a person runs it: a process of its own, looked at from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from authz.stack import demo, ports, valkey
from authz.stack.processes import Children

FREE = ["--port", "0", "--redis-port", "0", "--metrics-port", "0"]
UP = [sys.executable, "-m", "authz", "up", "--workers", "2"]
#: From the command to the first 200.
SECONDS = 10.0


def run(*words: str, state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*UP, *FREE, "--state-dir", str(state), *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env}
    )


def processes_of(state: Path) -> set[int]:
    """Every live process that has the state directory on its command line."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.fsencode(state) in line and int(entry.name) != os.getpid():
            found.add(int(entry.name))
    return found


def wait_until_nothing_runs(state: Path) -> None:
    deadline = time.monotonic() + 15
    while left := processes_of(state):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


class Running:
    """An `authz up` that said it was ready, and what it printed until then."""

    def __init__(self, process: subprocess.Popen[str], printed: str) -> None:
        self.process, self.printed = process, printed
        self.url = re.findall(r"(http://127\.0\.0\.1:\d+)/ip", printed)[0]


@contextmanager
def running(state: Path, *words: str) -> Iterator[Running]:
    command = [*UP, *FREE, "--state-dir", str(state), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            printed = ""
            while "Ctrl-C stops everything" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield Running(process, printed)
        finally:
            process.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """Somebody's Valkey."""
    port = ports.choose(0, "--redis-port")
    with Children(tmp_path / "store") as children:
        children.start("valkey", valkey.command(port, tmp_path))
        children.wait_for("Valkey", lambda: valkey.answers(port))
        yield f"redis://127.0.0.1:{port}/0"


def keys_in(url: str) -> int:
    """DBSIZE, asked without a client library."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"DBSIZE\r\n")
        return int(link.recv(64).strip().lstrip(b":"))


def test_check(tmp_path: Path) -> None:
    state = tmp_path / "state"
    found = run("--check", state=state)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("as it must be") == len(demo.CALLS) + 1
    assert "WRONG" not in found.stdout
    assert processes_of(state) == set()
    modes = {name: (state / name).stat().st_mode & 0o777 for name in (".", "keyring", "authz.yaml")}
    assert modes == {".": 0o700, "keyring": 0o600, "authz.yaml": 0o600}


def test_check_in_somebodys_store_leaves_it_as_it_was(tmp_path: Path, store: str) -> None:
    found = run("--check", "--redis-url", store, state=tmp_path / "state")
    assert found.returncode == 0, found.stdout + found.stderr
    assert keys_in(store) == 0
    assert "Valkey" not in found.stdout


def test_what_is_printed_works_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(tmp_path) as up, httpx.Client(base_url=up.url) as client:
        assert client.get("/ip", headers={"apikey": "alice-primary-key"}).status_code == 200
        assert time.monotonic() - began < SECONDS
        lines = [line for line in up.printed.splitlines() if line.startswith("curl -i")]
        promised = [int(status) for status in re.findall(r"# .*: (\d{3})\ncurl", up.printed)]
        seen = [_curl(client, line) for line in lines[:-1]]
        [revoke] = [line for line in up.printed.splitlines() if "credential revoke" in line]
        subprocess.run(revoke, shell=True, check=True, capture_output=True)
        _wait_for_status(client, lines[-1], promised[-1])
        assert seen == promised[:-1]
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(20) == 0
    assert processes_of(tmp_path) == set()
    assert not ports.answers(up.url.removeprefix("http://"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ways_to_be_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as up:
        up.process.send_signal(number)
        assert up.process.wait(20) == 0
    assert processes_of(tmp_path) == set()


def test_killed_without_a_chance_to_clean_up(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        up.process.kill()
    wait_until_nothing_runs(tmp_path)


def test_a_part_that_dies_takes_the_whole_along(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        [envoy] = [p for p in processes_of(tmp_path) if _executable(p).endswith("_bin/envoy")]
        os.kill(envoy, signal.SIGKILL)
        assert up.process.wait(20) == 1
    assert processes_of(tmp_path) == set()


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    command = [*UP, *FREE, "--state-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "Valkey" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert processes_of(tmp_path) == set()


@pytest.mark.parametrize("option", ["--port", "--redis-port", "--metrics-port", "--upstream-port"])
def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = run(option, port, state=tmp_path / "state")
    assert found.returncode == 1
    assert f"port {port} " in found.stderr
    assert f"{option} PORT" in found.stderr
    assert not (tmp_path / "state" / "logs" / "valkey.log").exists()


def test_a_document_of_ones_own_in_a_store_of_ones_own(tmp_path: Path, store: str) -> None:
    document = yaml.safe_load(demo.DOCUMENT.read_text())
    document["consumers"] = document["consumers"][1:]
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(document))
    state = tmp_path / "state"
    with running(state, "--redis-url", store, "--document", str(mine)) as up:
        assert httpx.get(f"{up.url}/ip", headers={"apikey": "bob-key"}).status_code == 200
        assert "alice" not in up.printed
    wait_until_nothing_runs(state)
    with running(state, "--redis-url", store) as up:  # the demo must not replace it
        assert httpx.get(f"{up.url}/ip", headers={"apikey": "bob-key"}).status_code == 200
        alice = httpx.get(f"{up.url}/ip", headers={"apikey": "alice-primary-key"})
        assert alice.status_code == 401
        assert "not applied" in up.printed
        assert "alice" not in up.printed


def test_a_bad_document_is_told_and_nothing_stays(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("services: [{id: a, auth: {key-auth: {heder: x}}}]")
    found = run("--document", str(bad), state=tmp_path / "state")
    assert found.returncode == 1
    assert "unknown field 'heder'" in found.stderr
    assert processes_of(tmp_path) == set()


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    port = ports.choose(0, "--redis-port")
    found = run("--redis-url", f"redis://:hush@127.0.0.1:{port}/0", state=tmp_path)
    assert found.returncode == 1
    assert f"127.0.0.1:{port}" in found.stderr
    assert "hush" not in found.stdout + found.stderr


def test_two_in_one_directory(tmp_path: Path) -> None:
    with running(tmp_path) as _:
        found = run(state=tmp_path)
    assert found.returncode == 1
    assert "--state-dir" in found.stderr


def test_a_deep_directory_and_variables_of_another_installation(tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 25)
    found = run("--check", state=state, AUTHZ_NAMESPACE="other", AUTHZ_KEYRING="none")
    assert found.returncode == 0, found.stdout + found.stderr


def _executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _curl(client: httpx.Client, line: str) -> int:
    """Do what a printed curl line does."""
    header = re.search(r"-H '([^:]+): ([^']+)'", line)
    user = re.search(r"-u (\S+):(\S+)", line)
    return client.get(
        "/ip",
        headers={header[1]: header[2]} if header else {},
        auth=(user[1], user[2]) if user else None,
    ).status_code


def _wait_for_status(client: httpx.Client, line: str, status: int) -> None:
    deadline = time.monotonic() + 1
    while _curl(client, line) != status:
        assert time.monotonic() < deadline
