"""Whatever is signed holds, and no other byte does."""

from __future__ import annotations

from hypothesis import assume, example, given
from hypothesis import strategies as st

from authz import signing
from authz.signing.hmac_auth import Algorithm
from authz.values import Request, raw
from tests.support.gateway import NOW
from tests.support.signatures import SECRET, arrived, edited, reason, setting

CHECKED = setting(validate_request_body=True)
TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+.^_`|~-"
OWN = {"date", "digest", "authorization", "host", "content-length", "x-nonce"}


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _without(*barred: int) -> st.SearchStrategy[int]:
    return st.integers(0x20, 0xFF).filter(lambda byte: byte not in (0x7F, *barred))


methods = st.from_regex(r"[A-Z][A-Z0-9_-]{0,10}", fullmatch=True)
paths = st.text("abcXYZ019/%-._~!$&'()*+,;=:@", max_size=20).map(lambda rest: f"/{rest}")
queries = st.lists(_without(0x20, 0x23), min_size=1, max_size=20).map(bytes).map(text)
#: HTTP/1 takes blanks off the ends.
values = st.lists(_without(), max_size=20).map(bytes).map(text).map(lambda v: v.strip(" \t"))
names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in OWN)
headers = st.dictionaries(names, values, max_size=4).filter(
    lambda found: len({name.lower() for name in found}) == len(found)
)
bodies = st.binary(max_size=40)
algorithms: st.SearchStrategy[Algorithm] = st.sampled_from(["hmac-sha256", "hmac-sha512"])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Signed, the body and every header included."""
    target = draw(paths)
    if draw(st.booleans()):
        target = f"{target}?{draw(queries)}"
    lines = draw(headers)
    method, body = draw(methods), draw(bodies)
    made = signing.sign_hmac_auth(
        method,
        target,
        list(lines.items()),
        body,
        key_id="john-key",
        secret=SECRET,
        algorithm=draw(algorithms),
        signed_headers=["@request-target", "date", *lines],
        at=NOW + draw(st.integers(-300, 300)),
    )
    everything = [*lines.items(), *made.headers]
    return arrived(target, everything, method=method, body=body)


@given(requests())
def test_what_is_signed_holds(request: Request) -> None:
    assert reason(CHECKED, request) == ""
    assert request.body is None or request.body.data


@st.composite
def bent(draw: st.DrawFn) -> tuple[Request, Request]:
    """A request, and the same with one other byte somewhere in what is signed, or in the
    signature."""
    request = draw(requests())
    parts = ["method", "target", "body", *(n for n in request.headers if n != "content-length")]
    part = draw(st.sampled_from(parts))
    match part:
        case "method" | "target" as name:
            before = raw(getattr(request, name))
        case "body":
            before = request.body.data if request.body else b""
        case name:
            before = raw(request.headers.get(name)[0])
    assume(before)
    after = bytearray(before)
    at = draw(st.integers(0, len(before) - 1))
    after[at] = draw(st.integers(0x21, 0xFF).filter(lambda byte: byte not in (before[at], 0x7F)))
    return request, changed(request, part, bytes(after))


def changed(request: Request, part: str, data: bytes) -> Request:
    lines = [(name, request.headers.get(name)[0]) for name in request.headers]
    lines = [line for line in lines if line[0] != "content-length"]
    method, target = request.method, request.target
    body = request.body.data if request.body else b""
    match part:
        case "method":
            method = text(data)
        case "target":
            target = text(data)
        case "body":
            body = data
        case name:
            return edited(request, name, text(data))
    return arrived(target, lines, method=method, body=body)


@given(bent())
def test_any_other_byte_fails(pair: tuple[Request, Request]) -> None:
    request, other = pair
    assert reason(CHECKED, request) == ""
    assert reason(CHECKED, other) not in ("", "None")


@given(st.text(max_size=200), st.sampled_from([None, "apisix-3.18", "apisix-3.9"]))
@example('keyId="a",algorithm="b",signature="c",headers="d"', None)
@example('keyId="a",algorithm="b",signature="c",headers="' + " date" * 60 + '"', "apisix-3.18")
@example("hmac-auth-v1#a#b#hmac-sha256#d#e", "apisix-3.9")
def test_no_text_is_a_signature(rest: str, profile: str | None) -> None:
    """Nothing is let in, and nothing breaks."""
    scheme = setting(profile=profile)
    for start in ("", "Signature ", "hmac-auth-v1#"):
        value = text(f"{start}{rest}".encode("utf-8", "surrogatepass"))
        request = arrived("/", [("authorization", value), ("date", "x")])
        assert reason(scheme, request) not in ("", "None")
        assert isinstance(scheme.notes(request), tuple)
