"""What a worker promises, and that nothing is replayed, over the transport h2 as over grpcio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.test_replay import *  # noqa: F403 - the same tests, over another transport
from tests.server.test_worker import *  # noqa: F403


@pytest.fixture(autouse=True)
def over_h2() -> Iterator[None]:
    """Read by `tests.support.workers.running`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHZ_TRANSPORT", "h2")
        yield
