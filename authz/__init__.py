"""An external authorizer for Envoy: API consumers, their credentials, and a reason for every no."""

__version__ = "0.1.0"
