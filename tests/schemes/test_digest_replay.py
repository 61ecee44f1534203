"""digest: when a request was signed, and that it is good once."""

from __future__ import annotations

import pytest

from authz.schemes.digest import MARGIN, WINDOW, Digest
from authz.values import Proof, Request
from tests.support.alibaba import (
    AT,
    KEY,
    SECRET,
    STRICT,
    VENDOR,
    outcome,
    prove,
    resigned,
    setting,
    signed,
)

JSON = ("Content-Type", "application/json")
TIME, NONCE = "X-Ca-Timestamp", "X-Ca-Nonce"


@pytest.mark.parametrize("scheme", [STRICT, VENDOR], ids=["api7", "alibaba"])
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-901, "timestamp_expired"),
        (-900.001, "timestamp_expired"),
        (-900, KEY),
        (0, KEY),
        (900, KEY),
        (900.001, "timestamp_expired"),
        (901, "timestamp_expired"),
    ],
)
def test_the_window(scheme: Digest, seconds: float, expected: str) -> None:
    """15 minutes in both directions, inclusive."""
    assert outcome(scheme, signed(at=AT + seconds)) == expected


@pytest.mark.parametrize(
    "text",
    ["yesterday", "", "-1", "+1700000000000", "1_700_000_000_000", "1.7e12", "１７", "9" * 15],
)
def test_a_timestamp_is_digits(text: str) -> None:
    """Signed, and yet no time."""
    request = resigned({"X-Ca-Timestamp": text})

    for scheme in (STRICT, VENDOR):
        assert outcome(scheme, request) == "timestamp_malformed"


@pytest.mark.parametrize("nonce", ["", "x" * 129, "a\tb", "码"])
def test_a_nonce_is_short_and_printable(nonce: str) -> None:
    for scheme in (STRICT, VENDOR):
        assert outcome(scheme, resigned({"X-Ca-Nonce": nonce})) == "nonce_malformed"


@pytest.mark.parametrize(
    ("request_", "by_default"),
    [
        (resigned({TIME: None}), "timestamp_missing"),
        (resigned({}, (TIME,)), "timestamp_unsigned"),
        (resigned({NONCE: None}), "nonce_missing"),
        (resigned({}, (NONCE,)), "nonce_unsigned"),
        (resigned({}, ("X-Ca-Key",)), "unsigned_app_key"),
        (resigned({}, ("X-Ca-Key", TIME, NONCE)), "unsigned_app_key"),
    ],
)
def test_what_must_be_signed(request_: Request, by_default: str) -> None:
    """By default key, time and nonce; at the vendor's none of them."""
    assert outcome(STRICT, request_) == by_default
    assert outcome(VENDOR, request_) == KEY


def test_settings_win_over_the_profile() -> None:
    """Each of what the profiles differ in, turned round."""
    lax = setting(force_timestamp=False, force_nonce_check=False)
    assert outcome(lax, resigned({TIME: None, NONCE: None})) == KEY
    strict = setting(profile="alibaba", force_timestamp=True, force_nonce_check=True)
    assert outcome(strict, resigned({TIME: None})) == "timestamp_missing"
    assert outcome(strict, resigned({NONCE: None})) == "nonce_missing"
    body = signed("POST", "/", [JSON, ("Content-MD5", "")], b"{}")
    assert outcome(setting(require_content_md5=False), body) == KEY
    assert outcome(setting(profile="alibaba", require_content_md5=True), body) == (
        "content_md5_missing"
    )


def test_what_is_not_signed_is_not_there() -> None:
    """An unsigned nonce is not recorded, and an unsigned time not believed: anyone could have
    written them."""
    found = prove(VENDOR, resigned({NONCE: "n-2", TIME: "1"}, (NONCE, TIME)))

    assert isinstance(found, Proof)
    assert found.once is None


@pytest.mark.parametrize("ahead", [-900, -60, 0, 0.5, 900])
def test_a_nonce_outlives_its_timestamp(ahead: float) -> None:
    """15 minutes at least, and longer where the timestamp is of the future."""
    found = prove(STRICT, signed(at=AT - ahead))

    assert isinstance(found, Proof)
    assert found.once is not None
    assert WINDOW + max(0, ahead) < found.once.seconds <= WINDOW + max(0, ahead) + MARGIN + 1


def test_a_nonce_is_its_keys_own() -> None:
    """Nobody can use up another's, and no two pairs of key and nonce look alike."""
    nonces = set()
    for key, secret, nonce in (
        (KEY, SECRET, "n"),
        (KEY, SECRET, "m"),
        ("204203237", "second-secret-of-same-app", "n"),
    ):
        found = prove(STRICT, signed(app_key=key, app_secret=secret, nonce=nonce))
        assert isinstance(found, Proof)
        assert found.once is not None
        nonces.add(found.once.nonce)
        assert found.once.refusal.reason == "nonce_replayed"

    assert len(nonces) == 3
