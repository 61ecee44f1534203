"""Whatever is handed in as a document: it is taken, or refused by a `DocumentError`."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from authz.document import Document, decode, parse, schema
from authz.plain import DocumentError
from tests.support.texts import NAUGHTY, VECTORS

SUITE = json.loads((VECTORS / "json_test_suite" / "json_test_suite.json").read_text())["cases"]
#: Beyond this many brackets a text is tried in a process of its own.
DEEP = 2000


def _refused_or_taken(text: str) -> None:
    with suppress(DocumentError):
        assert isinstance(parse(text), Document)


_YAML = st.text(
    st.sampled_from("abk0159.:-_?&*!|>%@`'\"#{}[],\n\t \\~=<+xeoTZ\ufeff\x85é\x00\x7f\ud800"),
    max_size=24,
)
_TAGS = st.builds(
    "!!{} {}".format,
    st.sampled_from(["int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "str"]),
    st.sampled_from(["x", "''", "1", "{a: b}", "[a]", "2024-99-99", "-", "_", ".", "0x_", "1:2"]),
)


@given(_YAML | _TAGS | st.text())
def test_any_text(text: str) -> None:
    """No text does more harm than an error."""
    _refused_or_taken(text)


@given(st.sampled_from(["services: ", "consumers: [{username: ", "profile: "]), _YAML | _TAGS)
def test_any_text_in_its_place(before: str, text: str) -> None:
    """Nor does it where a document might hold it."""
    _refused_or_taken(before + text)


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5000,
        "0b_",
        "2024-99-99",
        "!!bool x",
        "!!timestamp x",
        "!!int ''",
        "\ud800",
        "&a [*a]",
        "services: &a [*a]",
        "? &a [*a]\n: 1\n? *a\n: 2",
        "<<: {services: []}",
        "=: 1",
        "!!python/object:os.system x",
        "%YAML 9.9\n---\n{}",
        "--- {}\n--- {}",
        'consumers: [{username: a, credentials: [{key-auth: {key: {file: "a\\0b"}}}]}]',
    ],
)
def test_texts_that_have_broken_readers(text: str) -> None:
    """Each of these once raised something else somewhere."""
    with pytest.raises(DocumentError):
        parse(text)


@pytest.mark.parametrize("bracket", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused(bracket: str) -> None:
    """A document too deep for the stack is an error, and the process lives on."""
    program = (
        "import sys; from authz.document import parse; from authz.plain import DocumentError\n"
        "try: parse(sys.argv[1] * 100_000)\n"
        "except DocumentError: print('refused')"
    )
    seen = subprocess.run(
        [sys.executable, "-c", program, bracket], capture_output=True, text=True, check=False
    )

    assert (seen.returncode, seen.stdout) == (0, "refused\n"), seen.stderr[-500:]


def _properties(described: Any) -> Iterator[str]:
    """Every field's name in a JSON Schema."""
    if isinstance(described, dict):
        yield from described.get("properties", {})
        for inner in described.values():
            yield from _properties(inner)
    elif isinstance(described, list):
        for inner in described:
            yield from _properties(inner)


_NAMES = st.sampled_from(sorted({*_properties(schema()), "X-Consumer-A", "custom_id", "no-auth"}))
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["a", "/a", "GET", "apisix-3.9", "$env://X", "$secret://x", "", "*.a", "é\n"])
    | st.text(max_size=4)
)
_PLAIN = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_NAMES | st.text(max_size=3), inner, max_size=4)
        | st.dictionaries(st.integers() | st.none() | st.booleans(), inner, max_size=2)
        | st.sets(st.integers(), max_size=2)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(_PLAIN)
def test_any_value(plain: Any) -> None:
    """Whatever YAML or JSON can say, it is a document or a `DocumentError`."""
    with suppress(DocumentError):
        assert isinstance(decode(plain), Document)


@given(st.dictionaries(st.sampled_from(["services", "consumers", "profile"]), _PLAIN))
def test_any_value_in_its_place(plain: Any) -> None:
    """Likewise where the first names are right."""
    with suppress(DocumentError):
        assert isinstance(decode(plain), Document)


def _entries(names: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={k: v | _SCALARS for k, v in names.items()})


_SCHEME = _entries({"key-auth": _entries({"header": _SCALARS}), "basic-auth": _entries({})})
_SERVICE = _entries(
    {
        "id": st.just("s"),
        "hosts": st.lists(st.just("a")),
        "auth": _entries({"any": st.lists(_SCHEME), "all": st.lists(_SCHEME)}) | _SCHEME,
        "routes": st.lists(_entries({"id": st.just("r"), "match": _entries({"path": _SCALARS})})),
    }
)
_CREDENTIAL = _entries({"id": st.just("c"), "key-auth": _entries({"key": _SCALARS})})
_CONSUMER = _entries({"username": st.just("u"), "credentials": st.lists(_CREDENTIAL, max_size=2)})


@given(_entries({"services": st.lists(_SERVICE), "consumers": st.lists(_CONSUMER)}))
def test_any_almost_right_document(plain: Any) -> None:
    """Likewise where nearly all is right."""
    with suppress(DocumentError):
        assert isinstance(decode(plain), Document)


