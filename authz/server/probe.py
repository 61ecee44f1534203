"""Ask a worker how it is, over gRPC's health protocol."""

from __future__ import annotations

from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec import Struct

from authz.config import SettingsError
from authz.server.service import NAME


class Trust(Struct, frozen=True):
    """How to speak TLS to a worker: in PEM whom we believe, and, for mutual TLS, what we show.
    `name` is the worker's in its certificate, where it is not the address."""

    ca: bytes
    cert: bytes | None = None
    key: bytes | None = None
    name: str | None = None

    def __repr__(self) -> str:  # the key is a secret
        return f"Trust(name={self.name!r})"


def trust(ca: Path | None, cert: Path | None, key: Path | None, name: str | None) -> Trust | None:
    """Of files; None without any. Raises `SettingsError`."""
    if ca is None:
        if cert or key or name:
            raise SettingsError("--ca-file: needed for TLS")
        return None
    if (cert is None) != (key is None):
        raise SettingsError("--cert-file and --key-file: one needs the other")
    return Trust(_pem(ca), _pem(cert) if cert else None, _pem(key) if key else None, name)


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None


def probe(target: str, timeout: float, trust: Trust | None = None) -> str:
    """`SERVING`, `NOT_SERVING`, or the gRPC status that came instead."""
    request = health_pb2.HealthCheckRequest(service=NAME)
    with connect(target, trust) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                request, timeout=timeout, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def connect(target: str, trust: Trust | None) -> grpc.Channel:
    """A channel to a worker; None: in plain text."""
    if trust is None:
        return grpc.insecure_channel(target)
    credentials = grpc.ssl_channel_credentials(trust.ca, trust.key, trust.cert)
    named = [("grpc.ssl_target_name_override", trust.name)] if trust.name else []
    return grpc.secure_channel(target, credentials, named)
