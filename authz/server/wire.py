"""CheckRequest to Request, and Decision to CheckResponse.

Only `CheckResponse.status.code` decides at Envoy, and an unset one lets the request in. So every
answer is made here, by `_answer`, which takes no zero for a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from authz.denials import AMBIGUOUS, MALFORMED
from authz.pb.attribute_context_pb2 import AttributeContext
from authz.pb.base_pb2 import HeaderValueOption
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse
from authz.pipeline import Verdict
from authz.values import Allow, Answer, Body, Denied, Deny, Headers, Request

#: Added by Envoy when, and only when, it buffered a body.
PARTIAL_BODY = "x-envoy-auth-partial-body"
#: Longer targets are refused before they are matched; Envoy's own cap on headers is near.
MAX_TARGET = 32 * 1024
#: Seconds after which a client may ask again after a fault.
RETRY_AFTER = 1
FAULT_MESSAGE = "Authorization is not available, try again"
#: What Envoy's access log, rate limits and RBAC read of an allow and of a refusal.
ALLOWED, ANONYMOUS = "allowed", "anonymous"
PLAIN = "text/plain; charset=utf-8"
LEAST_STATUS = 200

MAX_ID = 128
_NOTHING: dict[str, str] = {}
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_PATH = re.compile(r"/[!-\"$->@-~]*")
_QUERY = re.compile(r"[^\x00-\x20#\x7f]*")
_HEADER_NAME = re.compile(r":path|[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")

_UNAUTHENTICATED, _PERMISSION_DENIED, _UNAVAILABLE = 16, 7, 14
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


class Unwritable(Exception):
    """A header of ours that Envoy would split, merge or choke on: a bug, so a fault."""


# -- reading ---------------------------------------------------------------------------------------


def read(check: CheckRequest, at: float) -> Request:
    """The request that Envoy asks about. Raises `Denied` when it can be read in two ways."""
    attributes = check.attributes
    http = attributes.request.http
    lines, pseudo, exact = _lines(http)
    method, target = http.method, http.path
    _agree(pseudo, method, target, http.host)
    path, _, query = target.partition("?")
    # Unless headers are exact, `!` in a path may stand for any byte that is not UTF-8.
    if (
        len(target) > MAX_TARGET
        or not (method in _METHODS or _METHOD.fullmatch(method))
        or not (_PATH.fullmatch(path) and _QUERY.fullmatch(query))
        or (not exact and "!" in path)
    ):
        raise Denied(MALFORMED)
    headers = Headers.of(lines, exact=exact)
    context = attributes.context_extensions
    return Request(
        method=method,
        path=path,
        query=query,
        headers=headers,
        host=http.host,
        context=dict(context) if context else _NOTHING,
        body=_body(http, headers) if PARTIAL_BODY in lines else None,
        address=attributes.source.address.socket_address.address,
        id=_printable(headers.first("x-request-id") or http.id),
        at=at,
        sent=target,
    )


#: Values by lower-case name, pseudo-headers by theirs, and whether the values are exact.
_Lines = tuple[dict[str, tuple[str, ...]], dict[str, str], bool]


def _lines(http: AttributeContext.HttpRequest) -> _Lines:
    """Header lines. Two forms that disagree, or a pseudo-header of two values, are refused."""
    if not http.header_map.headers:
        return _joined(http)
    found: dict[str, tuple[str, ...]] = {}
    again: dict[str, list[str]] = {}
    pseudo: dict[str, str] = {}
    for line in http.header_map.headers:
        name, octets, text = line.key.lower(), line.raw_value, line.value
        value = octets.decode("utf-8", "surrogateescape") if octets else text
        # Text and bytes that differ are two readings of one line.
        if octets and text and text != value:
            raise Denied(AMBIGUOUS)
        if name.startswith(":"):
            if pseudo.setdefault(name, value) != value:
                raise Denied(AMBIGUOUS)
        elif name in found:
            again.setdefault(name, []).append(value)
        else:
            found[name] = (value,)
    for name, values in again.items():
        found[name] += tuple(values)
    if http.headers:
        _require_same(http, found, pseudo)
    return found, pseudo, True


def _joined(http: AttributeContext.HttpRequest) -> _Lines:
    joined = {name.lower(): value for name, value in http.headers.items()}
    if len(joined) < len(http.headers):
        raise Denied(AMBIGUOUS)
    pseudo = {name: value for name, value in joined.items() if name.startswith(":")}
    return {n: (v,) for n, v in joined.items() if n not in pseudo}, pseudo, False


def _require_same(
    http: AttributeContext.HttpRequest, found: dict[str, tuple[str, ...]], pseudo: dict[str, str]
) -> None:
    """Both forms are there: one must be the other, joined."""
    joined = _joined(http)
    merged = {name: (",".join(values),) for name, values in found.items()}
    if (merged, pseudo) != joined[:2]:
        raise Denied(AMBIGUOUS)


def _printable(text: str) -> str:
    """A client's own word, as it may stand in a log."""
    if len(text) <= MAX_ID and text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_ID])


def _agree(pseudo: Mapping[str, str], method: str, target: str, host: str) -> None:
    """Envoy gives these twice. Where the two differ, bytes were lost on the way."""
    if (
        pseudo.get(":method", method) != method
        or pseudo.get(":path", target) != target
        or pseudo.get(":authority", host) != host
    ):
        raise Denied(AMBIGUOUS)


def _body(http: AttributeContext.HttpRequest, headers: Headers) -> Body | None:
    marker = headers.first(PARTIAL_BODY)
    data, exact = (http.raw_body, True) if http.raw_body else (http.body.encode(), False)
    # Without data the marker is the client's own: Envoy sets it only where it buffered some.
    if marker not in ("true", "false") or not data:
        return None
    return Body(data, complete=marker == "false" and http.size <= len(data), exact=exact)


# -- writing ---------------------------------------------------------------------------------------


class Written(Struct, frozen=True):
    """An answer, and what is told of it: metadata, outcome and HTTP status."""

    answer: bytes
    told: dict[str, str]
    outcome: str
    status: int


def written(verdict: Verdict) -> Written:
    """The bytes for Envoy. Raises `Unwritable`."""
    decision = verdict.decision
    answer = write(verdict).SerializeToString()
    told = metadata(verdict)
    if isinstance(decision, Allow):
        return Written(answer, told, "allow", 200)
    outcome = "deny" if isinstance(decision, Deny) else "answer"
    return Written(answer, told, outcome, decision.status)


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
        told |= {"scheme": decision.scheme, "reason": decision.reason}
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
