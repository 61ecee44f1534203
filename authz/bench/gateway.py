"""The Envoy of the benchmark: one worker thread, one listener for each way to authorize.

All listeners are alike but for that filter, and answer what passes themselves, so that an upstream
costs nothing. The ext_authz filter is set as envoy/envoy.yaml sets it where that costs time.
"""

from __future__ import annotations

import json
from typing import Any

from authz.bench import people
from authz.bench.http_link import BODY
from authz.stack.ports import LOOPBACK

_TYPE = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_TYPE}.filters.http"
_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

Filter = dict[str, Any]
#: Listeners by their names, each with its port and its filter.
Listeners = dict[str, tuple[int, Filter | None]]


def bootstrap(listeners: Listeners, clusters: dict[str, str], admin: str) -> str:
    """The configuration, as JSON. `clusters` are authorizers' Unix sockets by name."""
    return json.dumps(
        {
            "admin": {"address": _pipe(admin)},
            "static_resources": {
                "listeners": [_listener(name, *each) for name, each in listeners.items()],
                "clusters": [_cluster(name, path) for name, path in clusters.items()],
            },
        }
    )


def _listener(name: str, port: int, authorizer: Filter | None) -> dict[str, Any]:
    router = _filter("router", f"{_FILTERS}.router.v3.Router")
    answer = {"status": 200, "body": {"inline_string": BODY.decode()}}
    routes = [{"match": {"prefix": "/"}, "direct_response": answer}]
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*([authorizer] if authorizer else []), router],
    }
    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": name,
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [{"filters": [chain]}],
    }


def _cluster(name: str, path: str) -> dict[str, Any]:
    http2 = {"explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 1000}}}
    endpoint = {"endpoint": {"address": _pipe(path)}}
    return {
        "name": name,
        "type": "STATIC",
        "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": {
            _HTTP2: {"@type": f"type.googleapis.com/{_HTTP2}", **http2}
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _pipe(path: str) -> dict[str, Any]:
    return {"pipe": {"path": path}}


def _filter(name: str, type_: str, **settings: Any) -> Filter:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": type_, **settings}}


# -- ways to authorize -----------------------------------------------------------------------------


def ext_authz(cluster: str) -> Filter:
    """Asks an authorizer."""
    return _filter(
        "ext_authz",
        f"{_FILTERS}.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={
            "envoy_grpc": {"cluster_name": cluster, "skip_envoy_headers": True},
            "timeout": "1s",
        },
        encode_raw_headers=True,
        validate_mutations=True,
        enable_dynamic_metadata_ingestion=True,
        status_on_error={"code": "ServiceUnavailable"},
    )


def api_key_auth() -> Filter:
    """Envoy's own, with the same key."""
    return _filter(
        "api_key_auth",
        f"{_FILTERS}.api_key_auth.v3.ApiKeyAuth",
        credentials=[{"key": people.key(0), "client": people.FIRST}],
        key_sources=[{"header": "apikey"}],
        forwarding={"header": "x-consumer-username"},
    )


def basic_auth() -> Filter:
    """Envoy's own, with the same password, hashed by SHA-1, the only way that it knows."""
    return _filter(
        "basic_auth",
        f"{_FILTERS}.basic_auth.v3.BasicAuth",
        users={"inline_string": people.envoy_password()},
        forward_username_header="x-consumer-username",
    )


def jwt_authn() -> Filter:
    """Envoy's own, with the same secret; a token that was verified is remembered, as ours is."""
    provider = {
        "issuer": "bench",
        "local_jwks": {"inline_string": people.envoy_key_set()},
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "claim_to_headers": [{"header_name": "x-consumer-username", "claim_name": "sub"}],
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}
    return _filter(
        "jwt_authn",
        f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
        providers={"bench": provider},
        rules=[rule],
    )
