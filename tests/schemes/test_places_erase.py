"""Hiding a credential: no spelling of it is left, and nothing else is touched."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.schemes import places
from authz.values import Edits, Place, Request, raw
from tests.support.gateway import ask
from tests.support.texts import mixed

STRICT = Place("api-key", "api-key", "api-key")
TOLERANT = Place("api-key", "api-key", "api-key", tolerant=True)
Lines = list[tuple[str, str]]


def erased(place: Place, target: str, headers: Lines, *, exact: bool = True) -> tuple[str, Lines]:
    """The request's target and header lines after erasing, as the upstream gets them."""
    request = ask(target, *headers, exact=exact)
    edits = places.erase(request, (place,))
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in edits.remove and (name != "cookie" or edits.cookie is None)
    ]
    if edits.cookie is not None:
        kept.append(("cookie", edits.cookie))
    return target if edits.target is None else edits.target, kept


@pytest.mark.parametrize(
    ("before", "strict", "tolerant"),
    [
        ("/x", "/x", "/x"),
        ("/x?", "/x?", "/x?"),
        ("/x?api-key=k", "/x", "/x"),
        ("/x?api-key", "/x", "/x"),
        ("/x?b=2&api-key=k&a=1", "/x?b=2&a=1", "/x?b=2&a=1"),
        ("/x?api-key=k&api-key=l&a", "/x?a", "/x?a"),
        ("/x?%61pi-key=k&api%2Dkey=l&z", "/x?z", "/x?z"),
        ("/x?flag&empty=&&api-key=k&%20=%2f&é", "/x?flag&empty=&&%20=%2f&%C3%A9", None),
        ("/x?API-Key=k&a", "/x?a", "/x?API-Key=k&a"),
        ("/x?api_key=k&a", "/x?a", "/x?api_key=k&a"),
        ("/x?api.key=k&api+key=k&a", "/x?a", None),
        ("/x?xapi-key=k&api-keys=k&apikey=k", None, None),
        ("/x?a=api-key=k&b=%26api-key=k", None, None),
        ("/x?api-key%zz=k&api-key%FF=k", None, None),
    ],
)
def test_query_parameters(before: str, strict: str | None, tolerant: str | None) -> None:
    """Every spelling of the parameter goes; others keep their bytes and their order. A tolerant
    place is erased to the letter."""
    for place, expected in ((STRICT, strict), (TOLERANT, tolerant)):
        if place is STRICT or expected is not None:
            assert erased(place, before, [])[0] == (before if expected is None else expected)


@pytest.mark.parametrize(
    ("before", "strict", "tolerant"),
    [
        ("api-key=k", None, None),
        ("a=1; api-key=k; b=2", "a=1; b=2", "a=1; b=2"),
        ("a=1;api-key=k", "a=1", "a=1"),
        ("api-key=k; api-key=l; a", "a", "a"),
        ("api-key; a=1", "a=1", "a=1"),
        (" api-key =k; a=1", "a=1", "a=1"),
        ('a="{b: [1, 2]}"; api-key=k; c=%zz=', 'a="{b: [1, 2]}"; c=%zz=', None),
        ("API-KEY=k; api_key=l; a=1", "a=1", "API-KEY=k; api_key=l; a=1"),
        ("xapi-key=k; a=api-key", "xapi-key=k; a=api-key", "xapi-key=k; a=api-key"),
    ],
)
def test_cookies(before: str, strict: str | None, tolerant: str | None) -> None:
    """Every spelling of the cookie goes; others keep their bytes and their order. With the last
    one the header goes too."""
    for place, expected in ((STRICT, strict), (TOLERANT, tolerant)):
        if place is STRICT or expected is not None:
            kept = [("cookie", expected)] if expected is not None else []
            assert erased(place, "/", [("cookie", before)])[1] == kept


@pytest.mark.parametrize(
    ("name", "query", "left"),
    [
        ("ключ", "имяя=1&ключ=k&%D0%BA%D0%BB%D1%8E%D1%87=k&КЛЮЧ=k", "имяя=1"),
        ("api-key", "apiékey=1&api-key=k", "apiékey=1"),
        ("a b", "a+b=k&a%20b=k&a-b=k&ab=1", "ab=1"),
        ("100%", "100%25=k&100=1", "100=1"),
    ],
)
def test_names_that_are_not_plain(name: str, query: str, left: str) -> None:
    """Letters of other scripts are letters: only a name's own spellings go."""
    edits = places.erase(ask(f"/?{query}"), (Place(query=name),))

    assert edits.target is not None
    assert unquote(edits.target) == f"/?{left}"


def test_cookies_of_several_lines() -> None:
    """Lines are one list of cookies (RFC 9113 section 8.2.3), whatever line held the credential."""
    lines = [("cookie", "a=1"), ("cookie", "api-key=k; b=2"), ("cookie", "c=3")]

    assert erased(STRICT, "/", lines)[1] == [("cookie", "a=1; b=2; c=3")]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("a=1,api-key=k,b=2", ["a=1", "b=2"]),
        ("api-key=k,a=1", ["a=1"]),
        ("a=1, 2; api-key=k", ["a=1, 2"]),
        ('a="x,y"; api-key=k; b=2', ['a="x,y"', "b=2"]),
    ],
)
def test_cookies_without_raw_headers(before: str, expected: list[str]) -> None:
    """A comma may join two lines or belong to a value: the credential goes, every other cookie
    keeps its bytes."""
    [(_, after)] = erased(STRICT, "/", [("cookie", before)], exact=False)[1]

    assert "api-key" not in after
    for cookie in expected:
        assert cookie in after


