"""Answers written: only an allow says yes, and no header does what it should not."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from authz.denials import GENERAL
from authz.pb.base_pb2 import HeaderValueOption
from authz.pb.external_auth_pb2 import CheckResponse
from authz.pipeline import Verdict
from authz.policies import Route
from authz.schemes.digested import Digested
from authz.schemes.key_auth import KeyAuth
from authz.server import wire
from authz.server.wire import Unwritable
from authz.values import Allow, Answer, Consumer, Credential, Decision, Deny, Identity
from tests.support.gateway import Gateway, ask
from tests.support.people import CONSUMERS, SERVICES, key
from tests.support.texts import NAUGHTY, PRINTABLE, human_texts, mixed, wire_texts

ROUTE = Route("s", "r", "", "any", (KeyAuth(),))
ALICE = Consumer("alice", groups=("gold",))
PROVEN = Identity(ALICE, Credential("alice", "primary", "key-auth", Digested()), "key-auth")
GUEST = Identity(Consumer("guest"), None, "key-auth")


def allow(identity: Identity = PROVEN, **lists: Any) -> Verdict:
    return Verdict(Allow(identity, lists.get("set", ()), lists.get("remove", ())), ROUTE)


def told(answer: CheckResponse) -> dict[str, Any]:
    return dict(answer.dynamic_metadata.items())


def headers(options: Any) -> list[tuple[str, str, int]]:
    return [(o.header.key, o.header.value, o.append_action) for o in options]


OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


def test_an_allow() -> None:
    """Headers overwrite, whatever Envoy's version makes of defaults; `append` is left unset."""
    answer = wire.write(allow(set=((":path", "/y"), ("x-a", "1 2")), remove=("x-b", "x-c")))

    assert answer.WhichOneof("http_response") == "ok_response"
    assert answer.HasField("status")
    assert answer.status.code == 0
    options = answer.ok_response.headers
    assert headers(options) == [(":path", "/y", OVERWRITE), ("x-a", "1 2", OVERWRITE)]
    assert not any(option.HasField("append") for option in options)
    assert list(answer.ok_response.headers_to_remove) == ["x-b", "x-c"]
    assert told(answer) == {
        "consumer": "alice",
        "credential": "primary",
        "scheme": "key-auth",
        "route": "r",
        "service": "s",
        "reason": "allowed",
    }


def test_an_anonymous_allow() -> None:
    """The anonymous consumer is a consumer without a credential, and the reason says so."""
    assert told(wire.write(allow(GUEST))) == {
        "consumer": "guest",
        "scheme": "key-auth",
        "route": "r",
        "service": "s",
        "reason": "anonymous",
    }


def test_an_empty_allow_says_yes_outright() -> None:
    """Also without any header the answer is a decision and not an empty message."""
    answer = wire.write(allow())

    assert answer.WhichOneof("http_response") == "ok_response"
    assert answer.HasField("status")


@pytest.mark.parametrize(
    ("deny", "code"),
    [
        (Deny("a", 401, "No", ('apikey realm="k"', 'Basic realm="b"'), "key-auth"), 16),
        (Deny("a", 403, "No"), 7),
        (Deny("a", 429, "No"), 7),
        *((deny, 7) for deny in GENERAL),
    ],
)
def test_a_denial(deny: Deny, code: int) -> None:
    """A status, a JSON body, a content type, every challenge, and metadata without a consumer."""
    answer = wire.write(Verdict(deny, ROUTE))
    body = answer.denied_response

    assert answer.WhichOneof("http_response") == "denied_response"
    assert (answer.status.code, body.status.code) == (code, deny.status)
    assert json.loads(body.body) == {"message": deny.message}
    assert headers(body.headers) == [
        ("content-type", "application/json", OVERWRITE),
        *(("www-authenticate", challenge, APPEND) for challenge in deny.challenges),
    ]
    expected = {"service": "s", "route": "r", "reason": deny.reason, "scheme": deny.scheme}
    assert told(answer) == {name: value for name, value in expected.items() if value}


def test_a_denial_with_headers_and_a_body_of_its_own() -> None:
    """In place of the JSON: plain text, here none, and what the client's world looks for."""
    deny = Deny("r", 400, "ignored", headers=(("x-ca-error-code", "A400IK"),), body="")
    refusal = wire.write(Verdict(deny, ROUTE)).denied_response

    assert (refusal.status.code, refusal.body) == (400, "")
    assert headers(refusal.headers) == [
        ("content-type", "text/plain; charset=utf-8", OVERWRITE),
        ("x-ca-error-code", "A400IK", APPEND),
    ]


