"""CheckRequests read: everything that Envoy says, in one reading, or a denial."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from authz.denials import AMBIGUOUS, MALFORMED
from authz.pb.external_auth_pb2 import CheckRequest
from authz.server import reading
from authz.server.decision_log import DecisionLog
from authz.server.metrics import Recorder
from authz.server.service import Service
from authz.values import Body, Denied, Deny, Request
from tests.support.texts import mixed, wire_texts

CAPTURES = Path(__file__).parents[1] / "vectors" / "captures"
AT = 1_800_000_000.5


def message(
    path: str = "/x",
    *,
    joined: dict[str, str] | None = None,
    lines: Any = (),
    method: str = "GET",
    host: str = "api.test",
    **http: Any,
) -> CheckRequest:
    """A Check; `joined` fills the map of headers, `lines` the list of raw ones."""
    check = CheckRequest()
    target = check.attributes.request.http
    target.method, target.path, target.host = method, path, host
    target.headers.update(joined or {})
    for name, value in lines:
        raw = value if isinstance(value, bytes) else value.encode()
        target.header_map.headers.add(key=name, raw_value=raw)
    for name, value in http.items():
        setattr(target, name, value)
    return check


def read(check: CheckRequest) -> Request | Deny:
    try:
        return reading.read(check.SerializeToString(), AT)
    except Denied as denied:
        return denied.deny


def test_a_whole_request() -> None:
    """Every field that decisions need is read, and the time is when it reached us."""
    check = message(
        "/a/b?c=d&e",
        lines=[("X", "1"), ("y", b"\xff"), ("x", "2"), ("x-request-id", "r-1")],
        method="POST",
        host="API.test:80",
    )
    check.attributes.context_extensions.update({"service": "s", "route": "r"})
    check.attributes.source.address.socket_address.address = "10.0.0.1"
    request = reading.read(check.SerializeToString(), AT)

    assert (request.method, request.path, request.query) == ("POST", "/a/b", "c=d&e")
    assert (request.host, request.address, request.id) == ("API.test:80", "10.0.0.1", "r-1")
    assert (dict(request.context), request.at) == ({"service": "s", "route": "r"}, AT)
    assert (request.headers.get("x"), request.headers.get("y")) == (("1", "2"), ("\udcff",))
    assert request.headers.exact


@pytest.mark.parametrize("target", ["/a", "/a?", "/a?b", "/a??"])
def test_a_target_is_told_as_it_was_sent(target: str) -> None:
    """A signature covers each `?`, also one with nothing after it."""
    assert reading.read(message(target).SerializeToString(), AT).target == target


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (CheckRequest(), MALFORMED),
        (message(), None),
        (message("/"), None),
        (message("/" + "a" * 1000 + "?" + "b" * 1000), None),
        (message("/x?a=é&b=\udcff".encode("utf-8", "ignore").decode()), None),
        # Targets.
        (message(""), MALFORMED),
        (message("x"), MALFORMED),
        (message("*"), MALFORMED),
        (message("http://h/x"), MALFORMED),
        (message("/x#y"), MALFORMED),
        (message("/x?a#b"), MALFORMED),
        (message("/x y"), MALFORMED),
        (message("/x?a b"), MALFORMED),
        (message("/x\x00"), MALFORMED),
        (message("/x?\x00"), MALFORMED),
        (message("/x?a\r\nb"), MALFORMED),
        (message("/x\x7f"), MALFORMED),
        (message("/é"), MALFORMED),
        (message("/" + "a" * 100_000), MALFORMED),
        (message("/x?" + "a" * 100_000), MALFORMED),
        # Methods.
        (message(method=""), MALFORMED),
        (message(method="get"), MALFORMED),
        (message(method="GET "), MALFORMED),
        (message(method="GET\n"), MALFORMED),
        (message(method="G" * 33), MALFORMED),
        (message(method="M-SEARCH"), None),
        # What is said twice must be said alike.
        (message(lines=[(":path", "/x"), (":method", "GET"), (":authority", "api.test")]), None),
        (message(lines=[(":path", "/y")]), AMBIGUOUS),
        (message(lines=[(":method", "POST")]), AMBIGUOUS),
        (message(lines=[(":authority", "other")]), AMBIGUOUS),
        (message(joined={":path": "/y"}), AMBIGUOUS),
        (message(lines=[(":path", "/y"), (":path", "/x")]), AMBIGUOUS),
        (message(lines=[(":authority", "other"), (":authority", "api.test")]), AMBIGUOUS),
        (message("/x?!", lines=[(":path", b"/x?\xff")]), AMBIGUOUS),
        (message(joined={"a": "1"}, lines=[("a", "1")]), None),
        (message(joined={"a": "1,2"}, lines=[("a", "1"), ("a", "2")]), None),
        (message(joined={"a": "1"}, lines=[("a", "2")]), AMBIGUOUS),
        (message(joined={"a": "1"}, lines=[("b", "1")]), AMBIGUOUS),
        (message(joined={"a": "1", "b": "1"}, lines=[("a", "1")]), AMBIGUOUS),
        (message(joined={"apikey": "bad"}, lines=[("apikey", "good")]), AMBIGUOUS),
        (message(joined={"a": "1", "A": "2"}), AMBIGUOUS),
        # Without raw headers `!` may be any byte.
        (message("/a!b"), MALFORMED),
        (message("/a!b", lines=[("a", "1")]), None),
    ],
)
def test_requests(check: CheckRequest, expected: Deny | None) -> None:
    """A request that can be read in one way is; every other is a denial."""
    found = read(check)

    assert (found if isinstance(found, Deny) else None) == expected


def test_a_header_with_two_values_of_its_own() -> None:
    """Text and raw bytes that differ are two readings of one line."""
    check = message()
    check.attributes.request.http.header_map.headers.add(key="a", value="1", raw_value=b"2")

    assert read(check) == AMBIGUOUS
    check.attributes.request.http.header_map.headers[0].value = "2"
    assert isinstance(read(check), Request)


@pytest.mark.parametrize(
    ("check", "exact", "expected"),
    [
        (message(joined={"a": "1,2", "B": "3"}), False, {"a": ("1,2",), "b": ("3",)}),
        (message(lines=[("a", "1"), ("A", "2")]), True, {"a": ("1", "2")}),
        (message(), False, {}),
        (message(lines=[(":path", "/x"), ("a", "")]), True, {"a": ("",)}),
    ],
)
def test_headers(check: CheckRequest, exact: bool, expected: dict[str, tuple[str, ...]]) -> None:
    """Raw headers keep every line; joined ones are known to be joined. No pseudo-header is one."""
    headers = reading.read(check.SerializeToString(), AT).headers

    assert {name: headers.get(name) for name in headers} == expected
    assert headers.exact is exact


MARK = reading.PARTIAL_BODY


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (message(joined={MARK: "false"}, raw_body=b"ab", size=2), Body(b"ab", True, True)),
        (message(joined={MARK: "false"}, body="é", size=2), Body("é".encode(), True, False)),
        (message(joined={MARK: "true"}, raw_body=b"ab", size=2), Body(b"ab", False, True)),
        (message(joined={MARK: "false"}, raw_body=b"ab", size=9), Body(b"ab", False, True)),
        # Without body, or without marker, nothing is known of it.
        (message(joined={MARK: "false"}), None),
        (message(raw_body=b"ab", size=2), None),
        (message(joined={MARK: "yes"}, raw_body=b"ab", size=2), None),
    ],
)
def test_bodies(check: CheckRequest, expected: Body | None) -> None:
    """A body is what Envoy says that it buffered, and complete only if nothing is missing."""
    assert reading.read(check.SerializeToString(), AT).body == expected


@pytest.mark.parametrize("name", sorted(path.stem for path in CAPTURES.glob("*.bin")))
def test_captures(name: str) -> None:
    """Real requests of Envoy 1.40 are read; only paths that are not UTF-8 are refused."""
    check = CheckRequest.FromString((CAPTURES / f"{name}.bin").read_bytes())
    http = check.attributes.request.http
    found = read(check)

    if "non_utf8" in name:
        assert found == AMBIGUOUS
        return
    assert isinstance(found, Request)
    assert (found.method, found.target, found.host) == (http.method, http.path, http.host)
    assert found.headers.exact is bool(http.header_map.headers)
    assert dict(found.context) == dict(check.attributes.context_extensions)
    sent = {line.key for line in http.header_map.headers} | set(http.headers)
    assert set(found.headers) == {key for key in sent if not key.startswith(":")}
    assert (found.body is not None) == bool(http.body or http.raw_body)


# -- whatever arrives ------------------------------------------------------------------------------

_TEXTS = st.text(max_size=8) | st.sampled_from(
    ["/", "/x", "/x?a=b", "GET", "api.test", "\x00", "é", "!", "a,b", "x\r\ny: z", "//", "/?"]
)
_NAMES = st.sampled_from([":path", ":method", ":authority", "apikey", "ApiKey", "cookie", "", "é"])
_LINES = st.lists(st.tuples(_NAMES | _TEXTS, st.binary(max_size=6)), max_size=4)


@given(
    _TEXTS,
    _TEXTS,
    _TEXTS,
    st.dictionaries(_NAMES | _TEXTS, _TEXTS, max_size=3),
    _LINES,
    st.integers(-1, 20),
)
def test_any_check_is_read_or_denied(
    path: str, method: str, host: str, joined: dict[str, str], lines: Any, size: int
) -> None:
    """No message does anything else; and what is read holds no surprise for those after."""
    check = message(path, method=method, host=host, joined=joined, lines=lines, size=size)
    found = read(check)

    if isinstance(found, Request):
        assert found.target.rstrip("?") == path.rstrip("?")
        assert found.path.startswith("/")
        assert found.path.isascii()
        assert found.path.isprintable()
        assert not set("#? ") & set(found.path)
        assert not any(name.startswith(":") for name in found.headers)
        assert found.headers.exact is bool(lines)
        for name in found.headers:
            values = [raw for key, raw in lines if key.lower() == name]
            expected = [raw.decode(errors="surrogateescape") for raw in values]
            assert not lines or list(found.headers.get(name)) == expected


@pytest.mark.timeout(20)
def test_many_lines_cost_no_more_than_their_number() -> None:
    """Whoever reaches the socket can send a hundred thousand lines; they are read once each."""
    lines = [("a", "b")] * 100_000

    assert isinstance(read(message(lines=lines)), Request)
    assert read(message(joined={"a": "b"}, lines=lines)) == AMBIGUOUS


@given(mixed("/", "x", "?", "#", " ", "%", "é", "\x00", "\x7f", "!", "a=b", "\\", "*", "\u0130"))
def test_targets_are_read_whole(path: str) -> None:
    """A target that passes is path, `?` and query, and together they are the target."""
    found = read(message(path, lines=[("a", "1")]))

    if isinstance(found, Request):
        assert "?" not in found.path
        assert found.path + ("?" + found.query if "?" in path else "") == path


@given(st.binary(max_size=60))
def test_any_bytes_are_read_denied_or_no_check(data: bytes) -> None:
    """Bytes that are no message are protobuf's to refuse; the rest is read or denied."""
    with suppress(DecodeError, Denied):
        assert isinstance(reading.read(data, AT), Request)


