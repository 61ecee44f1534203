"""Hostile requests: fixtures for all cases, the route's `config`, and what may come of a request.

All under the default profile. A scheme that is not in `SCHEMES` yet skips its cases. A denial is
any answer with a status from 400 to 499 that the service decided.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

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
from tests.conformance.formats.attack_schemes import PAST, VOCABULARY, credentials

#: Settings of a case that are not one scheme's.
_GENERAL = {
    *("auth", "policy", "via", "mode", "anonymous_consumer", "hide_credentials", "ip_allow")
}

#: Schemes whose apps call what they are authorized to, and no more; and how long each is.
_NEED_GRANTS = {"aliyun-appcode", "aliyun-signature"}
_AUTHORIZED: dict[str, Plain] = {
    "authorized": {},
    "authorization_expired": {"not_after": PAST},
}


def recognises(case: Plain) -> bool:
    return {"category", "config", "request", "expect"} <= set(case)


def group(case: Plain) -> str:
    return str(case["category"])


# -- a document ------------------------------------------------------------------------------------


def _auth(config: Plain) -> Plain | None:
    """The `auth` of a document. A name that no scheme has goes in as it stands."""
    names = config["auth"]
    understood = _GENERAL.union(*(VOCABULARY[n].words for n in names if n in VOCABULARY))
    for word in config:
        if word not in understood:
            raise Inexpressible(f"config {word} is not supported yet")
    if config.get("mode", "first-present") != "first-present":
        raise Inexpressible(f"mode {config['mode']} is not supported yet")
    common: Plain = {
        k: config[k] for k in ("hide_credentials", "anonymous_consumer") if k in config
    }
    members = [_alternative(name, config, common) for name in names]
    if len(members) > 1:
        return {"any": members}
    return members[0] if members else None


def _alternative(name: str, config: Plain, common: Plain) -> Plain:
    if name not in VOCABULARY:
        return {name: common}
    kind, settings = VOCABULARY[name].alternative(config)
    if kind not in SCHEMES:
        raise Inexpressible(f"scheme {kind} is not supported yet")
    return {kind: {**settings, **common}}


def _consumer(username: str, fixture: Plain, config: Plain) -> Plain:
    consumer: Plain = {k: fixture[k] for k in ("tenant", "disabled") if k in fixture}
    made = list(credentials(username, fixture, config))
    return {"username": username, **consumer, "credentials": made}


def _document(config: Plain, fixtures: Plain) -> Plain:
    consumers = fixtures.get("consumers", {})
    auth = _auth(config)
    service: Plain = {} if auth is None else {"auth": auth}
    granted = bool(_NEED_GRANTS & set(config["auth"]))
    service |= _authorized(consumers) if granted else _policy(config)
    if "ip_allow" in config:
        service["access"] = {"ip-restriction": {"whitelist": config["ip_allow"]}}
    tenants = sorted({each["tenant"] for each in consumers.values() if "tenant" in each})
    # A tenant is reached by its host, every other consumer by any host.
    return {
        "services": [
            {"id": "service", **service},
            *({"id": t, "tenant": t, "hosts": [f"{t}.example"], **service} for t in tenants),
        ],
        "consumers": [
            _consumer(name, each, config) | (_grants(each) if granted else {})
            for name, each in consumers.items()
        ],
    }


def _authorized(consumers: Plain) -> Plain:
    """A route for each API that an app is, or was, authorized to call."""
    return {
        "access": {"grant": "required"},
        "routes": [
            {"id": _route_id(prefix), "match": {"path": f"{prefix}*"}}
            for each in consumers.values()
            for word in _AUTHORIZED
            for prefix in each.get(word, ())
        ],
    }


def _grants(fixture: Plain) -> Plain:
    return {
        "grants": [
            {"service": "service", "route": _route_id(prefix), **bounds}
            for word, bounds in _AUTHORIZED.items()
            for prefix in fixture.get(word, ())
        ]
    }


def _route_id(prefix: str) -> str:
    return prefix.strip("/").replace("/", "-")


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
    request = replace(_sent(case["request"]), partial=bool(config.get("partial_body")))
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
