"""The store as a document again, without secrets, fit to be applied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import yaml

from authz.admin.catalog import Snapshot
from authz.contracts import Vault
from authz.schemes import SCHEMES
from authz.store.records import ConsumerRecord, CredentialRecord


def export(snapshot: Snapshot, vault: Vault) -> str:
    """YAML: keys as `{digest: …}`, passwords as `{hash: …}`, what must be recoverable as
    `{encrypted: …}`, all in a fixed order."""
    document = {
        "profile": snapshot.config.get("profile", "api7"),
        "services": snapshot.config.get("services", []),
        "consumers": [
            _consumer(consumer, snapshot, vault)
            for _, consumer in sorted(snapshot.consumers.items())
        ],
    }
    return yaml.safe_dump(_said(document), sort_keys=False, allow_unicode=True)


def _consumer(consumer: ConsumerRecord, snapshot: Snapshot, vault: Vault) -> dict[str, Any]:
    owner = (consumer.tenant, consumer.username)
    entry = {
        "username": consumer.username,
        "tenant": consumer.tenant,
        "groups": list(consumer.groups),
        "labels": consumer.labels,
        "headers": consumer.headers,
        "disabled": consumer.disabled,
        "not_before": _instant(consumer.not_before),
        "expires_at": _instant(consumer.expires_at),
        "credentials": [
            _credential(snapshot.credentials[*owner, identifier], at.index, vault)
            for identifier, at in consumer.credentials.items()
            if (*owner, identifier) in snapshot.credentials
        ],
    }
    return _said(entry)


def _credential(record: CredentialRecord, index: str, vault: Vault) -> dict[str, Any]:
    entry = {
        "id": record.id if record.named else None,
        "not_before": _instant(record.not_before),
        "expires_at": _instant(record.expires_at),
        "disabled": record.disabled,
        record.kind: SCHEMES[record.kind].draft.reopen(index, record.form, vault),
    }
    return _said(entry)


def _instant(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def _said(entry: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing."""
    return {key: value for key, value in entry.items() if value not in (None, False, "", [], {})}
