"""Header blocks, the reading half (RFC 7541). A field that repeats costs one look into a list."""

from __future__ import annotations

from collections import deque

from authz.server.h2.hpack_tables import CODES, STATIC

Line = tuple[bytes, bytes]

#: The most that the peer's table may hold: HTTP/2's default, so nothing need be announced.
TABLE = 4096
#: What a field costs besides its octets (4.1).
OVERHEAD = 32
_FIRST_DYNAMIC = len(STATIC)
_END_OF_STRING = 256


class Invalid(Exception):
    """No such field, string or number: the table can no longer be followed."""


class TooLarge(Exception):
    """More than we want to hold."""


# Huffman codes, read an octet at a time: `_steps[state << 8 | octet]` is what the octet adds, and
# the state after it. A state is a prefix of a code, as bits behind a 1. Filled as it is met.
_prefixes = {code >> bits for code in CODES for bits in range(1, code.bit_length())}
_steps: dict[int, tuple[bytes, int]] = {}
#: Up to seven ones may follow the last code (5.2).
_PADDING = frozenset((1 << (bits + 1)) - 1 for bits in range(8))


def _step(key: int) -> tuple[bytes, int]:
    state, octet = key >> 8, key & 255
    out = bytearray()
    for bit in range(7, -1, -1):
        state = state << 1 | (octet >> bit & 1)
        symbol = CODES.get(state)
        if symbol is not None:
            if symbol == _END_OF_STRING:
                raise Invalid
            out.append(symbol)
            state = 1
        elif state not in _prefixes:
            raise Invalid
    made = _steps[key] = bytes(out), state
    return made


def huffman(data: bytes) -> bytes:
    """A string's octets from its Huffman code (5.2). Raises `Invalid`."""
    state, out, steps = 1, [], _steps
    for octet in data:
        key = state << 8 | octet
        more, state = steps.get(key) or _step(key)
        out.append(more)
    if state not in _PADDING:
        raise Invalid
    return b"".join(out)


class Reader:
    """One connection's header blocks, in their order."""

    def __init__(self, largest: int) -> None:
        self._entries: deque[Line] = deque()
        self._size, self._most, self._largest = 0, TABLE, largest
        #: Changes with the table: while it stands still, equal blocks mean equal fields.
        self.version = 0

    def read(self, block: bytes) -> list[Line]:
        """Its fields. Raises `Invalid`, or `TooLarge` when they exceed the largest list."""
        lines: list[Line] = []
        at, end, total, resized = 0, len(block), 0, 0
        try:
            while at < end:
                first = block[at]
                if first & 128:
                    index, at = _number(block, at, 127)
                    if not index:
                        raise Invalid
                    line = self._field(index)
                elif first & 224 == 32:
                    resized += 1
                    if lines or resized > 2:
                        raise Invalid  # before the first field, and twice at the most (4.2)
                    at = self._resize(block, at)
                    continue
                else:
                    line, at = self._literal(block, at, first)
                lines.append(line)
                total += OVERHEAD + len(line[0]) + len(line[1])
                if total > self._largest:
                    raise TooLarge
        except IndexError:
            raise Invalid from None
        return lines

    def _field(self, index: int) -> Line:
        return STATIC[index] if index < _FIRST_DYNAMIC else self._entries[index - _FIRST_DYNAMIC]

    def _literal(self, block: bytes, at: int, first: int) -> tuple[Line, int]:
        """A literal field (6.2): kept in the table when its second bit is set."""
        index, at = _number(block, at, 63 if first & 64 else 15)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if first & 64:
            self.version += 1
            self._size += OVERHEAD + len(name) + len(value)
            self._entries.appendleft((name, value))
            self._evict()
        return (name, value), at

    def _resize(self, block: bytes, at: int) -> int:
        size, at = _number(block, at, 31)
        if size > TABLE:
            raise Invalid
        self._most = size
        self.version += 1
        self._evict()
        return at

    def _evict(self) -> None:
        while self._size > self._most:
            name, value = self._entries.pop()
            self._size -= OVERHEAD + len(name) + len(value)


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer (5.1) whose first bits stand under the mask, and the place after it."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in (0, 7, 14, 21):  # nothing that we take is larger
        octet = block[at]
        at += 1
        number += (octet & 127) << shift
        if not octet & 128:
            return number, at
    raise Invalid


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    coded = block[at] & 128
    size, at = _number(block, at, 127)
    text = block[at : at + size]
    if len(text) < size:
        raise Invalid
    return (huffman(text) if coded else text), at + size
