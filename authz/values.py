"""The nouns: a request as we read it, who is calling, and what we answer.

Everything here is a frozen value, and none is part of a cycle, so the collector of cycles is not
told of those that are made for each request. Text that came from the wire is `str` decoded as UTF-8
with `surrogateescape`, so `raw()` gives back the very bytes that the client sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

#: Where a call goes that names no stage.
RELEASE = "RELEASE"
EVERY_STAGE = "*"
GrantState = Literal["approved", "requested", "refused"]

_NONE: dict[str, tuple[str, ...]] = {}
_UNUSUAL = re.compile(r"[^a-z0-9\n-]")
_SEPARATOR = re.compile(r"[\x00-/:-`{-\x7f]")


def raw(text: str) -> bytes:
    """The bytes that a wire text was decoded from."""
    return text.encode("utf-8", "surrogateescape")


def fold(name: str) -> str:
    """A name as CGI-like backends may see it: `X_Consumer.Id` and `x-consumer-id` agree. Letters of
    other scripts stay letters."""
    return _SEPARATOR.sub("-", name.lower())


def has_our_words(text: str) -> bool:
    """Whether one of the words is in it that are in our headers' names."""
    return "consumer" in text or "credential" in text


class Headers:
    """Request headers: lower-case names, each with its values in the order of arrival.

    `exact` says whether the values are as sent: separate lines kept apart and every byte kept
    (Envoy's `encode_raw_headers`). Without it duplicates arrive joined by `,` and bytes that are
    not UTF-8 arrive as `!`, so such a value may stand for several others.
    """

    __slots__ = ("_again", "_lines", "exact", "may_name_callers")

    def __init__(self, lines: Iterable[tuple[str, str]] = (), *, exact: bool = True) -> None:
        found: dict[str, list[str]] = {}
        for name, value in lines:
            found.setdefault(name.lower(), []).append(value)
        self._fill({name: tuple(values) for name, values in found.items()}, exact=exact)

    def _fill(self, lines: dict[str, tuple[str, ...]], *, exact: bool) -> None:
        self.exact = exact
        self._lines = {name: values[0] for name, values in lines.items()}
        self._again = {name: values for name, values in lines.items() if len(values) > 1}
        #: False where no name has a word of ours in it, as in most requests.
        self.may_name_callers = has_our_words("\n".join(lines))

    @classmethod
    def of(cls, lines: dict[str, tuple[str, ...]], *, exact: bool) -> Headers:
        """From values by lower-case name; none without a value."""
        made = cls.__new__(cls)
        made._fill(lines, exact=exact)
        return made

    @classmethod
    def single(cls, lines: dict[str, str], *, may_name_callers: bool) -> Headers:
        """From exact values by lower-case name, each there once."""
        made = cls.__new__(cls)
        made.exact = True
        made._lines = lines
        made._again = _NONE
        made.may_name_callers = may_name_callers
        return made

    def get(self, name: str) -> tuple[str, ...]:
        """All values of a header given in lower case; empty when it is absent."""
        if name in self._again:
            return self._again[name]
        value = self._lines.get(name)
        return () if value is None else (value,)

    def first(self, name: str) -> str | None:
        return self._lines.get(name)

    @property
    def are_folded(self) -> bool:
        """Whether every name is the one that `fold` makes of it."""
        return _UNUSUAL.search("\n".join(self._lines)) is None

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def __repr__(self) -> str:  # values may be credentials
        return f"Headers({', '.join(self._lines)})"


class Body(Struct, frozen=True, gc=False):
    """What Envoy buffered of the body.

    `complete`: nothing is missing. `exact`: bytes as sent (`pack_as_bytes`).
    """

    data: bytes
    complete: bool
    exact: bool

    def __repr__(self) -> str:  # it may hold a credential
        return f"Body({len(self.data)} bytes)"


