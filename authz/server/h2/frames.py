"""HTTP/2 frames (RFC 9113), and the header blocks of our answers.

Nothing that we send is put into the peer's table, so an answer's bytes are constant.
"""

from __future__ import annotations

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Kinds of frames (6).
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
#: Flags. ACK is a SETTINGS' and a PING's.
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
#: Error codes (7).
NO_ERROR, PROTOCOL, INTERNAL_ERROR, FLOW, SETTINGS_TIMEOUT, CLOSED, FRAME_SIZE = range(7)
REFUSED, CANCEL, COMPRESSION, CONNECT, CALM = range(7, 12)
#: Settings (6.5.2).
PUSH_ENABLED, STREAMS, INITIAL_WINDOW, MAX_FRAME, HEADER_LIST = 2, 3, 4, 5, 6
#: The largest number of a stream and the largest window.
MOST = 2**31 - 1
#: The largest frame taken, and what a window is before anyone says otherwise.
FRAME, WINDOW_DEFAULT = 16384, 65535
#: A frame's head: length in two parts, kind, flags, stream.
HEAD = 9
head_of = Struct(">BHBBL").unpack_from


class Broken(Exception):
    """The connection is over. Holds the error code for the peer."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def number(value: int) -> bytes:
    """Four octets, as most payloads have them."""
    return value.to_bytes(4, "big")


def goaway(last: int, code: int) -> bytes:
    return frame(GOAWAY, 0, 0, number(last) + number(code))


def reset(stream: int, code: int) -> bytes:
    return frame(RST, 0, stream, number(code))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW, 0, stream, number(more))


def settings_of(payload: bytes) -> dict[int, int]:
    """What a SETTINGS frame says; of what it says twice the last (6.5.3). Raises `Broken`."""
    if len(payload) % 6:
        raise Broken(FRAME_SIZE)
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame holds. Raises `Broken` (6.1, 6.2)."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise Broken(FRAME_SIZE)
    if payload[0] >= len(payload):
        raise Broken(PROTOCOL)
    return payload[1 : len(payload) - payload[0]]


def block_of(flags: int, stream: int, payload: bytes) -> bytes:
    """The header block in a HEADERS frame; its priority is of no use to us."""
    block = unpadded(flags, payload)
    if not flags & PRIORITIZED:
        return block
    if len(block) < 5:
        raise Broken(FRAME_SIZE)
    if depends_on(block) == stream:
        raise Broken(PROTOCOL)
    return block[5:]


def depends_on(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big") & MOST


# -- header blocks of answers ----------------------------------------------------------------------


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is never put into a table (RFC 7541, 6.2.2)."""
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),))
    rest, octets = len(text) - 127, bytearray((127,))
    while rest > 127:
        octets.append(rest & 127 | 128)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


#: `:status: 200` and `content-type: application/grpc` (names 8 and 31 of the static table).
OK = b"\x88" + b"\x0f\x10\x10application/grpc"
DONE = literal(b"grpc-status", b"0")

_start = Struct(f">5sL{len(OK)}sBHBBLBL").pack
_end = Struct(f">5sL{len(DONE)}s").pack
_OK_HEAD = len(OK).to_bytes(3, "big") + bytes((HEADERS, END_HEADERS))
_DONE_HEAD = len(DONE).to_bytes(3, "big") + bytes((HEADERS, END_HEADERS | END_STREAM))


def before_message(stream: int, size: int) -> bytes:
    """What comes before a message of `size` octets that fills one frame with its 5 of gRPC."""
    whole = size + 5
    return _start(_OK_HEAD, stream, OK, whole >> 16, whole & 0xFFFF, DATA, 0, stream, 0, size)


def after_message(stream: int) -> bytes:
    return _end(_DONE_HEAD, stream, DONE)


def failure(status: int, message: str) -> bytes:
    """gRPC's trailers, its message percent-encoded (gRPC over HTTP/2, "Status-Message")."""
    fields = literal(b"grpc-status", b"%d" % status)
    return fields + literal(b"grpc-message", percent_encoded(message)) if message else fields


def percent_encoded(text: str) -> bytes:
    """Octets but printable ASCII, and `%` itself, as `%XX`."""
    return b"".join(
        bytes((octet,)) if 32 <= octet <= 126 and octet != 37 else b"%%%02X" % octet
        for octet in text.encode("utf-8", "replace")
    )
