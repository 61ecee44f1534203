"""How Alibaba Cloud API Gateway refuses: headers that say why, and an empty body.

Codes and texts are those of the vendor's table of errors; where it has no code for something, none
is sent, as its classic instances do. The status is the vendor's under the profile `alibaba`. All
other profiles answer 403: whoever counts refusals finds these too, and a 401 would need a challenge
(RFC 9110 section 11.6.1), which no client of this vendor knows.
"""

from __future__ import annotations

import re
import uuid

from msgspec import Struct

from authz.values import Deny, Request, raw

FORBIDDEN = 403
#: A server's string to sign is cut to so many characters: an answer has little room for headers.
MAX_ECHO = 1024
_CUT = "..."
_HALF_ESCAPE = re.compile(r"%[0-9A-F]?$")


class Refusal(Struct, frozen=True):
    """One way of being refused: `reason` and `meaning` are for the operator, `message` and `code`
    (empty: the vendor has none) for the client, `status` is the vendor's."""

    reason: str
    meaning: str
    message: str
    code: str = ""
    status: int = 400


class Refused(Exception):
    """Raised where a request cannot hold; the scheme makes it a `Denied`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


#: Where nobody can be told from the request. The name of the code is known from clients alone.
NEED = "Need authorization", "A400MA"


def deny(refusal: Refusal, kind: str, request: Request | None, *, vendor: bool) -> Deny:
    """The answer of the scheme `kind`. `request` is None where it is not known."""
    headers = [("x-ca-error-code", refusal.code)] if refusal.code else []
    headers.append(("x-ca-error-message", refusal.message))
    headers.append(("x-ca-request-id", request_id(request)))
    return Deny(
        refusal.reason,
        refusal.status if vendor else FORBIDDEN,
        refusal.message,
        (),
        kind,
        tuple(headers),
        "",
    )


def forbidden(reason: str, kind: str, request: Request | None) -> Deny:
    """The answer to an app that is known, and not authorized."""
    ended = reason.endswith("_expired")
    code, message = ("A403EP", "App authorization expired") if ended else ("I403AA", "Unauthorized")
    refusal = Refusal(reason, "", message, code, FORBIDDEN)
    return deny(refusal, kind, request, vendor=True)


#: Whose flow control a limit is, in the vendor's words.
_FLOWS = {"consumer": "APP", "credential": "APP", "group": "USER", "service": "GROUP"}


def throttled(
    reason: str, kind: str, by: str, status: int, request: Request | None, *, vendor: bool
) -> Deny:
    """The answer to an app that is known, and calls too often."""
    message = f"Throttled by {_FLOWS.get(by, 'API')} Flow Control"
    refusal = Refusal(reason, "", message, status=FORBIDDEN if vendor else status)
    return deny(refusal, kind, request, vendor=True)


def request_id(request: Request | None) -> str:
    """An upper-case UUID: the request's own if its id is one, else one that is made from it."""
    if request is None or not request.id:
        return str(uuid.uuid4()).upper()
    try:
        return str(uuid.UUID(request.id)).upper()
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, request.id)).upper()


def echo(text: str) -> str:
    """A server's string to sign, fit for one line of an answer: `#` for every newline, as the
    vendor writes it, and percent escapes of all else that is not printable ASCII. What is longer
    than `MAX_ECHO` ends in `...`, never within an escape."""
    octets = raw(text)
    safe = "".join(map(_safe, octets[: MAX_ECHO + 1]))
    if len(safe) <= MAX_ECHO:
        return safe
    return _HALF_ESCAPE.sub("", safe[: MAX_ECHO - len(_CUT)]) + _CUT


def _safe(octet: int) -> str:
    if octet == ord("\n"):
        return "#"
    return chr(octet) if ord(" ") <= octet <= ord("~") else f"%{octet:02X}"
