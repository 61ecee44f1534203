"""Text to plain values, for documents: YAML or JSON that says one thing only, and no bomb."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from authz import strict_json

#: No document is nested as deep, or has as many values.
MAX_DEPTH, MAX_VALUES = 64, 50_000_000


class DocumentError(Exception):
    """The document is refused. The text names the place and what was expected there."""


def read_text(text: str) -> Any:
    """The values that a YAML or JSON text stands for. Raises `DocumentError`."""
    try:
        return strict_json.loads(text.encode())
    except (strict_json.NotStrict, UnicodeEncodeError):
        pass  # YAML, or JSON with a mistake, which YAML's reader puts in better words
    try:
        _check_depth(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise DocumentError(f"not YAML: {' '.join(str(error).split())}") from None
    except DocumentError:
        raise
    except Exception as error:
        # PyYAML's own converters trip over scalars such as `0b_` or `2024-99-99`.
        raise DocumentError(f"not YAML: {error.__class__.__name__} in a scalar") from None


def _check_depth(text: str) -> None:
    """libyaml's composer recurses on the C stack; its event stream does not."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1


class _Loader(yaml.CSafeLoader):
    """YAML that refuses a mapping with one key twice, which hides the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = node.start_mark.line + 1
                raise DocumentError(f"line {line}: {key!r} is given twice in one mapping")
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def require_storable(plain: Any) -> None:
    """Raises `DocumentError` for what YAML can write and nothing can store: a value inside itself,
    a few lines that stand for billions, half a character (an escaped lone surrogate)."""
    _weigh(plain, {})


def _weigh(plain: Any, known: dict[int, int], depth: int = 0) -> int:
    """How many values there are, aliases counted as often as they are used."""
    if isinstance(plain, str):
        if not plain.isascii() and any("\ud800" <= character <= "\udfff" for character in plain):
            # Which text is not said: it may be a secret.
            raise DocumentError("document: a text holds half a character (a lone surrogate)")
    elif isinstance(plain, (dict, list)):
        if depth > MAX_DEPTH:
            raise DocumentError(f"document: nested deeper than {MAX_DEPTH}")
        if id(plain) not in known:
            parts = (
                (p for pair in plain.items() for p in pair) if isinstance(plain, dict) else plain
            )
            known[id(plain)] = 1 + sum(_weigh(part, known, depth + 1) for part in parts)
            if known[id(plain)] > MAX_VALUES:
                raise DocumentError(f"document: aliases make more than {MAX_VALUES} values of it")
        return known[id(plain)]
    return 1


def place_first(message: str, whole: str = "document") -> str:
    """msgspec's `Expected `str`, got `int` - at `$.a`` as `a: expected str, got int`."""
    text, _, place = message.partition(" - at `")
    place = place.removeprefix("key` in `").removeprefix("$")
    text = text.replace("Object contains unknown field `", "unknown field `")
    text = text.replace("Object missing required field `", "missing field `").replace("`", "'")
    where = place.rstrip("`").lstrip(".")
    return f"{where or whole}: {text[:1].lower()}{text[1:]}"
