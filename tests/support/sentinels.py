"""Real Sentinels that watch a primary, and fail over to its replica."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from authz.stack.valkey import binary
from tests.support.valkey import Valkey, free_port
from tests.support.waiting import until

SERVICE = "main"
COUNT = 3
#: Milliseconds of silence after which a Sentinel holds the primary to be dead.
DOWN_AFTER = 500


class Sentinel(Valkey):
    """The same binary, told to watch. Its file holds what it learned, so it may be restarted."""

    def __init__(self, directory: Path, port: int, config: list[str]) -> None:
        directory.mkdir()
        self._config = directory / "sentinel.conf"
        self._config.write_text("\n".join([f"port {port}", "bind 127.0.0.1", *config, ""]))
        super().__init__(directory, port=port)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(binary()), str(self._config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "the Sentinel answers")

    def watch(self, primary: Valkey) -> None:
        """Name this one from now on."""
        with self.client() as client:
            client.execute_command("SENTINEL", "REMOVE", SERVICE)
            client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", primary.port, COUNT)


class Sentinels:
    """Three that know each other, the primary and its replica from the start."""

    def __init__(
        self, directory: Path, primary: Valkey, replica: Valkey | None = None, *lines: str
    ) -> None:
        places = [(free_port(), secrets.token_hex(20)) for _ in range(COUNT)]
        self.all: list[Sentinel] = []
        for number, (port, name) in enumerate(places):
            others = [place for place in places if place != (port, name)]
            config = [
                f"dir {directory / f'sentinel-{number}'}",
                f"sentinel myid {name}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
                f"sentinel failover-timeout {SERVICE} 1000",
                *(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {p} {n}" for p, n in others),
                *lines,
            ]
            if replica is not None:
                config.append(f"sentinel known-replica {SERVICE} 127.0.0.1 {replica.port}")
            self.all.append(Sentinel(directory / f"sentinel-{number}", port, config))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.all)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def close(self) -> None:
        for sentinel in self.all:
            sentinel.close()