@pytest.mark.parametrize(
    "deny",
    [
        Deny("r", 400, "", headers=(("x-a", "a\r\nb: c"),)),
        Deny("r", 400, "", headers=(("A b", ""),)),
    ],
)
def test_a_header_that_would_split_a_denial(deny: Deny) -> None:
    """Is a fault of ours, and never sent."""
    with pytest.raises(Unwritable):
        wire.write(Verdict(deny, ROUTE))


@pytest.mark.parametrize("status", [0, 100, 199])
def test_a_status_that_is_no_answer(status: int) -> None:
    """Envoy takes a zero for a yes."""
    for decision in (Deny("r", status, "m"), Answer("r", status, "b")):
        with pytest.raises(Unwritable):
            wire.write(Verdict(decision, ROUTE))


def test_an_answer() -> None:
    """Reaches the client as it stands, and lets nothing through to the upstream."""
    answer = wire.write(Verdict(Answer("token_signed", 200, "a.b.c"), ROUTE))

    assert answer.status.code != 0
    assert answer.WhichOneof("http_response") == "denied_response"
    assert (answer.denied_response.status.code, answer.denied_response.body) == (200, "a.b.c")
    assert headers(answer.denied_response.headers) == [
        ("content-type", "text/plain; charset=utf-8", OVERWRITE),
        ("cache-control", "no-store", APPEND),
    ]
    assert told(answer) == {"service": "s", "route": "r", "reason": "token_signed"}


def test_claims_are_told_to_envoys_filters() -> None:
    """As they are, and only where a scheme exposes them."""
    claims = {"sub": "x", "n": 5, "list": ["a", True, None], "deep": {"a": 1.5}}
    exposed = wire.write(Verdict(Allow(PROVEN, (), (), claims), ROUTE))

    found = json_format.MessageToDict(exposed.dynamic_metadata)
    assert found["claims"] == claims
    assert "claims" not in told(wire.write(allow()))


def test_a_denial_without_a_route() -> None:
    """Where no route matched, none is named."""
    assert told(wire.write(Verdict(Deny("no_route", 403, "No"), None))) == {"reason": "no_route"}


def test_a_fault() -> None:
    """No decision: an error to Envoy, 503 and a hint to the client, and no word about why."""
    answer = wire.fault("store_timeout")

    assert answer.WhichOneof("http_response") == "error_response"
    assert (answer.status.code, answer.error_response.status.code) == (14, 503)
    assert json.loads(answer.error_response.body) == {"message": wire.FAULT_MESSAGE}
    assert headers(answer.error_response.headers) == [
        ("content-type", "application/json", OVERWRITE),
        ("retry-after", str(wire.RETRY_AFTER), APPEND),
    ]
    assert told(answer) == {"reason": "store_timeout"}
    assert "store" not in answer.error_response.body


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "1\r\nset-cookie: x"),
        ("x-a", "1\n"),
        ("x-a", "\x00"),
        ("x-a", "\x7f"),
        ("x-a", "\t"),
        ("x-a", "é"),
        ("x-a", "\udcff"),
        ("", "1"),
        ("x-a\n", "1"),
        ("x a", "1"),
        ("X-A", "1"),
        ("x:a", "1"),
        (":authority", "evil"),
        (":method", "GET"),
        (":path ", "/"),
    ],
)
def test_headers_that_are_never_sent(name: str, value: str) -> None:
    """What would split a header, or change more than the path, is a fault."""
    with pytest.raises(Unwritable):
        wire.write(allow(set=((name, value),)))


@pytest.mark.parametrize("challenge", ['Basic realm="a\r\nx: y"', "é", "\x00"])
def test_challenges_that_are_never_sent(challenge: str) -> None:
    """Nor does a denial carry one that would split it."""
    with pytest.raises(Unwritable):
        wire.write(Verdict(Deny("a", 401, "No", (challenge,)), ROUTE))


