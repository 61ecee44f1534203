"""The key ring's file as commands change it: one at a time, and whole, so that whoever reads it
sees the ring before or after."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from authz.admin.credentials import Refused
from authz.secrets import HEADLINE, PREPARED, KeyRing, entries, new_entry, read_keyring


class RingFile:
    """One file. Every method raises `KeyRingError`, and `Refused` where it cannot be written."""

    def __init__(self, path: Path) -> None:
        #: The file itself: of a link, what it leads to is replaced.
        self.path = path.resolve()

    def ring(self) -> KeyRing:
        return read_keyring(self.path, None)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other command on this machine changes a ring beside it."""
        self.ring()
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Refused(f"another command is changing {self.path}; let it finish") from None
        finally:
            os.close(directory)

    def prepare(self) -> str:
        """Add a key that does not write yet, unless there is one; returns its id."""
        waiting = [key.id for key in self.ring().keys if key.prepared]
        if waiting:
            return waiting[0]
        entry = new_entry()
        self._rewrite(lambda keys: [entry + PREPARED, *keys])
        return entry.partition(":")[0]

    def promote(self, identifier: str) -> None:
        """From now on, this prepared key writes."""

        def edit(keys: list[str]) -> list[str]:
            mine = [key for key in keys if key.startswith(f"{identifier}:")]
            others = [key for key in keys if key not in mine]
            return [mine[0].removesuffix(PREPARED), *others]

        self._rewrite(edit)

    def remove(self, identifier: str) -> str:
        """Take a key out; returns the whole text from before, for `restore`."""
        before = self.path.read_text()
        self._rewrite(lambda keys: [k for k in keys if not k.startswith(f"{identifier}:")])
        return before

    def restore(self, text: str) -> None:
        self._write(text)

    def _rewrite(self, edit: Callable[[list[str]], list[str]]) -> None:
        """One key a line; of comments, those stay that are lines of their own."""
        text = self.path.read_text()
        comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
        keys = edit([content for _, content in entries(text)])
        made = "\n".join([*(comments or [HEADLINE]), *keys]) + "\n"
        KeyRing.parse(made)
        self._write(made)

    def _write(self, text: str) -> None:
        """In its place, with its owner and its rights, and on the disk before it is."""
        before = self.path.stat()
        temporary = ""
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".ring-", dir=self.path.parent)
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, before.st_mode & 0o777)
                os.fchown(descriptor, before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self.path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise Refused(
                f"{self.path} cannot be replaced ({error.strerror}): its directory must be "
                "writable, and the file yours; a file that is mounted by itself cannot change"
            ) from None
