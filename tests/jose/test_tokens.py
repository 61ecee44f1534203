"""Taking tokens apart: one spelling, one reading, or a refusal with its reason."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.jose import tokens
from authz.jose.tokens import (
    ALGORITHMS,
    REASONS,
    NotAToken,
    decode_segment,
    encode_segment,
    parse,
    parse_jws,
)
from tests.support.texts import wire_texts
from tests.support.tokens import b64, token

HEAD, CLAIMS = b64('{"alg":"HS256"}'), b64('{"key":"a"}')
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def reason(text: str) -> str:
    with pytest.raises(NotAToken) as refused:
        parse(text)
    return refused.value.reason


def test_a_token_is_taken_apart() -> None:
    """Header, claims, what was signed, and the signature."""
    text = token({"key": "a", "exp": 1.5}, kid="k")
    made = parse(text)

    assert made.header == {"alg": "HS256", "typ": "JWT", "kid": "k"}
    assert made.claims == {"key": "a", "exp": 1.5}
    assert (made.algorithm, made.key_id) == ("HS256", "k")
    assert f"{made.signed.decode()}.{b64(made.signature)}" == text
    assert repr(made) == "Token(HS256)"


def test_any_text_may_be_signed() -> None:
    """A JWS has a payload of bytes."""
    assert parse_jws(f"{HEAD}.{b64(b'no json')}.AA").payload == b"no json"
    assert parse_jws(f"{HEAD}..AA").payload == b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", tokens.NOT_THREE_SEGMENTS),
        (f"{HEAD}.{CLAIMS}", tokens.NOT_THREE_SEGMENTS),
        (f"{HEAD}.{CLAIMS}.", tokens.NOT_THREE_SEGMENTS),
        (f"{HEAD}.{CLAIMS}.AA.", tokens.NOT_THREE_SEGMENTS),
        (f"{HEAD}.{CLAIMS}.AA.AA.AA", tokens.NOT_THREE_SEGMENTS),
        ("A" * (tokens.MAX_TOKEN + 1), tokens.TOO_LONG),
        ("A" * tokens.MAX_TOKEN, tokens.NOT_THREE_SEGMENTS),
        ("..", tokens.NOT_THREE_SEGMENTS),
        (f"{HEAD}..AA", tokens.NOT_JSON),
        (f"{HEAD}=.{CLAIMS}.AA", tokens.NOT_BASE64URL),
        (f" {HEAD}.{CLAIMS}.AA", tokens.NOT_BASE64URL),
        (f"{HEAD}.{CLAIMS}\n.AA", tokens.NOT_BASE64URL),
        (f"{HEAD}.{CLAIMS}+/.AA", tokens.NOT_BASE64URL),
        (f"{HEAD}.{CLAIMS}é.AA", tokens.NOT_BASE64URL),
        (f"{HEAD}.{CLAIMS}\udcff.AA", tokens.NOT_BASE64URL),
        (f"{HEAD}.{CLAIMS}.AB", tokens.SIGNATURE_MALFORMED),
        (f"{HEAD}.{CLAIMS}.AA==", tokens.SIGNATURE_MALFORMED),
        (f"{HEAD}.{CLAIMS}.A", tokens.SIGNATURE_MALFORMED),
        (f"{HEAD}.{CLAIMS}.@@@@", tokens.SIGNATURE_MALFORMED),
    ],
)
def test_malformed_texts(text: str, expected: str) -> None:
    """Refused before anything is looked up."""
    assert reason(text) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('"text"', tokens.NOT_JSON),
        ("[]", tokens.NOT_JSON),
        ("{}x", tokens.NOT_JSON),
        ("\ufeff{}", tokens.NOT_JSON),
        ("{'a':1}", tokens.NOT_JSON),
        ('{"a":1,"a":2}', tokens.NOT_JSON),
        ('{"a":{"b":1,"b":1}}', tokens.NOT_JSON),
        ('{"a":NaN}', tokens.NOT_JSON),
        ('{"a":-Infinity}', tokens.NOT_JSON),
        ('{"a":1e999}', tokens.NOT_JSON),
        ('{"a":%s}' % ("9" * 400), tokens.NOT_JSON),
        ('{"a":%s}' % ("[" * 40 + "]" * 40), tokens.NOT_JSON),
        ('{"a":"\\ud800"}', tokens.NOT_JSON),
    ],
)
def test_json_of_two_readings(payload: str, expected: str) -> None:
    """Refused in the payload and in the header alike."""
    assert reason(f"{HEAD}.{b64(payload)}.AA") == expected
    assert reason(f"{b64(payload)}.{CLAIMS}.AA") == expected


def test_not_utf_8() -> None:
    """Bytes that are no text."""
    payload = b64(b'{"a":"\xff"}')

    assert reason(f"{HEAD}.{payload}.AA") == tokens.NOT_JSON


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, tokens.ALGORITHM_UNKNOWN),
        *(
            ({"alg": name}, tokens.ALGORITHM_UNKNOWN)
            for name in ("none", "None", "nOnE", "", "hs256", "HS256 ", "HS-256", "ES256K", "dir")
        ),
        *(({"alg": bad}, tokens.ALGORITHM_UNKNOWN) for bad in (None, 1, ["HS256"], {"a": 1})),
        *(
            ({"alg": "HS256", name: value}, tokens.HEADER_REFUSED)
            for name, value in [
                *[("crit", ["exp"]), ("crit", []), ("b64", False), ("b64", True), ("zip", "DEF")],
                *[("cty", "JWT"), ("epk", {}), ("enc", "A128GCM"), ("typ", 1), ("typ", None)],
                *[("kid", ""), ("kid", 7), ("kid", None), ("kid", ["a"]), ("kid", {"a": 1})],
                ("kid", "k" * (tokens.MAX_KEY_ID + 1)),
            ]
        ),
    ],
)
def test_refused_headers(header: dict[str, Any], expected: str) -> None:
    """An algorithm is spelled exactly; what would change the signature's meaning is refused."""
    assert reason(f"{b64(json.dumps(header))}.{CLAIMS}.AA") == expected


