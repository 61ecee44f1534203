"""Fixtures that several folders use; `tests/conftest.py` brings them in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.valkey import Valkey


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for the module; use `store` to get it empty."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def store(shared_valkey: Valkey) -> Valkey:
    """A running, empty Valkey that the test does not harm."""
    shared_valkey.client().flushall()
    return shared_valkey


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of the test's own, to be harmed."""
    server = Valkey(tmp_path)
    yield server
    server.close()


@pytest.fixture
def propagate() -> Iterator[None]:
    """Let the `authz` logger's messages reach caplog, whatever a test before did to it."""
    logger = logging.getLogger("authz")
    before = logger.propagate, logger.level
    logger.propagate = True
    logger.setLevel(logging.INFO)
    yield
    logger.propagate, logger.level = before
