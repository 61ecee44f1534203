"""Wycheproof's JOSE vectors, whole. What must hold holds, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from authz.jose.tokens import NotAToken, parse, parse_jws
from tests.jose.vectors import holds, load, plain

OVERRIDES = load("wycheproof/overrides.json")["overrides"]


def vectors(name: str) -> Iterator[tuple[int, Any, Any, bool]]:
    """(id, key, token, whether it must hold) of each vector."""
    overrides = OVERRIDES.get(name, {})
    for group in load(f"wycheproof/{name}")["testGroups"]:
        key = plain(group.get("public") or group["private"])
        for test in group["tests"]:
            label = overrides.get(str(test["tcId"]), {}).get("expect", test["result"])
            # A JWE is not ours to open: whatever its label, it is no signed token.
            valid = label == "valid" and "jws" in test
            token = test.get("jws", test.get("jwe", ""))
            yield test["tcId"], key, token, valid


@pytest.mark.parametrize(
    ("name", "count", "valid"),
    [
        ("json_web_signature_test.json", 401, 42),
        ("json_web_key_test.json", 26, 5),
        ("json_web_crypto_test.json", 83, 4),
        ("json_web_encryption_test.json", 139, 0),
    ],
)
def test_wycheproof(name: str, count: int, valid: int) -> None:
    """Every vector, with eight labels put right."""
    found = list(vectors(name))
    wrong = [number for number, key, token, must in found if holds(key, token) is not must]

    assert wrong == []
    assert len(found) == count
    assert sum(must for *_, must in found) == valid


def test_no_jwe_passes_for_a_signed_token() -> None:
    """Refused before any key is looked for."""
    found = [
        token
        for name in ("json_web_encryption_test.json", "json_web_crypto_test.json")
        for group in load(f"wycheproof/{name}")["testGroups"]
        for test in group["tests"]
        if (token := test.get("jwe"))
    ]

    assert len(found) == 139 + 34
    for token in found:
        text = token if isinstance(token, str) else json.dumps(token)
        for read in (parse, parse_jws):
            with pytest.raises(NotAToken):
                read(text)
