"""What carries Checks to the service: one face, two transports, and which of them serves."""

from __future__ import annotations

import logging
from typing import Protocol

from authz.config import Settings
from authz.server.service import Service
from authz.server.tls import Certificates

logger = logging.getLogger("authz")

#: Checks that wait for a thread or run on one; further ones that would have to are shed. It bounds
#: memory. How long they wait is bounded by the callers' deadlines: whose time is up is not begun.
WAITING = 512


class AddressInUse(Exception):
    """Nothing can listen there."""


class Transport(Protocol):
    """A gRPC server of Checks, of health (Check and Watch), and, if it is set, of reflection.

    At first its health is NOT_SERVING. `listen` once, then `drain` if there is time, then `stop`.
    """

    def listen(self, address: str) -> int:
        """Serve at `unix:PATH` or HOST:PORT, or at several with a comma between them. The port of
        the last, or 0 for a Unix socket. Raises `AddressInUse`."""
        ...

    def serving(self) -> None:
        """Say from now on that the service is well; of no effect once it drains."""
        ...

    def drain(self) -> None:
        """Say from now on, and whatever comes, that nothing more shall be sent here."""
        ...

    def stop(self, grace: float) -> None:
        """Take nothing new, answer what was asked within `grace` seconds, and end."""
        ...


def open_transport(settings: Settings, service: Service) -> Transport:
    """The one that is set; where it cannot start, the portable one. Raises `SettingsError` for TLS
    files that cannot be used."""
    certificates = Certificates(settings.tls) if settings.tls else None
    if settings.transport == "h2":
        try:
            return _h2(settings, service, certificates)
        except Exception as error:
            logger.warning("transport h2 cannot start (%r): grpcio serves instead", error)
    from authz.server.grpcio_transport import Grpcio

    return Grpcio(settings, service, certificates)


def _h2(settings: Settings, service: Service, certificates: Certificates | None) -> Transport:
    # Where there is no epoll the very import fails.
    from authz.server.h2.transport import H2

    return H2(settings, service, certificates)
