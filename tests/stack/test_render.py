"""One template, two renderings, and the examples of envoy/README.md: Envoy takes them all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.stack import envoy
from authz.stack.layout import UpOptions, lay_out
from authz.stack.processes import StackError

ENVOY = Path(__file__).parents[2] / "envoy"
#: Of virtual hosts. The one of a cluster needs its files: tests/e2e/test_tls.py serves with it.
EXAMPLES = [
    text
    for text in re.findall(r"```yaml\n(.*?)```", (ENVOY / "README.md").read_text(), re.DOTALL)
    if not text.startswith("transport_socket")
]


def test_the_committed_rendering_is_fresh() -> None:
    assert (ENVOY / "envoy.yaml").read_text() == envoy.compose()


def test_envoy_takes_the_compose_rendering() -> None:
    envoy.validate(ENVOY / "envoy.yaml")


def test_envoy_takes_the_rendering_of_authz_up(tmp_path: Path) -> None:
    options = UpOptions(state_dir=tmp_path, port=0, redis_port=0, metrics_port=0, workers=3)
    with lay_out(options) as layout:
        config = tmp_path / "envoy.yaml"
        config.write_text(envoy.render(layout.wiring(bodies=False)))
        envoy.validate(config)
        cluster = _cluster(config, "authz")
    addresses = [each["endpoint"]["address"]["pipe"]["path"] for each in _endpoints(cluster)]
    assert addresses == [f"{layout.sockets}/worker-{number}.sock" for number in range(3)]


@pytest.mark.parametrize(
    ("upstream", "discovery"),
    [
        ("127.0.0.1:80", "STATIC"),
        ("[::1]:80", "STATIC"),
        ("unix:/run/u.sock", "STATIC"),
        ("api.example:80", "STRICT_DNS"),
    ],
)
def test_names_are_looked_up_and_addresses_are_not(
    tmp_path: Path, upstream: str, discovery: str
) -> None:
    wiring = envoy.Wiring(
        listener="[::1]:9080",
        admin="127.0.0.1:0",
        authz=("authz.example:9000", "authz.example:9001"),
        upstream=upstream,
        domains=('quo"te.example', "$money.example"),
    )
    config = tmp_path / "envoy.yaml"
    config.write_text(envoy.render(wiring))
    envoy.validate(config)
    assert _cluster(config, "upstream")["type"] == discovery
    assert _cluster(config, "authz")["type"] == "STRICT_DNS"


def test_what_envoy_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    config = tmp_path / "envoy.yaml"
    config.write_text("static_resources: {listeners: [{name: x, unknown: 1}]}")
    with pytest.raises(StackError, match="unknown"):
        envoy.validate(config)


@pytest.mark.parametrize("example", EXAMPLES)
def test_envoy_takes_the_examples_of_the_readme(tmp_path: Path, example: str) -> None:
    document = yaml.safe_load((ENVOY / "envoy.yaml").read_text())
    [chain] = document["static_resources"]["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    host.update(yaml.safe_load(example))
    config = tmp_path / "envoy.yaml"
    config.write_text(yaml.safe_dump(document))
    envoy.validate(config)


def test_there_are_examples() -> None:
    assert EXAMPLES


def _cluster(config: Path, name: str) -> Any:
    clusters = yaml.safe_load(config.read_text())["static_resources"]["clusters"]
    [found] = [each for each in clusters if each["name"] == name]
    return found


def _endpoints(cluster: Any) -> Any:
    return cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