_VALUES = wire_texts(max_size=8) | human_texts() | st.sampled_from(NAUGHTY) | st.just("plain")
_NAMES = st.sampled_from(["x-consumer-username", ":path", "cookie", "a b", "X", "é", "", "x\ny"])
_DENIALS = st.builds(
    Deny,
    reason=st.sampled_from(["a", "missing_key"]),
    status=st.integers(0, 1000),
    message=st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(NAUGHTY),
    challenges=st.lists(_VALUES, max_size=2).map(tuple),
    scheme=st.sampled_from(["", "key-auth"]),
    headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=2).map(tuple),
    body=st.none() | human_texts(),
)
_ANSWERS = st.builds(Answer, st.just("a"), st.integers(0, 1000), human_texts())
_ALLOWS = st.builds(
    Allow,
    identity=st.sampled_from([PROVEN, GUEST]),
    set=st.lists(st.tuples(_NAMES, _VALUES), max_size=3).map(tuple),
    remove=st.lists(st.sampled_from(["x-consumer-id", "apikey"]), max_size=2).map(tuple),
)


@given(_DENIALS | _ALLOWS | _ANSWERS, st.sampled_from([ROUTE, None]))
def test_only_an_allow_says_yes(decision: Decision, route: Route | None) -> None:
    """Whatever is decided, only an allow has code 0; nothing else has an `ok_response`; and every
    header that is sent is a header."""
    with suppress(Unwritable):
        answer = wire.write(Verdict(decision, route))
        kind = "ok_response" if isinstance(decision, Allow) else "denied_response"
        assert answer.WhichOneof("http_response") == kind
        assert (answer.status.code == 0) is isinstance(decision, Allow)
        assert ("consumer" in told(answer)) is isinstance(decision, Allow)
        assert all(value for value in told(answer).values())
        for name, value, _ in headers(getattr(answer, kind).headers):
            assert re.fullmatch(r":path|[!-9;-@\[-~]+", name)
            assert PRINTABLE.fullmatch(value)
        assert CheckResponse.FromString(answer.SerializeToString()) == answer


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_fault_never_says_yes(reason: str) -> None:
    """Whatever the reason, and however it travels."""
    answer = CheckResponse.FromString(wire.fault(reason).SerializeToString())

    assert answer.status.code != 0
    assert answer.WhichOneof("http_response") == "error_response"


GATEWAY = Gateway(SERVICES + CONSUMERS)
_HOSTS = ["key", "basic", "hide", "any", "all", "guests", "tenant", "lost", "nobody", "none"]


@given(
    st.sampled_from(_HOSTS).map("{}.test".format),
    mixed("?", "apikey=alice-key", "&", "a=é", "%zz", "apikey=bob-key", "\udcff", max_size=5),
    st.lists(
        st.tuples(
            st.sampled_from(["apikey", "cookie", "x-consumer-username", "x-consumer-x", "y"]),
            st.sampled_from(["alice-key", "k=alice-key; a=\udcff", "k=alice-key; b=2"]) | _VALUES,
        ),
        max_size=3,
    ),
)
@example("hide.test", "", [("cookie", "k=alice-key; a=é")])
@example("hide.test", "", [("cookie", "k=alice-key; a=\udcff")])
@example("hide.test", "?apikey=alice-key&a=\udcff", [])
def test_whatever_is_decided_can_be_written(
    host: str, query: str, lines: list[tuple[str, str]]
) -> None:
    """No request makes the pipeline decide what the wire cannot say; and no name is both set and
    removed, since Envoy removes last."""
    answer = wire.write(GATEWAY.verdict(ask(f"/x{query}", *lines, host=host)))

    if answer.WhichOneof("http_response") == "ok_response":
        ok = answer.ok_response
        assert not {name for name, _, _ in headers(ok.headers)} & set(ok.headers_to_remove)
        assert len({name for name, _, _ in headers(ok.headers)}) == len(ok.headers)


@pytest.mark.parametrize("username", ["é", "中", "\U0001f600", "a b", "100%"])
def test_any_name_can_be_told(username: str) -> None:
    """A consumer of any name is told upstream in ASCII and in metadata as it is."""
    text = f"""
services: [{{id: s, auth: {{key-auth: {{}}}}}}]
consumers: [{{username: {json.dumps(username, ensure_ascii=False)},
  credentials: [{{key-auth: {{key: k}}}}]}}]
"""
    answer = wire.write(Gateway(text).verdict(ask("/", key("k"))))

    assert told(answer)["consumer"] == username
    assert all(PRINTABLE.fullmatch(value) for _, value, _ in headers(answer.ok_response.headers))


def test_a_message_is_one_json_string() -> None:
    """The body is JSON whatever the message holds."""
    for text in (*NAUGHTY, '"', "\\", "</script>"):
        answer = wire.write(Verdict(Deny("a", 401, text), None))
        assert msgspec.json.decode(answer.denied_response.body) == {"message": text}
