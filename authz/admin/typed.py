"""What people type: instants, and names of files."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from authz.admin.credentials import Refused


def instant(text: str | None, option: str = "--at") -> float:
    """Unix seconds of an RFC 3339 instant; None is now. Raises `Refused`."""
    if text is None:
        return time.time()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Refused(f"{option} {text}: expected an instant such as 2027-01-15T08:00:00Z")
    return found.timestamp()


def written(seconds: float) -> str:
    """An instant as people read it, in UTC; nothing for 0."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def content(path: Path) -> bytes:
    """What a file holds; `-` is standard input. Raises `Refused`."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
