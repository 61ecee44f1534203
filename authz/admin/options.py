"""The options that every command on the store shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from authz.admin.catalog import Catalog
from authz.config import Settings, read
from authz.secrets import read_keyring

STORE = "Store"

RedisUrl = Annotated[
    str | None,
    typer.Option(
        help="Redis or Valkey: redis://HOST:PORT/DB, rediss://…, unix:///PATH, "
        "redis+sentinel://…/SERVICE, redis+cluster://…",
        rich_help_panel=STORE,
        show_default="redis://127.0.0.1:6379/0",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        help="First part of every key's name.", rich_help_panel=STORE, show_default="authz"
    ),
]
KeyringFile = Annotated[
    Path | None,
    typer.Option(help="The key ring (or its content in AUTHZ_KEYRING).", rich_help_panel=STORE),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="A YAML file of settings.", rich_help_panel=STORE),
]
Tenant = Annotated[str, typer.Option(help="The consumer's tenant, if it has one.")]


#: The options by their parameters' names, as `with_catalog` adds them.
SHARED = {
    "redis_url": RedisUrl,
    "namespace": Namespace,
    "keyring_file": KeyringFile,
    "config": Config,
}


def settings(
    config: Path | None,
    redis_url: str | None = None,
    namespace: str | None = None,
    keyring_file: Path | None = None,
    **flags: Any,
) -> Settings:
    """Flags over environment over file. `AUTHZ_CONFIG` names a file when no flag does."""
    named = os.environ.get("AUTHZ_CONFIG")
    given = {
        "redis_url": redis_url,
        "namespace": namespace,
        "keyring_file": str(keyring_file) if keyring_file else None,
        **flags,
    }
    return read(given, os.environ, config or (Path(named) if named else None))


def catalog(made: Settings) -> Catalog:
    """The store's records. Raises `KeyRingError` and `StoreUrlError`."""
    path = Path(made.keyring_file) if made.keyring_file else None
    ring = read_keyring(path, os.environ.get("AUTHZ_KEYRING"))
    return Catalog(made.store.target, made.namespace, ring)


def with_catalog(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a Catalog, as one that has the store's options instead."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        given = {name: options.pop(name) for name in SHARED}
        command(catalog(settings(**given)), *args, **options)

    shape = signature(command, eval_str=True)
    own = list(shape.parameters.values())[1:]
    shared = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in SHARED.items()
    ]
    own = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own]
    run.__signature__ = shape.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return run
