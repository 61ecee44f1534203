"""A YAML file of another gateway: its values, and on which line each of them stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from authz.admin.moving.report import Path
from authz.plain import DocumentError, read_text, require_storable


class Source:
    """The values of a text. Raises `DocumentError` for what is no YAML or no mapping."""

    def __init__(self, text: str) -> None:
        plain = read_text(text)
        require_storable(plain)
        if not isinstance(plain, dict):
            raise DocumentError("expected a mapping of what the gateway has")
        self.plain: dict[str, Any] = plain
        self._root = _composed(text)

    def line(self, path: Path) -> int:
        """Where a value stands, or as much of its path as there is."""
        node, line = self._root, 1
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def _composed(text: str) -> yaml.Node | None:
    """JSON that YAML does not take, such as with tabs, has no lines."""
    try:
        return yaml.compose(text, yaml.CSafeLoader)
    except yaml.YAMLError:
        return None


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line and the node of one part; of a member of a mapping the line of its name."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child.start_mark.line + 1, child
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.value == part:
                return key.start_mark.line + 1, child
    return None


# -- what may have any shape -----------------------------------------------------------------------


def mapping(value: Any) -> dict[str, Any]:
    """A mapping with text for names; empty for all else."""
    if not isinstance(value, dict):
        return {}
    return {name: each for name, each in value.items() if isinstance(name, str)}


def items(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings of a list, each with its path. Raises `DocumentError` for all else."""
    if value is None:
        return
    if not isinstance(value, list):
        raise DocumentError(f"{'.'.join(map(str, path))}: expected a list")
    for index, each in enumerate(value):
        if not isinstance(each, dict):
            raise DocumentError(f"{'.'.join(map(str, path))}[{index}]: expected a mapping")
        yield (*path, index), mapping(each)


def texts(value: Any) -> list[str]:
    """A list of texts; one text is a list of one."""
    many = value if isinstance(value, list) else [value]
    return [str(each) for each in many if isinstance(each, str | int)]


def text(value: Any) -> str:
    """An id or a name, which may be written as a number; empty for none."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
