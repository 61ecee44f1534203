"""jwt: claims that the upstream is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz.values import Allow
from tests.support.gateway import ask
from tests.support.tokens import token
from tests.support.users import CLAIMS, bearing, gateway, outcome, setting


def test_claims_for_the_upstream() -> None:
    """In headers that are ours alone; too much of them is a refusal."""
    made = gateway({"claims_to_headers": {"sub": "X-Sub", "roles": "X-Roles"}})
    forged = ("X-Sub", "root"), ("x-roles", "root")

    def told(**claims: Any) -> tuple[dict[str, str], tuple[str, ...]]:
        authorization = ("authorization", f"Bearer {token(CLAIMS | claims)}")
        found = made.decide(ask("/", authorization, *forged))
        assert isinstance(found, Allow)
        return dict(found.set), found.remove

    given, removed = told(sub="é", roles=["a", "b"])
    assert (given["x-sub"], given["x-roles"]) == ("%C3%A9", "a,b")
    given, removed = told(roles=None)
    assert not given.keys() & {"x-sub", "x-roles"}
    assert {"x-sub", "x-roles"} <= set(removed)
    assert outcome(made, bearing(token(CLAIMS | {"sub": "x" * 9000}))) == "claims_too_long"


def test_headers_that_no_claim_may_set() -> None:
    with pytest.raises(msgspec.ValidationError, match="claims_to_headers: no claim may set the"):
        setting(claims_to_headers={"sub": "X-Consumer-Username"})