def test_the_json_test_suite() -> None:
    """No JSON text, valid or not, does more than be refused."""
    for case in SUITE:
        data = base64.b64decode(case["b64"])
        if data.count(b"[") + data.count(b"{") < DEEP:
            with suppress(UnicodeDecodeError):
                _refused_or_taken(data.decode())


def _labelled(text: str) -> dict[str, Any]:
    return {"consumers": [{"username": "a", "labels": {"custom_id": text}}]}


@pytest.mark.parametrize(
    "consumer",
    [
        {"username": "\ud800"},
        {"username": "a", "labels": {"custom_id": "x\udfff"}},
        {"username": "a", "labels": {"\ud800": "x"}},
        {"username": "a", "credentials": [{"key-auth": {"key": "\ud800"}}]},
        {"username": "a", "credentials": [{"basic-auth": {"username": "\ud800", "password": "p"}}]},
        {"username": "a", "credentials": [{"basic-auth": {"username": "u", "password": "\udcff"}}]},
    ],
)
def test_half_a_character_is_refused(consumer: dict[str, Any]) -> None:
    """JSON can write what is no text; nothing could store it or send it."""
    with pytest.raises(DocumentError):
        parse(json.dumps({"consumers": [consumer]}))
    with pytest.raises(DocumentError):
        decode({"consumers": [consumer]})


def test_half_a_secret_is_not_told() -> None:
    """Nor does the refusal hold what stands beside it."""
    draft = {"basic-auth": {"username": "u", "password": "canary-3f9a\ud800"}}
    with pytest.raises(DocumentError) as caught:
        decode({"consumers": [{"username": "a", "credentials": [draft]}]})
    assert "canary" not in str(caught.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 100_000, "'" * 100_000, "[]" * 100_000, "# " * 10**6]
)
def test_long_texts_cost_no_more_than_their_length(text: str) -> None:
    """A long text is read once, whatever is wrong with it."""
    _refused_or_taken(text)


def test_json_is_taken_as_json() -> None:
    """Any text, escaped as JSON escapes it, is what it says."""
    texts = [*NAUGHTY, "\U0001f600", "\u2028", "a\tb", "\x7f"]
    refused = []
    for text in texts:
        try:
            assert parse(json.dumps(_labelled(text))) == decode(_labelled(text))
        except DocumentError:
            refused.append(text)
    assert refused == []


@pytest.mark.parametrize("dump", [yaml.safe_dump, lambda plain: json.dumps(plain, indent="\t")])
@pytest.mark.parametrize("field", ["username", "groups", "labels", "key"])
def test_naughty_strings_are_given_back(field: str, dump: Callable[[Any], str]) -> None:
    """A naughty string is refused, or it is read as it was written."""
    for text in NAUGHTY:
        consumer: dict[str, Any] = {"username": "a", "credentials": []}
        if field == "key":
            consumer["credentials"] = [{"key-auth": {"key": f"k{text}"}}]
        else:
            consumer[field] = {"username": text, "groups": [text], "labels": {"a": text}}[field]
        with suppress(DocumentError):
            read = parse(dump({"consumers": [consumer]})).consumers[0]
            seen = {name: getattr(read, name) for name in consumer}
            seen["credentials"] = [
                {"key-auth": {"key": entry.key_auth.key.value}} for entry in read.credentials
            ]
            assert seen == consumer


@given(st.sampled_from(["key", "password"]), _SCALARS | _PLAIN)
def test_no_refusal_tells_a_secret(field: str, noise: Any) -> None:
    """Whatever is wrong with a document, the error does not hold its secrets."""
    secret = "canary-3f9a"
    draft = {"basic-auth": {"username": "u", "password": secret, "x": noise}}
    if field == "key":
        draft = {"key-auth": {"key": secret, "x": noise}}
    broken = [
        {"username": "a", "credentials": [draft]},
        {"username": "a", "credentials": [{"key-auth": {"key": [secret, noise]}}]},
        {"username": "a", "credentials": [{"key-auth": {"key": {"text": secret}}}]},
        {"username": "a", "credentials": [{"key-auth": secret}]},
        {"username": "a", "expires_at": secret},
    ]
    for consumer in broken:
        with pytest.raises(DocumentError) as caught:
            decode({"consumers": [consumer]})
        assert secret not in str(caught.value)


def test_a_document_does_not_print_its_secrets() -> None:
    """Nor does a document that was taken, when it is printed."""
    draft = {"key-auth": {"key": "canary-3f9a"}}
    document = decode({"consumers": [{"username": "a", "credentials": [draft]}]})

    assert "canary" not in repr(document)
    assert "canary" not in repr(msgspec.structs.asdict(document))


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", '{"services": [], "services": []}', "a: 1\na: 2"])
def test_one_name_twice_is_refused(text: str) -> None:
    """A second value would hide the first."""
    with pytest.raises(DocumentError, match="is given twice"):
        parse(text)
