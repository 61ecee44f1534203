"""acl: which labels let a consumer call, and which keep it out, as APISIX has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from authz import strict_json
from authz.access.rule import FORBIDDEN, UNAUTHORIZED, Call, Message, Status
from authz.denials import NO_SCHEME
from authz.values import Deny

DENIED = "label_denied"
MISSING = "label_not_allowed"
MESSAGE = "The consumer is forbidden."
_COMMA = re.compile(r"\s*,\s*")
_Labels = Annotated[
    dict[str, Annotated[list[str], Meta(min_length=1)]],
    Meta(min_length=1, description="Label: values, one of which is enough."),
]


class Acl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One label that matches is enough, on either side; what is denied comes first.

    A label has several values where its text is a JSON list or has commas.
    """

    allow_labels: _Labels | UnsetType = UNSET
    deny_labels: _Labels | UnsetType = UNSET
    rejected_code: Status = FORBIDDEN
    rejected_msg: Message | None = None

    kind: ClassVar[str] = "acl"
    reasons: ClassVar[dict[str, str]] = {
        DENIED: "one of the consumer's labels is among an acl's `deny_labels`, or is no JSON list "
        "although it begins as one",
        MISSING: "none of the consumer's labels is among an acl's `allow_labels`",
    }
    #: The answer where no scheme says who calls.
    nobody: ClassVar[Deny] = Deny(NO_SCHEME.reason, UNAUTHORIZED, "Missing authentication.")

    def __post_init__(self) -> None:
        if self.allow_labels is UNSET and self.deny_labels is UNSET:
            raise ValueError("expected allow_labels, deny_labels or both")

    def require(self, call: Call) -> None:
        labels = call.consumer.labels
        if self.deny_labels is not UNSET and _has(labels, self.deny_labels, unreadable=True):
            raise call.refused(DENIED, self.rejected_code, self.rejected_msg, MESSAGE)
        if self.allow_labels is not UNSET and not _has(labels, self.allow_labels, unreadable=False):
            raise call.refused(MISSING, self.rejected_code, self.rejected_msg, MESSAGE)


def _has(labels: Mapping[str, str], wanted: Mapping[str, list[str]], *, unreadable: bool) -> bool:
    """Whether a label has a wanted value; `unreadable` is what counts for one that has none."""
    for name, values in wanted.items():
        if name not in labels:
            continue
        found = values_of(labels[name])
        if unreadable if found is None else not found.isdisjoint(values):
            return True
    return False


@lru_cache(4096)
def values_of(label: str) -> frozenset[str] | None:
    """The values of a label's text; None where it begins as a JSON list and is none of texts."""
    if not label.startswith("["):
        return frozenset(_COMMA.split(label))
    try:
        values = strict_json.loads(label.encode("utf-8", "surrogateescape"))
    except strict_json.NotStrict:
        return None
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        return None
    return frozenset(values)
