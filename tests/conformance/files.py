"""Finding case files and telling their formats apart, by what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.conformance.case import Exchange, Format, Inexpressible, Judgement, Mode, Plain
from tests.conformance.formats import alibaba, apinto, apisix, attack

#: The order does not matter: what one recognises, no other does.
FORMATS: tuple[Format, ...] = (apisix, alibaba, apinto, attack)

VECTORS = Path(__file__).parents[1] / "vectors"


class Case(Struct, frozen=True):
    """One case, and where it came from."""

    file: str
    name: str
    format: Format
    case: Plain
    shared: Plain

    @property
    def group(self) -> str:
        return self.format.group(self.case)

    def translate(self, mode: Mode) -> Exchange | Judgement:
        """Raises `Inexpressible`."""
        return self.format.translate(self.case, self.shared, mode)


class _Unknown:
    """A case in a case file that no format knows: skipped, but not silently."""

    def recognises(self, case: Plain, /) -> bool:
        return True

    def group(self, case: Plain, /) -> str:
        return "unknown"

    def translate(self, case: Plain, shared: Plain, mode: Mode, /) -> Exchange | Judgement:
        raise Inexpressible("a case of no known format")


def find(path: Path) -> list[Case]:
    """Every case of every case file at or below `path`. Other JSON files are passed over."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return [case for file in files for case in _read(file, path)]


def _read(file: Path, root: Path) -> Iterator[Case]:
    content = json.loads(file.read_text(encoding="utf-8"))
    shared = content if isinstance(content, dict) else {"cases": content}
    cases = shared.get("cases")
    if not isinstance(cases, list) or not any(_recognise(case) for case in cases):
        return
    name = str(file.relative_to(root)) if file != root else file.name
    for number, case in enumerate(cases):
        plain = case if isinstance(case, dict) else {}
        yield Case(
            name, str(plain.get("id", number)), _recognise(case) or _Unknown(), plain, shared
        )


def _recognise(case: Any) -> Format | None:
    if not isinstance(case, dict):
        return None
    return next((each for each in FORMATS if each.recognises(case)), None)
