"""HTTP/2 by hand: header bytes exactly as a case has them, in one request on one connection."""

from __future__ import annotations

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from tests.conformance.case import Answer, Sent
from tests.conformance.http1 import PATIENCE

#: Nothing is checked, folded or sorted on the way out.
_AS_GIVEN = H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    split_outbound_cookies=False,
)


def ask(address: tuple[str, int], sent: Sent) -> Answer:
    """Send it and read the answer; a stream or connection that is reset is an error."""
    with socket.create_connection(address, timeout=PATIENCE) as link:
        connection = H2Connection(_AS_GIVEN)
        connection.initiate_connection()
        pseudo = (
            (b":method", sent.method),
            (b":scheme", b"http"),
            (b":authority", sent.host),
            (b":path", sent.target),
        )
        connection.send_headers(1, [*pseudo, *sent.lines], end_stream=not sent.body)
        if sent.body:
            connection.send_data(1, sent.body, end_stream=True)
        try:
            link.sendall(connection.data_to_send())
            return _read(link, connection)
        except (OSError, ProtocolError) as error:
            return Answer("error", 0, note=f"no answer: {error!r}")


def _read(link: socket.socket, connection: H2Connection) -> Answer:
    status, body = 0, b""
    headers: tuple[tuple[str, bytes], ...] = ()
    while data := link.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, ResponseReceived):
                lines = [(bytes(name), bytes(value)) for name, value in event.headers]
                headers = tuple((n.decode("latin-1"), v) for n, v in lines if n[:1] != b":")
                status = int(dict(lines)[b":status"])
            elif isinstance(event, DataReceived):
                body += event.data
            elif _is_end(event):
                note = "" if isinstance(event, StreamEnded) else type(event).__name__
                return Answer("error", status, headers, body, note=note)
        link.sendall(connection.data_to_send())
    return Answer("error", status, headers, body, note="the connection was closed")


def _is_end(event: Event) -> bool:
    return isinstance(event, (StreamEnded, StreamReset, ConnectionTerminated))
