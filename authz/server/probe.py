"""Ask a worker how it is, over gRPC's health protocol."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authz.server.service import NAME


def probe(target: str, timeout: float) -> str:
    """`SERVING`, `NOT_SERVING`, or the gRPC status that came instead."""
    request = health_pb2.HealthCheckRequest(service=NAME)
    with grpc.insecure_channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                request, timeout=timeout, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
