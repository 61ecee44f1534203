"""What header blocks mean, remembered by their bytes: Envoy's Checks all carry the same block."""

from __future__ import annotations

from collections.abc import Mapping

from authz.server.h2.calls import Head, Method, understand
from authz.server.h2.frames import CALM, COMPRESSION, Broken
from authz.server.h2.hpack import Invalid, Reader, TooLarge

#: Header blocks remembered; then all are forgotten. Longer ones are none of Envoy's, and would let
#: a peer fill memory.
REMEMBERED, LONGEST = 64, 512


class Heads:
    """One connection's. What is `known` holds for as long as the peer's table stands still."""

    def __init__(self, methods: Mapping[bytes, Method], largest: int) -> None:
        self.known: dict[bytes, Head] = {}
        self._methods = methods
        self._reader = Reader(largest)

    def of(self, block: bytes) -> Head:
        """To be called for every block, in order. Raises `Broken`."""
        return self.known.get(block) or self._read(block)

    def _read(self, block: bytes) -> Head:
        reader = self._reader
        version = reader.version
        try:
            lines = reader.read(block)
        except TooLarge:
            raise Broken(CALM) from None
        except Invalid:
            raise Broken(COMPRESSION) from None
        head = understand(lines, self._methods)
        if reader.version != version:
            # Nor is this one known: it changed the table, and would do so again.
            self.known.clear()
            return head
        if len(block) <= LONGEST:
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known[block] = head
        return head
