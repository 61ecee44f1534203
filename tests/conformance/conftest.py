"""Options, fixtures and the summary of the conformance tests (see README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import summary
from tests.conformance.bench import Bench
from tests.conformance.envoy import Gateway
from tests.conformance.files import VECTORS, find

MODES = {"direct": ("direct",), "envoy": ("envoy",), "both": ("direct", "envoy")}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--cases", metavar="PATH", help="case files, or a folder of them")
    group.addoption("--mode", choices=[*MODES], help="how to ask (default both)")
    group.addoption("--through-envoy", action="store_true", help="the same as --mode envoy")


def _modes(config: pytest.Config) -> tuple[str, ...]:
    # The options are unknown where pytest found this file too late to offer them.
    if config.getoption("through_envoy", default=False):
        return MODES["envoy"]
    return MODES[config.getoption("mode", default=None) or "both"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not {"case", "mode"} <= set(metafunc.fixturenames):
        return
    given = metafunc.config.getoption("cases", default=None)
    path = Path(given) if given else VECTORS
    if not path.exists():
        raise pytest.UsageError(f"--cases {path}: there is nothing")
    # The modes of one case follow each other, so that its document is applied once.
    metafunc.parametrize(
        ("case", "mode"),
        [
            pytest.param(case, mode, id=f"{Path(case.file).stem}-{case.name}-{mode}")
            for case in find(path)
            for mode in _modes(metafunc.config)
        ],
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """What the summary needs travels with each report, from other processes too."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and {"case", "mode"} <= set(callspec.params):
        case = callspec.params["case"]
        row = (callspec.params["mode"], case.file, case.group)
        item.user_properties.append((summary.PROPERTY, row))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    summary.write(terminalreporter)


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """A store and a worker, one for each test process."""
    made = Bench()
    yield made
    made.close()


@pytest.fixture(scope="session")
def gateway(bench: Bench) -> Iterator[Gateway]:
    """Envoy in front of them, started when it is first asked for."""
    made = Gateway(bench)
    yield made
    made.close()
