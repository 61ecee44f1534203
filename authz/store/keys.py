"""Every key name in the store.

All records share one hash tag, so in a cluster they live in one slot: a change of many records is
one transaction, and one connection hears of every change. Nonces need neither and have no tag, so
they are spread over all slots; neither of these, nor what workers tell of themselves, is among the
names whose changes are heard of. A tenant's counters share a tag of their own, so that one script
can look at several. Parts that come from people are percent-encoded, so no name can pass for
another.
"""

from __future__ import annotations

import re
from functools import cached_property
from urllib.parse import quote

from msgspec import Struct

#: What `quote` leaves as it is, and asking it takes longer than to see so.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


class Keys(Struct, frozen=True, dict=True):
    """Names within one namespace."""

    namespace: str

    @cached_property
    def records(self) -> str:
        """What every record's name starts with, and no nonce's."""
        return f"{{{self.namespace}}}:"

    @property
    def epoch(self) -> str:
        """Present in every store that was applied to: its absence means that data was lost."""
        return f"{self.records}epoch"

    @property
    def config(self) -> str:
        return f"{self.records}config"

    @property
    def changed(self) -> str:
        """When the last change was written, by the store's clock: microseconds since 1970."""
        return f"{self.records}changed"

    @property
    def nothing(self) -> str:
        """A name among the records under which nothing is ever written: asking for it tells whether
        a server of a cluster holds the records, and holds all of them."""
        return f"{self.records}nothing"

    @property
    def consumers(self) -> str:
        """The set of all consumers' names, as `consumer` writes them."""
        return f"{self.records}consumers"

    def consumer(self, tenant: str, username: str) -> str:
        return f"{self._place('consumer', tenant)}{_part(username)}"

    def credential(self, tenant: str, kind: str, index: str) -> str:
        return f"{self._place('credential', tenant)}{kind}/{_part(index)}"

    def _place(self, what: str, tenant: str) -> str:
        return self._places[what] if not tenant else f"{self.records}{what}:{_part(tenant)}/"

    @cached_property
    def _places(self) -> dict[str, str]:
        """Where most have their place: without a tenant."""
        return {what: f"{self.records}{what}:/" for what in ("consumer", "credential")}

    def counter(self, tenant: str, name: str) -> str:
        """Of a limit. A tenant's are in one slot of a cluster, so that all that one request has to
        meet is one script's; `name` is percent-encoded where it has to be."""
        return f"{{{self.namespace}~limits/{_part(tenant)}}}:{name}"

    def nonce(self, tenant: str, nonce: str) -> str:
        return f"{self.namespace}~nonce:{_part(tenant)}/{_part(nonce)}"

    def used(self, tenant: str, username: str, identifier: str) -> str:
        """When a credential was used last: Unix seconds, to the minute. All in one slot of their
        own, so that many are read and written at once."""
        return f"{{{self.namespace}~used}}:{_part(tenant)}/{_part(username)}/{_part(identifier)}"

    @property
    def workers(self) -> str:
        """What each worker tells of itself."""
        return f"{self.namespace}~workers"


def _part(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe="", errors="surrogatepass")
