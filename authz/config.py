"""Settings: flags, environment, file, defaults, in this order, made into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from authz.store.open import StoreSettings
from authz.store.target import Target

PREFIX = "AUTHZ_"


class SettingsError(Exception):
    """A setting cannot be used. The text names it and where it came from."""


class TlsFiles(Struct, frozen=True):
    """Paths of PEM files; with `client_ca` every client must show a certificate of it."""

    cert: str
    key: str
    client_ca: str | None


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. The field's name is the flag's (`--redis-url`), the variable's
    (`AUTHZ_REDIS_URL`) and the file's (`redis_url`)."""

    redis_url: Annotated[
        str, Meta(description="Redis or Valkey: redis://, rediss://, unix://, +sentinel, +cluster.")
    ] = "redis://127.0.0.1:6379/0"
    namespace: Annotated[
        str,
        Meta(
            pattern=r"^(?:[A-Za-z0-9_.-]{1,64})$(?!\n)", description="First part of every key name."
        ),
    ] = "authz"
    keyring_file: Annotated[
        str | None, Meta(description="The key ring (or its content in AUTHZ_KEYRING).")
    ] = None
    listen: Annotated[
        str,
        Meta(
            description="Where workers listen: unix:/DIR/{worker}.sock, HOST:PORT (worker n on "
            "PORT+n), or both with a comma between them."
        ),
    ] = "127.0.0.1:9000"
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that serve.")] = (
        os.cpu_count() or 1
    )
    metrics_listen: Annotated[
        str, Meta(description="HOST:PORT of /metrics, for all workers together; '' for none.")
    ] = "127.0.0.1:9464"
    stale_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds that a verified credential is good while the store is away.",
        ),
    ] = 30.0
    store_timeout_ms: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="Time limit of one store call; a request waits no longer than for two.",
        ),
    ] = 25.0
    cache_records: Annotated[
        int, Meta(ge=100, description="Credentials and consumers that a worker remembers.")
    ] = 100_000
    cache_misses: Annotated[
        int, Meta(ge=100, description="Unknown keys that a worker remembers.")
    ] = 20_000
    unknown_per_second: Annotated[
        float,
        Meta(
            ge=1,
            le=1_000_000,
            description="Reads of unknown keys that a worker may cost the store in a second, and a "
            "second's worth at once; beyond, keys that it does not remember get a 503.",
        ),
    ] = 500.0
    last_used_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How often, in seconds, it is written which credentials were used; 0: "
            "never.",
        ),
    ] = 60.0
    jwks_stale_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86400,
            description="Seconds that fetched JWK Sets are good while their URL is down.",
        ),
    ] = 3600.0
    jwks_allow_private: Annotated[
        bool, Meta(description="Fetch JWK Sets from private addresses and over plain http, too.")
    ] = False
    jwks_ca_file: Annotated[
        str | None, Meta(description="A CA's certificate (PEM) for JWK Set URLs.")
    ] = None
    threads: Annotated[int, Meta(ge=2, le=256, description="Threads a worker.")] = 16
    max_message_bytes: Annotated[
        int, Meta(ge=65536, description="The largest Check taken; above Envoy's max_request_bytes.")
    ] = 4 * 1024 * 1024
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="NOT_SERVING for so long before stopping; above Envoy's check interval.",
        ),
    ] = 1.5
    grace_seconds: Annotated[
        float, Meta(ge=0, description="Seconds that calls in flight get to finish.")
    ] = 5.0
    transport: Annotated[
        str,
        Meta(
            pattern=r"^(?:(h2|grpcio))$(?!\n)",
            description="What carries Checks: h2, or grpcio (portable, a fraction as fast), which "
            "serves where h2 cannot start.",
        ),
    ] = "h2"
    tls_cert_file: Annotated[
        str | None,
        Meta(
            description="Serve TLS, on Unix sockets too, with this certificate and its chain (PEM)."
        ),
    ] = None
    tls_key_file: Annotated[
        str | None, Meta(description="The certificate's private key (PEM, not encrypted).")
    ] = None
    tls_client_ca_file: Annotated[
        str | None,
        Meta(description="Serve only who has a certificate of one of these CAs (PEM): mutual TLS."),
    ] = None
    reflection: Annotated[bool, Meta(description="Serve gRPC reflection.")] = False
    log_level: Annotated[
        str,
        Meta(
            pattern=r"^(?:(debug|info|warning|error))$(?!\n)",
            description="debug, info, warning or error; of messages, not of decisions.",
        ),
    ] = "info"

    @property
    def store(self) -> StoreSettings:
        return StoreSettings(
            target=Target(self.redis_url),
            namespace=self.namespace,
            timeout=self.store_timeout_ms / 1000,
            stale_seconds=self.stale_seconds,
            cache_records=self.cache_records,
            cache_misses=self.cache_misses,
            unknown_per_second=self.unknown_per_second,
            jwks_stale_seconds=self.jwks_stale_seconds,
            jwks_allow_private=self.jwks_allow_private,
            jwks_ca_file=self.jwks_ca_file,
            jwks_waiters=self.threads // 2,
            last_used_seconds=self.last_used_seconds,
        )

    @property
    def tls(self) -> TlsFiles | None:
        """None: in plain text."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)

    def __repr__(self) -> str:  # a URL may hold a password
        return f"Settings({Target(self.redis_url)!r}, {self.namespace})"


def read(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None) -> Settings:
    """Settings from everywhere; a None flag was not given. Raises `SettingsError`."""
    values: dict[str, Any] = {}
    if file is not None:
        values.update(_from_file(file))
    values.update(_from_environment(environ))
    values.update((name, value) for name, value in flags.items() if value is not None)
    try:
        made = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error), flags, environ)) from None
    _require_whole(made)
    return made


def _require_whole(made: Settings) -> None:
    """Half of TLS would be none: refused rather than served in plain text."""
    given = made.tls_cert_file, made.tls_key_file, made.tls_client_ca_file
    if any(given) and made.tls is None:
        missing = "tls_key_file" if made.tls_cert_file else "tls_cert_file"
        raise SettingsError(f"{missing}: needed for TLS, as another tls_ setting is given")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected settings such as `redis_url: redis://…`")
    unknown = sorted(set(map(str, values)) - set(Settings.__struct_fields__))
    if unknown:
        known = ", ".join(Settings.__struct_fields__)
        raise SettingsError(f"{path}: unknown setting {unknown[0]!r}; known are {known}")
    for name, value in values.items():
        if name.endswith("_file") and isinstance(value, str):
            values[name] = str(path.parent / value)
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: environ[PREFIX + name.upper()]
        for name in Settings.__struct_fields__
        if environ.get(PREFIX + name.upper())
    }


def _explain(message: str, flags: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    text, _, place = message.partition(" - at `$.")
    name = place.rstrip("`")
    if flags.get(name) is not None:
        source = f"--{name.replace('_', '-')}"
    elif environ.get(PREFIX + name.upper()):
        source = PREFIX + name.upper()
    else:
        source = name
    return f"{source}: {text[:1].lower()}{text[1:].replace('`', chr(39))}"
