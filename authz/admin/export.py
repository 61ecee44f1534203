"""The store as a document again, without secrets, fit to be applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import yaml

from authz.admin.catalog import Account, Catalog, Held
from authz.admin.listing import Listing
from authz.admin.policy import POLICY
from authz.admin.spool import batches
from authz.contracts import Vault
from authz.schemes import SCHEMES
from authz.values import RELEASE, Grant

Format = Literal["yaml", "jsonl"]
#: Consumers written at a time.
BATCH = 500


def export(
    catalog: Catalog, format_: Format = "yaml", progress: Callable[[int, int], None] | None = None
) -> Iterator[str]:
    """A document in pieces: keys as `{digest: …}`, passwords as `{hash: …}`, what must be
    recoverable as `{encrypted: …}`, all in a fixed order. `progress` is told how many consumers of
    how many are done."""
    config = catalog.policy()
    head: dict[str, Any] = {
        "profile": config.get("profile", "api7"),
        "services": config.get("services", []),
        **{name: config[name] for name in POLICY if name in config},
    }
    listing = Listing(catalog)
    entries = (_consumer(account, catalog.vault) for account in listing.accounts())
    yield from _WRITERS[format_](head, _told(entries, listing.size, progress))


def _told(
    entries: Iterable[Any], size: int, progress: Callable[[int, int], None] | None
) -> Iterator[list[Any]]:
    done = 0
    for batch in batches(entries, BATCH):
        yield batch
        done += len(batch)
        if progress is not None:
            progress(done, size)


def _yaml(head: dict[str, Any], consumers: Iterable[list[Any]]) -> Iterator[str]:
    yield _dumped(_said(head))
    for number, batch in enumerate(consumers):
        yield ("" if number else "consumers:\n") + _dumped(batch)


def _dumped(plain: Any) -> str:
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.CSafeDumper):
    """Pieces of one text: nothing in one can refer to another."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _jsonl(head: dict[str, Any], consumers: Iterable[list[Any]]) -> Iterator[str]:
    yield _line(head)
    for batch in consumers:
        yield "".join(map(_line, batch))


def _line(plain: Any) -> str:
    return msgspec.json.encode(plain).decode() + "\n"


_WRITERS: dict[Format, Callable[[dict[str, Any], Iterable[list[Any]]], Iterator[str]]] = {
    "yaml": _yaml,
    "jsonl": _jsonl,
}


def _consumer(account: Account, vault: Vault) -> dict[str, Any]:
    consumer = account.consumer
    entry = {
        "username": consumer.username,
        "tenant": consumer.tenant,
        "groups": list(consumer.groups),
        "labels": consumer.labels,
        "headers": consumer.headers,
        "disabled": consumer.disabled,
        "not_before": _instant(consumer.not_before),
        "expires_at": _instant(consumer.expires_at),
        "grants": [_grant(grant) for grant in consumer.grants if grant.state == "approved"],
        "access": msgspec.to_builtins(consumer.access),
        "credentials": [_credential(held, vault) for held in account.credentials.values()],
    }
    return _said(entry)


def _grant(grant: Grant) -> dict[str, Any]:
    entry = {
        "service": grant.service,
        "route": grant.route or None,
        "stage": grant.stage if grant.stage != RELEASE else None,
        "not_before": _instant(grant.not_before),
        "not_after": _instant(grant.not_after),
    }
    return _said(entry)


def _credential(held: Held, vault: Vault) -> dict[str, Any]:
    at, record = held
    entry = {
        "id": record.id if record.named else None,
        "not_before": _instant(record.not_before),
        "expires_at": _instant(record.expires_at),
        "disabled": record.disabled,
        record.kind: SCHEMES[record.kind].draft.reopen(at.index, record.form, vault),
    }
    return _said(entry)


def _instant(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def _said(entry: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing."""
    return {key: value for key, value in entry.items() if value not in (None, False, "", [], {})}
