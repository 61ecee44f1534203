"""The interfaces: what a scheme is, and what it may ask the store.

A scheme is a frozen msgspec Struct. Its fields are a route's settings, its `form` is what the
store keeps of a credential, its `draft` is how an operator writes one down, and its
`authenticate` is the check. Three outcomes, never two: None = nothing here for me, a Proof =
proven, `Denied` = present and wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from authz.jose.key_set import KeySet
from authz.quotas import Quota, Spent
from authz.values import Consumer, Credential, Deny, Once, Place, Proof, Request

T = TypeVar("T")


class Fault(Exception):
    """What prevents a decision. Never an allow, never a denial: the edge answers 503.

    `reason` is one of a bounded set and goes into metrics and logs.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreDown(Fault):
    """The store could not answer. The reasons are in `authz.store.servers`; `detail` is for
    people: what the server or TLS said of it, and no secret."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail

    @property
    def told(self) -> str:
        """Reason and detail, for messages."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


class Overloaded(Fault):
    """There is more slow work waiting than will be done in time."""


class NotCached(Exception):
    """Memory alone cannot answer; ask again with a Lookup that may wait."""


class Lookups(Protocol):
    """The store as seen by one way of asking (from memory only, or waiting), for every tenant."""

    def within(self, tenant: str) -> Lookup:
        """For one decision."""
        ...


class Observer(Protocol):
    """Told what the store does, for metrics. Called on the threads of requests: be quick."""

    def lookups(self, kind: str, *, hit: bool) -> Callable[[], object]:
        """What to call for each record of this kind that was asked of the memory."""
        ...

    def store(self, seconds: float, error: str | None) -> None: ...

    def link(self, event: str) -> None:
        """`up`, `alive`, `change` or `lost`."""
        ...

    def refused(self, kind: str) -> None:
        """A record was not asked for: too many were asked for that are not there."""
        ...

    def limited(self, service: str, limit: str, result: str) -> None:
        """A limit was asked: `allowed`, `refused`, or `away` where the store did not answer."""
        ...

    def change_lag(self, seconds: float) -> None:
        """So long after it was written, what a change concerned was forgotten."""
        ...

    def key_set(self, error: str | None) -> None:
        """A remote key set was fetched (None), or why not."""
        ...


class Lookup(Protocol):
    """What a scheme may ask while a request waits. Raises `StoreDown` rather than guess."""

    @property
    def used(self) -> dict[int, Credential] | None:
        """Where credentials are noted that proved themselves, by what they are (`id`); None where
        nobody wants to know."""
        ...

    def find(self, kind: str, identifier: str) -> Credential | None:
        """The credential of this kind with this public identifier (a user name, a key id)."""
        ...

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        """The credential of this kind whose look-up key is itself a secret (an API key)."""
        ...

    def consumer(self, username: str) -> Consumer | None: ...

    def password_matches(self, password: str, hashed: str) -> bool:
        """Whether a password has this argon2id hash. A wrong one costs what a right one costs."""
        ...

    def claim(self, nonce: str, seconds: int) -> bool:
        """Record a nonce for so many seconds; False when it is already recorded."""
        ...

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        """Take one of each quota and use what may be used once, all of it or nothing. What was used
        before is told first: a replay takes from no quota, and what a quota refuses uses nothing
        up."""
        ...

    def holds(self, *records: Credential | Consumer) -> bool:
        """Whether records that were found are still what would be found, as far as memory alone
        can tell: False where the store would have to be asked."""
        ...

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        """A place for what follows from a record; both are forgotten at once. None where nothing
        is remembered of the record."""
        ...

    def recall(self, secret: str) -> Any | None:
        """What this process remembers of a secret, or None. It was true once: whoever recalls it
        asks again for what may have changed since."""
        ...

    def remember(self, secret: str, value: Any) -> None:
        """Keep a value under a keyed digest of a secret, for as long as there is room."""
        ...

    def key_set(self, url: str, kid: str | None) -> KeySet:
        """The keys that stand at a URL; `kid` is the one that is wanted, which may be new. Raises
        a `Fault` when there are none to be trusted."""
        ...


class Vault(Protocol):
    """What a draft may ask while it is written to the store."""

    def digest(self, kind: str, tenant: str, secret: str) -> str:
        """The look-up key of a secret under the newest key of the ring."""
        ...

    def is_digest(self, text: str) -> bool:
        """Whether `text` is a look-up key under some key of the ring."""
        ...

    def hash_password(self, password: str) -> str: ...

    def password_matches(self, password: str, hashed: str) -> bool: ...

    def encrypt(self, secret: bytes) -> str:
        """A secret that must be had back, as text that is of no use without the key ring."""
        ...

    def decrypt(self, text: str) -> bytes:
        """What was encrypted. Raises ValueError for what no key of the ring opens."""
        ...


class Draft(Protocol):
    """A credential as an operator writes it. Its fields may be `Secret`s, resolved beforehand."""

    def seal(self, vault: Vault, tenant: str, before: Any | None) -> tuple[str, Any]:
        """(look-up key, form) to store. `before` is the stored form of the same credential, so
        that what did not change is not written again. Raises ValueError when it is unfit."""
        ...

    @classmethod
    def reopen(cls, index: str, form: Any, vault: Vault) -> dict[str, Any]:
        """A stored credential as a document may hold it: no usable secret, fit to be applied
        again."""
        ...

    @classmethod
    def issue(cls, identifier: str) -> tuple[Any, dict[str, str]]:
        """A draft with a fresh secret, and what to show its owner once."""
        ...


class Scheme(Protocol):
    """One way of proving who is calling. See the module's text."""

    kind: ClassVar[str]
    form: ClassVar[type]
    draft: ClassVar[type]
    # Whether the look-up key is a public identifier, such as a user name; else it is a secret.
    public_identifier: ClassVar[bool]
    # Every reason that it may give for a refusal, and what it means.
    reasons: ClassVar[dict[str, str]]

    @property
    def reads_body(self) -> bool:
        """Whether Envoy has to show it request bodies."""
        ...

    @property
    def tells(self) -> tuple[str, ...]:
        """Headers, in lower case, that it may tell the upstream: a client's own are removed."""
        ...

    @property
    def tells_query(self) -> tuple[str, ...]:
        """The same for query parameters."""
        ...

    @property
    def anonymous_consumer(self) -> str | None: ...

    @property
    def tolerant(self) -> bool:
        """Whether a wrong credential, too, falls back to the anonymous consumer."""
        ...

    def missing(self) -> Deny:
        """The answer when nothing was sent."""
        ...

    def invalid(self) -> Deny:
        """The answer to a credential that does not hold."""
        ...

    def forbidden(self, reason: str, request: Request) -> Deny:
        """The answer to a caller that is known, and may not do this."""
        ...

    def throttled(self, reason: str, by: str, status: int, request: Request) -> Deny:
        """The answer to a caller that is known, and calls too often for a limit by `by`, which has
        this status where the scheme's vendor has no other."""
        ...

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        """Check what was sent. Raises `Denied`; `Foreign` when it is another scheme's."""
        ...

    def evidence(self, request: Request) -> str | None:
        """The one text of a request on which alone, beside records and time, an allow of this
        scheme rests, with all that is hidden; None when it rests on more."""
        ...

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        """What an operator may know of what was sent, as (what, text): never a secret."""
        ...

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        """What the upstream must not see. `proven` is false for the anonymous consumer."""
        ...
