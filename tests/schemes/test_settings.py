"""What all schemes refuse of their settings."""

from __future__ import annotations

import pytest

from authz.document import parse
from authz.plain import DocumentError


@pytest.mark.parametrize("header", ["X-Forwarded-Key", "host", "X_Envoy_Token", "Connection"])
@pytest.mark.parametrize(
    "auth",
    [
        "{key-auth: {header: HEADER, hide_credentials: true}}",
        "{jwt-auth: {header: HEADER, hide_credentials: true}}",
        "{jwt: {name: HEADER, hide_credentials: true}}",
    ],
)
def test_a_header_that_envoy_keeps_cannot_be_hidden(auth: str, header: str) -> None:
    """It would answer 500 to whoever was let in; not hidden, it is a header like any other."""
    text = f"services: [{{id: s, auth: {auth.replace('HEADER', header)}}}]"

    with pytest.raises(DocumentError, match=r"services\[0\].auth.*Envoy lets nobody remove"):
        parse(text)
    parse(text.replace("hide_credentials: true", "hide_credentials: false"))
    parse(text.replace(header, "X-Token"))
