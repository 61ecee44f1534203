"""Run a command that ends when its parent does: `lifeline.py PARENT_PID COMMAND...`.

A script of its own, started without site packages, because code between fork and exec in a process
that has threads can deadlock. Linux only in effect: elsewhere it just becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Become `command`, with SIGTERM promised for when `parent` dies, however it dies."""
    if sys.platform == "linux":
        # The promise holds across exec, for every program that is not set-uid.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
