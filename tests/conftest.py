"""Fixtures for every test, and how thorough property tests are."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.fixtures"]

# Machines differ in speed: no example is judged by the clock.
settings.register_profile("authz", deadline=None, max_examples=60)
settings.load_profile("authz")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--transport", choices=["h2", "grpcio"], help="What workers are asked over.")


def pytest_configure(config: pytest.Config) -> None:
    # Read by `authz serve` and by `tests.support.workers.running` alike.
    transport = config.getoption("--transport")
    if transport:
        os.environ["AUTHZ_TRANSPORT"] = transport
