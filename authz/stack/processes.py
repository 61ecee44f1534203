"""Child processes that never outlive us: started in order, ended in reverse, output in files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

LIFELINE = Path(__file__).with_name("lifeline.py")
#: How long a child may take to end by itself; authz needs some of it to finish what is in flight.
GRACE = 10.0
STEP = 0.02
TAIL_LINES = 15


class StackError(Exception):
    """Something on this machine is in the way. The text is for the person who typed the command."""


class Interrupted(Exception):
    """A signal asked us to stop."""


class Child:
    """One process of the stack and the file that holds its output."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    def require_alive(self) -> None:
        """Raise StackError, with the end of its output, if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise StackError(f"{self.name} ended with exit status {code}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its output, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([*(f"  | {line}" for line in lines), f"  (all of it: {self.log})"])

    def stop(self, grace: float = GRACE) -> None:
        """End it and what it started: asked first, killed after `grace` seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        # Its own children are in its process group; a supervisor that died left them behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Children:
    """The stack's processes. Leaving the `with` block ends them all, last started first.

    Start them from the thread that lives longest: a child ends with the thread that started it.
    """

    def __init__(self, logs: Path, env: Mapping[str, str] | None = None) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._env = logs, env
        self._running: list[Child] = []
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._running:
            self._running.pop().stop()

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a long-running child, in a process group of its own: Ctrl-C reaches only us."""
        child = self._spawn(name, command)
        self._running.append(child)
        return child

    def run(self, name: str, command: Sequence[str], seconds: float = 30.0) -> str:
        """Run a command to its end and return its output. Raises StackError if it fails."""
        child = self._spawn(name, command)
        try:
            self._wait(lambda: child.process.poll() is not None, name, seconds)
        finally:
            child.stop(grace=1.0)
        if child.process.returncode:
            raise StackError(f"{name} failed\n{child.tail()}")
        return child.log.read_text(errors="replace")

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float = 20.0) -> None:
        """Return when `ready` says so. Raises StackError if time is up or a child has died."""

        def checked() -> bool:
            self.require_alive()
            return ready()

        self._wait(checked, what, seconds)

    def require_alive(self) -> None:
        """Raise StackError if any child has ended, Interrupted if a signal asked us to stop."""
        for child in self._running:
            child.require_alive()
        if self._stopping.is_set():
            raise Interrupted

    def sleep_until_interrupted(self, step: float = 0.2) -> None:
        """Return on a signal; raise StackError as soon as a child ends."""
        while not self._stopping.wait(step):
            for child in self._running:
                child.require_alive()

    @contextlib.contextmanager
    def stop_on(self, *signals: signal.Signals) -> Iterator[None]:
        """Turn these signals into Interrupted at the next wait, never in the midst of a start."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self._stopping.set()

        before = {each: signal.signal(each, ask) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._stopping.wait(STEP):
                raise Interrupted
            if time.monotonic() > deadline:
                raise StackError(f"{what}: not ready after {seconds:.0f} s{self._tails()}")

    def _tails(self) -> str:
        return "".join(f"\n{child.name}:\n{child.tail()}" for child in self._running)

    def _spawn(self, name: str, command: Sequence[str]) -> Child:
        log = self._logs / f"{name}.log"
        lifeline = [sys.executable, "-I", "-S", str(LIFELINE), str(os.getpid())]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*lifeline, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                process_group=0,
            )
        return Child(name, process, log)
