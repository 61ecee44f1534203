"""Every reason that a decision may carry, and what it means: for the manual and for `explain`.

A scheme's reasons stand with the scheme; here are all others.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from authz import denials
from authz.access import RULES, grants, guessing, limits
from authz.schemes import SCHEMES


class Reason(Struct, frozen=True):
    """One reason. `advice` may be empty; `schemes` are those that give it."""

    name: str
    meaning: str
    advice: str = ""
    schemes: tuple[str, ...] = ()


PASSED = (
    Reason("allowed", "a credential was proven"),
    Reason("anonymous", "nothing was proven; the route's anonymous consumer passes"),
)
ANSWERED = (
    Reason("token_signed", "a token was issued (`endpoint: jwt-sign`)"),
    Reason("sign_key_missing", "the sign endpoint was asked without a `key`"),
    Reason("sign_key_unknown", "no credential that can sign has this key, or it does not hold now"),
    Reason("sign_not_a_get", "the sign endpoint takes GET alone"),
    Reason("sign_payload_malformed", "`payload` is no JSON object"),
)
BEFORE = (
    Reason(
        "no_route",
        "no service or route matches",
        "add one, or name it in Envoy's `context_extensions`",
    ),
    Reason("no_scheme", "the route has no `auth`", "give the service or the route one"),
    Reason(
        "ambiguous_request",
        "Envoy described one thing in two ways",
        "keep `encode_raw_headers: true`; look for a proxy in between",
    ),
    Reason("malformed_request", "method, path or host is not one that Envoy forwards"),
    Reason(
        "unsafe_path",
        "a backend may read the path as another one",
        "`normalize_path`, `merge_slashes` in Envoy; a plain path in the client",
    ),
    Reason(
        "spoofed_identity_header",
        "a header or a parameter that a backend may take for one of ours, such as `X_Consumer_Id`",
    ),
    Reason(
        guessing.TOO_MANY,
        guessing.REASONS[guessing.TOO_MANY],
        "wait as `Retry-After` says; docs/guessing.md has the limits, `access: {guessing: off}`",
    ),
)
LAPSED = (
    Reason(
        denials.NONE_PROVEN.reason,
        "none of several schemes was satisfied (`any` under the APISIX profiles: multi-auth)",
        "`authz explain` says why, for each of them",
    ),
    Reason("credential_disabled", "the credential is suspended"),
    Reason("consumer_disabled", "the consumer is suspended"),
    Reason("credential_expired", "the credential's `expires_at` is past"),
    Reason("consumer_expired", "the consumer's `expires_at` is past"),
    Reason("credential_not_yet_valid", "the credential's `not_before` is to come"),
    Reason("consumer_not_yet_valid", "the consumer's `not_before` is to come"),
    Reason("consumer_missing", "the credential's consumer is gone"),
    Reason("anonymous_consumer_missing", "the route's `anonymous_consumer` does not exist"),
    Reason("credentials_of_different_consumers", "`all` was satisfied, but not by one consumer"),
)
#: Rules may share a reason.
FORBIDDEN = tuple(
    Reason(name, meaning)
    for name, meaning in {
        **grants.REASONS,
        **{name: text for rule in RULES.values() for name, text in rule.reasons.items()},
        **limits.REASONS,
    }.items()
)
FAULTS = (
    Reason("not_ready", "no policy yet", "the log says what is missing: key ring, store, document"),
    Reason("not_a_check_request", "the bytes are no CheckRequest", "who is calling this port?"),
    Reason("internal_error", "a bug", "the log has its trace; please report it"),
    Reason(
        "passwords_busy",
        "more password checks wait than can be done in time",
        "more workers; somebody may be guessing",
    ),
    Reason(
        "overloaded",
        "more Checks wait for the store than will be answered in time",
        "more workers, or a store that is nearer",
    ),
    Reason(
        "too_many_unknown",
        "so many unknown keys come that no other is asked of the store for now",
        "who floods us? Limit them in Envoy; or raise `unknown_per_second`",
    ),
    Reason("abandoned", "the caller left, or its deadline passed, before its turn came"),
    Reason(
        "keys_unavailable",
        "the JWK Set at a credential's `jwks_url` was never had, or is too old to be trusted",
        "`authz_key_set_fetches_total` says why; is the URL right, https, and public?",
    ),
    Reason(
        "store_unreachable",
        "no connection to the store, or to the one of its servers that has the record; or no "
        "majority of the Sentinels names a primary",
    ),
    Reason("store_timeout", "no answer of the store in time"),
    Reason("store_breaker_open", "the store failed a moment ago and is not asked"),
    Reason("store_loading", "the store is reading its data from disk"),
    Reason(
        "store_auth_failed",
        "wrong password of the store, or a right is missing",
        "the log says which; docs/stores.md has the ACL lines",
    ),
    Reason(
        "store_tls_failed",
        "the store's certificate is not trusted, or it does not trust ours",
        "`ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` in the store's URL: docs/stores.md",
    ),
    Reason(
        "store_full", "a write was refused: `maxmemory`", "nonces need room; give the store some"
    ),
    Reason("store_read_only", "this is a replica"),
    Reason("store_error", "any other error of the store"),
    Reason("store_empty", "the epoch is gone: FLUSHALL, or an empty restart", "`authz apply`"),
    Reason(
        "record_corrupt",
        "a record does not open: altered, moved, or of another key ring",
        "apply it again",
    ),
)

SECTIONS: tuple[tuple[str, tuple[Reason, ...]], ...] = (
    ("Allowed", PASSED),
    ("Answered by authz itself", ANSWERED),
    ("Refused before anyone is identified (403; too many failures: 429)", BEFORE),
    ("Refused although a credential may be known (as if it were not)", LAPSED),
    ("Refused although the caller is known (403, by a limit 429)", FORBIDDEN),
    ("Faults (503 with Retry-After)", FAULTS),
)


def of_schemes() -> tuple[Reason, ...]:
    """What the schemes refuse. One name may mean a little something else in each."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, scheme in SCHEMES.items():
        for name, meaning in scheme.reasons.items():
            found.setdefault((name, meaning), []).append(kind)
    return tuple(
        Reason(name, meaning, schemes=tuple(kinds)) for (name, meaning), kinds in found.items()
    )


