"""The processes that measure: one makes load, one asks the service without a transport."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

import msgspec

from authz.bench import in_process
from authz.bench.order import BenchError, Order, Outcome


class Helpers:
    """Leaving the `with` block ends them. They raise `BenchError` when one crashes."""

    def __enter__(self) -> Self:
        self._load = subprocess.Popen(
            _module("load"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._load.kill()
        self._load.communicate()

    def load(self, order: Order) -> Outcome:
        """Carry out an order, in a process that stays: it need not start each time."""
        given, answers = self._load.stdin, self._load.stdout
        assert given is not None
        assert answers is not None
        try:
            given.write(msgspec.json.encode(order) + b"\n")
            given.flush()
        except BrokenPipeError:
            pass  # it has ended, as the empty answer says
        line = answers.readline()
        if not line:
            raise BenchError("the load generator crashed; its last words are above")
        return msgspec.json.decode(line, type=Outcome)

    def in_process(self, task: in_process.Task) -> in_process.Outcome:
        """In a process of its own."""
        done = subprocess.run(
            _module("in_process"),
            input=msgspec.json.encode(task),
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise BenchError("authz.bench.in_process crashed; its last words are above")
        return msgspec.json.decode(done.stdout, type=in_process.Outcome)


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"authz.bench.{name}"]
