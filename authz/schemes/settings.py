"""What every scheme's settings share, and the profiles.

A profile chooses whose words and defaults a scheme speaks: `api7` those of API7's manual with safe
defaults, `apisix-3.18` and `apisix-3.9` those of that Apache APISIX release, `alibaba` those of
Alibaba Cloud API Gateway.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from authz.values import Deny, Request, fold

Profile = Literal["api7", "apisix-3.18", "apisix-3.9", "alibaba"]


def whole(pattern: str) -> str:
    """A pattern for all of a text: in Python `$` alone would let a newline follow."""
    return f"^(?:{pattern})$(?!\\n)"


Realm = Annotated[
    str,
    Meta(
        pattern=whole(r"[ !#-\[\]-~]{1,128}"),
        description="The challenge's realm: 1 to 128 printable ASCII characters, no `\"` or `\\`.",
    ),
]
HeaderName = Annotated[
    str, Meta(pattern=whole(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"), description="A header's name.")
]
ClaimsToHeaders = Annotated[
    dict[str, HeaderName], Meta(description="Claims to tell the upstream, each in a header.")
]
ParameterName = Annotated[str, Meta(min_length=1, max_length=128)]
CookieName = Annotated[
    str, Meta(pattern=whole(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"), description="A cookie's name.")
]
Username = Annotated[str, Meta(min_length=1, max_length=256)]


#: Headers that Envoy lets no authorizer remove (`decoder_header_mutation_rules` in envoy.yaml): it
#: would answer 500 to whoever was let in.
_KEPT = re.compile(
    r"host|content-length|transfer-encoding|connection|te|upgrade|x-request-id"
    r"|x-forwarded-.*|x-envoy-.*"
)


def check_hideable(header: str | None, *, hidden: bool) -> None:
    """Raises ValueError for a header that is to be hidden and cannot be."""
    if hidden and header is not None and _KEPT.fullmatch(fold(header)):
        raise ValueError(f"hide_credentials: Envoy lets nobody remove {header}; use another header")


class Settings(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, dict=True
):
    """Settings that every scheme has."""

    hide_credentials: Annotated[
        bool, Meta(description="Remove the credential from what the upstream sees.")
    ] = False
    anonymous_consumer: Annotated[
        Username | None,
        Meta(
            description="Who calls when no credential was sent (APISIX profiles: or a wrong one)."
        ),
    ] = None
    profile: Annotated[
        Profile | None, Meta(description="Whose words and defaults; else the document's.")
    ] = None

    kind: ClassVar[str]

    @cached_property
    def tolerant(self) -> bool:
        """Whether this speaks like APISIX, laxities included."""
        return self.profile is not None and self.profile.startswith("apisix")

    @property
    def reads_body(self) -> bool:
        """Whether Envoy has to show it request bodies."""
        return False

    @property
    def tells(self) -> tuple[str, ...]:
        return ()

    @property
    def tells_query(self) -> tuple[str, ...]:
        return ()

    def evidence(self, request: Request) -> str | None:
        return None

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        return ()

    def forbidden(self, reason: str, request: Request) -> Deny:
        return Deny(reason, 403, FORBIDDEN, scheme=self.kind)

    def throttled(self, reason: str, by: str, status: int, request: Request) -> Deny:
        return Deny(reason, status, THROTTLED, scheme=self.kind)


#: What a caller is told that is known and calls too often.
THROTTLED = "Too many requests"
#: What a caller is told that is known and may not call.
FORBIDDEN = "Not authorized to call this API"


def challenge(scheme: str, realm: str) -> tuple[str, ...]:
    """A `WWW-Authenticate` value. Every 401 carries one (RFC 9110 section 11.6.1)."""
    return (f'{scheme} realm="{realm}"',)


def unauthorized(scheme: str, reason: str, message: str, challenges: tuple[str, ...]) -> Deny:
    return Deny(reason, 401, message, challenges, scheme)