def find(name: str, scheme: str = "") -> Reason | None:
    """What a reason means, where it was `scheme` that gave it."""
    for reason in (*of_schemes(), *(each for _, section in SECTIONS for each in section)):
        if reason.name == name and (not reason.schemes or scheme in ("", *reason.schemes)):
            return reason
    return None


def summary() -> str:
    """The README's table: every reason, by who gives it. Markdown."""
    rows = [(title, [reason.name for reason in section]) for title, section in SECTIONS]
    rows += [(f"`{kind}`", list(scheme.reasons)) for kind, scheme in SCHEMES.items()]
    lines = [f"| {who} | {', '.join(names)} |" for who, names in rows]
    return "\n".join(("| given by | reasons |", "|---|---|", *lines)) + "\n"


def manual() -> str:
    """The page of the manual: Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Reasons"
    yield ""
    yield "Every refusal and every fault has one stable reason: in the decision log, in the metric"
    yield "`authz_checks_total`, and in Envoy's dynamic metadata (`envoy.filters.http.ext_authz`,"
    yield "`reason`). This page is what `authz reasons --markdown` prints. `authz explain` says for"
    yield "one request how it came about."
    for title, section in SECTIONS[:3]:
        yield from _table(title, section)
    yield from ("", "## Refused by a scheme", "", "| reason | scheme | meaning |", "|---|---|---|")
    for reason in of_schemes():
        yield f"| `{reason.name}` | {', '.join(reason.schemes)} | {reason.meaning} |"
    for title, section in SECTIONS[3:]:
        yield from _table(title, section)


def _table(title: str, section: tuple[Reason, ...]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| reason | meaning | what to do |", "|---|---|---|")
    for reason in section:
        yield f"| `{reason.name}` | {reason.meaning} | {reason.advice} |"
