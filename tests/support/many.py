"""Consumers by the thousand, and what a store was asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.support.valkey import Valkey

POLICY = "services: [{id: api, auth: {key-auth: {}}}]\n"


def key_of(number: int) -> str:
    return f"key-of-{number:07}-and-some-more"


def write_lines(
    path: Path, numbers: range, key: Callable[[int], str] = key_of, **more: object
) -> Path:
    """A file of JSON Lines: `user-0000001` with a key under the id `k`."""
    entries = (
        {
            "username": f"user-{number:07}",
            "credentials": [{"id": "k", "key-auth": {"key": key(number)}}],
            **more,
        }
        for number in numbers
    )
    path.write_bytes(msgspec.json.Encoder().encode_lines(entries))
    return path


class Asked:
    """How often each command was sent, and how many bytes the store sent back."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.bytes = 0

    @property
    def total(self) -> int:
        return sum(self.calls.values())


@contextmanager
def asked(store: Valkey) -> Iterator[Asked]:
    """What the store is asked meanwhile, by whomever."""
    found = Asked()
    client = store.client()
    client.ping()
    client.config_resetstat()
    before = client.info("stats")["total_net_output_bytes"]
    yield found
    found.bytes = client.info("stats")["total_net_output_bytes"] - before
    for name, stats in client.info("commandstats").items():
        command = name.removeprefix("cmdstat_")
        if not command.startswith(("info", "config", "client", "hello", "select")):
            found.calls[command] = stats["calls"]
    client.close()