@given(st.sampled_from(sorted(CAPTURES.glob("*.bin"))), st.data())
def test_a_damaged_capture_is_read_denied_or_no_check(path: Path, data: st.DataObject) -> None:
    """Likewise for a real request with bytes changed in it."""
    damaged = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(DecodeError, Denied):
        assert isinstance(reading.read(bytes(damaged), AT), Request)


@given(wire_texts())
def test_the_id_can_be_written_down(text: str) -> None:
    """The request's id goes into logs, so it is text, whatever bytes a client called an id."""
    data = text.encode("utf-8", "surrogateescape")
    request = reading.read(message(lines=[("x-request-id", data)], id="7").SerializeToString(), AT)

    assert request.id.encode()
    if not data:
        assert request.id == "7"


# -- at a glance -----------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        *("a", "apikey", "x-request-id", MARK, ":path", ":method", ":authority", ":scheme", ":x"),
        *("A", "a:b", "a b", "\x1a", "\n", "é", "", "n" * 10, "n" * 26, "n" * 127, "n" * 128),
    ]
)
#: What would be another line, if values were not as long as they say.
_INJECTED = b"\n\x0c\n\x06apikey\x1a\x01x"
_VALUES = st.one_of(
    st.sampled_from([b"", b"/x", b"GET", b"api.test", b"http", b"true", b"\xff", b"\xc2", b"\x85"]),
    st.sampled_from([_INJECTED, b"v" + _INJECTED, b"\n", b"\x1a", b"\x00", b"\xc3\xa9", b"a\tb"]),
    st.sampled_from([9, 10, 26, 125, 126, 127, 128, 129, 250, 300, 16383, 16384, 20000]).map(
        lambda size: b"v" * size
    ),
    st.binary(max_size=12),
)
_ENTRIES = st.lists(st.tuples(_KEYS, _VALUES, st.sampled_from(["", "", "", "v", "/x"])), max_size=6)


