"""Children: started, waited for, told about when they die, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from authz.stack.processes import Children, Interrupted, StackError

FOREVER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    "[signal.pause() for _ in range(9)]",
]
#: A supervisor that is killed leaves this one, in the same process group, behind.
FAMILY = [
    sys.executable,
    "-c",
    "import subprocess, signal, sys;"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    "print(child.pid, flush=True); signal.pause()",
]


def is_alive(pid: int) -> bool:
    """Is it there, and not a zombie that nobody has waited for yet?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_dead(*pids: int) -> None:
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if is_alive(pid)]
        time.sleep(0.01)


def has_said(children: Children, log: Path) -> None:
    children.wait_for("first words", lambda: bool(log.read_text().strip()))


def test_leaving_the_block_ends_all_of_them(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        pids = [children.start(name, FOREVER).process.pid for name in ("a", "b")]
        assert all(is_alive(pid) for pid in pids)
    assert not any(is_alive(pid) for pid in pids)


def test_an_error_ends_them_too(tmp_path: Path) -> None:
    def fail() -> None:
        with Children(tmp_path) as children:
            pids.append(children.start("a", FOREVER).process.pid)
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not is_alive(pids[0])


def test_the_last_started_ends_first(tmp_path: Path) -> None:
    trap = "import signal,sys,time; signal.signal(15, lambda *_: (print(time.monotonic()),exit()));"
    words = [sys.executable, "-c", f"{trap} print('up', flush=True); signal.pause()"]
    with Children(tmp_path) as children:
        for name in ("first", "second"):
            children.start(name, words)
            has_said(children, tmp_path / f"{name}.log")
    first, second = (
        float((tmp_path / f"{name}.log").read_text().split()[1]) for name in ("first", "second")
    )
    assert second < first


def test_one_that_will_not_listen_is_killed(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("stubborn", STUBBORN)
        has_said(children, child.log)
        child.stop(grace=0.1)
        assert child.process.returncode == -signal.SIGKILL


def test_what_a_dead_child_had_started_is_ended(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("family", FAMILY)
        has_said(children, child.log)
        grandchild = int(child.log.read_text())
        child.process.kill()
        child.process.wait()
        assert is_alive(grandchild)
    wait_until_dead(grandchild)


def test_a_child_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        children.start("short", [sys.executable, "-c", "exit('no such luck')"])
        with pytest.raises(StackError, match=r"short ended .* 1\n  \| no such luck\n.*short\.log"):
            children.wait_for("never", lambda: False)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        children.start("nothing", ["/no/such/program"])
        with pytest.raises(StackError, match="/no/such/program: No such file"):
            children.wait_for("never", lambda: False)


def test_one_that_is_never_ready(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("slow", FOREVER)
        has_said(children, child.log)
        with pytest.raises(StackError, match=r"door: not ready after 0 s\nslow:\n  \| up"):
            children.wait_for("door", lambda: False, seconds=0.05)


def test_run_gives_the_output_or_the_error(tmp_path: Path) -> None:
    with Children(tmp_path, {"WORD": "hello"}) as children:
        words = [sys.executable, "-c", "import os; print(os.environ['WORD'])"]
        assert children.run("good", words) == "hello\n"
        with pytest.raises(StackError, match=r"bad failed\n  \| boom"):
            children.run("bad", [sys.executable, "-c", "exit('boom')"])


def test_a_signal_interrupts_the_next_wait(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    children = Children(tmp_path)
    with children.stop_on(signal.SIGTERM), children:
        os.kill(os.getpid(), signal.SIGTERM)
        pid = children.start("a", FOREVER).process.pid  # never cut short
        with pytest.raises(Interrupted):
            children.wait_for("never", lambda: False)
        children.sleep_until_interrupted()
    assert not is_alive(pid)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_a_parent_that_is_killed_takes_its_children_along(tmp_path: Path) -> None:
    parent = (
        "import signal, sys; from pathlib import Path;"
        "from authz.stack.processes import Children;"
        f"children = Children(Path({str(tmp_path)!r}));"
        f"child = children.start('orphan', {FOREVER!r});"
        "children.wait_for('it', lambda: bool(child.log.read_text()));"
        "print(child.process.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
    wait_until_dead(pid)
