"""The load generator: one thread that asks on many connections and holds every answer to account.

`python -m authz.bench.load` reads an `Order` a line, as JSON, from standard input, carries it out,
and answers by a line with an `Outcome`. Without a rate it asks again as soon as it is answered.
With one it asks at random times of that rate (a Poisson process, the same one in every run),
whether or not answers came, and a request that has to wait for a free stream is as late as that
makes it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from authz.bench.grpc_link import GrpcLink
from authz.bench.http_link import HttpLink
from authz.bench.order import Faulted, Order, Outcome, Result, Sent, Wrong, percentiles, read

#: Seconds without any answer after which there will be none.
PATIENCE = 10.0
NO_ANSWER = f"no answer within {PATIENCE:.0f} s"
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_clock = time.perf_counter
#: The field of /proc/stat's first line.
_STEAL = 8


class Link(Protocol):
    """A connection. `done` holds when each answered request was due."""

    sock: socket.socket
    done: list[float]

    @property
    def free(self) -> int: ...

    @property
    def idle(self) -> bool: ...

    def ask(self, index: int, due: float) -> None: ...

    def flush(self) -> bool: ...

    def receive(self) -> None: ...


def cpu_seconds(process: int) -> float:
    """User and system time of a process that need not be ours (Linux: a process' CPU clock is named
    by its id, as clock_getcpuclockid(3) does)."""
    return time.clock_gettime(~process << 3 | 2)


def stolen_seconds(told: Path = Path("/proc/stat")) -> float:
    """What the host of a virtual machine gave to others while this one had work, on all of its
    cores since it started; 0 where that is not told (proc_stat(5), `steal`)."""
    try:
        every = told.read_text().partition("\n")[0].split()
    except OSError:
        return 0.0
    return int(every[_STEAL]) / os.sysconf("SC_CLK_TCK") if len(every) > _STEAL else 0.0


class Load:
    """One order at work."""

    def __init__(self, order: Order, links: list[Link], count: int) -> None:
        self._order, self._links = order, links
        self._poll = select.epoll()
        self._by_descriptor = {link.sock.fileno(): link for link in links}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, _READ)
        numbers = range(count)
        self._indexes: Iterator[int] = iter(numbers) if order.once else itertools.cycle(numbers)
        self._left = True
        self._full: set[Link] = set()
        self._answers = 0
        self._latencies: list[float] = []

    def run(self) -> Result:
        """Warm up, measure, and wait for what is on its way. Raises `Wrong`."""
        go = self._at_a_rate if self._order.rate else self._at_once
        if self._order.warm:
            go(_clock() + self._order.warm)
        self._latencies.clear()
        self._answers = 0
        stolen, before, began = stolen_seconds(), self._spent(), _clock()
        go(began + self._order.seconds)
        after, ended, answers = self._spent(), _clock(), self._answers
        stolen = stolen_seconds() - stolen
        self._finish()
        names = self._order.processes
        return Result(
            answers=answers,
            seconds=ended - began,
            cpu={name: after[name] - before[name] for name in names},
            own_cpu=after[""] - before[""],
            latency=percentiles(self._latencies),
            stolen=stolen,
        )

    def _spent(self) -> dict[str, float]:
        spent = {
            name: sum(cpu_seconds(process) for process in processes)
            for name, processes in self._order.processes.items()
        }
        return spent | {"": time.process_time()}

    def _goes_on(self, now: float, end: float) -> bool:
        """Until its end, and to the first answer: without any there is nothing to be told."""
        if now > end + PATIENCE:
            raise Wrong(NO_ANSWER)
        return self._left and (now < end or not self._answers)

    def _at_once(self, end: float) -> None:
        for link in self._links:
            self._fill(link, _clock())
        while self._goes_on(_clock(), end):
            for link in self._serve(0.01):
                self._fill(link, _clock())

    def _fill(self, link: Link, now: float) -> None:
        wanted = link.free
        for index in itertools.islice(self._indexes, wanted):
            link.ask(index, now)
            wanted -= 1
        self._left = not wanted
        self._flush(link)

    def _at_a_rate(self, end: float) -> None:
        gaps = random.Random(1)  # noqa: S311 - the same times in every run
        turns = itertools.cycle(self._links)
        due = _clock()
        while self._goes_on(now := _clock(), end):
            touched = set()
            while due <= now and (link := self._free(turns)) is not None:
                index = next(self._indexes, None)
                if index is None:
                    self._left = False
                    break
                link.ask(index, due)
                touched.add(link)
                due += gaps.expovariate(self._order.rate)
            for link in touched:
                self._flush(link)
            # Behind the schedule means that all links are busy: an answer will wake us.
            self._wait(min(due, max(end, now + 0.01)) - now if due > now else 0.01)
            for link in self._serve(0):
                self._flush(link)

    def _free(self, turns: Iterator[Link]) -> Link | None:
        for link in itertools.islice(turns, len(self._links)):
            if link.free > 0:
                return link
        return None

    def _wait(self, seconds: float) -> None:
        """Until something came; epoll's own waiting counts in milliseconds, which is too coarse."""
        select.select([self._poll.fileno()], [], [], max(0.0, seconds))

    def _serve(self, wait: float) -> list[Link]:
        """Take what came within `wait` seconds; the links that had something to say. What they now
        have to say themselves is for the caller to flush."""
        found = []
        for descriptor, mask in self._poll.poll(wait):
            link = self._by_descriptor[descriptor]
            if mask & ~_WRITE:
                link.receive()
                self._take(link)
            found.append(link)
        return found

    def _take(self, link: Link) -> None:
        now = _clock()
        self._answers += len(link.done)
        self._latencies.extend(now - due for due in link.done)
        link.done.clear()

    def _flush(self, link: Link) -> None:
        full = link.flush()
        if full != (link in self._full):
            (self._full.add if full else self._full.discard)(link)
            self._poll.modify(link.sock, _READ | _WRITE if full else _READ)

    def _finish(self) -> None:
        """Nothing that was asked may stay without an answer."""
        deadline = _clock() + PATIENCE
        while not all(link.idle for link in self._links):
            if _clock() > deadline:
                raise Wrong(NO_ANSWER)
            for link in self._serve(0.1):
                self._flush(link)


def _connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(address.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
    else:
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host, int(port)), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def _link(order: Order) -> Callable[[socket.socket, list[Sent]], Link]:
    if order.protocol == "http":
        return HttpLink
    from authz.bench.calls import verdict

    return lambda sock, requests: GrpcLink(sock, requests, order.streams, verdict)


def carry_out(order: Order) -> Outcome:
    """Do it. Never raises for what a server does."""
    requests, make = read(Path(order.requests)), _link(order)
    with contextlib.ExitStack() as ending:
        try:
            links = []
            for number in range(order.connections):
                sock = _connect(order.addresses[number % len(order.addresses)])
                links.append(make(ending.enter_context(sock), requests))
            return Outcome(result=Load(order, links, len(requests)).run())
        except Faulted as fault:
            return Outcome(fault=str(fault))
        except Wrong as wrong:
            return Outcome(wrong=str(wrong))
        except OSError as error:
            return Outcome(wrong=f"{order.addresses[0]}: {error.strerror or error}")


def main() -> None:
    # Ctrl-C is for who started us, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A sleep of some microseconds shall not take 50 more.
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        if order.cores:
            os.sched_setaffinity(0, order.cores)
        sys.stdout.buffer.write(msgspec.json.encode(carry_out(order)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
