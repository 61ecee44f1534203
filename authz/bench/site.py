"""What runs during a benchmark: a store, authorizers and an Envoy, in a directory of its own.

Everything is started once and stays; what is not being asked costs next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from authz.bench import gateway, machine, people
from authz.bench.machine import Cores
from authz.config import Settings
from authz.secrets import create_keyring
from authz.stack import envoy, ports, valkey
from authz.stack.processes import Child, Children

#: Seconds that bringing a million credentials into the store may take.
APPLY_SECONDS = 3600.0
#: Seconds until a worker serves.
START_SECONDS = 60.0
#: Is told what takes a while.
Note = Callable[[str], None]


class Server(Struct, frozen=True):
    """Something that answers, and the processes whose time counts as its."""

    addresses: tuple[str, ...]
    processes: tuple[int, ...]


class Site:
    """Starts things. Leaving `site()` ends them."""

    def __init__(self, directory: Path, children: Children, cores: Cores, note: Note) -> None:
        self.directory, self._children, self.cores = directory, children, cores
        self._note = note
        self._numbers = iter(range(1000))
        self._running: dict[str, Server] = {}
        self._keyring = directory / "keyring"
        create_keyring(self._keyring)
        port = ports.choose(0, "")
        self.redis_url = f"redis://{ports.LOOPBACK}:{port}/0"
        store = children.start("valkey", valkey.command(port, directory))
        children.wait_for("Valkey", lambda: valkey.answers(port))
        machine.pin([store.process.pid], cores.load)

    def _socket(self) -> str:
        return f"{self.directory}/{next(self._numbers)}.sock"

    def require_alive(self) -> None:
        """Raises `StackError` when something has died."""
        self._children.require_alive()

    def settings(self, credentials: int) -> Settings:
        """A worker's, for the store with so many credentials."""
        return Settings(
            redis_url=self.redis_url,
            namespace=f"bench-{credentials}",
            keyring_file=str(self._keyring),
            # A machine that is busy with the benchmark is not a store that is away.
            store_timeout_ms=1000.0,
            # Reading the store for unknown keys is what one row measures.
            unknown_per_second=1_000_000.0,
            # Nobody sends anything any more when something is stopped here.
            drain_seconds=0.0,
            grace_seconds=0.1,
        )

    def apply(self, credentials: int) -> None:
        """Bring so many credentials into the store, as an operator does."""
        self._note(f"applying {credentials:,} credentials")
        path = self.directory / f"{credentials}.jsonl"
        people.write_document(path, credentials)
        made = self.settings(credentials)
        words = [
            *("apply", str(path), "--redis-url", made.redis_url),
            *("--namespace", made.namespace, "--keyring-file", str(self._keyring)),
        ]
        self._children.run("apply", _module("authz", *words), APPLY_SECONDS)
        path.unlink()

    def nothing(self, kind: str) -> Server:
        """A server that decides nothing: see `authz.bench.nothing`."""
        return self._once(f"do-nothing {kind}", lambda: self._nothing(kind))

    def _nothing(self, kind: str) -> Server:
        address = f"unix:{self._socket()}"
        child = self._start("nothing", _module("authz.bench.nothing", kind, address))
        self._children.wait_for(kind, lambda: ports.answers(address), START_SECONDS)
        return Server((address,), (child.process.pid,))

    def _once(self, name: str, start: Callable[[], Server]) -> Server:
        """The one that runs already, else a new one, each of its processes on a core."""
        if name not in self._running:
            self._note(f"starting {name}")
            made = self._running[name] = start()
            for number, process in enumerate(made.processes):
                machine.pin([process], self.cores.second if number else self.cores.server)
        return self._running[name]

    def ours(
        self, credentials: int, *, transport: str, cached: bool = True, workers: int = 1
    ) -> Server:
        """`authz serve`. Not `cached` remembers just a hundred records: ask for more in turn."""
        changed = msgspec.structs.replace(
            self.settings(credentials), workers=workers, metrics_listen="", transport=transport
        )
        if not cached:
            changed = msgspec.structs.replace(changed, cache_records=100)
        name = (
            f"authz on {transport}, {credentials:,} credentials, "
            f"{'cached' if cached else 'uncached'}, {workers} workers"
        )
        return self._once(name, lambda: self._serve(changed))

    def _serve(self, settings: Settings) -> Server:
        from authz.server.probe import probe

        listen = self._socket().replace(".sock", "-{worker}.sock")
        file = self.directory / f"{next(self._numbers)}.json"
        made = msgspec.structs.replace(settings, listen=f"unix:{listen}")
        file.write_bytes(msgspec.json.encode(made))
        child = self._start("authz", _module("authz", "serve", "--config", str(file)))
        addresses = tuple(f"unix:{listen.format(worker=n)}" for n in range(made.workers))
        self._children.wait_for(
            "authz", lambda: all(probe(each, 1) == "SERVING" for each in addresses), START_SECONDS
        )
        return Server(addresses, machine.children(child.process.pid))

    def _start(self, name: str, command: list[str]) -> Child:
        # One line a decision: a file of them would grow by megabytes a second.
        quiet = ["/bin/sh", "-c", 'exec "$@" >/dev/null', "sh", *command]
        return self._children.start(f"{name}-{next(self._numbers)}", quiet)

    def envoy(
        self, authorizers: dict[str, Server], filters: dict[str, gateway.Filter | None]
    ) -> dict[str, Server]:
        """An Envoy with a listener for each filter and for each authorizer; by the same names."""
        ways = dict(filters)
        ways |= {name: gateway.ext_authz(name) for name in authorizers}
        listeners = {name: (ports.choose(0, ""), way) for name, way in ways.items()}
        clusters = {
            name: server.addresses[0].removeprefix("unix:") for name, server in authorizers.items()
        }
        admin = self._socket()
        config = self.directory / "envoy.json"
        config.write_text(gateway.bootstrap(listeners, clusters, admin))
        envoy.validate(config)
        child = self._children.start("envoy", [*envoy.command(config), "--concurrency", "1"])
        self._children.wait_for("Envoy", lambda: envoy.live(f"unix:{admin}"))
        machine.pin([child.process.pid], self.cores.server)
        return {
            name: Server((f"{ports.LOOPBACK}:{port}",), (child.process.pid,))
            for name, (port, _) in listeners.items()
        }


@contextlib.contextmanager
def site(cores: Cores, note: Note) -> Iterator[Site]:
    """A fresh one, of which nothing is left behind."""
    directory = Path(tempfile.mkdtemp(prefix="authz-bench-"))
    environment = {n: v for n, v in os.environ.items() if not n.startswith("AUTHZ_")}
    try:
        with Children(directory / "logs", environment) as children:
            yield Site(directory, children, cores, note)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", name, *words]
