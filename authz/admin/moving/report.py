"""What became of a file that was moved in, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

#: `other`: it does not say who may call, so that it stays with whoever forwards the requests.
Word = Literal["took", "changed", "left", "other"]
WORDS: tuple[Word, ...] = ("took", "changed", "left", "other")
Path = tuple[str | int, ...]


class Entry(Struct, frozen=True):
    """One line of the source: what became of the part at `path`, and why."""

    line: int
    word: Word
    path: str
    why: str


class Report:
    """Collects entries. `line_of` gives the line of a path."""

    def __init__(self, line_of: Callable[[Path], int]) -> None:
        self._line_of = line_of
        self._found: list[Entry] = []

    def add(self, word: Word, path: Path, why: str) -> None:
        """`why` must hold no secret: it is shown."""
        self._found.append(Entry(self._line_of(path), word, shown(path), why))

    def took(self, path: Path, why: str) -> None:
        self.add("took", path, why)

    def changed(self, path: Path, why: str) -> None:
        self.add("changed", path, why)

    def left(self, path: Path, why: str) -> None:
        self.add("left", path, why)

    def other(self, path: Path, why: str) -> None:
        self.add("other", path, why)

    def entries(self) -> list[Entry]:
        """In the order of the source; of one line in the order of their making."""
        return sorted(self._found, key=lambda entry: entry.line)

    def counts(self) -> dict[Word, int]:
        found = Counter(entry.word for entry in self._found)
        return {word: found[word] for word in WORDS}


def shown(path: Path) -> str:
    """`("routes", 0, "plugins")` as `routes[0].plugins`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "file"