@pytest.mark.parametrize(
    "header",
    [
        *({"alg": name} for name in ALGORITHMS),
        {"alg": "HS256", "typ": "at+jwt", "kid": "k" * tokens.MAX_KEY_ID},
        {"alg": "HS256", "jku": "https://x", "x5u": "https://x", "jwk": {}, "x5c": ["…"]},
    ],
)
def test_headers_that_are_read(header: dict[str, Any]) -> None:
    """Where a token says that its key comes from is nothing to us."""
    assert parse(f"{b64(json.dumps(header))}.{CLAIMS}.AA").header == header


def test_every_reason_is_told() -> None:
    """The manual has a line for each."""
    said = {value for value in vars(tokens).values() if isinstance(value, str) and value in REASONS}

    assert said == set(REASONS)
    assert len(said) == 7


@given(st.binary(max_size=60))
def test_base64url_has_one_spelling(data: bytes) -> None:
    """What encodes some bytes decodes to them; any other text of its length does not."""
    text = encode_segment(data)

    assert decode_segment(text) == data
    for other in (text + "=", " " + text, text + "\n"):
        with pytest.raises(NotAToken):
            decode_segment(other)


@given(st.text(ALPHABET, max_size=12))
def test_what_decodes_encodes_to_itself(text: str) -> None:
    """No two texts stand for the same bytes."""
    try:
        data = decode_segment(text)
    except NotAToken:
        padded = text + "=" * (-len(text) % 4)
        lax = base64.urlsafe_b64decode(padded) if len(text) % 4 != 1 else None
        assert lax is None or encode_segment(lax) != text
    else:
        assert encode_segment(data) == text


@given(wire_texts(max_size=60) | st.lists(wire_texts(), min_size=3, max_size=3).map(".".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `NotAToken`, and always one of its reasons."""
    said = None
    try:
        made = parse(text)
    except NotAToken as refused:
        said = refused.reason
    assert said in REASONS if said else made.algorithm in ALGORITHMS
