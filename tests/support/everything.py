"""All that a store holds, in one value, for tests that compare."""

from __future__ import annotations

from typing import Any

from authz.admin.catalog import Account, Catalog
from authz.admin.export import Format, export
from authz.admin.listing import Listing
from authz.store.records import CredentialRecord


def accounts(catalog: Catalog) -> dict[tuple[str, str], Account]:
    """By tenant and username."""
    found = Listing(catalog).accounts()
    return {(account.consumer.tenant, account.consumer.username): account for account in found}


def credentials(catalog: Catalog) -> dict[tuple[str, str, str], CredentialRecord]:
    """By tenant, username and id."""
    return {
        (*name, identifier): record
        for name, account in accounts(catalog).items()
        for identifier, (_, record) in account.credentials.items()
    }


def exported(catalog: Catalog, format_: Format = "yaml") -> str:
    """What `authz export` prints."""
    return "".join(export(catalog, format_))


def forms(catalog: Catalog) -> dict[Any, Any]:
    """What is stored of each credential."""
    return {name: record.form for name, record in credentials(catalog).items()}
