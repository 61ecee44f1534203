"""Apinto's apps: each has users with credentials of one type, at a place of its own.

Compared are the decision, the user and what is removed. Not the body: Apinto's plain text
(`missing or invalid token`) belongs to no profile; a denial here says which scheme missed what.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from authz.schemes import SCHEMES
from tests.conformance.case import (
    Answer,
    Exchange,
    Inexpressible,
    Mode,
    Plain,
    Seen,
    as_it_stands,
    sent,
)
from tests.conformance.expect import allowed, headers_are, query_of, require
from tests.conformance.formats.apinto_types import AUTHORIZATION, TYPES


def recognises(case: Plain) -> bool:
    return {"consumer", "class", "request", "expect"} <= set(case) and "user" in case["expect"]


def group(case: Plain) -> str:
    return str(_apps(case)[0]["type"])


def _apps(case: Plain) -> list[Plain]:
    apps = case["consumer"]
    return apps if isinstance(apps, list) else [apps]


# -- a case ----------------------------------------------------------------------------------------


def translate(case: Plain, shared: Plain, mode: Mode) -> Exchange:
    apps = _apps(case)
    for app in apps:
        if app["type"] not in TYPES or TYPES[app["type"]].kind not in SCHEMES:
            raise Inexpressible(f"Apinto's type {app['type']} is not supported yet")
        if app.get("anonymous"):
            raise Inexpressible("an anonymous app admits wrong credentials, which no profile does")
    request = as_it_stands(sent(case["request"]), mode)
    chosen = [v for n, v in request.lines if n.lower() == b"authorization-type"]
    if chosen and len({app["type"] for app in apps}) > 1:
        raise Inexpressible("a client's choice by Authorization-Type is not supported")
    expected = dict(case["expect"])
    ours = case["class"] == "quirk" and "product_suggestion" in case
    if ours:
        expected = {"removed": None, **case["product_suggestion"]}
    return Exchange(
        document=_document(apps, exact=not ours),
        requests=(request,),
        verify=partial(_verify, case, expected),
        now=case.get("now"),
        # What Apinto takes, only to refuse every request, may be refused when it is written.
        refusal="leave-out" if expected["status"] >= 400 else "fail",
    )


def _document(apps: list[Plain], *, exact: bool) -> Plain:
    """Every app's place is one of several schemes, every user a consumer. `exact`: as Apinto has
    it, a list of claims that is empty is a list; else it is as good as none."""
    schemes: list[Plain] = []
    consumers: dict[str, Plain] = {}
    for app in apps:
        kind, settings, user = TYPES[app["type"]]
        scheme = {kind: {**settings(app), "hide_credentials": _hides(app)}}
        if scheme not in schemes:
            schemes.append(scheme)
        for each in app["users"]:
            _add_user(consumers, app, kind, user(app, each["pattern"], exact), each)
    auth = schemes[0] if len(schemes) == 1 else {"any": schemes}
    return {"services": [{"id": "service", "auth": auth}], "consumers": [*consumers.values()]}


def _hides(app: Plain) -> bool:
    if app["position"] == "body":
        return False  # nor does Apinto hide anything there
    hide = {bool(user.get("hide_credential")) for user in app["users"]}
    if len(hide) > 1:
        raise Inexpressible("hiding is a route's setting here, not a credential's")
    return True in hide


def _add_user(
    consumers: dict[str, Plain], app: Plain, kind: str, made: tuple[str, Plain], user: Plain
) -> None:
    """A user is a consumer; one that several apps know is one consumer with several credentials."""
    username, secret = made
    if not username.strip() or not username.isprintable():
        raise Inexpressible("a user whose name is no consumer's name here")
    disabled = bool(app.get("disable"))
    fresh: Plain = {"username": username, "disabled": disabled, "credentials": []}
    consumer = consumers.setdefault(username, fresh)
    if consumer["disabled"] != disabled:
        raise Inexpressible("one user of a disabled app and of another")
    credentials: list[Plain] = consumer["credentials"]
    if kind == "jwt" and any(kind in each for each in credentials):
        raise Inexpressible("a user's tokens are verified in one way here, not in several")
    credential: Plain = {"id": f"user-{len(credentials) + 1}", kind: secret}
    if user.get("expire"):
        credential["expires_at"] = datetime.fromtimestamp(user["expire"], UTC).isoformat()
    credentials.append(credential)


def _verify(case: Plain, expected: Plain, answers: Sequence[Answer]) -> None:
    (answer,) = answers
    if expected["status"] >= 400:
        require(answer.outcome == "deny", f"expected a denial, got {answer.told}")
        status = expected["status"]
        require(answer.status == status, f"expected {status}, got {answer.told}")
        return
    seen = allowed(answer)
    if expected.get("user") is not None:
        headers_are(seen, {"X-Consumer-Username": expected["user"]}, "upstream")
    if expected.get("removed") is not None:
        _verify_removed(case, expected["removed"], seen)


def _verify_removed(case: Plain, removed: list[str], seen: Seen) -> None:
    """What is named is gone, and the token at every other place is still there."""
    gone = {(where, name.lower()) for where, _, name in (each.partition(":") for each in removed)}
    for where, name in gone:
        require(not _at(seen, where, name), f"upstream still has {where} {name}")
    sent_request = sent(case["request"])
    lines = tuple((n.decode().lower(), v) for n, v in sent_request.lines)
    before = Seen(sent_request.target, lines, sent_request.body)
    for app in _apps(case):
        where, name = app["position"] or "header", app["token_name"] or AUTHORIZATION
        if (where, name.lower()) not in gone:
            kept, was = _at(seen, where, name), _at(before, where, name)
            require(kept == was, f"upstream has {where} {name} as {kept}, it was {was}")


def _at(seen: Seen, where: str, name: str) -> list[Any]:
    if where == "query":
        return list(query_of(seen).get(name, []))
    if where == "body":
        return [seen.body]
    return list(seen.values(name))
