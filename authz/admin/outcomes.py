"""What a decision comes to, for whoever reads it: the client, the upstream, the operator; and how
that differs from what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, Struct

from authz import reasons
from authz.admin.examples import Allowed, Expected
from authz.contracts import Fault, Lookups
from authz.pipeline import decide
from authz.routes import RouteTable
from authz.values import Allow, Answer, Deny, Request


class Outcome(Struct, frozen=True):
    """`word` is allow, deny, answer or fault; `facts` are by the names that expectations have.
    `headers` are those that the upstream sees, or the client, in lower case."""

    word: str
    facts: dict[str, Any]
    headers: dict[str, str]

    @property
    def told(self) -> str:
        """In one line."""
        names = ("consumer", "credential") if self.word == "allow" else ("status", "reason")
        facts = [str(self.facts[name]) for name in names if self.facts.get(name) is not None]
        meaning = _meaning(self.facts) if self.word != "allow" else ""
        joined = ("/" if self.word == "allow" else " ").join(facts)
        return f"{self.word} {joined}{meaning}".strip()


class Difference(Struct, frozen=True):
    """One thing that was expected, and what came instead. None: nothing of the kind."""

    what: str
    expected: str | None
    actual: str | None


def outcome(request: Request, routes: RouteTable, lookups: Lookups) -> Outcome:
    """Decide, and say what it comes to."""
    try:
        decision = decide(request, routes, lookups).decision
    except Fault as fault:
        return Outcome("fault", {"status": 503, "reason": fault.reason}, {})
    if isinstance(decision, Allow):
        return _allowed(request, decision)
    if isinstance(decision, Answer):
        return Outcome("answer", {"status": decision.status, "reason": decision.reason}, {})
    return _denied(decision)


def _allowed(request: Request, allow: Allow) -> Outcome:
    sent = {name: ", ".join(request.headers.get(name)) for name in request.headers}
    seen = {name: value for name, value in sent.items() if name not in allow.remove}
    seen.update(allow.set)
    path = seen.pop(":path", request.target)
    identity = allow.identity
    facts = {
        "consumer": identity.consumer.username,
        "credential": identity.credential.id if identity.credential is not None else None,
        "scheme": identity.scheme,
        "path": path,
    }
    return Outcome("allow", facts, seen)


def _denied(deny: Deny) -> Outcome:
    facts = {
        "status": deny.status,
        "reason": deny.reason,
        "scheme": deny.scheme,
        "message": deny.message if deny.body is None else deny.body,
        "challenge": list(deny.challenges),
    }
    return Outcome("deny", facts, {name.lower(): value for name, value in deny.headers})


# -- compared --------------------------------------------------------------------------------------


def differences(expected: Expected, found: Outcome) -> Iterator[Difference]:
    """Where the outcome is not what was written; what was not written is not compared."""
    word = expected.word
    wanted = getattr(expected, word)
    if word != found.word:
        yield Difference("outcome", _told(word, wanted), found.told)
        return
    for name in wanted.__struct_fields__:
        value = getattr(wanted, name)
        if value is not UNSET and name not in ("headers", "without"):
            yield from _fact(name, value, found)
    for name, value in getattr(wanted, "headers", {}).items():
        if found.headers.get(name.lower()) != value:
            yield Difference(f"header {name}", value, found.headers.get(name.lower()))
    if isinstance(wanted, Allowed):
        for name in wanted.without:
            if name.lower() in found.headers:
                yield Difference(f"header {name}", None, found.headers[name.lower()])


def _fact(name: str, wanted: Any, found: Outcome) -> Iterator[Difference]:
    actual = found.facts[name]
    if isinstance(actual, list) and isinstance(wanted, str):
        wanted = [wanted]
    if wanted != actual:
        meaning = _meaning(found.facts) if name == "reason" else ""
        yield Difference(name, _text(wanted), f"{_text(actual)}{meaning}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def _told(word: str, wanted: Any) -> str:
    names = ("consumer", "credential") if word == "allow" else ("status", "reason")
    facts = [getattr(wanted, name, UNSET) for name in names]
    known = [str(fact) for fact in facts if fact is not UNSET and fact is not None]
    return f"{word} {('/' if word == 'allow' else ' ').join(known)}".strip()


def _meaning(facts: dict[str, Any]) -> str:
    """What a reason means, and what to do."""
    reason = reasons.find(facts["reason"], facts.get("scheme") or "")
    if reason is None:
        return ""
    return f" ({'; '.join(filter(None, (reason.meaning, reason.advice)))})"
