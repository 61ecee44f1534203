"""Envoy configurations beside the project's own: an unhardened one, and the own with changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from msgspec.structs import replace

from authz.stack import envoy
from authz.stack.envoy import Wiring

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_HCM = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def plain(wiring: Wiring) -> str:
    """The least that asks the authorizer: Envoy's defaults in everything else.

    Nothing is stripped, refused or normalised, headers are not raw, and no filter doubts an allow.
    """
    ext_authz = {
        "@type": f"{_HTTP}.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "2s"},
    }
    manager = {
        "@type": _HCM,
        "stat_prefix": "ingress",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": ext_authz},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_HTTP}.router.v3.Router"},
            },
        ],
    }
    host, _, port = wiring.listener.rpartition(":")
    listener = {
        "name": "ingress",
        "address": {"socket_address": {"address": host, "port_value": int(port)}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return json.dumps(
        {
            "admin": {"address": _pipe(wiring.admin)},
            "static_resources": {
                "listeners": [listener],
                "clusters": [
                    _cluster("authz", wiring.authz, http2=True),
                    _cluster("upstream", (wiring.upstream,), http2=False),
                ],
            },
        }
    )


def _cluster(name: str, addresses: tuple[str, ...], *, http2: bool) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _pipe(each)}} for each in addresses]
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    return {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            _PROTOCOL: {
                "@type": f"type.googleapis.com/{_PROTOCOL}",
                "explicit_http_config": {protocol: {}},
            }
        },
    }


def _pipe(address: str) -> dict[str, Any]:
    return {"pipe": {"path": address.removeprefix("unix:")}}


def with_bodies(wiring: Wiring) -> str:
    """The project's own, which shows the authorizer the bodies of all requests."""
    return envoy.render(replace(wiring, bodies=True))


def edited(
    change: Callable[[dict[str, Any]], None], base: Callable[[Wiring], str] = envoy.render
) -> Callable[[Wiring], str]:
    """A configuration with its listener changed."""

    def bootstrap(wiring: Wiring) -> str:
        document = yaml.safe_load(base(wiring))
        [listener] = document["static_resources"]["listeners"]
        change(listener)
        return json.dumps(document)

    return bootstrap


def manager(listener: dict[str, Any]) -> Any:
    """Its HTTP connection manager, to be changed."""
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def virtual_hosts(listener: dict[str, Any]) -> Any:
    """Its hosts with their routes, to be changed."""
    return manager(listener)["route_config"]["virtual_hosts"]


def add_host(listener: dict[str, Any], host: str, **body: Any) -> None:
    """A host of its own for the upstream, which shows the authorizer the bodies of requests:
    `body` is Envoy's `with_request_body`. Nothing given: not even where others show them."""
    check = {"with_request_body": body} if body else {"disable_request_body_buffering": True}
    settings = {"@type": f"{_HTTP}.ext_authz.v3.ExtAuthzPerRoute", "check_settings": check}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "upstream"},
        "typed_per_filter_config": {"envoy.filters.http.ext_authz": settings},
    }
    virtual_hosts(listener).insert(0, {"name": host, "domains": [host], "routes": [route]})
