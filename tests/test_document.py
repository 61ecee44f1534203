"""The gateway document: what is taken, and what each refusal says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from authz.document import Document, credential_id, decode, draft_of, parse, schema, schemes_of
from authz.plain import DocumentError
from authz.schemes.basic_auth import BasicAuth
from authz.schemes.key_auth import KeyAuth

FULL = """
profile: apisix-3.18
services:
  - id: httpbin
    tenant: t1
    hosts: [api.example.com, "*.example.org", "[::1]"]
    auth: {any: [{key-auth: {}}, {basic-auth: {hide_credentials: true}}]}
    routes:
      - {id: get-ip, match: {path: /ip, methods: [GET, HEAD]}, auth: {key-auth: {header: X-Key}}}
      - {id: rest, match: {path: /api/*}}
  - id: both
    hosts: [both.example.com]
    auth: {all: [{basic-auth: {}}, {key-auth: {query: null, cookie: k}}], same_consumer: false}
consumers:
  - username: john
    tenant: t1
    groups: [gold]
    labels: {custom_id: "4711"}
    headers: {X-Consumer-Plan: "gold, 2027"}
    not_before: 2026-01-01T00:00:00Z
    expires_at: 2027-01-01T00:00:00+02:00
    credentials:
      - {id: primary, key-auth: {key: k}, expires_at: "2027-01-01T00:00:00Z"}
      - {basic-auth: {username: john, password: p}, disabled: true}
"""


def one(place: str, value: Any) -> dict[str, Any]:
    """A document that is good but for what stands at this place: `services.auth.key-auth.realm`."""
    top, *steps = place.split(".")
    for step in reversed(steps):
        value = [value] if step == "[]" else {step: value}
        if step in ("routes", "credentials") and isinstance(value[step], dict):
            value[step] = [{"id": "x", **value[step]}]
    if isinstance(value, dict) and steps:
        value = [{"services": {"id": "s"}, "consumers": {"username": "c"}}[top] | value]
    return {top: value}


def at(place: str) -> str:
    """How an error names this place."""
    steps = place.replace(".[]", "[0]").split(".")
    lists = ("services", "consumers", "routes", "credentials")
    return ".".join(f"{step}[0]" if step in lists and step != steps[-1] else step for step in steps)


KEY, BASIC, ROUTE = "services.auth.key-auth", "services.auth.basic-auth", "services.routes.auth"
CREDENTIAL = "consumers.credentials"


def test_everything_that_a_document_may_say() -> None:
    """Each field of the format is taken, by YAML and by JSON alike."""
    document = parse(FULL)
    plain = yaml.safe_load(FULL)

    assert [service.id for service in document.services] == ["httpbin", "both"]
    assert document.services[0].hosts == ["api.example.com", "*.example.org", "[::1]"]
    assert document.consumers[0].labels == {"custom_id": "4711"}
    expected: list[Any] = [
        KeyAuth(profile="api7"),
        BasicAuth(hide_credentials=True, profile="api7"),
    ]
    assert schemes_of(document.services[0].auth, "api7") == expected
    assert schemes_of(document.services[1].auth, "apisix-3.9")[1] == KeyAuth(
        query=None, cookie="k", profile="apisix-3.9"
    )
    entries = document.consumers[0].credentials
    assert [credential_id(entry) for entry in entries] == ["primary", "basic-auth"]
    assert [draft_of(entry)[0] for entry in entries] == ["key-auth", "basic-auth"]
    assert _plain(parse(json.dumps(plain, default=str))) == _plain(document)


def _plain(document: Document) -> Any:
    return msgspec.to_builtins(document, enc_hook=lambda secret: [secret.source, secret.value])


@pytest.mark.parametrize("text", ["", "{}", "# nothing", "---\n", "services: []\nconsumers: []"])
def test_an_empty_document(text: str) -> None:
    """A document need not say anything."""
    assert parse(text) == Document()


def test_a_profile_of_its_own_wins() -> None:
    """The document's profile is the default of every scheme, and no more."""
    auth = parse("services: [{id: s, auth: {key-auth: {profile: apisix-3.9}}}]").services[0].auth

    assert [scheme.tolerant for scheme in schemes_of(auth, "api7")] == [True]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (KEY, {"heder": "x"}, ": unknown field 'heder'"),
        (f"{KEY}.header", 1, ": expected"),
        (f"{KEY}.header", "", ": expected"),
        (f"{KEY}.header", "a:b", ": expected"),
        (f"{KEY}.query", "", ": expected"),
        (f"{KEY}.cookie", "a b", ": expected"),
        (f"{KEY}.realm", 'a"b', ": expected"),
        (f"{KEY}.realm", "a\\b", ": expected"),
        (f"{KEY}.realm", "", ": expected"),
        (f"{KEY}.realm", "x" * 129, ": expected"),
        (f"{KEY}.realm", "é", ": expected"),
        (f"{KEY}.hide_credentials", 1, ": expected 'bool', got 'int'"),
        (f"{KEY}.profile", "kong", ": invalid"),
        (BASIC, {"header": "x"}, ": unknown field 'header'"),
        (f"{BASIC}.anonymous_consumer", "", ": expected"),
        (f"{BASIC}.anonymous_consumer", 123, ": expected"),
        (f"{BASIC}.anonymous_consumer", True, ": expected"),
        (f"{BASIC}.anonymous_consumer", {}, ": expected"),
        ("services.auth", {"jot": {}}, ": unknown field 'jot'"),
        ("services.auth", {}, ": expected one of key-auth, basic-auth, jwt-auth, "),
        ("services.auth", {"key-auth": {}, "any": [{"key-auth": {}}]}, ": expected one of"),
        ("services.auth", {"key-auth": {}, "basic-auth": {}}, ": expected one of"),
        ("services.auth.any", [], ": expected at least one scheme"),
        ("services.auth.any", None, ": expected 'array', got 'null'"),
        ("services.auth.all.[]", {}, ": expected exactly one of key-auth, basic-auth"),
        ("services.auth.any.[]", {"any": []}, ": unknown field 'any'"),
        (f"{ROUTE}.key-auth", {"heder": 1}, ": unknown field 'heder'"),
        (f"{ROUTE}.any", [], ": expected at least one scheme"),
        ("services.routes.match.path", "ip", ": expected"),
        ("services.routes.match.methods.[]", "get", ": expected"),
        ("services.hosts.[]", "a:80", ": expected"),
        ("services.hosts.[]", "*", ": expected"),
        ("services.hosts.[]", "a.*", ": expected"),
        ("services.tenant", "a/b", ": expected"),
        ("consumers.username", "", ": expected"),
        ("consumers.username", " a", ": expected"),
        ("consumers.username", "a\x00b", ": expected"),
        ("consumers.username", 4711, ": expected 'str', got 'int'"),
        ("consumers.groups.[]", "a,b", ": expected"),
        ("consumers.labels", {"custom_id": 1}, "[...]: expected 'str', got 'int'"),
        ("consumers.headers", {"X-Other": "x"}, ": "),
        ("consumers.headers", {"X-Consumer-A": "é"}, "[...]: expected"),
        ("consumers.headers", {"X-Consumer-Groups": "x"}, ": X-Consumer-Groups is set by"),
        ("consumers.headers", {"x-consumer-username": "x"}, ": x-consumer-username is set by"),
        ("consumers.headers", {"X-Consumer-A": "1", "x-consumer-a": "2"}, ": "),
        ("consumers.expires_at", "2027-01-01T00:00:00", ": expected"),
        ("consumers.expires_at", 1, ": expected"),
        (CREDENTIAL, [{"id": "a"}], "[0]: expected exactly one of key-auth, basic-auth"),
        (f"{CREDENTIAL}.key-auth", {}, ": missing field 'key'"),
        (f"{CREDENTIAL}.key-auth", {"key": "k", "kee": "x"}, ": unknown field 'kee'"),
        (f"{CREDENTIAL}.key-auth.key", 1, ": expected a string, or one of"),
        (f"{CREDENTIAL}.basic-auth", {}, ": missing field 'username'"),
        (f"{CREDENTIAL}.basic-auth.username", 123, ": expected 'str', got 'int'"),
        ("profile", "kong", ": invalid enum value 'kong'"),
        ("services", {}, ": expected 'array', got 'object'"),
    ],
)
def test_refusals_name_the_place(place: str, value: Any, said: str) -> None:
    """One wrong field refuses the whole document, and the error begins with where it is."""
    with pytest.raises(DocumentError) as caught:
        decode(one(place, value))
    assert str(caught.value).startswith(at(place) + said)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"services": [{"id": "a"}, {"id": "a"}]}, "services[1]: 'a' is already taken"),
        (
            {"services": [{"id": "a", "routes": [{"id": "r"}, {"id": "r"}]}]},
            "services[0].routes[1]: 'r' is already taken",
        ),
        (
            {"consumers": [{"username": "a"}, {"username": "a"}]},
            "consumers[1]: 'a' is already taken",
        ),
        (
            {
                "consumers": [
                    {
                        "username": "a",
                        "credentials": [{"key-auth": {"key": "1"}}, {"key-auth": {"key": "2"}}],
                    }
                ]
            },
            "consumers[0].credentials[1]: 'key-auth' is already taken",
        ),
        (
            {"services": [{"id": "a", "auth": {"key-auth": {}, "same_consumer": False}}]},
            "services[0].auth.same_consumer: only means something beside `all`",
        ),
        (
            {"profile": "apisix-3.9", "consumers": [{"username": "a b"}]},
            "consumers[0].username: the profile apisix-3.9 takes letters, digits, '_' and '-'",
        ),
        ([], "document: expected 'object', got 'array'"),
    ],
)
def test_refusals_of_what_types_cannot_say(plain: Any, expected: str) -> None:
    """Names are unique, groups are not empty, and a profile's own rules hold."""
    with pytest.raises(DocumentError) as caught:
        decode(plain)
    assert str(caught.value) == expected


def test_two_tenants_may_share_a_name() -> None:
    """A consumer's name is unique within its tenant, and no tenant may be said outright."""
    names = [{"username": "a"}, {"username": "a", "tenant": "t"}, {"username": "a", "tenant": "u"}]

    assert len(decode({"consumers": names}).consumers) == 3
    assert decode({"consumers": [{"username": "a", "tenant": ""}]}).consumers[0].tenant == ""
    assert decode({"services": [{"id": "a", "tenant": ""}]}).services[0].tenant == ""


#: A value for every field whose text is bounded.
BOUNDED = [
    ("services.id", "a"),
    ("services.tenant", "a"),
    ("services.hosts.[]", "a.example"),
    ("services.routes.id", "a"),
    ("services.routes.match.path", "/a"),
    ("services.routes.match.methods.[]", "GET"),
    (f"{KEY}.header", "a"),
    (f"{KEY}.cookie", "a"),
    (f"{KEY}.realm", "a"),
    (f"{BASIC}.realm", "a"),
    ("consumers.username", "a"),
    ("consumers.tenant", "a"),
    ("consumers.groups.[]", "a"),
    ("consumers.headers.X-Consumer-A", "a"),
]


@pytest.mark.parametrize(("place", "value"), BOUNDED)
@pytest.mark.parametrize("control", ["\n", "\x00", "\r", "\n\n", "\x7f"])
def test_no_field_takes_a_control_character(place: str, value: str, control: str) -> None:
    """Not even a newline at the end, which a lax pattern lets pass."""
    decode(one(place, value))
    for text in (value + control, control + value):
        with pytest.raises(DocumentError):
            decode(one(place, text))


def test_a_header_name_takes_no_newline() -> None:
    """Nor does a name that stands as a key, nor a credential's id."""
    credential = {"key-auth": {"key": "k"}}
    decode(one("consumers.credentials", [{"id": "a", **credential}]))
    for plain in (
        one("consumers.headers", {"X-Consumer-A\n": "x"}),
        one("consumers.credentials", [{"id": "a\n", **credential}]),
    ):
        with pytest.raises(DocumentError):
            decode(plain)


# -- the schema ------------------------------------------------------------------------------------


def test_the_schema_agrees() -> None:
    """What an editor checks by is what the reader takes."""
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    plain = json.loads(json.dumps(yaml.safe_load(FULL), default=lambda at: at.isoformat()))

    assert list(validator.iter_errors(plain)) == []
    assert [place for place, value in BOUNDED if not validator.is_valid(one(place, value))] == []
    assert not validator.is_valid(one(f"{KEY}.heder", "x"))
    assert not validator.is_valid(one("services.hosts.[]", "a:80"))
