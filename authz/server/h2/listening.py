"""Sockets to listen on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

from authz.server.transport import AddressInUse

#: Who may connect to a Unix socket: its owner and group. Envoy shares the group.
MODE = 0o660
BACKLOG = 1024
#: Seconds that whoever listens on a Unix socket gets to show that he lives.
ANSWER = 1.0


def listen_all(addresses: list[str]) -> list[socket.socket]:
    """Sockets for all of them, or for none. Raises `AddressInUse`."""
    made: list[socket.socket] = []
    try:
        for address in addresses:
            made += listen(address)
    except AddressInUse:
        close(made)
        raise
    return made


def listen(address: str) -> list[socket.socket]:
    """Sockets for `unix:PATH` or `HOST:PORT`, not blocking. A name may have several addresses; port
    0 is the same free one for all. Raises `AddressInUse`."""
    try:
        if address.startswith("unix:"):
            return [_unix(path_of(address))]
        return _tcp(address)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise AddressInUse(f"{address} cannot be listened on; is it in use? ({why})") from None


def path_of(address: str) -> str:
    """The file of `unix:PATH` or `unix:///PATH`."""
    return address.removeprefix("unix:").removeprefix("//")


def _tcp(address: str) -> list[socket.socket]:
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made: list[socket.socket] = []
    try:
        for family, place in dict.fromkeys((each[0], each[4]) for each in found):
            number = made[0].getsockname()[1] if made else place[1]
            dual = family == socket.AF_INET6 and place[0] == "::"
            sock = socket.create_server(
                (str(place[0]), number), family=family, backlog=BACKLOG, dualstack_ipv6=dual
            )
            sock.setblocking(False)
            made.append(sock)
    except OSError as error:
        # A name such as localhost may have an address that this machine does not have.
        if not made or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            close(made)
            raise
    return made


def _unix(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, MODE)  # before `listen`, so nobody can connect until then
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    """A killed predecessor leaves its file. Raises OSError when somebody answers there, and for a
    file that is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "")


def close(sockets: list[socket.socket]) -> None:
    """Close them, and remove their files."""
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            with suppress(OSError):
                os.unlink(sock.getsockname())
        sock.close()
