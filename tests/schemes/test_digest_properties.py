"""digest: what is signed is verified, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from authz import forms
from authz.values import Body, Headers, Request
from tests.support.alibaba import KEY, STRICT, VENDOR, outcome, signed, with_header
from tests.support.texts import NAUGHTY, wire_texts

FORM = "application/x-www-form-urlencoded"
JSON = ("Content-Type", "application/json")
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "REPORT"])

_TEXTS = st.text(max_size=8) | st.sampled_from(NAUGHTY) | st.sampled_from(["", " ", "=", "+", "%"])
_TEXT = _TEXTS.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip)


def unambiguous(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether the default takes these parameters; written apart from how it finds out."""
    pairs = list(pairs)
    joined = "&".join(f"{name}={value}" if value else name for name, value in pairs)
    read = [(n, v) for n, _, v in (piece.partition("=") for piece in joined.split("&"))]
    return (not pairs or read == pairs) and ("", "") not in pairs and len(dict(pairs)) == len(pairs)


def encoded(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)


class Parts(NamedTuple):
    """A request, before it is signed."""

    method: str
    path: str
    query: list[tuple[str, str]]
    form: list[tuple[str, str]] | None
    body: bytes
    headers: list[tuple[str, str]]

    def sign(self) -> Request:
        target = f"{self.path}?{encoded(self.query)}" if self.query else self.path
        body = self.body if self.form is None else encoded(self.form).encode()
        lines = [*self.headers, *([] if self.form is None else [("Content-Type", FORM)])]
        return signed(self.method, target, lines, body, signed_headers=["X-Biz"])


PAIRS = st.lists(st.tuples(_TEXT, _TEXT), max_size=4)
PARTS = st.builds(
    Parts,
    METHODS,
    _TEXT.map(lambda text: "/" + quote(text, safe="/:@!$'()*+,;=~")),
    PAIRS,
    st.none() | PAIRS,
    st.binary(max_size=20),
    st.fixed_dictionaries({"X-Biz": _VALUES}, optional={"Accept": _VALUES, "Date": _VALUES}).map(
        lambda found: list(found.items())
    ),
)


@given(PARTS)
def test_what_is_signed_is_verified(parts: Parts) -> None:
    """Any method, path, query, form, header set and body: at the vendor's always, by default where
    one signature does not hold for other parameters as well."""
    request = parts.sign()
    clear = unambiguous([*parts.query, *(parts.form or [])])

    assert outcome(VENDOR, request) == KEY
    assert outcome(STRICT, request) == (KEY if clear else "ambiguous_parameters")


def meaning(request: Request) -> tuple[object, ...]:
    """What a backend may read of what is signed. Parameters count by name and value, wherever they
    stand: query and form are one in the vendor's string to sign, and `b` is `b=`."""
    text = request.body.data.decode("utf-8", "surrogateescape") if request.body else ""
    form = request.headers.first("content-type") == FORM
    pairs = sorted(forms.pairs(request.query) + (forms.pairs(text) if form else []))
    values = [(name, request.headers.get(name)) for name in sorted(request.headers)]
    return (
        *(request.method, forms.unescape(request.path), pairs, values),
        b"" if form else text,
    )


def _altered(data: str, at: int, other: str) -> str:
    at %= len(data)
    return data[:at] + other + data[at + 1 :]


#: One byte less, another one, or one more.
_OTHER = st.sampled_from(["", *map(chr, range(0x21, 0x7F)), "a%00", "a&"]).filter(
    lambda text: text not in ("#", "?")
)


@given(PARTS, st.data())
def test_nothing_else_is_verified(parts: Parts, data: st.DataObject) -> None:
    """One byte changed anywhere: refused, or still the same request."""
    assume(unambiguous([*parts.query, *(parts.form or [])]))
    request = parts.sign()
    changed = _change(request, data)

    found = outcome(STRICT, changed)
    if found == KEY:
        assert meaning(changed) == meaning(request)


def _change(request: Request, data: st.DataObject) -> Request:
    where = data.draw(st.sampled_from(["method", "path", "query", "body", *request.headers]))
    at, other = data.draw(st.integers(0, 200)), data.draw(_OTHER)
    match where:
        case "method" | "path" | "query":
            text = getattr(request, where)
            # A path is always absolute.
            fixed = "/" if where == "path" else ""
            rest = text.removeprefix(fixed)
            assume(rest)
            return replace(request, **{where: fixed + _altered(rest, at, other)})
        case "body":
            assume(request.body is not None)
            assert request.body is not None
            text = _altered(request.body.data.decode("latin-1"), at, other)
            body = Body(text.encode("latin-1"), complete=True, exact=True)
            return replace(request, body=body if body.data else None)
        case name:
            value = request.headers.first(name)
            assume(value)
            assert value is not None
            return with_header(request, name, _altered(value, at, other).strip())


