"""The nouns: header look-up, folding, and bytes that survive."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.values import Body, Deny, Headers, Request, fold, raw
from tests.support.texts import wire_texts


@given(st.binary())
def test_wire_text_gives_back_its_bytes(data: bytes) -> None:
    """Whatever a client sent can be had again, byte for byte."""
    assert raw(data.decode("utf-8", "surrogateescape")) == data


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X-Consumer-Username", "x-consumer-username"),
        ("x_consumer_username", "x-consumer-username"),
        ("x.consumer~Id", "x-consumer-id"),
        ("X-Consumer-ID9", "x-consumer-id9"),
        ("a\x00b c", "a-b-c"),
        ("", ""),
    ],
)
def test_folding(name: str, expected: str) -> None:
    """Case and separators fall away, as they do in a CGI environment."""
    assert fold(name) == expected


def _cgi(name: str) -> str:
    kept = string.ascii_letters + string.digits
    return "HTTP_" + "".join(c.upper() if c in kept else "_" for c in name)


_NAMES = st.text(st.sampled_from("aAbB19-_.~ \x00"), max_size=6)


@given(_NAMES, _NAMES)
def test_folding_agrees_with_cgi(one: str, other: str) -> None:
    """Two names fold alike exactly when a CGI backend cannot tell them apart."""
    assert (fold(one) == fold(other)) == (_cgi(one) == _cgi(other))


@given(wire_texts())
def test_folding_twice_changes_nothing(name: str) -> None:
    """A folded name is a name that folds to itself."""
    assert fold(fold(name)) == fold(name)


def test_headers_keep_their_order_and_ignore_case() -> None:
    """Values of one name stand in order of arrival, however the name was written."""
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])

    assert headers.get("a") == ("1", "3")
    assert headers.first("a") == "1"
    assert list(headers) == ["a", "b"]
    assert "b" in headers
    assert "c" not in headers
    assert (headers.get("c"), headers.first("c")) == ((), None)


@given(st.lists(st.tuples(_NAMES, wire_texts(max_size=5)), max_size=8))
def test_headers_lose_nothing(lines: list[tuple[str, str]]) -> None:
    """Every line is found again under its name, and there are no others."""
    headers = Headers(lines)

    for name in {name.lower() for name, _ in lines}:
        assert headers.get(name) == tuple(v for n, v in lines if n.lower() == name)
    assert set(headers) == {name.lower() for name, _ in lines}


@pytest.mark.timeout(20)
def test_many_lines_cost_no_more_than_their_number() -> None:
    """A hundred thousand lines of one name are read at once: none is copied for every other."""
    assert len(Headers([("a", "b")] * 100_000).get("a")) == 100_000


def test_headers_do_not_print_values() -> None:
    """A value may be a credential, so `repr` shows names alone."""
    assert repr(Headers([("apikey", "s3cret")])) == "Headers(apikey)"


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/", headers=Headers([("apikey", "s3cret")])),
        Request("GET", "/", query="apikey=s3cret"),
        Request("GET", "/", body=Body(b"apikey=s3cret", complete=True, exact=True)),
    ],
)
def test_requests_do_not_print_credentials(request_: Request) -> None:
    """Wherever a credential may stand in a request, `repr` leaves it out."""
    assert "s3cret" not in repr(request_)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [("/a", "", "/a"), ("/a", "b=1&c", "/a?b=1&c"), ("/", "?", "/??")],
)
def test_target(path: str, query: str, expected: str) -> None:
    """Path and query stand together as on the request line."""
    assert Request("GET", path, query).target == expected


def test_a_closer_reason_changes_nothing_that_the_client_sees() -> None:
    """`because` and `offering` each change the one thing that they name."""
    deny = Deny("a", 401, "No", ("x",), "key-auth")

    assert deny.because("b") == Deny("b", 401, "No", ("x",), "key-auth")
    assert deny.offering(("y", "z")) == Deny("a", 401, "No", ("y", "z"), "key-auth")


@pytest.mark.parametrize("value", [Deny("a", 401, "No"), Request("GET", "/")])
def test_values_are_frozen(value: Deny | Request) -> None:
    """A value cannot be changed after it was made."""
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], "other")
