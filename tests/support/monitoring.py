"""What a store is asked, command by command."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.support.valkey import Valkey

END = "the end of the watch"


class Reads:
    """Counts for each key how often it was read while the block ran; `commands` counts the
    commands that did so. To be looked at after the block."""

    def __init__(self, store: Valkey) -> None:
        self.keys: Counter[str] = Counter()
        self.commands = 0
        self._client = store.client()
        self._monitor = store.client().monitor()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.echo(END)
        self._thread.join(10)
        self._monitor.__exit__(kind, error, trace)

    def _watch(self) -> None:
        for heard in self._monitor.listen():
            command, _, arguments = heard["command"].partition(" ")
            if END in arguments:
                return
            if command.upper() == "MGET":
                names = [name for name in arguments.split(" ") if ":credential:" in name]
                names += [name for name in arguments.split(" ") if ":consumer:" in name]
                self.commands += bool(names)
                self.keys.update(names)