class Request(Struct, frozen=True, gc=False):
    """One HTTP request, as Envoy described it. `at` is when it reached us, in Unix seconds.

    `sent` is the target as on the request line, where path and query do not tell: a `?` with
    nothing after it.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = Headers()
    host: str = ""
    context: Mapping[str, str] = {}
    body: Body | None = None
    address: str = ""
    id: str = ""
    at: float = 0.0
    sent: str = ""

    def __repr__(self) -> str:  # the query may hold a credential
        return f"Request({self.method} {self.path})"

    @property
    def target(self) -> str:
        """Path and query, as on the request line."""
        return self.sent or (f"{self.path}?{self.query}" if self.query else self.path)


class Deny(Struct, frozen=True):
    """A refusal: a stable machine-readable reason, and what the client is told.

    `scheme` is the kind of the scheme that refused; empty where none was asked. `headers` go to the
    client beside the challenges. `body`, when not None, is sent as plain text in place of the JSON
    that holds the message. `limit` names the one that was used up, for the operator.
    """

    reason: str
    status: int
    message: str
    challenges: tuple[str, ...] = ()
    scheme: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    limit: str = ""

    def because(self, reason: str) -> Deny:
        """The same answer to the client, with a closer reason for the operator."""
        return replace(self, reason=reason)

    def offering(self, challenges: tuple[str, ...]) -> Deny:
        """The same refusal with these challenges."""
        return replace(self, challenges=challenges)


class Denied(Exception):
    """Raised wherever the path of a request ends in a refusal."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.reason)
        self.deny = deny


class Grant(Struct, frozen=True, omit_defaults=True, gc=False):
    """That somebody may call a service, or one route of it, in a stage (`*`: in every one), within
    a time. Only an approved one lets anybody in: others were asked for, or refused.

    `managed`: written from a document; `changed_at` is when it came to be as it is, and `note` what
    was said then.
    """

    service: str
    route: str = ""
    stage: str = RELEASE
    not_before: float = 0.0
    not_after: float = 0.0
    state: GrantState = "approved"
    note: str = ""
    changed_at: float = 0.0
    managed: bool = False


class Consumer(Struct, frozen=True, omit_defaults=True, gc=False):
    """Who may call. Instants are Unix seconds; 0 means no bound. `access` is what its calls have to
    meet wherever they go, as `authz.access` has it."""

    username: str
    tenant: str = ""
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    headers: dict[str, str] = {}
    disabled: bool = False
    not_before: float = 0.0
    expires_at: float = 0.0
    grants: tuple[Grant, ...] = ()
    access: Any = None


class Credential(Struct, frozen=True, omit_defaults=True, gc=False):
    """One way in for one consumer. `form` is what the scheme stores; it holds no usable secret.

    `named` is false for a credential without an id of its own (APISIX: embedded in the consumer);
    its id is then not told upstream.
    """

    consumer: str
    id: str
    kind: str
    form: Any
    tenant: str = ""
    named: bool = True
    disabled: bool = False
    not_before: float = 0.0
    expires_at: float = 0.0


class Once(Struct, frozen=True):
    """Something that may be used once within so many seconds, and the answer to a second use."""

    nonce: str
    seconds: int
    refusal: Deny


class Proof(Struct, frozen=True, gc=False):
    """A credential that was proven, and what it brings along.

    `headers` (names in lower case, any text) and `query` are told to the upstream, `claims` to
    Envoy's other filters (None: to nobody). `once` is spent when all else holds. `until` is when
    the same evidence proves nothing any more, in Unix seconds, if nothing else changes.
    """

    credential: Credential
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    claims: Mapping[str, Any] | None = None
    once: Once | None = None
    until: float = inf


class Identity(Struct, frozen=True, gc=False):
    """A proven caller. `credential` is None for the anonymous consumer."""

    consumer: Consumer
    credential: Credential | None
    scheme: str


class Place(Struct, frozen=True):
    """Where a credential sits. None switches a position off; header names are in lower case.

    `body` names a member of a JSON object or a field of a form. `tolerant` means to the letter and
    first come, first read, as APISIX does; otherwise copies are a refusal, and hiding folds case
    and separators.
    """

    header: str | None = None
    query: str | None = None
    cookie: str | None = None
    tolerant: bool = False
    body: str | None = None


class Edits(Struct, frozen=True, gc=False):
    """What must change in the request so that a credential does not reach the upstream.

    `remove` holds header names in lower case; `cookie` and `target`, when not None, replace the
    Cookie header and the path with its query.
    """

    remove: tuple[str, ...] = ()
    cookie: str | None = None
    target: str | None = None


class Allow(Struct, frozen=True, gc=False):
    """Let the request pass, with these headers set and removed; `claims` go to Envoy's filters."""

    identity: Identity
    set: tuple[tuple[str, str], ...]
    remove: tuple[str, ...]
    claims: Mapping[str, Any] | None = None


class Answer(Struct, frozen=True):
    """Answer here and now: the request goes no further, and nothing was refused.

    `body` is plain text. `reason` is stable, as a refusal's is.
    """

    reason: str
    status: int
    body: str = ""

    def __repr__(self) -> str:  # the body may be a credential
        return f"Answer({self.reason})"


Decision = Allow | Deny | Answer
