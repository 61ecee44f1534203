"""Decision to CheckResponse.

Only `CheckResponse.status.code` decides at Envoy, and an unset one lets the request in. So every
answer is made here, by `_answer`, which takes no zero for a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct

from authz.pb.base_pb2 import HeaderValueOption
from authz.pb.external_auth_pb2 import CheckResponse, DeniedHttpResponse
from authz.pipeline import Verdict
from authz.server.told import Told
from authz.values import Allow, Answer, Deny

#: Seconds after which a client may ask again after a fault.
RETRY_AFTER = 1
FAULT_MESSAGE = "Authorization is not available, try again"
#: What Envoy's access log, rate limits and RBAC read of an allow and of a refusal.
ALLOWED, ANONYMOUS = "allowed", "anonymous"
PLAIN = "text/plain; charset=utf-8"
LEAST_STATUS = 200

_HEADER_NAME = re.compile(r":path|[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")

_UNAUTHENTICATED, _PERMISSION_DENIED, _UNAVAILABLE = 16, 7, 14
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


class Unwritable(Exception):
    """A header of ours that Envoy would split, merge or choke on: a bug, so a fault."""


class Written(Struct, frozen=True, gc=False):
    """An answer, and what is told of it."""

    answer: bytes
    told: Told


def written(verdict: Verdict) -> Written:
    """The bytes for Envoy. Raises `Unwritable`."""
    decision = verdict.decision
    answer = write(verdict).SerializeToString()
    told = metadata(verdict)
    if isinstance(decision, Allow):
        return Written(answer, Told("allow", 200, told))
    outcome = "deny" if isinstance(decision, Deny) else "answer"
    return Written(answer, Told(outcome, decision.status, told))


def write(verdict: Verdict) -> CheckResponse:
    """The answer to Envoy. Raises `Unwritable` rather than send a header that could be split."""
    decision = verdict.decision
    if isinstance(decision, Allow):
        answer = _allow(decision)
    else:
        answer = _answer(_code(decision.status))
        refusal = answer.denied_response
        if isinstance(decision, Answer):
            _reply(refusal, decision.status, decision.body, PLAIN, [("cache-control", "no-store")])
        elif decision.body is not None:
            _reply(refusal, decision.status, decision.body, PLAIN, _offers(decision))
        else:
            _refuse(refusal, decision.status, decision.message, _offers(decision))
    answer.dynamic_metadata.update(metadata(verdict))
    if isinstance(decision, Allow) and decision.claims is not None:
        answer.dynamic_metadata["claims"] = decision.claims
    return answer


def told_client(lines: Iterable[tuple[str, str]]) -> bytes:
    """An allow's headers for the client, to be written after the allow: of two messages in a row
    protobuf makes one. Raises `Unwritable`."""
    answer = CheckResponse()
    for name, value in lines:
        _add(answer.ok_response.response_headers_to_add, name, value, _OVERWRITE)
    return answer.SerializeToString()


def fault(reason: str) -> CheckResponse:
    """No decision could be made: an error to Envoy, 503 to the client."""
    answer = _answer(_UNAVAILABLE)
    _refuse(answer.error_response, 503, FAULT_MESSAGE, [("retry-after", str(RETRY_AFTER))])
    answer.dynamic_metadata.update({"reason": reason})
    return answer


def metadata(verdict: Verdict) -> dict[str, str]:
    """What is told to Envoy's other filters. `consumer` is there on an allow only, never empty."""
    decision, route = verdict.decision, verdict.route
    told = {"service": route.service, "route": route.id} if route is not None else {}
    if isinstance(decision, Deny):
        told |= {"scheme": decision.scheme, "reason": decision.reason, "limit": decision.limit}
    elif isinstance(decision, Answer):
        told |= {"reason": decision.reason}
    else:
        identity = decision.identity
        told |= {
            "consumer": identity.consumer.username,
            "credential": identity.credential.id if identity.credential else "",
            "scheme": identity.scheme,
            "reason": ALLOWED if identity.credential else ANONYMOUS,
        }
    return {name: value for name, value in told.items() if value}


def _answer(code: int) -> CheckResponse:
    if code == 0:
        raise Unwritable("a refusal needs a code")
    answer = CheckResponse()
    answer.status.code = code
    return answer


def _allow(decision: Allow) -> CheckResponse:
    answer = CheckResponse()
    answer.status.code = 0
    for name, value in decision.set:
        _add(answer.ok_response.headers, name, value, _OVERWRITE)
    answer.ok_response.headers_to_remove.extend(decision.remove)
    return answer


def _code(status: int) -> int:
    return _UNAUTHENTICATED if status == 401 else _PERMISSION_DENIED  # noqa: PLR2004


def _offers(deny: Deny) -> list[tuple[str, str]]:
    return [("www-authenticate", challenge) for challenge in deny.challenges] + [*deny.headers]


def _refuse(
    refusal: DeniedHttpResponse, status: int, message: str, headers: Iterable[tuple[str, str]]
) -> None:
    body = msgspec.json.encode({"message": message}).decode()
    _reply(refusal, status, body, "application/json", headers)


def _reply(
    refusal: DeniedHttpResponse,
    status: int,
    body: str,
    content_type: str,
    headers: Iterable[tuple[str, str]],
) -> None:
    # Envoy would take a zero for a 200 of its own, and an informational status is no answer.
    if status < LEAST_STATUS:
        raise Unwritable("status")
    refusal.status.code = cast(Any, status)  # an open enum: any number may travel
    refusal.body = body
    _add(refusal.headers, "content-type", content_type, _OVERWRITE)
    for name, value in headers:
        _add(refusal.headers, name, value, _APPEND)


def _add(options: Any, name: str, value: str, action: int) -> None:
    if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
        raise Unwritable(name)
    option = options.add()
    option.header.key = name
    option.header.value = value
    option.append_action = action