@given(st.integers(0, 43), st.characters(min_codepoint=0x21, max_codepoint=0x7E))
def test_a_signature_has_one_spelling(at: int, other: str) -> None:
    """Base64 leaves bits unused; no other spelling of them is taken."""
    request = signed()
    made = request.headers.first("x-ca-signature")
    assert made is not None
    changed = _altered(made, at, other)
    found = outcome(STRICT, with_header(request, "x-ca-signature", changed))

    assert found == (KEY if changed == made else "bad_signature")


# -- what the vendor's signature cannot tell apart -------------------------------------------------

_FORM_REQUEST = signed("POST", "/login?a=1", [("Content-Type", FORM)], b"user=u&pass=p")
_REPEATED = signed("GET", "/v1?tag=1&tag=2")
_UNCOVERED = signed("PUT", "/v1", [JSON, ("Content-MD5", "")], b'{"a":1}')


@pytest.mark.parametrize(
    ("sent", "altered", "by_default"),
    [
        # Later values of a parameter are not signed.
        (_REPEATED, replace(_REPEATED, query="tag=1&tag=EVIL"), "ambiguous_parameters"),
        # Parameters are signed decoded: one may swallow its neighbour.
        (signed("GET", "/?a=1&b=2"), replace(signed(), path="/", query="a=1%26b%3D2"), "ambiguous"),
        (signed("GET", "/?a=1%26b=2"), replace(signed(), path="/", query="a=1&b=2"), KEY),
        # A body that is no form is signed by its MD5 alone.
        (
            _UNCOVERED,
            replace(_UNCOVERED, body=Body(b"{}", complete=True, exact=True)),
            "content_md5_missing",
        ),
        # Query and form are one. The default cannot tell either: SDKs send a form's type without
        # a body. The parameters themselves are as they were signed.
        (
            _FORM_REQUEST,
            replace(_FORM_REQUEST, query="a=1&user=u&pass=p", body=None),
            KEY,
        ),
        # No value and an empty one are one.
        (signed("GET", "/?b="), replace(signed(), path="/", query="b"), KEY),
    ],
)
def test_known_weaknesses(sent: Request, altered: Request, by_default: str) -> None:
    """Two requests with one signature, as at the vendor's. By default at most one of the two is
    taken, unless both carry the same parameters."""
    altered = replace(altered, headers=sent.headers)

    assert outcome(VENDOR, sent) == outcome(VENDOR, altered) == KEY
    taken = [outcome(STRICT, sent), outcome(STRICT, altered)]
    assert str(taken[1]).startswith(by_default)
    if taken == [KEY, KEY]:
        assert meaning(sent)[2] == meaning(altered)[2]


def test_the_default_refuses_one_of_each_ambiguous_pair() -> None:
    """The other one of them, where the altered request is the plain one."""
    assert outcome(STRICT, signed("GET", "/?a=1%26b=2")) == "ambiguous_parameters"
    assert outcome(STRICT, _REPEATED) == "ambiguous_parameters"
    assert outcome(STRICT, _UNCOVERED) == "content_md5_missing"


# -- anything at all -------------------------------------------------------------------------------

_NAMES = [
    *("x-ca-key", "x-ca-signature", "x-ca-signature-headers", "x-ca-signature-method"),
    *("x-ca-timestamp", "x-ca-nonce", "x-ca-stage", "content-md5", "content-type", "accept"),
    *("content-length", "date", "x-biz"),
]


@given(
    st.lists(st.tuples(st.sampled_from(_NAMES), wire_texts() | st.just(KEY)), max_size=8),
    wire_texts(),
    st.none() | st.builds(Body, st.binary(max_size=20), st.booleans(), st.booleans()),
    st.booleans(),
)
@example([("x-ca-key", KEY), ("x-ca-signature", "s")], "\udcff", None, True)
def test_whatever_is_sent_it_is_refused(
    lines: list[tuple[str, str]], query: str, body: Body | None, exact: bool
) -> None:
    """Never a crash, never a proof; and an answer that no byte of the client's can leave."""
    headers = Headers(lines, exact=exact)
    request = Request("POST", "/", query=query, headers=headers, body=body, at=0.0)

    for scheme in (STRICT, VENDOR):
        assert outcome(scheme, request) != KEY
        assert all(isinstance(text, str) for _, text in scheme.notes(request))


@pytest.mark.parametrize("data", [b"", b"a=1"])
def test_a_form_is_read_from_its_bytes(data: bytes) -> None:
    """An empty one has no parameters."""
    request = signed("POST", "/", [("Content-Type", FORM)], data)

    assert outcome(STRICT, request) == KEY
