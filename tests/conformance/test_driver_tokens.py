"""The driver notices what is wrong with tokens of Apinto's apps, and of hostile requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from authz.plain import DocumentError
from tests.conformance.case import Inexpressible
from tests.conformance.formats import apinto, attack
from tests.conformance.test_driver import merged, run

if TYPE_CHECKING:
    from tests.conformance.bench import Bench
    from tests.conformance.case import Plain

SECRET = "0123456789abcdef0123456789abcdef"


def token(**claims: Any) -> str:
    return jwt.encode(claims, SECRET, "HS256")


def app(*, claims: list[str], config: Plain | None = None, **made: Any) -> Plain:
    rules = {"iss": "apinto", "algorithm": "HS256", "secret": SECRET, "path": "$.name"}
    return {
        "consumer": {
            "type": "jwt",
            "position": "header",
            "token_name": "X-Token",
            "config": {**rules, "claims_to_verify": claims, **(config or {})},
            "users": [{"pattern": {"username": "John Doe"}, "expire": 0}],
        },
        "class": "contract",
        "request": {
            "method": "GET",
            "path": "/x",
            "headers": {"X-Token": token(iss="apinto", name="John Doe", **made)},
        },
        "expect": {"status": 200, "user": "John Doe", "removed": []},
    }


QUIRK = {"class": "quirk", "product_suggestion": {"status": 401, "user": None}}


@pytest.mark.parametrize(
    ("case", "status"),
    [
        (app(claims=[]), 200),
        (app(claims=[], exp=1), 200),
        ({**app(claims=[], exp=1), **QUIRK}, 401),
        (app(claims=["exp"], exp=1), 401),
        (app(claims=[], config={"iss": "other"}), 401),
        (app(claims=[], config={"secret": "short"}), 401),
        (app(claims=["iat"]), 401),
        (app(claims=[], config={"path": "$.nobody"}), 401),
    ],
)
def test_apps_with_tokens(bench: Bench, case: Plain, status: int) -> None:
    wanted: Plain = {"status": status, "user": "John Doe" if status == 200 else None, "removed": []}
    run(bench, apinto.translate({**case, "expect": wanted}, {}, "direct"))
    other = {**wanted, "status": 401 if status == 200 else 200}
    if case["class"] == "contract":
        with pytest.raises((AssertionError, DocumentError)):
            run(bench, apinto.translate({**case, "expect": other}, {}, "direct"))


def test_a_token_in_the_body(bench: Bench) -> None:
    case = app(claims=[])
    body = json.dumps({"X-Token": case["request"]["headers"].pop("X-Token")})
    request = {"method": "POST", "body": body, "headers": {"Content-Type": "application/json"}}
    moved = merged(case, consumer__position="body", request=request)
    run(bench, apinto.translate(moved, {}, "direct"))


FIXTURES = {
    "fixtures": {
        "consumers": {
            "alice": {
                "jwt": {"alice-hs": {"alg": "HS256", "secret": SECRET}},
                "hmac": {"alice-id": "hush"},
                "appcode": "code",
                "appkey": "k1",
                "appsecret": "s1",
                "authorized": ["/api/"],
                "authorization_expired": ["/exp/"],
            }
        }
    }
}
CONFIG = {
    "auth": ["jwt-auth"],
    "position": "header",
    "name": "authorization",
    "key_claim": "key",
    "claims_to_verify": ["exp", "nbf"],
    "hide_credentials": True,
    "credential": "alice-hs",
}


def hostile(sent: str, **config: Any) -> Plain:
    return {
        "category": "jwt",
        "config": config if "auth" in config else {**CONFIG, **config},
        "request": {"method": "GET", "path": "/api/x", "headers": [["Authorization", sent]]},
        "expect": "allow",
        "upstream": {"exact": {"x-consumer-username": ["alice"]}, "absent": ["authorization"]},
    }


def bearer(**claims: Any) -> str:
    return f"Bearer {token(key='alice-hs', exp=4102444800, **claims)}"


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        (hostile(bearer()), {"config__credential": "nobody", "config__key_claim": "sub"}),
        (hostile(bearer()), {"config__iss": "me"}),
        (hostile(bearer(aud="a"), aud="a"), {"config__aud": "b"}),
        (hostile(bearer()), {"config__position": "query", "config__name": "jwt"}),
        (hostile(bearer(iat=4102444000)), {"config__verify_iat": True}),
        (
            hostile(bearer(jti="1"), jti_once=True),
            {"repeat": 2, "repeat_expect": ["allow", "allow"]},
        ),
        (
            hostile(bearer(user={"name": "alice"}), username_path="$.user.name"),
            {"config__username_path": "$.sub"},
        ),
        (
            hostile("APPCODE code", auth=["aliyun-appcode"], hide_credentials=True),
            {"config__appcode": "disable"},
        ),
    ],
)
def test_a_wrong_expectation_of_hostile_requests_fails(
    bench: Bench, case: Plain, changes: dict[str, Any]
) -> None:
    run(bench, attack.translate(case, FIXTURES, "direct"))
    with pytest.raises(AssertionError):
        run(bench, attack.translate(merged(case, **changes), FIXTURES, "direct"))


@pytest.mark.parametrize(
    "config",
    [
        {"position": "body"},
        {"username_path": "$.a", "aud": "a"},
        {"auth": ["hmac-auth"], "dialect": "cavage"},
        {"auth": ["aliyun-appcode"], "appcode": "pigeon"},
        {"auth": ["aliyun-signature"], "timestamp_window_s": 60},
        {"tea": True},
    ],
)
def test_what_no_document_says_of_hostile_requests(config: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        attack.translate(hostile("", **config), FIXTURES, "direct")


def test_an_authorization_for_a_path_is_a_grant() -> None:
    """And one that ended is a grant that did."""
    made = attack.translate(hostile("", auth=["aliyun-appcode"]), FIXTURES, "direct").document

    [service] = made["services"]
    assert service["access"] == {"grant": "required"}
    paths = [route["match"]["path"] for route in service["routes"]]
    assert paths == ["/api/*", "/exp/*"]
    [alive, ended] = made["consumers"][0]["grants"]
    assert (alive["route"], "not_after" in alive) == ("api", False)
    assert (ended["route"], "not_after" in ended) == ("exp", True)
