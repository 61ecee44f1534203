"""JSONPaths to a user's name: one place, and a cost that no stranger can raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.schemes.claim_path import MAX_NAME, finder

CLAIMS: dict[str, Any] = {
    "name": "John Doe",
    "user": {"id": "u-1", "emails": ["a@x.test", "b@x.test"], "first-name": "John"},
    "https://example.com/name": "url",
    "a.b": "dotted",
    "größe": "other script",
    "it's": "quoted",
    "": "nameless",
    "number": 7,
    "list": ["x"],
    "none": None,
    "empty": "",
    "control": "a\nb",
    "bidi": "a\u202eb",
    "long": "x" * (MAX_NAME + 1),
    "longest": "x" * MAX_NAME,
}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("$.name", "John Doe"),
        ("name", "John Doe"),
        ("user.id", "u-1"),
        ("$.user.id", "u-1"),
        ("$['user']['id']", "u-1"),
        ('$["user"].id', "u-1"),
        ("$.user.emails[0]", "a@x.test"),
        ("$.user.emails[-1]", "b@x.test"),
        ("user.emails[1]", "b@x.test"),
        ("$['https://example.com/name']", "url"),
        ("$['a.b']", "dotted"),
        ("$.größe", "other script"),
        ("$['it\\'s']", "quoted"),
        ("$['\\u006eame']", "John Doe"),
        ("$.longest", "x" * MAX_NAME),
    ],
)
def test_one_place(path: str, name: str) -> None:
    assert finder(path)(CLAIMS) == name


@pytest.mark.parametrize(
    "path",
    [
        *("$.absent", "$.user.absent.deeper", "$.user.emails[2]", "$.user.emails[-3]", "$.name[0]"),
        *("$.number", "$.list", "$.none", "$.empty", "$.control", "$.bidi", "$.long", "$.user"),
        *("$.user['0']", "$.user.emails['0']", "$.a.b", "$.NAME"),
    ],
)
def test_nothing_that_could_be_a_name(path: str) -> None:
    """No conversions: a number is no name, and neither is a list with one name in it."""
    assert finder(path)(CLAIMS) is None


@pytest.mark.parametrize(
    "path",
    [
        *("$", "$.*", "$..name", "$.user.emails[*]", "$.user.emails[0:1]", "$['name','iss']"),
        *("$[?@.name]", "$[?search(@.name, '(a+)+$')]", "$..['name']", "$.user[?@.id == 'u-1']"),
    ],
)
def test_more_than_one_place(path: str) -> None:
    """Even where these claims have but one such: the next token may have many."""
    with pytest.raises(ValueError, match="may stand for several places, expected one such as"):
        finder(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "$.", "$name", "@.name", "$.name ", " $.name", "$.a b", "$.1a", "$[01]", "$[-0]"),
        *("$.name | $.iss", "$.name & $.iss", "^.name", "$.~", "$.#", "$['name'", "$.name\n"),
        *("$[99999999999999999999]", "$['\x00']", "$['\\ud800']", "[0]", "$.name.length()"),
        "$[?" + "(" * 2000 + "@.a" + ")" * 2000 + "]",
    ],
    ids=lambda path: path[:20],
)
def test_what_is_no_path(path: str) -> None:
    """Whatever the library makes of it, the operator gets one kind of error."""
    with pytest.raises(ValueError, match=r"is not a JSONPath|may stand for several places"):
        finder(path)


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_a_value_error(path: str) -> None:
    """And what is a path finds a name, or nothing, in any claims."""
    try:
        find = finder(path)
    except ValueError:
        return
    found = find(CLAIMS)
    assert found is None or isinstance(found, str)


@given(st.text(min_size=1, max_size=40).filter(lambda t: not {"'", "\\"} & set(t)))
def test_every_member_can_be_named(name: str) -> None:
    """In brackets and quotes, unless it holds a control character."""
    if not name.isprintable():
        return
    assert finder(f"$['{name}']")({name: "John Doe"}) == "John Doe"
