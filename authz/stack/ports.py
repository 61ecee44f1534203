"""TCP ports of this machine, asked before anything is started on them."""

from __future__ import annotations

import socket

from authz.stack.processes import StackError

LOOPBACK = "127.0.0.1"


def choose(wanted: int, option: str) -> int:
    """`wanted` if it is free, any free port for 0. Raises StackError that names port and option."""
    with socket.socket() as probe:
        # As servers do: connections of the last run that linger do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise StackError(
                f"port {wanted} cannot be used ({error.strerror}): "
                f"give another with {option} PORT, or 0 for any free one"
            ) from None
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Does something accept connections at `host:port` or `unix:/path`?"""
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    with socket.socket(family) as link:
        link.settimeout(1)
        try:
            link.connect(_target(address))
        except OSError:
            return False
        return True


def _target(address: str) -> str | tuple[str, int]:
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host, int(port)
