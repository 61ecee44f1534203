"""Reading a credential: one syntax, one parser, one reading."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz import forms
from authz.schemes import places
from authz.schemes.places import DUPLICATE, MALFORMED, TOO_MANY_PARAMETERS, Unreadable
from authz.values import Place, Request, raw
from tests.support.gateway import ask
from tests.support.texts import mixed, wire_texts

STRICT = Place("apikey", "apikey", "apikey")
TOLERANT = Place("apikey", "apikey", "apikey", tolerant=True)


def read(place: Place, request: Request) -> str | None:
    """The credential, or `!reason`."""
    try:
        return places.read(place, request)
    except Unreadable as unreadable:
        return f"!{unreadable.reason}"


@pytest.mark.parametrize(
    ("target", "headers", "strict", "tolerant"),
    [
        ("/", [], None, None),
        ("/?apikey=", [], "", ""),
        ("/", [("apikey", "")], "", ""),
        ("/", [("APIKEY", "k")], "k", "k"),
        ("/", [("apikey", " k ")], " k ", " k "),
        ("/", [("apikey", "a,b")], "a,b", "a,b"),
        ("/", [("api-key", "k"), ("api_key", "k"), ("xapikey", "k")], None, None),
        ("/?apikey=k", [], "k", "k"),
        ("/?a=1&apikey=k&b=2", [], "k", "k"),
        ("/?APIKEY=k", [], None, None),
        ("/?apikeys=k&apike=k&=k", [], None, None),
        ("/?%61pikey=a%20b%2Fc", [], "a b/c", "a b/c"),
        ("/?apikey=a+b", [], "a b", "a b"),
        ("/?apikey=a=b", [], "a=b", "a=b"),
        ("/?apikey=%E4%B8%AD", [], "中", "中"),
        ("/?a=1;apikey=k", [], None, None),
        ("/?apikey", [], "!malformed", "!malformed"),
        ("/?apikey=%zz", [], "!malformed", "!malformed"),
        ("/?apikey=%", [], "!malformed", "!malformed"),
        ("/?apikey=%FF", [], "!malformed", "!malformed"),
        ("/?apikey=%C0%AF", [], "!malformed", "!malformed"),
        ("/?apikey=k%0d%0ax:y", [], "!malformed", "!malformed"),
        ("/?apikey=k%00", [], "!malformed", "!malformed"),
        ("/", [("apikey", "a\x00b")], "!malformed", "!malformed"),
        ("/", [("apikey", "a\tb")], "!malformed", "!malformed"),
        ("/", [("cookie", "apikey=k")], "k", "k"),
        ("/", [("cookie", "a=1; apikey=k; b=2")], "k", "k"),
        ("/", [("cookie", "a=1"), ("cookie", "apikey=k")], "k", "k"),
        ("/", [("cookie", 'apikey="k"')], '"k"', '"k"'),
        ("/", [("cookie", "apikey")], "!malformed", "!malformed"),
        ("/", [("cookie", "APIKEY=k")], None, None),
        # Copies: two readers may pick different ones. APISIX takes the first.
        ("/", [("apikey", "a"), ("apikey", "b")], "!duplicate", "a"),
        ("/", [("apikey", "a"), ("apikey", "a")], "!duplicate", "a"),
        ("/?apikey=b", [("apikey", "a")], "!duplicate", "a"),
        ("/?apikey=b", [("apikey", "")], "!duplicate", ""),
        ("/?apikey=b", [("cookie", "apikey=a")], "!duplicate", "b"),
        ("/", [("cookie", "apikey=a; apikey=b")], "!duplicate", "a"),
        ("/?apikey=a&apikey=a", [], "!duplicate", "!malformed"),
        ("/?apikey=a&%61pikey=b", [], "!duplicate", "!malformed"),
        ("/?apikey&apikey=a", [], "!duplicate", "!malformed"),
    ],
)
def test_reading(
    target: str, headers: list[tuple[str, str]], strict: str | None, tolerant: str | None
) -> None:
    """Each spelling is read the one way that there is, absent, or refused with its reason."""
    request = ask(target, *headers)
    long = {"!duplicate": f"!{DUPLICATE}", "!malformed": f"!{MALFORMED}"}

    assert read(STRICT, request) == long.get(strict or "", strict)
    assert read(TOLERANT, request) == long.get(tolerant or "", tolerant)


@pytest.mark.parametrize(
    ("place", "target", "headers"),
    [
        (Place(query="apikey", cookie="apikey"), "/", [("apikey", "k")]),
        (Place(header="apikey", cookie="apikey"), "/?apikey=k", []),
        (Place(header="apikey", query="apikey"), "/", [("cookie", "apikey=k")]),
        (Place(), "/?apikey=k", [("apikey", "k"), ("cookie", "apikey=k")]),
    ],
)
def test_a_place_that_is_switched_off(place: Place, target: str, headers: Any) -> None:
    """What stands elsewhere is not read, so it is not a copy either."""
    assert read(place, ask(target, *headers)) is None


@pytest.mark.parametrize(
    ("name", "header", "strict", "tolerant"),
    [
        ("my_key", "my-key", None, "k"),
        ("my_key", "my_key", "k", "k"),
        ("my-key", "my_key", None, None),
    ],
)
def test_underscores(name: str, header: str, strict: str | None, tolerant: str | None) -> None:
    """To APISIX `_` in a configured name also means `-`; to others a name is a name."""
    request = ask("/", (header, "k"))

    assert read(Place(header=name), request) == strict
    assert read(Place(header=name, tolerant=True), request) == tolerant


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("apikey", "k")], "k"),
        ([("apikey", "a,b")], f"!{MALFORMED}"),
        ([("apikey", "a!b")], f"!{MALFORMED}"),
        ([("cookie", "a=1,apikey=k")], "k"),
        ([("cookie", "apikey=a,apikey=b")], f"!{DUPLICATE}"),
        ([("cookie", "apikey=a!")], f"!{MALFORMED}"),
    ],
)
def test_inexact_headers(headers: list[tuple[str, str]], expected: str) -> None:
    """Without raw headers a comma may join two lines and `!` may be any byte: refused."""
    assert read(STRICT, ask("/", *headers, exact=False)) == expected


@pytest.mark.parametrize("place", [STRICT, TOLERANT])
def test_bounds(place: Place) -> None:
    """A thousand parameters are read, and a credential of 16 KiB; no more of either."""
    limit, many = places.MAX_CREDENTIAL, forms.MAX_PARAMETERS

    assert read(place, ask("/", ("apikey", "k" * limit))) == "k" * limit
    assert read(place, ask("/", ("apikey", "k" * (limit + 1)))) == f"!{MALFORMED}"
    assert read(place, ask("/?" + "a&" * (many - 1) + "apikey=k")) == "k"
    assert read(place, ask("/?" + "a&" * many + "apikey=k")) == f"!{TOO_MANY_PARAMETERS}"


# -- against byte-level references -----------------------------------------------------------------

_HEX = b"0123456789abcdefABCDEF"


def decoded(data: bytes) -> bytes | None:
    """application/x-www-form-urlencoded, strictly, one byte after the other."""
    out, at = bytearray(), 0
    while at < len(data):
        byte, after = data[at : at + 1], data[at + 1 : at + 3]
        if byte == b"%":
            if len(after) < 2 or any(digit not in _HEX for digit in after):
                return None
            out.append(int(after, 16))
            at += 3
            continue
        out += b" " if byte == b"+" else byte
        at += 1
    try:
        out.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return bytes(out)


_ESCAPED = mixed("a", "%61", "%", "+", "%2", "%zz", "%FF", "%C3%A9", "é", "\udcff", "%00", "%2B")


@given(_ESCAPED | wire_texts())
def test_decoding_agrees_with_the_reference(text: str) -> None:
    """Escapes and `+` are decoded byte by byte; what is malformed or not UTF-8 is nothing."""
    found = forms.percent_decode(text)

    assert (None if found is None else found.encode()) == decoded(raw(text))


@given(st.text(st.characters(codec="utf-8"), max_size=10), st.data())
def test_every_encoding_is_decoded(text: str, data: st.DataObject) -> None:
    """Whichever bytes a client chose to escape, the text is the same."""
    pieces = []
    for byte in text.encode():
        plain = bytes([byte]).decode("utf-8", "surrogateescape")
        spellings = [f"%{byte:02X}", f"%{byte:02x}"]
        if plain not in "%+ ":
            spellings.append(plain)
        pieces.append(data.draw(st.sampled_from(spellings)))
    # Bytes of one character may be escaped in part; the rest must stay what they were.
    query = b"".join(map(raw, pieces)).decode("utf-8", "surrogateescape")

    assert forms.percent_decode(query) == text


_NAMES = ["apikey", "api+key", "100%", "ключ", "a b", "a%61"]
_SPELLINGS = [
    *_NAMES,
    *(
        "%61pikey",
        "api%6Bey",
        "APIKEY",
        "a+b",
        "a%20b",
        "%D0%BAлюч",
        "100%25",
        "a%2561",
        "api%2Bkey",
    ),
    *("api%20key", "aa", "", "é", "apikey%zz", "%FF", "\udcff", "[]"),
]
_VALUES = mixed("=", "k", "%zz", "%FF", "\udcff", "é", "%00", "+", ";", "#", "?", max_size=3)


def joined(separators: list[str], names: list[str]) -> st.SearchStrategy[str]:
    """Names, each with or without a value, between separators."""
    piece = st.builds("{}{}{}".format, st.sampled_from(names), st.sampled_from(["", "="]), _VALUES)
    parts = st.lists(st.tuples(st.sampled_from(separators), piece), max_size=4)
    return parts.map(lambda pairs: "".join(map("".join, pairs)))


_QUERIES = joined(["&", "&&", "&;"], _SPELLINGS)


@given(_QUERIES, st.sampled_from(_NAMES))
def test_parameters_agree_with_the_reference(query: str, name: str) -> None:
    """`&` separates, the first `=` divides, a name is compared decoded: nothing else counts."""
    expected = []
    for piece in raw(query).split(b"&"):
        key, equals, value = piece.partition(b"=")
        if decoded(key) == name.encode():
            expected.append(decoded(value) if equals else None)

    found = [None if v is None else v.encode() for v in places.parameter_values(query, name)]

    assert found == expected


_COOKIES = joined(
    [";", "; ", ";;", ",", "; \t", ";\xa0"], ["apikey", "APIKEY", "a", "", " apikey ", "apikey\x85"]
)


@given(st.lists(_COOKIES, max_size=3))
def test_cookies_agree_with_the_reference(lines: list[str]) -> None:
    """`;` separates, blanks around fall away, the first `=` divides (RFC 6265 section 5.4)."""
    expected: list[bytes | None] = []
    for line in lines:
        for piece in raw(line).split(b";"):
            key, equals, value = piece.strip(b" \t").partition(b"=")
            if key.strip(b" \t") == b"apikey":
                expected.append(value if equals else None)
    request = ask("/", *(("cookie", line) for line in lines))
    found = read(Place(cookie="apikey"), request)

    if not expected:
        assert found is None
    elif len(expected) > 1:
        assert found == f"!{DUPLICATE}"
    elif expected[0] is None or b"\t" in expected[0]:
        assert found == f"!{MALFORMED}"
    else:
        assert found is not None
        assert raw(found) == expected[0]


_HEADERS = st.lists(
    st.tuples(st.sampled_from(["apikey", "ApiKey", "cookie", "x"]), _COOKIES | wire_texts()),
    max_size=4,
)


@given(_QUERIES, _HEADERS, st.booleans(), st.booleans())
def test_any_request_is_read_or_refused(
    query: str, headers: list[tuple[str, str]], exact: bool, tolerant: bool
) -> None:
    """Whatever a request holds, the answer is one text, nothing, or `Unreadable`."""
    place = Place("apikey", "apikey", "apikey", tolerant)
    request = ask(f"/?{query}", *headers, exact=exact)
    found = read(place, request)

    assert found is None or isinstance(found, str)
    if not tolerant and sum(name.lower() == "apikey" for name, _ in headers) > 1:
        assert found == f"!{DUPLICATE}"