def either(check: CheckRequest) -> tuple[Request | Deny | None, Request | Deny]:
    """Read at a glance, and with care."""
    found: list[Request | Deny | None] = []
    for how in (reading._at_a_glance, reading._with_care):
        try:
            found.append(how(check.SerializeToString(), AT))
        except Denied as denied:
            found.append(denied.deny)
    glance, care = found
    assert care is not None
    return glance, care


def whole(request: Request | Deny | None) -> Any:
    if not isinstance(request, Request):
        return request
    headers = {name: request.headers.get(name) for name in request.headers}
    rest = [getattr(request, name) for name in Request.__struct_fields__ if name != "headers"]
    return headers, request.headers.exact, rest


@given(_ENTRIES, st.dictionaries(st.sampled_from(["a", ":path"]), st.just("v"), max_size=1))
def test_a_glance_sees_what_care_sees(
    entries: list[tuple[str, bytes, str]], joined: dict[str, str]
) -> None:
    """Or nothing: whatever the lines hold, none passes for two, and none for another."""
    check = message("/x", joined=joined, raw_body=b"ab", size=2)
    for name, raw, text in entries:
        check.attributes.request.http.header_map.headers.add(key=name, raw_value=raw, value=text)
    glance, care = either(check)

    assert glance is None or whole(glance) == whole(care)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 26, 110, 127, 128, 300, 16000, 16383, 16384])
