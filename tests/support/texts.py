"""Texts that attack: strategies and lists for tests of everything that reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import strategies as st

VECTORS = Path(__file__).parents[1] / "vectors"
#: Strings that broke somebody's software. See the README beside them.
NAUGHTY: list[str] = json.loads((VECTORS / "blns" / "blns.json").read_text(encoding="utf-8"))

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Printable ASCII, and nothing else: what a header of ours may hold.
PRINTABLE = re.compile(r"[ -~]*")


def has_control(text: str) -> bool:
    return bool(_CONTROL.search(text))


def wire_texts(*, max_size: int = 40) -> st.SearchStrategy[str]:
    """Any bytes, decoded as what comes over the wire is."""
    octets = st.binary(max_size=max_size)
    return octets.map(lambda data: data.decode("utf-8", "surrogateescape"))


def human_texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
    """Text as people write it into documents: any Unicode without control characters."""
    characters = st.characters(codec="utf-8", exclude_categories=["Cc"])
    naughty = [text for text in NAUGHTY if min_size <= len(text) and not has_control(text)]
    return st.text(characters, min_size=min_size, max_size=max_size) | st.sampled_from(naughty)


def mixed(*pieces: str, max_size: int = 8) -> st.SearchStrategy[str]:
    """Texts put together from these pieces."""
    return st.lists(st.sampled_from(pieces), max_size=max_size).map("".join)
