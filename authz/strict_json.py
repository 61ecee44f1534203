"""JSON that can be read in one way only: what two verifiers might read differently is refused."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

#: Deeper nesting is nobody's claim; the parser would recurse as deep.
MAX_DEPTH = 32
#: More digits are nobody's number, and converting them costs quadratic time.
MAX_DIGITS = 100
#: Possessive, and content with a string that never ends: no text costs more than its length.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


class NotStrict(ValueError):
    """Not UTF-8, not JSON, or JSON with duplicate names, NaN, too deep or with endless numbers."""


def loads(data: bytes) -> Any:
    """Parse. Raises `NotStrict`."""
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no character
        return value
    except (ValueError, RecursionError):
        raise NotStrict("not strict JSON") from None


def load_object(data: bytes) -> dict[str, Any]:
    """Parse what must be an object. Raises `NotStrict`."""
    value = loads(data)
    if not isinstance(value, dict):
        raise NotStrict("not an object")
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return  # as nearly always, and counting costs next to nothing
    depth = 0
    for found in _BRACKETS.finditer(text):
        token = found[0]
        if token in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrict("too deep")
        elif token in "]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotStrict("a name is given twice")
    return made


def _refuse(constant: str) -> NoReturn:
    raise NotStrict(constant)


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise NotStrict("a number without end")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if len(text) > MAX_DIGITS or value in (float("inf"), float("-inf")):
        raise NotStrict("a number without end")
    return value


#: Made once: that takes as long as to read a short text.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_constant=_refuse,
    parse_int=_integer,
    parse_float=_number,
)
