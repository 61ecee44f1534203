"""A document, its store and its routes together: ask, and see what is decided."""

from __future__ import annotations

from authz.document import Document, parse
from authz.pipeline import Verdict, decide
from authz.routes import RouteTable
from authz.values import Allow, Decision, Headers, Request
from tests.support.memory import Memory

#: When the requests of these tests arrive, in Unix seconds: 2027-01-15T08:00:00Z.
NOW = 1_800_000_000.0


def ask(
    target: str = "/",
    *headers: tuple[str, str],
    method: str = "GET",
    host: str = "api.test",
    exact: bool = True,
    context: dict[str, str] | None = None,
    at: float = NOW,
    address: str = "",
) -> Request:
    """A request as `wire.read` makes it."""
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=path,
        query=query,
        headers=Headers(headers, exact=exact),
        host=host,
        context=context or {},
        at=at,
        address=address,
    )


class Gateway:
    """What a document promises, decided in memory."""

    def __init__(self, document: str | Document) -> None:
        self.document = parse(document) if isinstance(document, str) else document
        self.routes = RouteTable(self.document)
        self.memory = Memory().load(self.document)

    def verdict(self, request: Request) -> Verdict:
        return decide(request, self.routes, self.memory)

    def decide(self, request: Request) -> Decision:
        return self.verdict(request).decision


def upstream(request: Request, allow: Allow) -> tuple[str, dict[str, tuple[str, ...]]]:
    """What the upstream sees: the target and the headers, edited in Envoy's order."""
    headers = {name: request.headers.get(name) for name in request.headers}
    target = request.target
    for name, value in allow.set:
        if name == ":path":
            target = value
        else:
            headers[name] = (value,)
    for name in allow.remove:
        headers.pop(name, None)
    return target, headers
