"""Routes under construction: which requests ask for what, with no two of them the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from authz.admin.moving.names import id_of, is_host
from authz.admin.moving.report import Path, Report, shown
from authz.admin.moving.wanted import NOBODY, Made, Plain, Policy, Wanted
from authz.canonical import canonical_path
from authz.values import Denied

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
#: What becomes one service: a service of the source, its hosts, and where its limits stand.
_Key = tuple[str, tuple[str, ...], Path | None]


class Routing:
    """Takes routes, and gives the services of a document."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._waiting: list[Wanted] = []
        #: Routes for hosts that cannot be matched: which of the others these are is not known.
        self._anywhere: list[Wanted] = []
        self._services: dict[_Key, list[Made]] = {}
        self._ids: dict[_Key, set[str]] = {}
        self._taken: dict[tuple[str, str], list[Made]] = {}

    def add(self, wanted: Wanted) -> None:
        """Take a route, and report it; of a conditioned one, what becomes of it."""
        known = frozenset(name for name in wanted.methods if _METHOD.fullmatch(name))
        for name in sorted(wanted.methods - known):
            self._report.left(wanted.at, f"no request has the method {name!r}")
        if wanted.methods and not known:
            return
        wanted = replace(wanted, methods=known)
        hosts = dict.fromkeys(host.lower() for host in wanted.hosts)
        good = tuple(host for host in hosts if is_host(host))
        if bad := [host for host in hosts if host not in good]:
            self._report.left(wanted.at, f"the host {bad[0]!r} cannot be matched here")
            self._anywhere.append(replace(wanted, hosts=(), conditioned=True))
            if not good:
                return
        wanted = replace(wanted, hosts=good)
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
        every = tuple({host: None for wanted in self._waiting for host in wanted.hosts})
        for wanted in self._anywhere:
            self._waiting += [wanted, *([replace(wanted, hosts=every)] if every else [])]
        for wanted in sorted(self._waiting, key=lambda each: each.conditioned):
            for number, path in enumerate(wanted.paths):
                self._place(wanted, path, number)
        self._waiting.clear()
        return [self._service(name, hosts, made) for name, hosts, made in self._named()]

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
            taken = self._taken.get((host, canonical), [])
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
        others: list[Made],
    ) -> None:
        """Another route is for the same requests: it does, if it asks for the same."""
        same = all(each.policy == wanted.policy for each in others)
        first = shown(others[0].at)
        if same:
            self._report.changed(wanted.at, f"{path}: {first} asks the same, and stands for both")
            if any(each.policy.counted != wanted.policy.counted for each in others):
                self._report.left(wanted.at, f"{path}: the limits are those of {first}")
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
        key = wanted.service, hosts, policy.counted
        if policy.auth is None:  # it is in any service of these hosts
            key = next((other for other in self._services if other[:2] == key[:2]), key)
        routes = self._services.setdefault(key, [])
        identifier = id_of(wanted.id if number == 0 else f"{wanted.id}-{number + 1}")
        ids = self._ids.setdefault(key, set())
        while identifier in ids:
            identifier = id_of(f"{identifier[:60]}-b")
        ids.add(identifier)
        made = Made(wanted.at, identifier, path, methods, policy)
        routes.append(made)
        for host in hosts or ("",):
            self._taken.setdefault((host, canonical), []).append(made)

    # -- as a document has it ----------------------------------------------------------------------

    def _named(self) -> Iterable[tuple[str, tuple[str, ...], list[Made]]]:
        """By the ids that they get: a service whose routes have several sets of hosts, or of
        limits, is several services."""
        taken: set[str] = set()
        counted: dict[Path, list[str]] = {}
        for (service, hosts, at), made in self._services.items():
            name = next(name for name in _names(service, hosts, at, made) if name not in taken)
            if name != id_of(service):
                why = "its hosts, or its limits, are not the others'"
                self._report.changed(made[0].at, f"{why}: service {name}")
            taken.add(name)
            if at is not None:
                counted.setdefault(at, []).append(name)
            yield name, hosts, made
        for at, names in counted.items():
            if len(names) > 1:
                self._report.changed(at, f"counts apart for each of {', '.join(names)}")

    def _service(self, name: str, hosts: tuple[str, ...], made: list[Made]) -> Plain:
        service: Plain = {"id": name}
        if hosts:
            service["hosts"] = list(hosts)
        policies = [each.policy for each in made]
        shared = policies[0] if all(each == policies[0] for each in policies) else None
        if shared is not None:
            service.update(_asked(shared))
        limits = next((each.limits for each in policies if each.counted is not None), None)
        if limits is not None:
            service["access"] = {**service.get("access", {}), "limits": limits.limits}
        service["routes"] = [_route(each, whole=shared is None) for each in made]
        return service


def _route(made: Made, *, whole: bool) -> Plain:
    match: Plain = {"path": made.path}
    if made.methods:
        match["methods"] = sorted(made.methods)
    return {"id": made.id, "match": match, **(_asked(made.policy) if whole else {})}


def _names(
    service: str, hosts: tuple[str, ...], at: Path | None, made: list[Made]
) -> Iterable[str]:
    """What a service may be called, the simplest first; the last ones are nobody else's."""
    yield id_of(service)
    yield id_of(f"{service}-{hosts[0].replace('*', 'any')}" if hosts else f"{service}-all")
    if at is not None:
        yield id_of(f"{service}-{made[0].id}")
    yield id_of(f"{service} {' '.join(hosts)}")
    yield id_of(f"{service} {' '.join(hosts)} {shown(at or ())}")


def _asked(policy: Policy) -> Plain:
    if policy.auth is None:
        return {}
    return {"auth": policy.auth, **({"access": policy.access} if policy.access else {})}


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one & other) if one and other else one == other
