"""What all peers' requests together may hold of memory."""

from __future__ import annotations


class Room:
    """Octets to be taken and given back. On the loop's thread alone."""

    def __init__(self, octets: int) -> None:
        self.free = octets

    def take(self, octets: int) -> bool:
        """Whether they were there; then they are to be given back."""
        if octets > self.free:
            return False
        self.free -= octets
        return True

    def give(self, octets: int) -> None:
        self.free += octets
