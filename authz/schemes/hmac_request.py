"""hmac-auth: what a request says of its signature, and those parts of it that are signed."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from authz.schemes import places
from authz.signing.hmac_auth import NAME
from authz.values import Request, raw

PREFIX = "Signature"
#: More signed headers than this are nobody's.
MAX_NAMES = 64
#: No request is as long; more digits would take quadratic time.
_MAX_DIGITS = 18

MALFORMED = "malformed_signature"
NOT_SIGNATURE = "not_signature"
ALGORITHM = "algorithm_not_allowed"
BAD_SIGNATURE = "bad_signature"
NOT_SIGNED = "header_not_signed"
NOT_ALLOWED = "signed_header_not_allowed"
ABSENT = "signed_header_absent"
AMBIGUOUS = "signed_header_ambiguous"
DATE_MISSING = "date_missing"
DATE_MALFORMED = "date_malformed"
CLOCK_SKEW = "clock_skew"
DIGEST_MISSING = "digest_missing"
DIGEST_MISMATCH = "digest_mismatch"
BODY_TOO_LARGE = "body_too_large"
BODY_INCOMPLETE = "body_incomplete"
BODY_NOT_SHOWN = "body_not_shown"

#: What they mean.
REASONS = {
    NOT_SIGNATURE: "Authorization of another scheme",
    MALFORMED: "a signature, or its nonce, that cannot be read in one way only",
    ALGORITHM: "the route or the credential does not allow this algorithm",
    DATE_MISSING: "no Date",
    DATE_MALFORMED: "Date is not of the form `Fri, 15 Jan 2027 08:00:00 GMT`",
    CLOCK_SKEW: "Date is further from now than `clock_skew` allows",
    NOT_SIGNED: "a header, or the request line, must be signed and is not",
    NOT_ALLOWED: "a header is signed that the credential does not list",
    ABSENT: "a header is said to be signed, and is not there",
    AMBIGUOUS: "a signed header is there twice, or Envoy does not show it byte for byte",
    BAD_SIGNATURE: "another secret, or something else was signed than was sent",
    DIGEST_MISSING: "no digest of the body",
    DIGEST_MISMATCH: "the digest is that of another body",
    BODY_TOO_LARGE: "the body is larger than may be read to check it",
    BODY_INCOMPLETE: "Envoy showed a part of the body, or not byte for byte",
    BODY_NOT_SHOWN: "there is a body, but Envoy does not show bodies (`with_request_body`)",
}

_FIELD = re.compile(r'([A-Za-z0-9]+)="([^",]*)"')
_FIELDS = re.compile(rf"[ \t]*+{_FIELD.pattern}[ \t]*+(?:,[ \t]*+{_FIELD.pattern}[ \t]*+)*+")
#: Lists of names that are no longer, in characters, are remembered.
_MEMORABLE = 256
_VALUE = r'"([^",\x00-\x1f\x7f]*)"'
_USUAL = re.compile(
    rf"{PREFIX} keyId={_VALUE},algorithm={_VALUE},headers={_VALUE},signature={_VALUE}"
)
#: Starts where a name starts and gives nothing back: no header costs more than its length.
_LAX_FIELD = re.compile(r'(?<![A-Za-z0-9])([A-Za-z0-9]++)="(.*?)"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BREAK = re.compile(r"[\x00\r\n]")


class Refused(Exception):
    """Why a signature does not hold."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(Refused):
    """The body is larger than may be read to check it."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(BODY_TOO_LARGE)
        self.size, self.limit = size, limit


class Claim(Struct, frozen=True):
    """What a request says of its signature; `names` are those of the signed headers, in order and
    as they were written, `signed` the same in lower case. `date` is set where it travels beside
    the signature."""

    key_id: str
    algorithm: str
    signature: str
    names: tuple[str, ...]
    signed: frozenset[str]
    date: str | None = None

    def __repr__(self) -> str:
        return f"Claim({self.key_id!r}, {self.algorithm!r})"

    def signs(self, name: str) -> bool:
        return name.lower() in self.signed


def authorization(request: Request, start: str) -> str | None:
    """What follows `start` in the Authorization header, if it can be read in one way. Raises
    `Refused`, for a header that starts otherwise with `NOT_SIGNATURE`, whatever else it holds."""
    values = request.headers.get("authorization")
    if not values:
        return None
    if not any(value.startswith(start) for value in values):
        raise Refused(NOT_SIGNATURE)
    value = values[0]
    if len(values) > 1 or len(value) > places.MAX_CREDENTIAL or _CONTROL.search(value):
        raise Refused(MALFORMED)
    # Where Envoy does not send raw bytes it writes `!` for those that are not UTF-8.
    if not request.headers.exact and "!" in value:
        raise Refused(MALFORMED)
    return value.removeprefix(start)


def read(request: Request, *, tolerant: bool) -> Claim | None:
    """What `Authorization: Signature …` says. Raises `Refused`, also for another scheme's header.

    Strict: well-formed fields, each at most once, and no header twice among the signed. Tolerant,
    as APISIX: what is no field is passed over, and the last of a name counts.
    """
    usual = None if tolerant else _usual(request)
    if usual is not None:
        key_id, algorithm, listed, sent = usual.groups()
        return Claim(key_id, algorithm, sent, *_listed(listed, tolerant=False))
    rest = authorization(request, PREFIX if tolerant else f"{PREFIX} ")
    if rest is None:
        return None
    fields = dict(_lax_fields(rest)) if tolerant else _fields(rest)
    if not {"keyId", "algorithm", "signature"} <= set(fields):
        raise Refused(MALFORMED)
    names = _listed(fields.get("headers"), tolerant=tolerant)
    return Claim(fields["keyId"], fields["algorithm"], fields["signature"], *names)


def _usual(request: Request) -> re.Match[str] | None:
    """The fields as clients write them, found at once."""
    values = request.headers.get("authorization")
    if len(values) != 1 or not request.headers.exact or len(values[0]) > places.MAX_CREDENTIAL:
        return None
    return _USUAL.fullmatch(values[0])


#: Names as they were written, and in lower case.
_Names = tuple[tuple[str, ...], frozenset[str]]


def _listed(text: str | None, *, tolerant: bool) -> _Names:
    """The names of signed headers. A client lists the same ones each time."""
    few = text is not None and len(text) <= _MEMORABLE
    return _remembered_names(text, tolerant) if few else _names(text, tolerant)


def _names(text: str | None, tolerant: bool) -> _Names:
    names = bounded([] if text is None else text.split(" "), tolerant=tolerant)
    if not (tolerant or _plain(names)):
        raise Refused(MALFORMED)
    return names, frozenset(name.lower() for name in names)


_remembered_names = lru_cache(1024)(_names)


def bounded(names: list[str], *, tolerant: bool) -> tuple[str, ...]:
    """The names of signed headers, if they are few and none is there twice: each time it would cost
    what its value costs. Raises `Refused`."""
    if len(names) > MAX_NAMES:
        raise Refused(MALFORMED)
    spelled = [name.lower() for name in names if name]
    if tolerant:  # which are the same to `value_of`
        spelled = [name.replace("_", "-") for name in spelled]
    if len(set(spelled)) < len(spelled):
        raise Refused(MALFORMED)
    return tuple(names)


def _fields(text: str) -> dict[str, str]:
    if not _FIELDS.fullmatch(text):
        raise Refused(MALFORMED)
    found = _FIELD.findall(text)
    fields = dict(found)
    if len(fields) < len(found):
        raise Refused(MALFORMED)
    return fields


def _lax_fields(text: str) -> Iterator[tuple[str, str]]:
    for piece in text.split(","):
        found = _LAX_FIELD.search(piece)
        if found:
            yield found[1], found[2]


def _plain(names: tuple[str, ...]) -> bool:
    return bool(names) and all(NAME.fullmatch(name) for name in names)


# -- what is signed --------------------------------------------------------------------------------


def value_of(request: Request, name: str, *, tolerant: bool) -> str | None:
    """A header's value, by its name in any letter case, or None. Raises `Refused` where there are
    several: the upstream may read another one than was signed (tolerant: the first counts)."""
    name = name.lower()
    values = request.headers.get(name)
    if len(values) == 1 and name != "host" and request.headers.exact:
        if _BREAK.search(values[0]):
            raise Refused(AMBIGUOUS)
        return values[0]
    if name == "host" and request.host:
        values = (request.host, *values)
    if tolerant and not values:
        values = request.headers.get(name.replace("_", "-"))
    if not values:
        return None
    value = values[0]
    several = len(values) > 1 or (name == "host" and "," in value)
    if (several and not tolerant) or _BREAK.search(value) or not _certain(request, name, value):
        raise Refused(AMBIGUOUS)
    return value


def _certain(request: Request, name: str, value: str) -> bool:
    """Whether Envoy gave a value as it was sent. Otherwise a comma may be its join of two lines,
    but for the one of a date, and `!` any byte."""
    if request.headers.exact:
        return True
    return "!" not in value and ("," not in value or name == "date")


def target_of(request: Request) -> str:
    """The target, byte for byte. Raises `Refused`."""
    if not request.headers.exact and "!" in request.target:
        raise Refused(AMBIGUOUS)
    return request.target


def same(expected: str, sent: str, *, tolerant: bool = False) -> bool:
    """Whether two texts in base64 agree, in constant time. A signature has one spelling, unless
    tolerant: then padding and what follows it do not count."""
    if tolerant:
        expected, sent = expected.rstrip("="), sent.partition("=")[0]
    return hmac.compare_digest(raw(expected), raw(sent))


def whole_body(request: Request, limit: int) -> bytes:
    """All of the body. Raises `Refused` unless Envoy showed every byte of it, and `TooLarge`."""
    told = request.headers.first("content-length") or ""
    if told.isdecimal() and told.isascii() and len(told) <= _MAX_DIGITS and int(told) > limit:
        raise TooLarge(int(told), limit)
    body = request.body
    if body is None:
        if places.has_body(request):
            raise Refused(BODY_NOT_SHOWN)
        return b""
    if len(body.data) > limit:
        raise TooLarge(len(body.data), limit)
    if not body.complete or not body.exact:
        raise Refused(BODY_INCOMPLETE)
    return body.data