@pytest.mark.parametrize(
    ("name", "strict", "tolerant"),
    [
        ("api-key", True, True),
        ("Api-Key", True, True),
        ("api_key", True, False),
        ("api.key", True, False),
        ("apikey", False, False),
        ("x-api-key", False, False),
    ],
)
def test_headers(name: str, strict: bool, tolerant: bool) -> None:
    """Every name that a lax backend folds onto the header's goes."""
    for place, gone in ((STRICT, strict), (TOLERANT, tolerant)):
        kept = erased(place, "/", [(name, "k"), ("a", "1")])[1]
        assert kept == ([("a", "1")] if gone else [(name, "k"), ("a", "1")])


@pytest.mark.parametrize("header", ["my-key", "my_key"])
def test_what_apisix_reads_it_hides(header: str) -> None:
    """Under either spelling that a tolerant place reads, the credential is gone."""
    place = Place(header="my_key", tolerant=True)
    found = places.find(place, ask("/", (header, "k")))

    assert found is not None
    assert erased(found[0], "/", [(header, "k")])[1] == []
    assert erased(place, "/", [(header, "k")])[1] == []


def test_nothing_to_hide() -> None:
    """Where no credential stands, nothing is changed, not even normalised."""
    headers = [("cookie", "a=1;;b = 2 ;"), ("x", "1")]

    assert places.erase(ask("/?b&a=%zz&&", *headers), (STRICT,)) == Edits()


def test_several_places_at_once() -> None:
    """What two schemes ask for is done for both."""
    request = ask("/?a=1&b=2&c=3", ("x", "1"), ("y", "2"), ("cookie", "d=4; e=5; f=6"))
    edits = places.erase(request, (Place("x", "a", "d"), Place("y", "b", "e")))

    assert edits == Edits(("x", "y"), "f=6", "/?c=3")


# -- as a property ---------------------------------------------------------------------------------


def spelled(name: bytes) -> bytes:
    """What a lax backend takes for a name."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


def is_query_spelling(piece: bytes) -> bool:
    name = piece.partition(b"=")[0]
    if re.search(rb"%(?![0-9A-Fa-f]{2})", name):
        return False
    return spelled(unquote_to_bytes(name.replace(b"+", b" "))) == b"api-key"


def is_cookie_spelling(piece: bytes) -> bool:
    return spelled(piece.partition(b"=")[0].strip(b" \t")) == b"api-key"


def escaped(data: bytes) -> bytes:
    """As a header value of ours may hold it."""
    return b"".join(bytes([b]) if b < 0x80 else b"%%%02X" % b for b in data)


_SPELLINGS = ("api-key", "API-KEY", "api_key", "%61pi-key", "api%2Dkey", "api%2d%6B%65y", "api.key")
_OTHERS = ("a", "é", "%C3%A9", "\udcff", "%zz", "xapi-key", "api--key", "ключ", "имяя", "+", "%")
_QUERIES = mixed(*_SPELLINGS, *_OTHERS, "=k", "=", "&", "&&", "&b=2&", ";", "==", max_size=12)
_COOKIES = mixed(*_SPELLINGS, *_OTHERS, "=k", "=", ";", "; ", ";;", " ", '"', ",", max_size=12)


@given(_QUERIES)
def test_no_spelling_of_the_parameter_is_left(query: str) -> None:
    """All that may pass for the parameter goes, all else stays, byte by byte, in order."""
    after = erased(STRICT, f"/p?{query}", [])[0]
    pieces = raw(query).split(b"&")
    kept = [piece for piece in pieces if not is_query_spelling(piece)]

    assert not any(map(is_query_spelling, raw(after).partition(b"?")[2].split(b"&")))
    if kept == pieces:
        assert after == f"/p?{query}"
    else:
        expected = b"&".join(map(escaped, kept))
        assert raw(after) == (b"/p?" + expected if kept else b"/p")


@given(st.lists(_COOKIES, max_size=3))
def test_no_spelling_of_the_cookie_is_left(lines: list[str]) -> None:
    """All that may pass for the cookie goes, all else stays, byte by byte, in order."""
    after = erased(STRICT, "/", [("cookie", line) for line in lines])[1]

    def cookies(values: list[str]) -> list[bytes]:
        pieces = (p.strip(b" \t") for v in values for p in raw(v).split(b";"))
        return [piece for piece in pieces if piece]

    before = cookies(lines)
    kept = [piece for piece in before if not is_cookie_spelling(piece)]
    assert cookies([value for _, value in after]) == kept
    if kept == before:
        assert after == [("cookie", line) for line in lines]


_NAMES = mixed("api", "-", "_", ".", "key", "API", "x", max_size=5)


@given(st.lists(st.tuples(_NAMES, st.just("v")), max_size=6))
def test_no_spelling_of_the_header_is_left(headers: Lines) -> None:
    """All that may pass for the header goes, all else stays."""
    after = erased(STRICT, "/", headers)[1]

    assert after == [line for line in headers if spelled(line[0].encode()) != b"api-key"]


_LINES = st.lists(st.tuples(st.sampled_from(["api-key", "API_KEY", "cookie", "x"]), _COOKIES))


@given(_QUERIES, _LINES, st.booleans(), st.booleans())
def test_what_is_hidden_is_not_read_again(
    query: str, headers: Lines, exact: bool, tolerant: bool
) -> None:
    """After erasing, the same place holds nothing."""
    place = Place("api-key", "api-key", "api-key", tolerant)
    target, kept = erased(place, f"/?{query}", headers, exact=exact)
    after: Request = ask(target, *kept, exact=exact)

    assert places.find(place, after) is None
    assert places.erase(after, (place,)) == Edits()
