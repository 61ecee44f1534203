"""When credentials were used last, at the price of one dict entry a proof.

Whoever decides notes the record; once a second the notes are gathered, and every minute or so they
are written, each for itself. What is lost on the way (a store that is away, a worker that dies,
more credentials in use than are kept) is lost: it is an indication, and nothing rests on it.
"""

from __future__ import annotations

from collections.abc import Callable

from authz.contracts import StoreDown
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.values import Credential

#: Credentials of which one worker knows, between two writes, that they were used.
MOST = 10_000
#: Written in one round trip.
CHUNK = 500
#: Seconds after which a note goes by itself: what was not used for so long was used never.
KEPT = 400 * 86_400
MINUTE = 60


class Used:
    """`seen` is written by any thread, a record by what it is (`id`); the rest is one thread's."""

    def __init__(self, keys: Keys, clock: Callable[[], float]) -> None:
        self.seen: dict[int, Credential] = {}
        self._keys = keys
        self._clock = clock
        self._pending: dict[str, bytes] = {}

    def gather(self) -> None:
        """Take down what was seen since the last time, and let go of the records."""
        minute = b"%d" % (self._clock() // MINUTE * MINUTE)
        while self.seen:
            _, credential = self.seen.popitem()
            name = self._keys.used(credential.tenant, credential.consumer, credential.id)
            if name in self._pending or len(self._pending) < MOST:
                self._pending[name] = minute

    def flush(self, store: RedisStore) -> None:
        """Write what was gathered. What cannot be written is dropped."""
        notes, self._pending = list(self._pending.items()), {}
        try:
            for start in range(0, len(notes), CHUNK):
                store.note(dict(notes[start : start + CHUNK]), KEPT)
        except StoreDown:
            pass
