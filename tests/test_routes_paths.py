"""One resource, one spelling: wherever a path decides, two spellings are never two policies."""

from __future__ import annotations

import posixpath
import string
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz.canonical import canonical_path
from authz.denials import UNSAFE_PATH
from authz.document import decode
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.values import Denied, Request


def plain(path: str) -> bool:
    """Whether a path passes; if not, it is refused in the one way."""
    try:
        canonical_path(path)
    except Denied as denied:
        return bool(denied.deny != UNSAFE_PATH)
    return True


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ip",
        "/api/pub/x",
        "/api/",
        "/a.b",
        "/.well-known/x",
        "/...",
        "/a..b",
        "/a../b",
        "/~user",
        "/a:b@c,d=e+f$g&h!i*j'k(l)",
        "/%E4%B8%AD",
        "/a%20b",
    ],
)
def test_plain_paths(path: str) -> None:
    """A path in its one spelling passes."""
    assert plain(path)


@pytest.mark.parametrize(
    "path",
    [
        "/pub/../admin",
        "/pub/..",
        "/..",
        "/.",
        "/pub/./x",
        "//admin",
        "/pub//x",
        "/pub/",
        "/pub\\..\\admin",
        "/pub/..;/admin",
        "/;/pub",
        "/pub;v=1",
        "/pub/%2e%2e/admin",
        "/pub/.%2E/admin",
        "/pub/%2E",
        "/pub%2fadmin",
        "/pub%2Fadmin",
        "/pub%5cadmin",
        "/pub%5Cadmin",
        "/pub%3badmin",
        "/pub%00.png",
        "/pub/%252e%252e/admin",
        "/pub/%u002e",
        "/pub/%zz",
        "/pub/%",
        "/pub/%4",
        "/api/%70ub",
        "/api/%70%75%62",
        "/%7euser",
        "/a%5Fb",
        "/a%2Db",
        "/%30",
    ],
)
def test_paths_that_hide_something(path: str) -> None:
    """What a backend may resolve to another path is refused."""
    assert plain(path) is (path == "/pub/")


UNRESERVED = string.ascii_letters + string.digits + "-._~"


@pytest.mark.parametrize("character", UNRESERVED)
def test_no_letter_hides_behind_an_escape(character: str) -> None:
    """What needs no escape (RFC 3986 section 2.3) has none, in either case of hex digits."""
    escape = f"%{ord(character):02X}"

    assert [plain(f"/a{spelling}") for spelling in (escape, escape.lower())] == [False, False]


def lax(path: str) -> bytes:
    """What a lenient backend makes of a path: everything decoded, then everything resolved."""
    before, decoded = b"", path.encode()
    while before != decoded:
        before, decoded = decoded, unquote_to_bytes(decoded)
    segments = [part.partition(b";")[0] for part in decoded.replace(b"\\", b"/").split(b"/")]
    resolved = posixpath.normpath(b"/" + b"/".join(segments)).lstrip(b"/")
    return b"/" + resolved + (b"/" if segments[-1] in (b"", b".", b"..") and resolved else b"")


#: What may stand in a path as it is (RFC 3986 section 3.3).
PCHAR = UNRESERVED + "!$&'()*+,=:@"
_PIECES = st.sampled_from(
    [*"/aA0-._~;\\%@:+=&!$',()*|{}[]^`\"<>", "//", "..", "/../", "/./", "%2", "%25", "%c3%a9"]
)
_ESCAPES = st.integers(1, 255).flatmap(lambda n: st.sampled_from([f"%{n:02X}", f"%{n:02x}"]))
_RAW_PATHS = st.lists(_PIECES | _ESCAPES, max_size=6).map(lambda parts: "/" + "".join(parts))


def _under(path: str, request_path: str) -> bool | None:
    """Whether a route for exactly this path takes the request; None: one of them is refused."""
    routes = [{"id": "exact", "match": {"path": path}}, {"id": "rest", "match": {}}]
    try:
        table = RouteTable(decode({"services": [{"id": "s", "routes": routes}]}))
        return table.match(Request("GET", request_path)).id == "exact"
    except (DocumentError, Denied):
        return None


def _one_policy(one: str, other: str) -> None:
    assert lax(one) == lax(other)
    if plain(one) and not one.endswith("/*"):
        assert (_under(one, one), _under(one, other)) in ((True, True), (True, None), (None, None))


@given(_RAW_PATHS, st.data())
@example("/users/@me", None)
@example("/a{b", None)
def test_no_spelling_escapes_its_policy(path: str, data: st.DataObject | None) -> None:
    """A spelling that a lax backend takes for the same path falls under the same route, or it is
    refused: escaping, the case of hex digits, dot segments and the like make no difference."""

    def spelled(character: str) -> str:
        if character in "/%":
            return character
        escape = quote(character, safe="") if character not in PCHAR else f"%{ord(character):02X}"
        spellings = [character, escape, escape.lower()]
        return data.draw(st.sampled_from(spellings)) if data is not None else escape

    _one_policy(path, "".join(map(spelled, path)))


@given(_RAW_PATHS, _RAW_PATHS)
def test_no_two_paths_meet_at_a_backend(one: str, other: str) -> None:
    """Of two paths that pass, no lax backend makes one and the same resource."""
    if lax(one) == lax(other):
        _one_policy(one, other)


@given(_RAW_PATHS, _RAW_PATHS)
@example("/caf%c3%a9", "/caf%C3%A9")
@example("/%40", "/@")
@example("/%25", "/%25zz")
def test_canonical_paths_are_the_backends(one: str, other: str) -> None:
    """Two paths that pass have one canonical spelling exactly when a lax backend sees one path;
    and what is canonical stays so."""
    if plain(one) and plain(other):
        same = canonical_path(one) == canonical_path(other)
        assert same == (lax(one) == lax(other))
        assert canonical_path(canonical_path(one)) == canonical_path(one)
        assert lax(canonical_path(one)) == lax(one)


@given(st.sampled_from(PCHAR))
@example("@")
def test_escaped_and_not_is_one_path(character: str) -> None:
    """`/users/%40me` is not a way round the policy of `/users/@me`."""
    for escape in (f"%{ord(character):02X}", f"%{ord(character):02x}"):
        _one_policy(f"/x{character}y", f"/x{escape}y")


@pytest.mark.parametrize(
    ("one", "other"),
    [("/caf%C3%A9", "/caf%c3%a9"), ("/a%7Cb", "/a|b"), ("/a%22b", '/a"b'), ("/%5B", "/%5b")],
)
def test_the_case_of_an_escape_is_no_difference(one: str, other: str) -> None:
    """Nor does it matter whether what must be escaped is."""
    assert _under(one, one) is True
    _one_policy(one, other)
    _one_policy(other, one)
