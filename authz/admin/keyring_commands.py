"""The group of commands `keyring`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from authz.admin import rekeying, ring_rotation
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused
from authz.admin.options import with_catalog, with_store
from authz.admin.ring_file import RingFile
from authz.admin.spans import span
from authz.admin.terminal import Row, err, out, print_rows, progress
from authz.config import Settings
from authz.secrets import create_keyring

keyring = typer.Typer(no_args_is_help=True, help="The keys that protect what is in the store.")

File = Annotated[
    Path | None, typer.Argument(help="The ring's file.", show_default="--keyring-file")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BY_HAND = (
    "the key ring is in AUTHZ_KEYRING, which no command can change. By hand: 1. put the line of a "
    "fresh ring (`authz keyring create`) with `:prepared` after it in front, everywhere, and "
    "restart the workers; 2. when `authz keyring status` says that all know it, take `:prepared` "
    "away, everywhere; 3. `authz keyring reseal`"
)


@keyring.command("create")
def keyring_create(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist yet.")],
) -> None:
    """Make a key ring of one fresh key, readable by its owner alone.

    Keep it apart from the store's backups: who has both has the keys. Without it the store's
    content is of no use, so keep a copy.
    """
    try:
        create_keyring(file)
    except FileExistsError:
        raise Refused(f"{file} exists already; a key ring is never overwritten") from None
    out.print(f"wrote {escape(str(file))}")


@keyring.command("rotate")
@with_store
def keyring_rotate(
    made: Settings,
    file: File = None,
    patience: Annotated[
        float,
        typer.Option(
            parser=span,
            metavar="SPAN",
            help="How long to wait for the workers.",
            show_default="2m",
        ),
    ] = 120.0,
    reseal: Annotated[
        bool, typer.Option(help="Then write every record anew with the new key.")
    ] = True,
) -> None:
    """Add a fresh key to the ring and let it write, while workers answer.

    First the key is there to be read; when every worker knows it, it writes; then the records are
    written anew. Interrupted at any point, run it again. The old key stays, to be read:
    `authz keyring status` tells what rests on it, `authz keyring retire` takes it out.
    """
    ring, store = _opened(made, file)
    told = ""
    with err.status("the workers read the new key") as status:

        def tell(known: int, of: int, missing: list[str]) -> None:
            nonlocal told
            waiting = f"; waiting for {', '.join(missing)}" if missing else ""
            text = escape(f"{known} of {of} workers know the new key{waiting}")
            status.update(text)
            if text != told and not err.is_terminal:
                err.print(text)
            told = text

        identifier = ring_rotation.rotate(ring, store, tell, patience)
    out.print(f"{identifier} writes from now on")
    if reseal:
        _reseal(store)


@keyring.command("reseal")
@with_catalog
def keyring_reseal(store: Catalog) -> None:
    """Write every record anew with the key that writes. Interrupted, it goes on where it was."""
    _reseal(store)


@keyring.command("status")
@with_catalog
def keyring_status(store: Catalog, as_json: Json = False) -> None:
    """What rests on which key, and which workers know it."""
    store.version()
    ring, found, workers = store.codec.ring, rekeying.resting(store), store.workers()
    marks = ring.marks
    known = {
        name: sum(told.keys.get(name) == mark for told in workers.values())
        for name, mark in marks.items()
    }
    states = {key.id: "prepared" if key.prepared else "reads" for key in ring.keys}
    states[ring.writer] = "writes"
    rows: list[Row] = [
        {
            "key": name,
            "state": states.get(name, "missing"),
            "records": found.sealed[name],
            "looked_up_by": found.sought[name],
            "workers": f"{known.get(name, 0)} of {len(workers)}",
        }
        for name in dict.fromkeys([*states, *found.sealed, *found.sought])
    ]
    print_rows(rows, as_json=as_json)


@keyring.command("retire")
@with_store
def keyring_retire(
    made: Settings,
    identifier: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    file: File = None,
) -> None:
    """Take a key out of the ring on which nothing rests any more."""
    ring, store = _opened(made, file)
    rekeying.retire(ring, store, identifier)
    out.print(f"{escape(identifier)} is out of {escape(str(ring.path))}")


def _opened(made: Settings, file: Path | None) -> tuple[RingFile, Catalog]:
    """The ring's file, and the store that was written with it."""
    if file is None and (os.environ.get("AUTHZ_KEYRING") or made.keyring_file is None):
        raise Refused(BY_HAND if os.environ.get("AUTHZ_KEYRING") else "name the key ring's file")
    ring = RingFile(file or Path(made.keyring_file or ""))
    return ring, Catalog(made.store.target, made.namespace, ring.ring())


def _reseal(store: Catalog) -> None:
    with progress(shown=err.is_terminal) as tell:
        written, broken = rekeying.reseal(
            store, lambda done, total, records: tell("writing anew", done, total, records)
        )
    out.print(f"{written} records written anew with {store.codec.ring.writer}")
    if broken:
        shown = ", ".join(broken[: rekeying.NAMED])
        raise Refused(f"{len(broken)} records do not open with this key ring: {shown}")
