"""One worker process: its objects, its gRPC server, and the thread that keeps its policy current.

`python -m authz.server.worker` reads its order as one JSON line from standard input, and stops
when that closes, so that no worker outlives its supervisor.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from authz import document, reasons
from authz.config import Settings, SettingsError
from authz.contracts import StoreDown
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.schemes import SCHEMES
from authz.secrets import KeyRingError
from authz.server import logs
from authz.server.chores import Chores
from authz.server.decision_log import DecisionLog
from authz.server.metrics import CONFIG, CONFIG_LOADED, READY, Recorder
from authz.server.ring_watch import RingWatch
from authz.server.service import Engine, Service
from authz.server.transport import AddressInUse, open_transport
from authz.store.open import Store, open_store
from authz.store.redis import EMPTY

logger = logging.getLogger("authz")

#: Exit status of a worker that no restart would mend: an address in use, a bad certificate.
HOPELESS = 2
#: Seconds that a worker waits for its policy before it listens all the same, to say that it has
#: none: a successor inherits its predecessor's address, which Envoy may still hold to be healthy.
PATIENCE = 2.0
#: Seconds that a thread may keep the interpreter from the one that answers Checks: through Envoy
#: the 99th percentile was 4 to 6 ms with Python's own 5 ms, and 1.6 ms with this.
SWITCH = 0.0003
#: Seconds between attempts to become ready.
RETRY = 0.5


class Order(Struct, frozen=True):
    """What the supervisor tells a worker."""

    settings: Settings
    address: str


class Worker:
    """A server on one address. `start`, then `stop`; in between it mends itself."""

    def __init__(
        self,
        settings: Settings,
        *,
        log: DecisionLog,
        keyring: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._keyring_text = keyring
        self._clock = clock
        self._address = ""
        self._chores: Chores | None = None
        self._recorder = Recorder()
        self.service = Service(self._recorder, log, clock)
        self.store: Store | None = None
        self._transport = open_transport(settings, self.service)
        self._changed = threading.Event()
        self._loaded = threading.Event()
        self._stopped = threading.Event()
        self._complaint = ""
        self._config: dict[str, Any] | None = None
        self._keeper = threading.Thread(target=self._keep, name="config", daemon=True)

    def start(self, address: str, patience: float = 0.0) -> int:
        """Listen once there is a policy, or after `patience` seconds; returns the port (0 for a
        Unix socket). Raises `AddressInUse`."""
        self._address = address
        self._keeper.start()
        self._loaded.wait(patience)
        return self._transport.listen(address)

    def drain(self) -> None:
        """Tell Envoy's health checks to send nothing more, whatever is applied from now on."""
        self._transport.drain()

    def stop(self, grace: float) -> None:
        """Finish what is in flight, within `grace` seconds."""
        self._stopped.set()
        self._changed.set()
        self._transport.stop(grace)
        self._keeper.join(timeout=5)
        if self._chores is not None:
            self._chores.stop()
        if self.store is not None:
            self.store.close()
        self._recorder.close()

    @property
    def ready(self) -> bool:
        return self.service.engine is not None

    # -- the policy --------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._stopped.is_set():
            self._changed.clear()
            try:
                self._refresh()
            except (KeyRingError, StoreDown, DocumentError, msgspec.ValidationError) as error:
                self._complain(error)
                self._changed.wait(RETRY)
            except Exception as error:
                logger.exception("the policy could not be refreshed")
                self._complain(error)
                self._changed.wait(RETRY)
            else:
                self._changed.wait()

    def _refresh(self) -> None:
        """Bring the policy up to date, or raise and leave the old one in use."""
        store = self.store or self._open()
        config = _read_config(store)
        if config == self._config:
            return
        routes = RouteTable(document.decode(config))
        self.service.engine = Engine(routes, store.memory, store.waiting)
        self._config = config
        self._loaded.set()
        CONFIG.labels("accepted").inc()
        CONFIG_LOADED.set(time.time())
        READY.set(1)
        self._complaint = ""
        self._transport.serving()
        logger.info("policy loaded")

    def _open(self) -> Store:
        settings = self._settings
        watch = RingWatch(settings.keyring_file, self._keyring_text)
        forms = {kind: scheme.form for kind, scheme in SCHEMES.items()}
        self.store = open_store(
            settings.store, watch.ring, forms, self._recorder, self._on_change, self._clock
        )
        self.store.listener.start()
        name = f"{socket.gethostname()} {self._address} {secrets.token_hex(4)}"
        self._chores = Chores(self.store, watch, name, settings.last_used_seconds)
        self._chores.start()
        return self.store

    def _on_change(self, names: list[str] | None) -> None:
        store = self.store
        if names is None or store is None or store.keys.config in names:
            self._changed.set()

    def _complain(self, error: Exception) -> None:
        CONFIG.labels("rejected").inc()
        text = _advice(error, self._settings)
        if text != self._complaint:
            self._complaint = text
            state = "the last policy stays in use" if self.ready else "not ready"
            logger.error("%s: %s", state, text)


def _advice(error: Exception, settings: Settings) -> str:
    target = settings.store.target.shown
    if isinstance(error, StoreDown) and error.reason == EMPTY:
        return f"{target} holds nothing in namespace {settings.namespace!r}: `authz apply FILE`"
    if isinstance(error, StoreDown):
        return f"{target}: {error.told}{_hint(error.reason)}"
    return str(error)


def _hint(reason: str) -> str:
    known = reasons.find(reason)
    return f"; {known.advice}" if known is not None and known.advice else ""


def _read_config(store: Store) -> dict[str, Any]:
    raw_epoch, raw_config = store.redis.read([store.keys.epoch, store.keys.config])
    if raw_epoch is None or raw_config is None:
        raise StoreDown(EMPTY)
    try:
        config: dict[str, Any] = store.codec.decode(store.keys.config, raw_config, dict)
    except StoreDown:
        raise KeyRingError(
            "the store's records do not open with this key ring: give the one that `authz apply` "
            "was given, or apply again to an empty store"
        ) from None
    return config


def main() -> int:
    """Run one worker until told to stop."""
    order = msgspec.json.decode(_first_line(), type=Order)
    logs.set_up(order.settings.log_level)
    sys.setswitchinterval(SWITCH)
    # A core file would hold keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_until_orphaned, args=(stop,), daemon=True).start()
    log = DecisionLog(sys.stdout.fileno())
    try:
        worker = Worker(order.settings, log=log, keyring=os.environ.get("AUTHZ_KEYRING"))
        worker.start(order.address, PATIENCE)
    except (AddressInUse, SettingsError) as error:
        logger.error("%s", error)
        return HOPELESS
    stop.wait()
    worker.drain()
    time.sleep(order.settings.drain_seconds)
    worker.stop(order.settings.grace_seconds)
    log.close()
    READY.set(0)
    return 0


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1 << 20) or b"\n"
    return line


def _until_orphaned(stop: threading.Event) -> None:
    # Not through `sys.stdin`: its lock, held by this thread, would stop the interpreter's end.
    while os.read(0, 1024):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
