"""Examples of what a gateway document allows and denies, as its users write them beside it.

    document: gateway.yaml             # relative to this file
    at: 2026-06-01T12:00:00Z           # the clock; now, unless it is given here or in an example
    examples:
      - name: alice may read orders
        request: GET https://api.example.com/orders/1
        as: alice/primary              # signed with this credential of the document
        expect: allow alice
      - name: without a key nobody may
        request: GET https://api.example.com/orders/1
        expect: deny 401 missing_key

Reading is strict; of what is expected only what is written is compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from authz import reasons
from authz.entries import Instant
from authz.plain import DocumentError, place_first, read_text, require_storable

_STATUS = re.compile(r"[1-5][0-9]{2}")
_REASON = re.compile(r"[a-z][a-z0-9_]*")
Names = Annotated[list[str], Meta(min_length=1)]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What all parts share: no field that is not known."""


class Asked(_Strict, frozen=True):
    """A request. `url` may be a path alone; `address` is the client's; `context` is what Envoy's
    context_extensions say."""

    url: Annotated[str, Meta(min_length=1)]
    method: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_-]*$")] = "GET"
    headers: dict[str, str | list[str]] = {}
    body: str | None = None
    context: dict[str, str] = {}
    address: str = ""

    def __repr__(self) -> str:  # headers may be credentials
        return f"Asked({self.method})"


class Caller(_Strict, frozen=True):
    """Whose credential to attach. `claims` (beside those that it needs) and `lifetime`, in
    seconds, are for tokens; `signed_headers` for signatures, beside those that the route wants."""

    consumer: str
    credential: str | None = None
    claims: dict[str, Any] = {}
    lifetime: float = 300.0
    signed_headers: list[str] = []


class Allowed(_Strict, frozen=True):
    """Who calls, and what the upstream sees: `path` with its query, headers with their values,
    headers that it must be `without`."""

    consumer: str | UnsetType = UNSET
    credential: str | UnsetType | None = UNSET
    scheme: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    headers: dict[str, str] = {}
    without: list[str] = []


class Refused(_Strict, frozen=True):
    """What the client is told, and the operator's `reason`. `message` is the body's."""

    status: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    scheme: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    challenge: str | list[str] | UnsetType = UNSET
    headers: dict[str, str] = {}


class Answered(_Strict, frozen=True):
    """An answer of authz itself."""

    status: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Faulted(_Strict, frozen=True):
    """No decision: 503."""

    reason: str | UnsetType = UNSET


class Expected(_Strict, frozen=True):
    """One of the four outcomes."""

    allow: Allowed | UnsetType = UNSET
    deny: Refused | UnsetType = UNSET
    answer: Answered | UnsetType = UNSET
    fault: Faulted | UnsetType = UNSET

    def __post_init__(self) -> None:
        if sum(getattr(self, word) is not UNSET for word in WORDS) != 1:
            raise ValueError(f"expected one of {', '.join(WORDS)}")

    @property
    def word(self) -> str:
        return next(word for word in WORDS if getattr(self, word) is not UNSET)


WORDS = ("allow", "deny", "answer", "fault")
_SHORT = "allow, allow CONSUMER[/CREDENTIAL], or deny, answer or fault with [STATUS] [REASON]"


class Example(_Strict, frozen=True, rename={"callers": "as"}):
    """One request, and what must become of it. `again` is what must become of the same request
    when it is sent a second time; then nonces that it used up are used up."""

    name: Annotated[str, Meta(min_length=1)]
    request: str | Asked
    expect: str | Expected
    callers: str | Caller | list[str | Caller] = []
    at: Instant | None = None
    again: str | Expected | UnsetType = UNSET


class Examples(_Strict, frozen=True):
    """A file of them. `document` names one file, or several that are one together."""

    examples: Annotated[list[Example], Meta(min_length=1)]
    document: str | Names | None = None
    at: Instant | None = None

    def documents(self, beside: Path) -> list[Path]:
        """The files; their names are relative to the file of the examples."""
        named = [self.document] if isinstance(self.document, str) else self.document or []
        return [beside.parent / name for name in named]


def read(path: Path) -> Examples:
    """The examples of a file, all of them understood. Raises `DocumentError` with the place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    try:
        plain = read_text(text)
        require_storable(plain)
        found = msgspec.convert(plain, Examples)
        return replace(found, examples=_understood(found.examples))
    except msgspec.ValidationError as error:
        raise DocumentError(f"{path}: {place_first(str(error), 'file')}") from None
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None


def _understood(examples: Sequence[Example]) -> list[Example]:
    """With short forms written out."""
    made = []
    for number, example in enumerate(examples):
        at = f"examples[{number}]"
        again = example.again
        made.append(
            replace(
                example,
                expect=_long(example.expect, f"{at}.expect"),
                again=again if again is UNSET else _long(again, f"{at}.again"),
                callers=_callers(example.callers),
            )
        )
    return made


def _long(written: str | Expected, place: str) -> Expected:
    made = _written_out(written, place) if isinstance(written, str) else written
    reason = getattr(getattr(made, made.word), "reason", UNSET)
    if reason is not UNSET and reasons.find(reason) is None:
        known = [each.name for _, section in reasons.SECTIONS for each in section]
        known += [each.name for each in reasons.of_schemes()]
        near = get_close_matches(reason, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`authz reasons` lists all of them"
        raise DocumentError(f"{place}: no decision has the reason {reason!r}: {hint}")
    return made


def _written_out(written: str, place: str) -> Expected:
    word, _, rest = written.strip().partition(" ")
    rest = rest.strip()
    if word == "allow":
        return Expected(allow=_allowed(rest))
    words = rest.split()
    status = int(words.pop(0)) if words and _STATUS.fullmatch(words[0]) else UNSET
    reason = words.pop(0) if words and _REASON.fullmatch(words[0]) else UNSET
    if words or word not in WORDS or (word == "fault" and status is not UNSET):
        raise DocumentError(f"{place}: {written!r} is not understood; expected {_SHORT}")
    if word == "fault":
        return Expected(fault=Faulted(reason=reason))
    if word == "answer":
        return Expected(answer=Answered(status=status, reason=reason))
    return Expected(deny=Refused(status=status, reason=reason))


def _allowed(name: str) -> Allowed:
    consumer, slash, credential = name.rpartition("/")
    if not slash:
        return Allowed(consumer=name or UNSET)
    return Allowed(consumer=consumer, credential=credential)


def _callers(written: str | Caller | list[str | Caller]) -> list[str | Caller]:
    many = written if isinstance(written, list) else [written]
    return [_caller(each) if isinstance(each, str) else each for each in many]


def _caller(name: str) -> Caller:
    consumer, slash, credential = name.rpartition("/")
    return Caller(consumer=consumer, credential=credential) if slash else Caller(consumer=name)
