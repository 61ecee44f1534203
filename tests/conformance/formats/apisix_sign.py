"""The endpoint that signs tokens (APISIX up to 3.10, API7): a route with it, and its answer."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from tests.conformance.case import Answer, Exchange, Inexpressible, Mode, Plain, as_it_stands, sent
from tests.conformance.expect import require
from tests.conformance.formats.apisix_credentials import PROFILES
from tests.conformance.formats.apisix_document import (
    auth,
    consumer,
    in_force,
    require_later,
    require_scheme,
    schemes_in,
)
from tests.conformance.formats.apisix_generate import MOMENT, moved

#: What exposes an endpoint of a plugin on a route.
_EXPOSE = "public-api"
#: The clock is the case's; the token is read whenever the test runs.
_VERIFY: Any = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False)
_READ: Any = {**_VERIFY, "verify_signature": False}


def translate(case: Plain, mode: Mode) -> Exchange:
    """Raises `Inexpressible`."""
    require_scheme("jwt-auth")
    plugins = in_force(case["route_config"])
    if plugins.pop(_EXPOSE, None) is None:
        raise Inexpressible("a route that does not expose the endpoint")
    require_later(plugins, "a route's")
    guard = {"auth": auth(plugins)} if plugins else {}
    path = case["request"]["path"].partition("?")[0]
    route = {"id": "sign", "match": {"path": path}, "endpoint": "jwt-sign", **guard}
    schemes = {"jwt-auth"} | schemes_in(guard.get("auth", {}))
    consumers = [consumer(each, schemes, case["profile"]) for each in case.get("consumers", ())]
    now = case.get("now", MOMENT)
    return Exchange(
        document={
            "profile": PROFILES[case["profile"]],
            "services": [{"id": "service", "routes": [route]}],
            "consumers": consumers,
        },
        requests=(as_it_stands(sent(case["request"]), mode),),
        verify=partial(_verify, case["expect"], now),
        now=now,
    )


def _verify(expected: Plain, now: int, answers: Sequence[Answer]) -> None:
    (answer,) = answers
    status = expected["status"]
    # What guards the endpoint may refuse before it is asked.
    own = ("answer", "deny") if status >= 400 else ("answer",)
    require(answer.outcome in own, f"expected the endpoint's answer, got {answer.told}")
    require(answer.status == status, f"expected {status}, got {answer.told}")
    if "jwt_body" in expected:
        _verify_token(expected["jwt_body"], answer.body.decode("ascii"), now)


def _verify_token(expected: Plain, token: str, now: int) -> None:
    header = jwt.get_unverified_header(token)
    for name, value in expected.get("header", {}).items():
        require(header.get(name) == value, f"header {name} is {header.get(name)!r}, not {value!r}")
    key = _key(expected)
    with warnings.catch_warnings():
        # Some of the vendor's secrets are short.
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        payload = jwt.decode(
            token,
            key or "",
            algorithms=[header["alg"]],
            options=_READ if key is None else _VERIFY,
        )
    wanted = moved(expected.get("payload", payload), now)
    require(payload == wanted, f"the claims are {payload}, expected {wanted}")


def _key(expected: Plain) -> str | bytes | None:
    """What the token is to be verified with: a secret as text or in base64, a public key as PEM."""
    if "verifies_with_base64" in expected:
        return base64.b64decode(expected["verifies_with_base64"], validate=True)
    key: str | None = expected.get("verifies_with")
    return key
