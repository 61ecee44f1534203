"""jwt: where the token stands, how it is hidden, and which settings make sense."""

from __future__ import annotations

from typing import Any

import pytest

from authz.jose import tokens
from authz.plain import DocumentError
from authz.schemes import places
from authz.values import Allow, Request
from tests.support.gateway import ask, upstream
from tests.support.users import FORM, GOOD, JSON, gateway, outcome, posting

NOT_A_TOKEN = tokens.NOT_BASE64URL


@pytest.mark.parametrize(
    ("settings", "request_", "expected"),
    [
        ({}, ask("/"), "missing_token"),
        ({}, ask("/", ("authorization", f"Bearer {GOOD}")), "john"),
        ({}, ask("/", ("authorization", f"bEARER {GOOD}")), "john"),
        ({}, ask("/", ("authorization", GOOD)), "john"),
        ({}, ask("/", ("authorization", f"Basic {GOOD}")), "not_bearer"),
        ({}, ask("/", ("authorization", f"Bearer  {GOOD}")), NOT_A_TOKEN),
        ({}, ask("/", *[("authorization", f"Bearer {GOOD}")] * 2), places.DUPLICATE),
        ({}, ask(f"/?Authorization={GOOD}"), "missing_token"),
        ({"name": "X-Token"}, ask("/", ("x-token", GOOD)), "john"),
        ({"name": "X-Token"}, ask("/", ("x-token", f"Bearer {GOOD}")), "john"),
        ({"name": "X-Token"}, ask("/", ("authorization", f"Bearer {GOOD}")), "missing_token"),
        ({"position": "query", "name": "token"}, ask(f"/?a=1&token={GOOD}"), "john"),
        ({"position": "query", "name": "token"}, ask(f"/?Token={GOOD}"), "missing_token"),
        (
            {"position": "query", "name": "token"},
            ask(f"/?token={GOOD}&token={GOOD}"),
            places.DUPLICATE,
        ),
        ({"position": "query", "name": "token"}, ask("/?token=%zz"), places.MALFORMED),
        ({"position": "query", "name": "token"}, ask(f"/?token=Bearer+{GOOD}"), "john"),
        ({"position": "query", "name": "token"}, ask(f"/?token=bearer%20{GOOD}"), "john"),
        ({"position": "query", "name": "token"}, ask(f"/?token=Basic+{GOOD}"), NOT_A_TOKEN),
        ({}, ask("/", ("authorization", f"Bearer Bearer {GOOD}")), NOT_A_TOKEN),
        ({"position": "query", "name": "a b"}, ask(f"/?a+b={GOOD}"), "john"),
    ],
)
def test_header_and_query(settings: dict[str, Any], request_: Request, expected: str) -> None:
    """Exactly one token, where the route says."""
    assert outcome(gateway(settings), request_) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (posting(f'{{"token": "{GOOD}", "a": [1]}}', JSON), "john"),
        (posting(f'{{"token": "{GOOD}"}}', "application/json; charset=utf-8"), "john"),
        (posting(f'{{"token": "{GOOD}"}}', "application/problem+json"), "john"),
        (posting(f"a=1&token={GOOD}", FORM), "john"),
        (posting(f"token={GOOD.replace('.', '%2E')}", FORM), "john"),
        (posting(f'{{"token": "Bearer {GOOD}"}}', JSON), "john"),
        (posting(f"token=BEARER+{GOOD}", FORM), "john"),
        (posting(f"token=Bearer+Bearer+{GOOD}", FORM), NOT_A_TOKEN),
        (posting(f"token={GOOD}&token={GOOD}", FORM), places.DUPLICATE),
        (posting(f"token={GOOD}", "text/plain"), "missing_token"),
        (posting(f'{{"token": "{GOOD}"}}', FORM), "missing_token"),
        (posting(f'{{"TOKEN": "{GOOD}"}}', JSON), "missing_token"),
        (posting(f'{{"a": {{"token": "{GOOD}"}}}}', JSON), "missing_token"),
        (posting('{"token": 5}', JSON), places.MALFORMED),
        (posting('{"token": null}', JSON), places.MALFORMED),
        (posting(f'{{"token": "{GOOD}", "token": "{GOOD}"}}', JSON), places.MALFORMED),
        (posting(f'{{"token": "{GOOD}"', JSON), places.MALFORMED),
        (posting(f'{{"token": "{GOOD}"}}', JSON, complete=False), places.BODY_INCOMPLETE),
        (posting(f'{{"token": "{GOOD}"}}', JSON, exact=False), places.BODY_INCOMPLETE),
        (posting(f'{{"token": "{GOOD}x"}}', JSON), "invalid_signature"),
        (ask("/", ("authorization", f"Bearer {GOOD}")), "missing_token"),
    ],
)
def test_body(request_: Request, expected: str) -> None:
    """A member of a JSON object, or a field of a form: what the vendor's manual offers."""
    made = gateway({"position": "body", "name": "token"})

    assert outcome(made, request_) == expected


def test_hiding() -> None:
    """In a header and in the query, and nothing else that is there."""
    header = gateway({"hide_credentials": True, "name": "X-Token"})
    request = ask("/", ("x-token", GOOD), ("x-other", "1"))
    found = header.decide(request)
    assert isinstance(found, Allow)
    _, headers = upstream(request, found)
    assert "x-token" not in headers
    assert headers["x-other"] == ("1",)

    query = gateway({"hide_credentials": True, "position": "query", "name": "token"})
    request = ask(f"/p?b=2&token={GOOD}&a=1", ("authorization", "Basic eDp5"))
    found = query.decide(request)
    assert isinstance(found, Allow)
    target, headers = upstream(request, found)
    assert target == "/p?b=2&a=1"
    assert "authorization" in headers

    shown = gateway({"position": "query", "name": "token"}).decide(request)
    assert isinstance(shown, Allow)
    assert upstream(request, shown)[0] == request.target


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"position": "body", "hide_credentials": True}, "hide_credentials: Envoy lets no auth"),
        ({"position": "cookie"}, "invalid enum value 'cookie'"),
        ({"name": "X Token"}, "name: 'X Token' is no name in a header"),
        ({"name": ""}, "expected 'str' of length >= 1"),
        ({"username_path": "$..name"}, "username_path: '$..name' may stand for several places"),
        ({"username_path": "$.a b"}, "username_path: '$.a b' is not a JSONPath: unexpected token"),
        ({"username_path": "x" * 257}, "expected 'str' of length <= 256"),
        ({"realm": "x"}, "unknown field 'realm'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], error: str) -> None:
    """Refused where they are written, with the place and what to do."""
    with pytest.raises(DocumentError) as caught:
        gateway(settings)

    assert str(caught.value).startswith("services[0].auth.jwt")
    assert error in str(caught.value)
