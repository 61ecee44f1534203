"""What stands in place of a credential for a scheme that keeps none: it cannot be written down,
stored or issued."""

from __future__ import annotations

from typing import Any, NoReturn

from msgspec import Struct

from authz.contracts import Vault


class NoCredential(Struct, frozen=True):
    """Form and draft in one. Raises ValueError, which says where the keys stand instead."""

    def __post_init__(self) -> None:
        _refuse()

    def seal(self, vault: Vault, tenant: str, before: Any | None) -> NoReturn:
        _refuse()

    @classmethod
    def reopen(cls, index: str, form: Any, vault: Vault) -> NoReturn:
        _refuse()

    @classmethod
    def issue(cls, identifier: str) -> NoReturn:
        _refuse()


def _refuse() -> NoReturn:
    raise ValueError("its keys stand in the settings of a service or a route, not in a consumer")
