"""Routes under construction: which requests ask for what, with no two of them the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from authz.admin.moving.names import id_of
from authz.admin.moving.report import Path, Report, shown
from authz.routes import canonical_path
from authz.values import Denied

Plain = dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """What a route asks of callers; without `auth` it admits nobody."""

    auth: Plain | None = None
    access: Plain = field(default_factory=dict)


NOBODY = Policy()
#: Characters of a path that are not to be percent-encoded.
AS_IT_IS = "/-._~!$&'()*+,;=:@%"


@dataclass
class Wanted:
    """A route of the source. `conditioned`: it is for fewer requests than its paths and methods
    say, in a way that cannot be said here."""

    at: Path
    service: str
    hosts: tuple[str, ...]
    id: str
    paths: tuple[str, ...]
    methods: frozenset[str]
    policy: Policy
    conditioned: bool = False


@dataclass
class _Made:
    at: Path
    id: str
    path: str
    methods: frozenset[str]
    policy: Policy


class Routing:
    """Takes routes, and gives the services of a document."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._waiting: list[Wanted] = []
        self._services: dict[tuple[str, tuple[str, ...]], list[_Made]] = {}
        self._ids: dict[tuple[str, tuple[str, ...]], set[str]] = {}
        self._taken: dict[tuple[str, str], list[_Made]] = {}

    def add(self, wanted: Wanted) -> None:
        """Take a route, and report it; of a conditioned one, what becomes of it."""
        self._waiting.append(wanted)
        what = f"route {wanted.id} of service {wanted.service}"
        if wanted.conditioned:
            return
        if wanted.policy.auth is None:
            self._report.changed(wanted.at, f"{what}, which admits nobody")
        else:
            self._report.took(wanted.at, what)

    def services(self) -> list[Plain]:
        """All of them. Conditioned routes give way to others."""
        for wanted in sorted(self._waiting, key=lambda each: each.conditioned):
            for number, path in enumerate(wanted.paths):
                self._place(wanted, path, number)
        self._waiting.clear()
        return [self._service(name, hosts, made) for (name, hosts), made in self._named()]

    def _place(self, wanted: Wanted, path: str, number: int) -> None:
        try:
            stem = path.removesuffix("*") if path.endswith("/*") else path
            canonical = canonical_path(stem) + path[len(stem) :]
        except Denied:
            self._report.left(
                wanted.at, f"{path}: a path that could be read in two ways is refused"
            )
            return
        free = []
        for host in wanted.hosts or ("",):
            taken = self._taken.get((host.lower(), canonical), [])
            others = [each for each in taken if _overlap(each.methods, wanted.methods)]
            if others:
                self._beside(wanted, path, canonical, number, host, others)
            else:
                free.append(host)
        if free:
            hosts = tuple(host for host in free if host)
            policy = NOBODY if wanted.conditioned else wanted.policy
            self._make(wanted, hosts, path, canonical, number, wanted.methods, policy)
            if wanted.conditioned:
                self._report.left(wanted.at, f"{path}: so it admits nobody; give it an `auth`")

    def _beside(
        self,
        wanted: Wanted,
        path: str,
        canonical: str,
        number: int,
        host: str,
        others: list[_Made],
    ) -> None:
        """Another route is for the same requests: it does, if it asks for the same."""
        same = all(each.policy == wanted.policy for each in others)
        first = shown(others[0].at)
        if same:
            self._report.changed(wanted.at, f"{path}: {first} asks the same, and stands for both")
        else:
            self._report.left(
                wanted.at,
                f"{path}: {first} is for the same requests and asks for something else: neither "
                "admits anybody until one of them goes",
            )
            for each in others:
                each.policy = NOBODY
        rest = wanted.methods.difference(*(each.methods for each in others))
        if rest:
            policy = wanted.policy if same and not wanted.conditioned else NOBODY
            hosts = (host,) if host else ()
            self._make(wanted, hosts, path, canonical, number, rest, policy)

    def _make(
        self,
        wanted: Wanted,
        hosts: tuple[str, ...],
        path: str,
        canonical: str,
        number: int,
        methods: frozenset[str],
        policy: Policy,
    ) -> None:
        routes = self._services.setdefault((wanted.service, hosts), [])
        identifier = id_of(wanted.id if number == 0 else f"{wanted.id}-{number + 1}")
        ids = self._ids.setdefault((wanted.service, hosts), set())
        while identifier in ids:
            identifier = id_of(f"{identifier[:60]}-b")
        ids.add(identifier)
        made = _Made(wanted.at, identifier, path, methods, policy)
        routes.append(made)
        for host in hosts or ("",):
            self._taken.setdefault((host.lower(), canonical), []).append(made)

    # -- as a document has it ----------------------------------------------------------------------

    def _named(self) -> Iterable[tuple[tuple[str, tuple[str, ...]], list[_Made]]]:
        """By the ids that they get: a service whose routes have several sets of hosts is several
        services."""
        names: dict[str, int] = {}
        for (service, hosts), made in self._services.items():
            names[service] = names.get(service, 0) + 1
            name = service
            if names[service] > 1:
                name = f"{service}-{hosts[0].replace('*', 'any')}" if hosts else f"{service}-all"
                self._report.changed(
                    made[0].at,
                    f"other hosts than the service's other routes: service {id_of(name)}",
                )
            yield (id_of(name), hosts), made

    def _service(self, name: str, hosts: tuple[str, ...], made: list[_Made]) -> Plain:
        service: Plain = {"id": name}
        if hosts:
            service["hosts"] = list(hosts)
        policies = [each.policy for each in made]
        shared = policies[0] if all(each == policies[0] for each in policies) else None
        if shared is not None:
            service.update(_asked(shared))
        service["routes"] = [_route(each, whole=shared is None) for each in made]
        return service


def _route(made: _Made, *, whole: bool) -> Plain:
    match: Plain = {"path": made.path}
    if made.methods:
        match["methods"] = sorted(made.methods)
    return {"id": made.id, "match": match, **(_asked(made.policy) if whole else {})}


def _asked(policy: Policy) -> Plain:
    if policy.auth is None:
        return {}
    return {"auth": policy.auth, **({"access": policy.access} if policy.access else {})}


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one & other) if one and other else one == other
