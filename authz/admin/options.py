"""The options of commands, made from the settings they set."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from msgspec import Meta

from authz.admin.catalog import Catalog
from authz.config import Settings, read
from authz.secrets import read_keyring

#: What every command on the store needs; the other settings are `authz serve`'s.
STORE = ("redis_url", "namespace", "keyring_file")
Config = Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")]
Tenant = Annotated[str, typer.Option(help="The consumer's tenant, if it has one.")]


def settings(config: Path | None, **flags: Any) -> Settings:
    """Flags over environment over file. `AUTHZ_CONFIG` names a file when no flag does."""
    named = os.environ.get("AUTHZ_CONFIG")
    return read(flags, os.environ, config or (Path(named) if named else None))


def catalog(made: Settings) -> Catalog:
    """The store's records. Raises `KeyRingError` and `StoreUrlError`."""
    path = Path(made.keyring_file) if made.keyring_file else None
    ring = read_keyring(path, os.environ.get("AUTHZ_KEYRING"))
    return Catalog(made.store.target, made.namespace, ring)


def _options(names: tuple[str, ...]) -> list[Parameter]:
    """An option for each of these settings and for the file; None means that it was not given."""
    hints = get_type_hints(Settings, include_extras=True)
    fields = dict(zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True))
    made = [_option(name, hints[name], fields[name]) for name in names]
    return [*made, _parameter("config", Config)]


def _option(name: str, hint: Any, default: Any) -> Parameter:
    type_, meta = get_args(hint)
    assert isinstance(meta, Meta)
    shown = "one a core" if name == "workers" else "" if default is None else str(default)
    panel = "Store" if name in STORE else None
    # A switch that is off needs no second name that leaves it so.
    flag = (f"--{name.replace('_', '-')}",) if default is False else ()
    option = typer.Option(
        *flag, help=meta.description, show_default=shown or False, rich_help_panel=panel
    )
    return _parameter(name, Annotated[type_ | None, option])


def _parameter(name: str, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _dressed(command: Callable[..., None], run: Callable[..., None], names: tuple[str, ...]) -> Any:
    """`run` with the parameters of `command` but its first, and an option for each setting."""
    shape = signature(command, eval_str=True)
    own = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in list(shape.parameters.values())[1:]]
    run.__signature__ = shape.replace(parameters=[*own, *_options(names)])  # type: ignore[attr-defined]
    return run


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is Settings, as one that has an option for each of them."""
    return _with(command, Settings.__struct_fields__, lambda made: made)


def with_store(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is Settings, as one that has the store's options."""
    return _with(command, STORE, lambda made: made)


def with_catalog(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a Catalog, as one that has the store's options."""
    return _with(command, STORE, catalog)


def with_lazy_catalog(command: Callable[..., None]) -> Callable[..., None]:
    """The same for one that may not need the store: it is given a function that opens it."""
    return _with(command, STORE, lambda made: lambda: catalog(made))


def _with(
    command: Callable[..., None], names: tuple[str, ...], make: Callable[[Settings], Any]
) -> Callable[..., None]:
    @wraps(command)
    def run(**options: Any) -> None:
        given = {name: options.pop(name) for name in (*names, "config")}
        command(make(settings(**given)), **options)

    return _dressed(command, run, names)  # type: ignore[no-any-return]