@pytest.mark.parametrize("name", ["a", "n" * 10, "n" * 26, "n" * 127])
def test_lengths_at_a_glance(name: str, size: int) -> None:
    """Those that look like a tag, and those of two octets; more are left to care, as is nothing."""
    check = message("/x", lines=[("b", "1"), (name, "v" * size), ("c", b"\xff")])
    glance, care = either(check)

    assert whole(glance) == (whole(care) if 0 < size < 2**14 - 200 else None)


def test_what_envoy_sends_is_read_at_a_glance() -> None:
    """Most of the captures: those with raw headers, each of them there once."""
    glances = {}
    for path in CAPTURES.glob("*.bin"):
        check = CheckRequest.FromString(path.read_bytes())
        glance, care = either(check)
        assert glance is None or whole(glance) == whole(care)
        keys = [line.key for line in check.attributes.request.http.header_map.headers]
        empty = any(not e.raw_value for e in check.attributes.request.http.header_map.headers)
        glances[path.stem] = glance is not None, bool(keys) and len(set(keys)) == len(keys), empty
    plain = {name for name, (_, single, empty) in glances.items() if single and not empty}

    assert plain
    assert all(glances[name][0] for name in plain)


def test_a_line_to_be_logged_holds_little_of_its_request() -> None:
    """Thousands may wait for a slow reader, and a stranger chose how long their requests are."""
    kept: list[Any] = []

    class Log(DecisionLog):
        def __init__(self) -> None: ...

        def write(self, line: Any) -> None:
            kept.append(line)

    service = Service(Recorder(), Log())
    long = "x" * 15_000
    service.check(message(f"/{long}?{long}", lines=[("a", long)], host=long).SerializeToString())

    assert len(pickle.dumps(kept[0])) < 4096
    assert kept[0].line()["path"].startswith("/xxx")


def test_a_line_without_a_name_is_seen() -> None:
    """It has one tag where others have two, so that counting them alone would not tell."""
    check = message("/x", lines=[("a", "1"), ("", "v"), ("b", "2")])
    glance, care = either(check)

    assert glance is None
    assert isinstance(care, Request)
    assert care.headers.get("") == ("v",)
