"""What claims must say: times to the instant, issuer and audience."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.jose import claims as module
from authz.jose.claims import (
    CLAIM_MALFORMED,
    CLAIM_MISSING,
    ISSUED_IN_FUTURE,
    MAX_TIME,
    REASONS,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET_VALID,
    WRONG_AUDIENCE,
    WRONG_ISSUER,
    Rules,
    check,
)

NOW = 1_800_000_000
STRICT_START = Rules(strict_start=True)


@pytest.mark.parametrize(
    ("rules", "claims", "expected"),
    [
        (Rules(), {}, None),
        (Rules(), {"exp": NOW + 1}, None),
        (Rules(), {"exp": NOW + 0.5}, None),
        (Rules(), {"exp": NOW}, TOKEN_EXPIRED),
        (Rules(), {"exp": NOW - 1}, TOKEN_EXPIRED),
        (Rules(), {"exp": 0}, TOKEN_EXPIRED),
        (Rules(), {"exp": MAX_TIME}, None),
        (Rules(), {"nbf": NOW}, None),
        (Rules(), {"nbf": NOW + 1}, TOKEN_NOT_YET_VALID),
        (Rules(), {"nbf": NOW + 0.5}, TOKEN_NOT_YET_VALID),
        (Rules(), {"exp": NOW, "nbf": NOW + 1}, TOKEN_EXPIRED),
        (STRICT_START, {"nbf": NOW}, TOKEN_NOT_YET_VALID),
        (STRICT_START, {"nbf": NOW - 1}, None),
        (Rules(grace=10), {"exp": NOW - 9}, None),
        (Rules(grace=10), {"exp": NOW - 10}, TOKEN_EXPIRED),
        (Rules(grace=10), {"nbf": NOW + 10}, None),
        (Rules(grace=10), {"nbf": NOW + 11}, TOKEN_NOT_YET_VALID),
        (Rules(grace=10, strict_start=True), {"nbf": NOW + 10}, TOKEN_NOT_YET_VALID),
        (Rules(grace=10, strict_start=True), {"nbf": NOW + 9}, None),
    ],
)
def test_times(rules: Rules, claims: dict[str, Any], expected: str | None) -> None:
    """Both ends to the second, with and without grace."""
    assert check(claims, rules, NOW) == expected


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        *[None, True, False, "", "4102444800", "4_102_444_800", "٤١٠٢٤٤٤٨٠٠", [4102444800]],
        *[{"$gt": 0}, -1, -0.1, MAX_TIME + 1, 1e20, 10**99, float("nan"), float("inf")],
    ],
)
def test_what_is_no_time(name: str, value: Any) -> None:
    """Only a JSON number of seconds up to the year 9999 (RFC 7519 section 2)."""
    assert check({name: value}, Rules(), NOW) == CLAIM_MALFORMED


@pytest.mark.parametrize(
    ("listed", "unlisted", "claims", "expected"),
    [
        (("exp",), True, {}, CLAIM_MISSING),
        (("exp",), True, {"nbf": 0}, CLAIM_MISSING),
        (("exp",), True, {"exp": NOW + 1, "nbf": NOW + 1}, TOKEN_NOT_YET_VALID),
        (("exp",), False, {"exp": NOW + 1, "nbf": NOW + 1}, None),
        (("exp",), False, {"exp": NOW + 1, "nbf": "soon"}, None),
        (("nbf",), False, {"nbf": 0, "exp": 1}, None),
        (("nbf",), False, {"exp": 1}, CLAIM_MISSING),
        (("exp", "nbf"), False, {"exp": NOW + 1, "nbf": NOW}, None),
        ((), True, {"exp": 1}, TOKEN_EXPIRED),
        ((), False, {"exp": 1, "nbf": NOW + 1}, None),
        (None, True, {"exp": 1}, TOKEN_EXPIRED),
        (None, False, {"exp": 1}, TOKEN_EXPIRED),
        (None, False, {}, None),
    ],
)
def test_listed_claims(
    listed: tuple[str, ...] | None, unlisted: bool, claims: dict[str, Any], expected: str | None
) -> None:
    """A listed claim must be there; without a list each counts where it is present."""
    assert check(claims, Rules(listed=listed, unlisted=unlisted), NOW) == expected


@pytest.mark.parametrize(
    ("rules", "claims", "expected"),
    [
        (Rules(issued="past"), {}, None),
        (Rules(issued="past"), {"iat": NOW}, None),
        (Rules(issued="past"), {"iat": NOW + 1}, ISSUED_IN_FUTURE),
        (Rules(issued="past", grace=1), {"iat": NOW + 1}, None),
        (Rules(), {"iat": NOW + 86400}, None),
        (Rules(issued="ignored"), {"iat": "tomorrow"}, None),
        (Rules(issuer="us"), {"iss": "us"}, None),
        (Rules(issuer="us"), {"iss": "US"}, WRONG_ISSUER),
        (Rules(issuer="us"), {"iss": ["us"]}, WRONG_ISSUER),
        (Rules(issuer="us"), {"iss": None}, WRONG_ISSUER),
        (Rules(issuer="us"), {}, CLAIM_MISSING),
        (Rules(issuer=""), {"iss": "us"}, WRONG_ISSUER),
        (Rules(), {"iss": 5, "aud": {}}, None),
        (Rules(audience=("a", "b")), {"aud": "b"}, None),
        (Rules(audience=("a", "b")), {"aud": ["x", "a"]}, None),
        (Rules(audience=("a",)), {"aud": "ab"}, WRONG_AUDIENCE),
        (Rules(audience=("a",)), {"aud": []}, WRONG_AUDIENCE),
        (Rules(audience=("a",)), {"aud": ["a", 1]}, CLAIM_MALFORMED),
        (Rules(audience=("a",)), {"aud": {"a": 1}}, CLAIM_MALFORMED),
        (Rules(audience=("a",)), {"aud": None}, CLAIM_MALFORMED),
        (Rules(audience=("a",)), {}, CLAIM_MISSING),
    ],
)
def test_issue_issuer_and_audience(
    rules: Rules, claims: dict[str, Any], expected: str | None
) -> None:
    """Each is asked for only where it is configured, and then it must be there."""
    assert check(claims, rules, NOW) == expected


def test_every_reason_is_told() -> None:
    """The manual has a line for each."""
    said = {each for each in vars(module).values() if isinstance(each, str) and each in REASONS}

    assert said == set(REASONS)
    assert len(said) == 7


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(
    st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "aud"]), _VALUES),
    st.builds(
        Rules,
        st.none() | st.lists(st.sampled_from(["exp", "nbf"])).map(tuple),
        st.booleans(),
        st.integers(0, 100),
        st.booleans(),
    ),
)
def test_any_claims_hold_or_have_a_reason(claims: dict[str, Any], rules: Rules) -> None:
    """No type of JSON makes an error, and what holds holds also by the letter of RFC 7519."""
    reason = check(claims, rules, NOW)

    if reason is not None:
        assert reason in REASONS
    elif "exp" in claims and (rules.listed is None or "exp" in rules.listed):
        assert claims["exp"] > NOW - rules.grace
