"""Fixtures for every test, and how thorough property tests are."""

from hypothesis import settings

pytest_plugins = ["tests.support.fixtures"]

# Machines differ in speed: no example is judged by the clock.
settings.register_profile("authz", deadline=None, max_examples=60)
settings.load_profile("authz")
