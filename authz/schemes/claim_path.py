"""Where in a token's claims its user is named: a JSONPath (RFC 9535) that stands for one place.

Claims are searched before anything of them is proven, because the name leads to the key. So only
singular queries are taken (section 2.3.5.1), which cost next to nothing whatever a stranger sends:
wildcards, descendants and filters visit every claim, and a filter's pattern may visit it for long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: No longer text is a user's name, in characters.
MAX_NAME = 256

#: The text at the place, or None where there is none that could be a name.
Finder = Callable[[Mapping[str, Any]], str | None]


def finder(path: str) -> Finder:
    """Compile a path; `name` and `user.name` stand for `$.name` and `$.user.name`.

    Raises ValueError for anything but a singular query.
    """
    # Here, because only who uses such a path shall wait until the library is loaded.
    from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError

    query = path if path.startswith("$") else f"$.{path}"
    try:
        compiled = JSONPathEnvironment(strict=True).compile(query)
    except JSONPathError as error:
        # Not its text, which may fail to be made.
        raise ValueError(f"{query!r} is not a JSONPath: {error.args[0]}") from None
    if not isinstance(compiled, JSONPath) or not compiled.singular_query() or query == "$":
        raise ValueError(
            f"{query!r} may stand for several places, expected one such as $.name, $.user.id, "
            "$.emails[0] or $['https://example.com/name']"
        )

    def find(claims: Mapping[str, Any]) -> str | None:
        found: list[Any] = compiled.findall(claims)
        return found[0] if found and is_name(found[0]) else None

    return find


def is_name(value: Any) -> bool:
    """Whether this may name a user: text that is not empty and has no control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
