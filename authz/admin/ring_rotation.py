"""A new key for the ring, in two phases: first every worker knows it, then it writes.

Workers reread their file by themselves. Nothing is written with a key before all of them know it,
so none ever meets a record that it cannot open.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused
from authz.admin.ring_file import RingFile

#: Seconds that a worker may need to reread its file and say so, or to say that it is there at all.
SETTLE = 3.0
#: Seconds between two looks at what the workers know.
LOOK = 0.25

#: Told how many workers of how many know the key, and what is known of the others.
Tell = Callable[[int, int, list[str]], None]


def rotate(file: RingFile, catalog: Catalog, tell: Tell, patience: float) -> str:
    """Both phases; the id of the key that writes now. `catalog` has it then, too. Raises `Refused`
    when some worker does not know it in time: then the key stays prepared, and a second run goes
    on from there."""
    catalog.version()  # of this ring's store
    with file.alone():
        identifier = file.prepare()
        mark = file.ring().marks[identifier]
        _wait(catalog, identifier, mark, tell, patience, file)
        file.promote(identifier)
        catalog.codec.ring.adopt(file.ring())
    return identifier


def _wait(
    catalog: Catalog, identifier: str, mark: str, tell: Tell, patience: float, file: RingFile
) -> None:
    started = time.monotonic()
    while True:
        workers = catalog.workers()
        others = {n: told for n, told in workers.items() if told.keys.get(identifier) != mark}
        missing = [_hint(name, watched=told.watched) for name, told in sorted(others.items())]
        tell(len(workers) - len(others), len(workers), missing)
        waited = time.monotonic() - started
        if not others and waited >= SETTLE:
            return
        if others and waited >= max(patience, SETTLE):
            raise Refused(
                f"{identifier} is in {file.path} and does not write yet, as {len(others)} of "
                f"{len(workers)} workers do not know it: {'; '.join(missing)}. Run the command "
                "again to go on"
            )
        time.sleep(LOOK)


def _hint(name: str, *, watched: bool) -> str:
    mend = "give its host the same file" if watched else "its ring is in AUTHZ_KEYRING: add the key"
    return f"{name.rpartition(' ')[0]} ({mend})"
