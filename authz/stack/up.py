"""`authz up`: Valkey, authz, a demo upstream and the real Envoy, on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from authz.secrets import create_keyring
from authz.stack import demo, envoy, existing, valkey
from authz.stack.layout import Layout, UpOptions, lay_out
from authz.stack.ports import LOOPBACK, answers
from authz.stack.processes import Children, Interrupted, StackError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOT_APPLIED = "not applied: the store already holds one, which is kept"
INTERRUPTED = 130  #: what a shell makes of a program that Ctrl-C ended


def up(options: UpOptions) -> int:
    """Run the stack, or check it, and return the exit status. Nothing is left running.

    0 after Ctrl-C on a stack that was up, or a check that saw what it must; 1 for anything in
    the way, told on stderr; 130 for Ctrl-C before it was up.
    """
    try:
        with lay_out(options) as layout:
            return Stack(options, layout).run()
    except StackError as error:
        Console(stderr=True).print(f"[bold red]authz up:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except Interrupted:
        return INTERRUPTED


class Stack:
    """One run of the stack."""

    def __init__(self, options: UpOptions, layout: Layout) -> None:
        self._options, self._layout = options, layout
        self._children = Children(layout.logs, _environment())
        self._afterwards = contextlib.ExitStack()
        self._out = Console(highlight=False, soft_wrap=True)

    def run(self) -> int:
        """Start everything, then serve or check; end everything whatever happens."""
        began = time.monotonic()
        with self._children.stop_on(*SIGNALS), self._afterwards, self._children:
            applied = self._start()
            self._out.print(f"[bold]Ready in {time.monotonic() - began:.1f} s.[/]\n")
            if self._options.check:
                return self._check()
            self._tell(applied)
            self._children.sleep_until_interrupted()
            self._out.print("\nStopping.")
        return 0

    # -- starting ----------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Start everything; say whether a document was applied."""
        self._start_store()
        with self._step("gateway document") as detail:
            applied = self._apply()
            detail.append(_short(self._document) if applied else NOT_APPLIED)
        with self._step("authz, upstream, Envoy") as detail:
            self._start_servers()
            detail.append(f"{self._layout.workers} workers, {self._layout.url}")
        return applied

    def _start_store(self) -> None:
        layout = self._layout
        if layout.redis_port is not None:
            with self._step("Valkey") as detail:
                port = layout.redis_port
                self._children.start("valkey", valkey.command(port, layout.sockets))
                self._children.wait_for("Valkey", lambda: valkey.answers(port))
                detail.append(layout.store)
        if not layout.keyring.exists():
            create_keyring(layout.keyring)
        layout.write_settings()

    def _apply(self) -> bool:
        if self._options.redis_url and not existing.is_empty(self._layout):
            return False
        if self._options.redis_url and self._options.check:
            self._afterwards.callback(existing.erase, self._layout)
        self._authz("apply", str(self._document))
        return True

    def _start_servers(self) -> None:
        layout, start = self._layout, self._children.start
        layout.bootstrap.write_text(
            envoy.render(layout.wiring(bodies=existing.reads_bodies(layout)))
        )
        envoy.validate(layout.bootstrap)
        start("upstream", [*_module("authz.stack.upstream"), "--listen", layout.upstream])
        start("authz", self._command("serve", *self._serving()))
        start("envoy", envoy.command(layout.bootstrap))
        self._children.wait_for("upstream", lambda: answers(layout.upstream))
        # Envoy opens its port only after a first look at every worker's health.
        self._children.wait_for("Envoy", lambda: envoy.live(layout.admin))
        self._children.wait_for(
            "authz workers", lambda: envoy.healthy(layout.admin, "authz") == layout.workers
        )

    # -- after the start ---------------------------------------------------------------------------

    def _tell(self, applied: bool) -> None:
        layout = self._layout
        if applied and self._document == demo.DOCUMENT:
            for call in demo.CALLS:
                self._line(f"{call.what}: {call.status}", call.curl(layout.url))
            revoke = self._shell("credential", "revoke", *demo.REVOKED)
            self._line("a revocation, felt at once", revoke)
            self._line(f"{demo.AFTER.what}: {demo.AFTER.status}", demo.AFTER.curl(layout.url))
        else:
            self._line("Envoy", f"curl -i {layout.url}{demo.PATH}")
        self._line("decisions, one JSON line each", f"tail -f {_short(layout.logs / 'authz.log')}")
        self._line("metrics", f"curl http://{layout.metrics}/metrics")
        for name in layout.contradicted(os.environ):
            self._out.print(f"[yellow]{name} is set here and wins over --config: unset it.[/]")
        self._out.print("Ctrl-C stops everything.")

    def _line(self, what: str, command: str) -> None:
        self._out.print(f"[dim]# {escape(what)}[/]\n{escape(command)}\n")

    def _check(self) -> int:
        table = Table("request", "expected", "seen", "took", "")
        good = True
        layout = self._layout
        for seen in demo.check(LOOPBACK, layout.port, layout.workers, self._revoke):
            self._children.require_alive()
            verdict = "[green]as it must be[/]" if seen.ok else "[bold red]WRONG[/]"
            row = (seen.call.what, str(seen.call.status), f"{seen.status} {escape(seen.note)}")
            table.add_row(*row, f"{seen.seconds * 1000:.0f} ms", verdict)
            good = good and seen.ok
        self._out.print(table)
        if not good:
            self._out.print(f"What each part said: {_short(layout.logs)}")
        return 0 if good else 1

    def _revoke(self) -> None:
        self._authz("credential", "revoke", *demo.REVOKED)

    # -- the authz command -------------------------------------------------------------------------

    @property
    def _document(self) -> Path:
        return self._options.document or demo.DOCUMENT

    def _serving(self) -> list[str]:
        layout = self._layout
        return [
            *("--listen", layout.listen, "--workers", str(layout.workers)),
            *("--metrics-listen", layout.metrics),
            # A check leaves nothing behind, and a note of a use outlives what was used.
            *(("--last-used-seconds", "0") if self._options.check else ()),
        ]

    def _authz(self, *words: str) -> str:
        return self._children.run(f"authz-{words[0]}", self._command(*words))

    def _command(self, *words: str) -> list[str]:
        return [*_module("authz"), *words, "--config", str(self._layout.settings)]

    def _shell(self, *words: str) -> str:
        return shlex.join([*_program(), *words, "--config", _short(self._layout.settings)])

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[list[str]]:
        began, detail = time.monotonic(), list[str]()
        with self._out.status(what):
            yield detail
        took = time.monotonic() - began
        self._out.print(f"[green]{what}[/] {escape(' '.join(detail))} [dim]{took:.2f} s[/]")


def _environment() -> dict[str, str]:
    """Ours without AUTHZ_*: they would win over the settings file, and mean another store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTHZ_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _program() -> list[str]:
    """How the person who typed `authz up` can type `authz` again."""
    typed = Path(sys.argv[0])
    if typed.name != "authz":
        return [_short(Path(sys.executable)), "-m", "authz"]
    return ["authz"] if shutil.which("authz") == str(typed.absolute()) else [_short(typed)]


def _short(path: Path) -> str:
    """Relative to the working directory where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
