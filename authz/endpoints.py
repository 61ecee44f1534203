"""What authz answers by itself on a route that exposes it: the request goes no further.

`jwt-sign` is the endpoint of API7's manual and of APISIX up to 3.10: whoever knows a credential's
key, which every token shows, gets a token. So a route exposes it on purpose, and another scheme
should guard it.
"""

from __future__ import annotations

from typing import Protocol

from authz.contracts import Lookup
from authz.values import Answer, Request


class Endpoint(Protocol):
    """An answer of our own. `paths`: where its clients look for it."""

    paths: tuple[str, ...]

    def answer(self, request: Request, store: Lookup) -> Answer:
        """Raises a `Fault` when the store cannot say."""
        ...


#: Every endpoint, by its name in documents.
ENDPOINTS: dict[str, Endpoint] = {}
