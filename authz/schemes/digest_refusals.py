"""Every refusal of the scheme `digest`. The reasons are stable: people alert on them."""

from __future__ import annotations

from msgspec.structs import replace

from authz.schemes.alibaba import NEED, Refusal, echo

_MISSING, _INVALID = "I400MH", "I400HD"


def _required(reason: str, name: str, meaning: str) -> Refusal:
    return Refusal(reason, meaning, f"Header `{name}` is Required", _MISSING)


def _header(reason: str, name: str, why: str, meaning: str) -> Refusal:
    return Refusal(reason, meaning, f"Invalid Header `{name}` {why}", _INVALID)


MISSING_APP_KEY = Refusal("missing_app_key", "no X-Ca-Key", *NEED)
MISSING_SIGNATURE = _required(
    "missing_signature", "X-Ca-Signature", "no X-Ca-Signature, or an empty one"
)
UNKNOWN_APP_KEY = Refusal(
    "unknown_app_key", "no credential has this AppKey", "Invalid AppKey", "A400IK"
)
#: Its message is made for the request, by `bad_signature`.
BAD_SIGNATURE = Refusal(
    "bad_signature",
    "the signature is not that of any string to sign of this request",
    "Invalid Signature, Server StringToSign:",
    "A403IS",
    403,
)
DUPLICATE_HEADER = _header(
    "duplicate_header", "X-Ca-*", "Duplicated", "an X-Ca-* or a signed header was sent twice"
)
INEXACT = Refusal(
    "inexact_request",
    "a `!` may stand for bytes that Envoy replaced: set `encode_raw_headers` and `pack_as_bytes`",
    "Invalid Request",
)
BAD_NAMES = _header(
    "malformed_signature_headers",
    "X-Ca-Signature-Headers",
    "Malformed",
    "not a list of at most 100 different header names, separated by commas",
)
METHOD_NOT_ALLOWED = _header(
    "signature_method_not_allowed",
    "X-Ca-Signature-Method",
    "Not Allowed",
    "the route does not take this X-Ca-Signature-Method",
)
UNSIGNED_APP_KEY = _header(
    "unsigned_app_key", "X-Ca-Key", "Not Signed", "X-Ca-Signature-Headers does not name X-Ca-Key"
)
TIMESTAMP_MISSING = _required("timestamp_missing", "X-Ca-Timestamp", "no X-Ca-Timestamp")
TIMESTAMP_UNSIGNED = _header(
    "timestamp_unsigned",
    "X-Ca-Timestamp",
    "Not Signed",
    "X-Ca-Timestamp is required, and not signed: anyone could write another",
)
TIMESTAMP_MALFORMED = _header(
    "timestamp_malformed",
    "X-Ca-Timestamp",
    "Invalid Timestamp",
    "X-Ca-Timestamp is not a number of milliseconds",
)
TIMESTAMP_EXPIRED = _header(
    "timestamp_expired",
    "X-Ca-Timestamp",
    "Timestamp Expired",
    "X-Ca-Timestamp is more than 15 minutes away from now",
)
NONCE_MISSING = _required("nonce_missing", "X-Ca-Nonce", "no X-Ca-Nonce")
NONCE_UNSIGNED = _header(
    "nonce_unsigned",
    "X-Ca-Nonce",
    "Not Signed",
    "X-Ca-Nonce is required, and not signed: anyone could write another",
)
NONCE_MALFORMED = _header(
    "nonce_malformed",
    "X-Ca-Nonce",
    "Malformed",
    "X-Ca-Nonce is not 1 to 128 printable ASCII characters",
)
NONCE_REPLAYED = _header(
    "nonce_replayed", "X-Ca-Nonce", "Nonce Used", "this AppKey used this X-Ca-Nonce already"
)
INVALID_STAGE = Refusal(
    "invalid_stage", "X-Ca-Stage is none of the route's", "Invalid Stage", "I400SG"
)
CONTENT_MD5_MISSING = _required(
    "content_md5_missing", "Content-MD5", "a body that is no form is not covered by a Content-MD5"
)
CONTENT_MD5_MISMATCH = Refusal(
    "content_md5_mismatch",
    "Content-MD5 is that of another body, or there is none",
    "Invalid Content-MD5",
)
BODY_NOT_SHOWN = Refusal(
    "body_not_shown",
    "the signature covers the body, which Envoy did not show: switch it on for this route",
    "Request Body is not Available",
)
BODY_INCOMPLETE = Refusal(
    "body_incomplete",
    "the signature covers the body, of which Envoy showed a part: raise `max_request_bytes`",
    "Request body too Large",
    "I413RL",
    413,
)
MALFORMED_PARAMETERS = Refusal(
    "malformed_parameters",
    "a broken escape or bytes that are not UTF-8, in the query or in the form",
    "Invalid Parameters",
)
TOO_MANY_PARAMETERS = Refusal(
    "too_many_parameters", "a query or a form of 1000 parameters or more", "Too Many Parameters"
)
AMBIGUOUS_PARAMETERS = Refusal(
    "ambiguous_parameters",
    "a parameter was sent twice, or one signature would hold for other parameters as well",
    "Ambiguous Parameters",
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))


def bad_signature(string_to_sign: str) -> Refusal:
    """With the string that the server would have signed."""
    message = f"{BAD_SIGNATURE.message}`{echo(string_to_sign)}`"
    return replace(BAD_SIGNATURE, message=message)
