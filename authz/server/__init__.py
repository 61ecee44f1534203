"""Envoy's side: the gRPC service, its workers, what they show of themselves."""
