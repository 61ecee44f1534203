"""Where everything of one stack is: ports, sockets and files, settled before the start."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from authz.stack import ports
from authz.stack.envoy import Wiring
from authz.stack.processes import StackError
from authz.store.target import Target

#: The kernel's limit for a Unix socket's path is 108 bytes, the zero at its end included.
MAX_SOCKET_PATH = 107
ADMIN_SOCKET = "envoy-admin.sock"


class UpOptions(Struct, frozen=True, kw_only=True):
    """What `authz up` was asked for. A port of 0 means any free one."""

    port: int = 9080
    redis_port: int = 6390
    upstream_port: int | None = None  #: None: a Unix socket that only Envoy uses
    metrics_port: int = 9464
    redis_url: str | None = None  #: None: an embedded Valkey
    state_dir: Path = Path(".authz")
    document: Path | None = None  #: None: the demo
    workers: int | None = None  #: None: one a core
    check: bool = False


class Layout(Struct, frozen=True):
    """The addresses and files of one stack. `namespace` is a throw-away one for a check."""

    state: Path
    sockets: Path
    port: int
    redis_port: int | None
    redis_url: str
    namespace: str
    upstream: str
    metrics: str
    workers: int

    @property
    def url(self) -> str:
        """Where a client finds Envoy."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    @property
    def store(self) -> str:
        """The store's address, without the password that a URL may hold."""
        return Target(self.redis_url).shown

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def keyring(self) -> Path:
        return self.state / "keyring"

    @property
    def settings(self) -> Path:
        """The settings file for `authz ... --config`."""
        return self.state / "authz.yaml"

    @property
    def bootstrap(self) -> Path:
        return self.state / "envoy.yaml"

    @property
    def listen(self) -> str:
        """`authz serve --listen`, with `{worker}` for the worker's number."""
        return f"unix:{self.sockets}/worker-{{worker}}.sock"

    @property
    def admin(self) -> str:
        return f"unix:{self.sockets}/{ADMIN_SOCKET}"

    def wiring(self, *, bodies: bool) -> Wiring:
        """What Envoy has to know of it."""
        return Wiring(
            listener=f"{ports.LOOPBACK}:{self.port}",
            admin=self.admin,
            authz=tuple(self.listen.format(worker=number) for number in range(self.workers)),
            upstream=self.upstream,
            bodies=bodies,
        )

    @property
    def _values(self) -> dict[str, str]:
        return {
            "redis_url": self.redis_url,
            "namespace": self.namespace,
            "keyring_file": str(self.keyring),
        }

    def contradicted(self, environ: Mapping[str, str]) -> list[str]:
        """Variables that say otherwise than the settings file, and would win over it."""
        said = {"AUTHZ_KEYRING": ""}
        said |= {f"AUTHZ_{name.upper()}": value for name, value in self._values.items()}
        return [name for name, value in said.items() if environ.get(name, value) != value]

    def write_settings(self) -> None:
        """Write the settings file, for its owner alone: the URL may hold a password."""
        self.settings.unlink(missing_ok=True)
        descriptor = os.open(self.settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(self._values, indent=2) + "\n")  # JSON is YAML


@contextlib.contextmanager
def lay_out(options: UpOptions) -> Iterator[Layout]:
    """Settle every address, and hold the state directory until the end of the block."""
    if options.check and options.document:
        raise StackError("--check tries the demo's own requests: leave out --document")
    port = ports.choose(options.port, "--port")
    metrics = ports.choose(options.metrics_port, "--metrics-port")
    redis_port = None
    if options.redis_url is None:
        redis_port = ports.choose(options.redis_port, "--redis-port")
    state = options.state_dir.absolute()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _hold(state), _sockets(state) as sockets:
        yield Layout(
            state=state,
            sockets=sockets,
            port=port,
            redis_port=redis_port,
            redis_url=options.redis_url or f"redis://{ports.LOOPBACK}:{redis_port}/0",
            namespace=_namespace(options),
            upstream=_upstream(options, sockets),
            metrics=f"{ports.LOOPBACK}:{metrics}",
            workers=options.workers or _cores(),
        )


def _cores() -> int:
    """The cores that we may run on, where that can be asked."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _namespace(options: UpOptions) -> str:
    # What lives in somebody's store is not for a check to read or write.
    return f"authz-check-{secrets.token_hex(4)}" if options.check and options.redis_url else "authz"


def _upstream(options: UpOptions, sockets: Path) -> str:
    if options.upstream_port is None:
        return f"unix:{sockets}/upstream.sock"
    return f"{ports.LOOPBACK}:{ports.choose(options.upstream_port, '--upstream-port')}"


@contextlib.contextmanager
def _hold(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another `authz up` uses {state}: give another with --state-dir DIRECTORY"
            ) from None
        yield


@contextlib.contextmanager
def _sockets(state: Path) -> Iterator[Path]:
    """A directory whose sockets' paths are short enough, gone afterwards."""
    wanted = state / "run"
    longest = os.fsencode(wanted / ADMIN_SOCKET)
    if len(longest) <= MAX_SOCKET_PATH:
        shutil.rmtree(wanted, ignore_errors=True)
        wanted.mkdir(mode=0o700)
    else:
        wanted = Path(tempfile.mkdtemp(prefix="authz-"))
    try:
        yield wanted
    finally:
        shutil.rmtree(wanted, ignore_errors=True)
