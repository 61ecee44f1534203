"""docker-compose.yml without an engine: the specification's schema, and everything in it that names
something elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
import yaml

from authz.stack import demo, envoy, ports, valkey
from authz.stack.processes import Children

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "tests" / "vectors" / "compose" / "compose-spec.json"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NOBODY = "65532:65532"


def test_the_specification_takes_it() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_the_schema_is_one_that_can_refuse() -> None:
    schema = json.loads(SCHEMA.read_text())
    broken = {"services": {"a": {"image": "b", "helthcheck": {}}}}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.Draft7Validator(schema).validate(broken)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    assert not {"privileged", "cap_add", "pid", "ipc"} & set(service)


def test_images_are_pinned_to_a_version() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert images
    assert all(re.search(r":v?\d+\.\d+\.\d+(-\w+)*$", image) for image in images), images


def test_the_envoy_is_the_one_that_is_tested() -> None:
    found = subprocess.run(
        [envoy.binary(), "--version"], capture_output=True, text=True, check=True
    )
    tag = SERVICES["envoy"]["image"].rpartition(":v")[2]
    assert f"/{tag}/" in found.stdout


def test_only_envoy_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    port = envoy.COMPOSE.listener.rpartition(":")[2]
    assert published == {"envoy": [f"127.0.0.1:{port}:{port}"]}
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert [name for name in SERVICES if outside & set(SERVICES[name].get("networks", []))] == [
        "envoy"
    ]


def test_who_can_talk_to_whom() -> None:
    """The store is for authz alone; the upstream believes whoever reaches it."""
    members = {
        network: {name for name, s in SERVICES.items() if network in s.get("networks", [])}
        for network in COMPOSE["networks"]
    }
    assert members["store"] == {"valkey", "apply", "authz"}
    assert members["backend"] == {"upstream", "envoy"}


def test_every_service_is_in_some_network_or_in_none() -> None:
    assert all("networks" in s or s.get("network_mode") == "none" for s in SERVICES.values())


def test_they_start_in_order_of_health() -> None:
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    order = list(TopologicalSorter(needs).static_order())
    assert order.index("keyring") < order.index("apply") < order.index("authz")
    assert order.index("valkey") < order.index("apply")
    assert order[-1] == "envoy"
    for each in needs.values():
        for name, how in each.items():
            healthy = "healthcheck" in SERVICES[name]
            wanted = "service_healthy" if healthy else "service_completed_successfully"
            assert how == {"condition": wanted}


def test_what_lasts_is_watched_and_started_again() -> None:
    lasting = {name for name, service in SERVICES.items() if "restart" in service}
    assert lasting == {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert lasting == {"valkey", "authz", "upstream", "envoy"}


def test_volumes_networks_and_files_exist() -> None:
    for service in SERVICES.values():
        assert {each.partition(":")[0] for each in service.get("volumes", [])} <= set(
            COMPOSE["volumes"]
        )
        assert {each["source"] for each in service.get("configs", [])} <= set(COMPOSE["configs"])
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    files = {name: (ROOT / each["file"]).resolve() for name, each in COMPOSE["configs"].items()}
    assert files == {"envoy": ROOT / "envoy" / "envoy.yaml", "document": demo.DOCUMENT}


def test_the_key_ring_is_written_by_one_and_read_by_the_others() -> None:
    mounts = {
        name: each
        for name, service in SERVICES.items()
        for each in service.get("volumes", [])
        if each.startswith("keyring:")
    }
    path = Path(SERVICES["authz"]["environment"]["AUTHZ_KEYRING_FILE"])
    assert mounts == {
        "keyring": f"keyring:{path.parent}",
        "apply": f"keyring:{path.parent}:ro",
        "authz": f"keyring:{path.parent}:ro",
    }
    assert SERVICES["keyring"]["command"] == [str(path)]
    assert str(path.parent) in _owned_by_nobody()


def test_envoy_and_authz_meet_at_the_same_sockets() -> None:
    [listen] = [word for word in SERVICES["authz"]["command"] if word.startswith("unix:")]
    workers = int(SERVICES["authz"]["command"][-1])
    assert envoy.COMPOSE.authz == tuple(listen.format(worker=n) for n in range(workers))
    assert SERVICES["authz"]["healthcheck"]["test"][-1] in envoy.COMPOSE.authz
    directory = str(Path(listen.removeprefix("unix:")).parent)
    assert f"sockets:{directory}" in SERVICES["authz"]["volumes"]
    assert f"sockets:{directory}" in SERVICES["envoy"]["volumes"]
    assert directory in _owned_by_nobody()
    # A socket is connected to by its owner: both must be the same user.
    assert SERVICES["authz"]["user"] == SERVICES["envoy"]["user"] == NOBODY


def test_envoy_finds_the_upstream() -> None:
    host, _, port = envoy.COMPOSE.upstream.partition(":")
    assert SERVICES[host]["command"] == ["--listen", f"0.0.0.0:{port}"]
    assert f"http://127.0.0.1:{port}" in SERVICES[host]["healthcheck"]["test"][-1]


def test_the_key_ring_step(tmp_path: Path) -> None:
    """As the container runs it, twice: the second time it leaves the ring alone."""
    (tmp_path / "authz").write_text(f'#!/bin/sh\nexec {sys.executable} -m authz "$@"\n')
    (tmp_path / "authz").chmod(0o755)
    ring = tmp_path / "keyring"
    script = [word.replace("$$", "$") for word in SERVICES["keyring"]["entrypoint"]]
    path = f"{tmp_path}:/usr/bin:/bin"
    for _ in range(2):
        subprocess.run([*script, str(ring)], check=True, env={"PATH": path}, cwd=ROOT)
        content = ring.read_text()
    assert ring.stat().st_mode & 0o777 == 0o600
    assert ring.read_text() == content


def test_valkey_takes_the_command_line(tmp_path: Path) -> None:
    port = ports.choose(0, "--redis-port")
    _, *options = SERVICES["valkey"]["command"]
    command = [str(valkey.binary()), *options, "--port", str(port), "--dir", str(tmp_path)]
    with Children(tmp_path / "logs") as children:
        children.start("valkey", command)
        children.wait_for("Valkey", lambda: valkey.answers(port))
        with socket.create_connection(("127.0.0.1", port)) as link:
            link.sendall(b"CONFIG GET save appendonly appendfsync maxmemory-policy\r\n")
            told = link.recv(4096).decode().split("\r\n")
    found = dict(zip(told[2::4], told[4::4], strict=False))
    assert found == {
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }


@pytest.mark.skipif(not shutil.which("bash"), reason="the image has it")
def test_envoys_health_check_tells_ready_from_not(tmp_path: Path) -> None:
    """The script of the image, against the rendering of the image on other ports."""
    listener, admin = ports.choose(0, "--port"), ports.choose(0, "--port")
    wiring = msgspec.structs.replace(
        envoy.COMPOSE, listener=f"127.0.0.1:{listener}", admin=f"127.0.0.1:{admin}"
    )
    test = SERVICES["envoy"]["healthcheck"]["test"]
    assert test[0] == "CMD"
    assert "/9901" in test[-1]
    assert envoy.COMPOSE.admin == "127.0.0.1:9901"
    script = [*test[1:-1], test[-1].replace("/9901", f"/{admin}")]
    config = tmp_path / "envoy.yaml"
    config.write_text(envoy.render(wiring))
    _, *options = SERVICES["envoy"]["command"]
    command = [str(envoy.binary()), "-c", str(config), *options[1:]]
    assert subprocess.run(script, capture_output=True, check=False).returncode != 0
    with Children(tmp_path / "logs") as children:
        children.start("envoy", command)
        children.wait_for("Envoy", lambda: envoy.live(wiring.admin))
        assert subprocess.run(script, capture_output=True, check=False, timeout=10).returncode == 0
        assert httpx.get(f"http://127.0.0.1:{listener}/ip").status_code == 503


def test_the_upstreams_health_check(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        port = ports.choose(0, "--upstream-port")
        probe = SERVICES["upstream"]["healthcheck"]["test"][1:]
        script = [sys.executable, *(word.replace(":8080", f":{port}") for word in probe[1:])]
        assert subprocess.run(script, capture_output=True, check=False).returncode != 0
        entry = SERVICES["upstream"]["entrypoint"]
        children.start("upstream", [sys.executable, *entry[1:], "--listen", f"127.0.0.1:{port}"])
        children.wait_for("upstream", lambda: ports.answers(f"127.0.0.1:{port}"))
        assert subprocess.run(script, capture_output=True, check=False).returncode == 0


def _owned_by_nobody() -> list[str]:
    [line] = re.findall(r"^RUN install -d -o 65532 -g 65532 -m 0700 (.*)$", DOCKERFILE, re.M)
    return str(line).split()
