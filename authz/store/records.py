"""What a record looks like in the store: JSON, sealed for its own key name.

A record that was altered, swapped with another or written without the key ring does not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from authz.access import ConsumerAccess
from authz.contracts import StoreDown
from authz.secrets import KeyRing, Recoverable, SealBroken
from authz.values import Consumer, Credential

CORRUPT = "record_corrupt"


class Locator(Struct, frozen=True, array_like=True):
    """Where a credential's record is: its kind and its look-up key."""

    kind: str
    index: str


class WorkerConsumer(Consumer, frozen=True, omit_defaults=True, gc=False):
    """A consumer as the store has it."""

    access: ConsumerAccess | None = None  # type: ignore[valid-type]


class ConsumerRecord(WorkerConsumer, frozen=True, omit_defaults=True):
    """A consumer with what only the commands need. `managed`: written from a document."""

    managed: bool = False
    credentials: dict[str, Locator] = field(default_factory=dict)


class CredentialRecord(Credential, frozen=True, omit_defaults=True):
    """A credential with what only the commands need."""

    managed: bool = False
    created_at: float = 0.0
    #: The id of the credential that it was rotated to.
    successor: str = ""

    def is_of(self, username: str, identifier: str) -> bool:
        """Whether this is the consumer's credential of that id. Where a large apply that moved a
        key was interrupted, it is another's by now."""
        return (self.consumer, self.id) == (username, identifier)


class Epoch(Struct, frozen=True):
    """The identity of the stored data, and the number of its changes."""

    id: str
    revision: int


class Codec:
    """Records to and from bytes. `forms` maps a scheme's kind to the type it stores."""

    def __init__(self, ring: KeyRing, forms: Mapping[str, type]) -> None:
        self.ring = ring
        self._forms = forms
        self._encoder = msgspec.json.Encoder(enc_hook=self._encrypt)

    def encode(self, key: str, record: Any) -> bytes:
        return self.ring.seal(key, self._encoder.encode(record))

    def _encrypt(self, value: Any) -> str:
        if isinstance(value, Recoverable):
            return self.ring.encrypt(value.value)
        raise NotImplementedError(type(value))

    def _decrypt(self, type_: type, text: Any) -> Any:
        if type_ is Recoverable and isinstance(text, str):
            return Recoverable(self.ring.decrypt(text))
        raise ValueError(f"not a {type_.__name__}")

    def decode(self, key: str, stored: bytes, type_: type[Any]) -> Any:
        """The record under a key. Raises `StoreDown(CORRUPT)` when it does not open."""
        try:
            payload = self.ring.unseal(key, stored)
            if not issubclass(type_, Credential):
                return msgspec.json.decode(payload, type=type_)
            return self._credential(payload, type_)
        except (SealBroken, ValueError, KeyError):
            raise StoreDown(CORRUPT) from None

    def _credential(self, payload: bytes, type_: type[Credential]) -> Credential:
        form = msgspec.json.decode(payload, type=_Form)
        record = msgspec.json.decode(payload, type=type_)
        made: Any = msgspec.json.decode(
            form.form, type=self._forms[form.kind], dec_hook=self._decrypt
        )
        return msgspec.structs.replace(record, form=made)


class _Form(Struct, frozen=True):
    kind: str
    form: Raw
