"""Which refusals of a scheme count as a guess, once it asked for a credential.

Counted is all that a scheme may say before the caller has proved to hold the secret: were a skewed
clock counted for the names that are known only, or for those that are not, a stranger could tell
them apart by when the 429 comes. What is said only to who holds the secret is no guess, and neither
is what is said of a request's form before any credential was asked for.
"""

from __future__ import annotations

_PLACES = {"duplicate_credential", "malformed_credential", "too_many_parameters"}
_TOKEN_FORM = {
    "missing_token",
    "not_bearer",
    "token_too_long",
    "token_not_three_segments",
    "token_not_base64url",
    "token_not_json",
    "token_header_refused",
    "token_algorithm_unknown",
    "token_signature_malformed",
}
_TOKEN_LAPSED = {"token_expired", "token_not_yet_valid", "claim_missing", "claim_malformed"}

#: By scheme.
COUNTED: dict[str, frozenset[str]] = {
    "key-auth": frozenset({"invalid_key"}),
    "basic-auth": frozenset({"invalid_password"}),
    "jwt-auth": frozenset(
        {"invalid_user_key", "wrong_algorithm", "unknown_key_id", "invalid_signature"}
    ),
    "jwt": frozenset({"unknown_user", "wrong_algorithm", "invalid_signature"}),
    # It asks for no credential: signatures of public keys are not to be guessed.
    "jwt-plugin": frozenset(),
    "hmac-auth": frozenset(
        {
            "unknown_key_id",
            "bad_signature",
            "algorithm_not_allowed",
            "date_missing",
            "date_malformed",
            "clock_skew",
            "header_not_signed",
            "signed_header_not_allowed",
            "signed_header_absent",
            "signed_header_ambiguous",
            "digest_missing",
            "digest_mismatch",
            "body_too_large",
            "body_incomplete",
            "body_not_shown",
        }
    ),
    "appcode": frozenset({"invalid_app_code"}),
    "digest": frozenset({"unknown_app_key", "bad_signature"}),
}
#: All others.
NOT_COUNTED: dict[str, frozenset[str]] = {
    "key-auth": frozenset({"missing_key", *_PLACES}),
    "basic-auth": frozenset({"missing_authorization", "not_basic", "malformed_basic"}),
    "jwt-auth": frozenset(
        {
            "missing_user_key",
            "token_issued_in_future",
            "wrong_issuer",
            "wrong_audience",
            "token_replayed",
            "claims_too_long",
            *_TOKEN_FORM,
            *_TOKEN_LAPSED,
            *_PLACES,
        }
    ),
    "jwt": frozenset(
        {
            "wrong_token_type",
            "missing_user",
            "wrong_issuer",
            "claims_too_long",
            "body_incomplete",
            *_TOKEN_FORM,
            *_TOKEN_LAPSED,
            *_PLACES,
        }
    ),
    "jwt-plugin": frozenset(
        {
            "missing_consumer_claim",
            "invalid_token",
            "unknown_key_id",
            "invalid_signature",
            "token_replayed",
            "claims_too_long",
            *_TOKEN_FORM,
            *_TOKEN_LAPSED,
            *_PLACES,
        }
    ),
    "hmac-auth": frozenset(
        {"missing_signature", "not_signature", "malformed_signature", "replayed"}
    ),
    "appcode": frozenset({"missing_app_code", "not_app_code", "app_code_disabled", *_PLACES}),
    "digest": frozenset(
        {
            "missing_app_key",
            "missing_signature",
            "duplicate_header",
            "inexact_request",
            "malformed_signature_headers",
            "signature_method_not_allowed",
            "unsigned_app_key",
            "timestamp_missing",
            "timestamp_unsigned",
            "timestamp_malformed",
            "timestamp_expired",
            "nonce_missing",
            "nonce_unsigned",
            "nonce_malformed",
            "nonce_replayed",
            "invalid_stage",
            "content_md5_missing",
            "content_md5_mismatch",
            "body_not_shown",
            "body_incomplete",
            "malformed_parameters",
            "too_many_parameters",
            "ambiguous_parameters",
        }
    ),
}
