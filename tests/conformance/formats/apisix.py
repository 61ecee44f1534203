"""APISIX's and API7's plugins: consumers, a route's plugins, a request and what came of it.

Each case runs under the profile that it names. A plugin that is a scheme of ours by the same name
takes its settings as they stand, its credentials as `apisix_credentials` writes them. One that is
not in `SCHEMES` yet skips its cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.conformance.case import (
    Answer,
    Exchange,
    Inexpressible,
    Judgement,
    Mode,
    Plain,
    as_it_stands,
    sent,
)
from tests.conformance.expect import (
    allowed,
    body_is,
    decided,
    headers_absent,
    headers_are,
    query_is,
    query_lacks,
    require,
)
from tests.conformance.formats import apisix_config, apisix_sign
from tests.conformance.formats.apisix_credentials import OURS, PROFILES
from tests.conformance.formats.apisix_document import document
from tests.conformance.formats.apisix_generate import MOMENT, materialise


def recognises(case: Plain) -> bool:
    return {"plugin", "kind", "profile", "compat"} <= set(case)


def group(case: Plain) -> str:
    return f"{case['plugin']}{'' if case['kind'] == 'request' else ' ' + case['kind']}"


def translate(case: Plain, shared: Plain, mode: Mode) -> Exchange | Judgement:
    if case["profile"] not in PROFILES:
        raise Inexpressible(f"profile {case['profile']} is not there")
    if case["kind"] == "config":
        return apisix_config.translate(case)
    if case["kind"] == "sign":
        return apisix_sign.translate(case, mode)
    if case["kind"] != "request":
        raise Inexpressible(f"kind {case['kind']} is not supported yet")
    if _is_mended(case):
        case = {**case, "profile": OURS}
    made = document(case)
    wanted = _wanted(case)
    if "generate" in case:
        now = case.get("now", MOMENT)
        request = materialise(case["request"], case["generate"], now)
        case = {**case, "request": request, "now": now}
    free = case["compat"].startswith("may-")
    return Exchange(
        document=made,
        requests=(as_it_stands(sent(case["request"]), mode),),
        verify=_any_decision if free else partial(_verify, case, wanted),
        now=case.get("now"),
        refusal="fine" if free else "leave-out" if _is_mended(case) else "fail",
    )


def _is_mended(case: Plain) -> bool:
    """A vendor's bug. Its profile copies what clients may rely on, so what is recommended instead
    is asked of the default profile. What should not have been stored, we may refuse to."""
    return bool(case["compat"] == "bug-do-not-copy")


def _wanted(case: Plain) -> Plain:
    """What is expected: of a bug that is not to be copied, what is recommended in its place."""
    if _is_mended(case):
        recommended: Plain = {k: v for k, v in case["recommended"].items() if k != "why"}
        return recommended
    derived = case.get("expect_derived") or {}
    headers = {**derived.get("response_headers", {}), **case["expect"].get("response_headers", {})}
    identity = {"identity": derived["identity"]} if derived.get("identity") else {}
    return {**case["expect"], **identity, "response_headers": headers}


# -- verdicts --------------------------------------------------------------------------------------


def _any_decision(answers: Sequence[Answer]) -> str:
    for answer in answers:
        decided(answer)
    return "any decision would do"


def _verify(case: Plain, wanted: Plain, answers: Sequence[Answer]) -> None:
    (answer,) = answers
    status = wanted["status"]
    require(answer.status == status, f"expected {status}, got {answer.told}")
    require((status < 400) == (answer.outcome == "allow"), f"expected {status}, got {answer.told}")
    if "body_contains" in wanted:
        body_is(answer, wanted["body_contains"])
    headers_are(answer, wanted.get("response_headers", {}), "response")
    headers_absent(answer, wanted.get("response_headers_absent", ()), "response")
    if answer.outcome == "allow":
        _verify_upstream(case, wanted, answer)


def _verify_upstream(case: Plain, wanted: Plain, answer: Answer) -> None:
    seen = allowed(answer)
    headers_are(seen, wanted.get("headers_to_upstream", {}), "upstream")
    headers_absent(seen, wanted.get("headers_removed", ()), "upstream")
    query_is(seen, wanted.get("query_to_upstream", {}))
    query_lacks(seen, wanted.get("query_removed", ()))
    lines = sent(case["request"]).lines
    for name in wanted.get("headers_kept", ()):
        before = [value for each, value in lines if each.decode().lower() == name.lower()]
        after = seen.values(name)
        require(after == before, f"upstream: {name} is {after}, it was {before}")
    if wanted.get("consumer_group_id") is not None:
        headers_are(seen, {"X-Consumer-Groups": wanted["consumer_group_id"]}, "upstream")
    if "claims_exposed" in wanted and answer.metadata is not None:
        claims = answer.metadata.get("claims")
        expected = wanted["claims_exposed"]
        require(claims == expected, f"the metadata's claims are {claims}, expected {expected}")
    if "identity" in wanted:
        _verify_identity(wanted["identity"], answer)


#: Where each part of an identity is told to the upstream.
_TOLD: dict[str, str] = {
    "consumer": "X-Consumer-Username",
    "credential_id": "X-Credential-Identifier",
    "custom_id": "X-Consumer-Custom-ID",
    "group_id": "X-Consumer-Groups",
}


def _verify_identity(identity: Plain, answer: Answer) -> None:
    seen = allowed(answer)
    for part, header in _TOLD.items():
        if part not in identity:
            continue
        if identity[part] is None:
            headers_absent(seen, [header], "upstream")
        else:
            headers_are(seen, {header: identity[part]}, "upstream")
    if "anonymous" in identity and answer.metadata is not None:
        anonymous = "credential" not in answer.metadata
        require(anonymous == identity["anonymous"], f"anonymous is {anonymous}")
