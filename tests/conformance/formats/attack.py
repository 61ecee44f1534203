"""Hostile requests: fixtures for all cases, the route's `config`, and what may come of a request.

All under the default profile. A scheme that is not in `SCHEMES` yet skips its cases; when it is,
it needs its lines in `ROUTE_SETTINGS` and `CREDENTIALS`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from authz.schemes import SCHEMES
from tests.conformance.case import (
    Answer,
    Exchange,
    Inexpressible,
    Mode,
    Outcome,
    Plain,
    Seen,
    Sent,
    octets,
    sent,
)
from tests.conformance.direct import require_askable
from tests.conformance.expect import (
    allowed,
    headers_absent,
    headers_are,
    nothing_leaked,
    require,
)

#: What this format calls the schemes. Any other name is a mistake on purpose.
VOCABULARY = (
    *("key-auth", "basic-auth", "jwt-auth", "hmac-auth"),
    *("aliyun-appcode", "aliyun-signature"),
)
#: Settings of a case that are not one scheme's.
_GENERAL = {"auth", "policy", "via", "mode", "anonymous_consumer", "hide_credentials"}
_PLACES = ("header", "query", "cookie")
#: Long gone, whatever the clock says.
_PAST = "2001-01-01T00:00:00Z"


def recognises(case: Plain) -> bool:
    return {"category", "config", "request", "expect"} <= set(case)


def group(case: Plain) -> str:
    return str(case["category"])


# -- one function a scheme: a route's settings -----------------------------------------------------


def _key_auth(config: Plain) -> Plain:
    settings: Plain = {}
    for place in _PLACES:
        if f"key_{place}" in config:
            settings[place] = config[f"key_{place}"]
        if config.get(f"{place}_enabled") is False:
            settings[place] = None
    return settings


def _basic_auth(config: Plain) -> Plain:
    return {}


ROUTE_SETTINGS: dict[str, Callable[[Plain], Plain]] = {
    "key-auth": _key_auth,
    "basic-auth": _basic_auth,
}
#: The words of `config` that these functions understand.
UNDERSTOOD: dict[str, set[str]] = {
    "key-auth": {f"key_{place}" for place in _PLACES} | {f"{place}_enabled" for place in _PLACES},
}


def _auth(config: Plain) -> Plain | None:
    """The `auth` of a document. A name that no scheme has goes in as it stands."""
    names = config["auth"]
    for name in names:
        if name in VOCABULARY and (name not in SCHEMES or name not in ROUTE_SETTINGS):
            raise Inexpressible(f"scheme {name} is not supported yet")
    understood = _GENERAL.union(*(UNDERSTOOD.get(name, set()) for name in names))
    for word in config:
        if word not in understood:
            raise Inexpressible(f"config {word} is not supported yet")
    if config.get("mode", "first-present") != "first-present":
        raise Inexpressible(f"mode {config['mode']} is not supported yet")
    common = {k: config[k] for k in ("hide_credentials", "anonymous_consumer") if k in config}
    members = [{n: {**ROUTE_SETTINGS.get(n, _basic_auth)(config), **common}} for n in names]
    if len(members) > 1:
        return {"any": members}
    return members[0] if members else None


# -- one function a kind of fixture: a consumer's credentials --------------------------------------


def _keys(name: str, keys: Any, **bounds: Any) -> Iterator[Plain]:
    for number, key in enumerate(keys, 1):
        yield {"id": f"{name}-{number}", "key-auth": {"key": key}, **bounds}


def _basic(name: str, pairs: Any) -> Iterator[Plain]:
    for number, (username, password) in enumerate(pairs.items(), 1):
        pair = {"username": username, "password": password}
        yield {"id": f"{name}-{number}", "basic-auth": pair}


CREDENTIALS: dict[str, Callable[[str, Any], Iterator[Plain]]] = {
    "keys": _keys,
    "expired_keys": partial(_keys, expires_at=_PAST),
    "disabled_keys": partial(_keys, disabled=True),
    "basic": _basic,
}


def _consumer(username: str, fixture: Plain) -> Plain:
    """What a fixture holds for schemes that are not there is left out: no route asks for it."""
    consumer: Plain = {k: fixture[k] for k in ("tenant", "disabled") if k in fixture}
    credentials = [
        each
        for word, make in CREDENTIALS.items()
        if word in fixture
        for each in make(word.replace("_", "-"), fixture[word])
    ]
    return {"username": username, **consumer, "credentials": credentials}


def _document(config: Plain, fixtures: Plain) -> Plain:
    consumers = fixtures.get("consumers", {})
    auth = _auth(config)
    service: Plain = {} if auth is None else {"auth": auth}
    service |= _policy(config)
    tenants = sorted({each["tenant"] for each in consumers.values() if "tenant" in each})
    # A tenant is reached by its host, every other consumer by any host.
    return {
        "services": [
            {"id": "service", **service},
            *({"id": t, "tenant": t, "hosts": [f"{t}.example"], **service} for t in tenants),
        ],
        "consumers": [_consumer(name, each) for name, each in consumers.items()],
    }


def _policy(config: Plain) -> Plain:
    """`{consumer: [prefix]}` as routes, which holds as long as nobody else is spoken of."""
    policy = config.get("policy")
    if policy is None:
        return {}
    if len(policy) != 1:
        raise Inexpressible("a policy of several consumers needs grants, not supported yet")
    (prefixes,) = policy.values()
    return {
        "routes": [
            {"id": f"policy-{n}", "match": {"path": f"{p}*" if p.endswith("/") else p}}
            for n, p in enumerate(prefixes, 1)
        ]
    }


# -- a case ----------------------------------------------------------------------------------------


def translate(case: Plain, shared: Plain, mode: Mode) -> Exchange:
    config, expected = case["config"], _expected(case, mode)
    request = _sent(case["request"])
    if request.check is not None and mode == "envoy":
        raise Inexpressible("a CheckRequest of one's own cannot be sent as HTTP")
    document = _document(config, shared.get("fixtures", {}))
    mistaken = not set(config["auth"]) <= set(VOCABULARY)
    if mode == "direct" and not mistaken:
        require_askable(request)
        silent = request.check is None and "direct_expect" not in case
        if silent and expected == ["error"]:
            raise Inexpressible("Envoy refuses this before it asks: only through Envoy")
    repeat = int(case.get("repeat", 1))
    wanted = [[each] for each in case["repeat_expect"]] if repeat > 1 else [expected]
    return Exchange(
        document=document,
        requests=(request,) * repeat,
        verify=partial(_verify, wanted, case.get("upstream", {})),
        now=case.get("clock"),
        refusal="error" if mistaken else "fail",
    )


def _sent(request: Plain) -> Sent:
    if "check_request" in request:
        return Sent(check=request["check_request"])
    raw = request.get("raw_http1_b64")
    if raw is not None:
        return Sent(raw=base64.b64decode(raw, validate=True))
    return sent(request)


def _expected(case: Plain, mode: Mode) -> list[Outcome]:
    """The outcomes that will do, the one that is written down first.

    `direct_expect` and `envoy_hardened_expect` win where they apply. Through Envoy, where `expect`
    is a denial, a refusal by either will do: who refuses first is a matter of Envoy's settings, and
    ours are stricter in places than the four that the cases were written for.
    """
    base: Outcome = case["expect"]
    if mode == "direct":
        return [case.get("direct_expect", base)]
    wanted: Outcome = case.get("envoy_hardened_expect", base)
    either: list[Outcome] = ["deny", "error"]
    if base == "deny" and wanted in either:
        return sorted(either, key=lambda outcome: outcome != wanted)
    return [wanted]


def _verify(wanted: list[list[Outcome]], upstream: Plain, answers: Sequence[Answer]) -> str | None:
    remark = None
    for outcomes, answer in zip(wanted, answers, strict=True):
        require(answer.outcome in outcomes, f"expected {outcomes[0]}, got {answer.told}")
        if answer.outcome == "deny":
            require(answer.status in (401, 403), f"a denial is 401 or 403: {answer.told}")
        if answer.outcome == "allow":
            _verify_upstream(allowed(answer), upstream)
        else:
            require(answer.upstream is None, "refused, and yet it arrived upstream")
        if answer.outcome != outcomes[0]:
            require(answer.outcome == "deny" or not answer.asked, f"a fault: {answer.told}")
            remark = f"refused by {'Envoy' if answer.outcome == 'error' else 'authz'} first"
    return remark


def _verify_upstream(seen: Seen, upstream: Plain) -> None:
    headers_are(seen, upstream.get("exact", {}), "upstream")
    headers_absent(seen, upstream.get("absent", ()), "upstream")
    if "path" in upstream:
        path = octets(upstream["path"])
        require(seen.target == path, f"upstream path is {seen.target!r}, expected {path!r}")
    secrets = upstream.get("must_not_contain", [])
    for secret in secrets if isinstance(secrets, list) else [secrets]:
        nothing_leaked(seen, octets(secret))
