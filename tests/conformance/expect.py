"""Comparisons of what happened with what a case expects. Each fails with a message of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote

from tests.conformance.case import Answer, Seen, octets


def require(holds: object, message: str) -> None:
    """Fail with `message`; plain asserts say nothing outside of test modules."""
    if not holds:
        raise AssertionError(message)


def allowed(answer: Answer) -> Seen:
    """What the upstream saw of a request that was let through."""
    require(answer.outcome == "allow", f"expected allow, got {answer.told}")
    require(answer.upstream is not None, f"allowed, but nothing arrived upstream: {answer.told}")
    assert answer.upstream is not None
    return answer.upstream


def spellings(text: Any) -> set[bytes]:
    """A value as a header may carry it: a name beyond ASCII travels percent-encoded, since Envoy
    takes printable ASCII alone."""
    value = octets(text)
    if value.isascii():
        return {value}
    return {value, quote(value, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()}


def matches(actual: list[bytes], expected: Any) -> bool:
    """Whether a header's values are the expected one, or the expected ones in their order."""
    wanted = expected if isinstance(expected, list) else [expected]
    return len(actual) == len(wanted) and all(
        value in spellings(each) for value, each in zip(actual, wanted, strict=True)
    )


def headers_are(holder: Seen | Answer, expected: Mapping[str, Any], where: str) -> None:
    """Each named header has these values and no other."""
    for name, value in expected.items():
        actual = holder.values(name)
        require(matches(actual, value), f"{where}: {name} is {actual}, expected {value!r}")


def headers_absent(holder: Seen | Answer, names: Iterable[str], where: str) -> None:
    for name in names:
        actual = holder.values(name)
        require(not actual, f"{where}: {name} is {actual}, expected it to be gone")


def query_of(seen: Seen) -> dict[str, list[str]]:
    """The upstream's query, decoded."""
    text = seen.target.partition(b"?")[2].decode("utf-8", "surrogateescape")
    return parse_qs(text, keep_blank_values=True)


def query_is(seen: Seen, expected: Mapping[str, Any]) -> None:
    query = query_of(seen)
    for name, value in expected.items():
        wanted = value if isinstance(value, list) else [value]
        actual = query.get(name, [])
        require(actual == wanted, f"upstream query: {name} is {actual}, expected {value!r}")


def query_lacks(seen: Seen, names: Iterable[str]) -> None:
    left = sorted(set(query_of(seen)) & set(names))
    require(not left, f"upstream query still holds {left}")


def body_is(answer: Answer, expected: str) -> None:
    """The expected text, compared as JSON where it is JSON."""
    text = answer.body.decode("utf-8", "replace")
    try:
        wanted = json.loads(expected)
    except ValueError:
        require(expected in text, f"body {text!r} does not contain {expected!r}")
        return
    try:
        actual = json.loads(text)
    except ValueError:
        actual = None
    require(actual == wanted, f"body is {text!r}, expected {expected!r}")


def nothing_leaked(seen: Seen, secret: bytes) -> None:
    """The upstream sees these bytes nowhere."""
    parts = (seen.target, seen.body, *(value for _, value in seen.headers))
    require(not any(secret in part for part in parts), "upstream still sees the credential")


def decided(answer: Answer) -> None:
    """Any answer but one that decides nothing."""
    require(answer.outcome != "error", f"expected a decision, got {answer.told}")
