"""acl: labels that let in, labels that keep out."""

from __future__ import annotations

import pytest

from authz.access.acl import DENIED, MISSING, values_of
from authz.plain import DocumentError
from authz.values import Deny
from tests.access.gateways import api, call, outcome

BROKEN = """
consumers:
  - {username: ann, labels: {team: '["red"'}, credentials: [{key-auth: {key: ann-key}}]}
  - {username: ben, labels: {team: '[1]'}, credentials: [{key-auth: {key: ben-key}}]}
"""


@pytest.mark.parametrize(
    ("rule", "who", "expected"),
    [
        ("allow_labels: {team: [blue]}", "ann", "allowed"),
        ("allow_labels: {team: [blue]}", "ben", MISSING),
        ("allow_labels: {team: [blue]}", "cleo", MISSING),
        ('allow_labels: {team: ["red,blue"]}', "ann", MISSING),
        # In a JSON list a comma is a comma.
        ('allow_labels: {team: ["a,b"]}', "ben", "allowed"),
        ("allow_labels: {team: [a]}", "ben", MISSING),
        # One match among all labels is enough.
        ("allow_labels: {team: [x], plan: [gold]}", "ann", "allowed"),
        ("allow_labels: {team: [Blue]}", "ann", MISSING),
        ("deny_labels: {team: [x], plan: [gold]}", "ann", DENIED),
        ("deny_labels: {team: [red]}", "ben", "allowed"),
        ("deny_labels: {team: [red]}", "cleo", "allowed"),
        ("deny_labels: {team: [red]}, allow_labels: {plan: [gold]}", "ann", DENIED),
        ("deny_labels: {team: [x]}, allow_labels: {plan: [gold]}", "ann", "allowed"),
        ("deny_labels: {team: [x]}, allow_labels: {plan: [gold]}", "ben", MISSING),
    ],
)
def test_labels(rule: str, who: str, expected: str) -> None:
    assert outcome(api(f"{{acl: {{{rule}}}}}"), call(who)) == expected


@pytest.mark.parametrize("who", ["ann", "ben"])
def test_a_label_that_cannot_be_read_opens_nothing(who: str) -> None:
    """And might be one that is denied."""
    allows = api("{acl: {allow_labels: {team: [red, '1', '[1]']}}}", people=BROKEN)
    denies = api("{acl: {deny_labels: {team: [blue]}}}", people=BROKEN)

    assert outcome(allows, call(who)) == MISSING
    assert outcome(denies, call(who)) == DENIED


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", {"a"}),
        ("", {""}),
        ("a , b,c", {"a", "b", "c"}),
        ('["a","a,b"]', {"a", "a,b"}),
        ("[]", set()),
        ("[a]", None),
        ('["a"', None),
        ('[["a"]]', None),
        ('["a"] x', None),
    ],
)
def test_the_values_of_a_label(text: str, values: set[str] | None) -> None:
    assert values_of(text) == values


def test_the_words() -> None:
    usual = api("{acl: {allow_labels: {team: [blue]}}}").decide(call("ben"))
    own = api("{acl: {deny_labels: {team: [red]}, rejected_code: 451, rejected_msg: No.}}").decide(
        call("ann")
    )

    assert isinstance(usual, Deny)
    assert isinstance(own, Deny)
    assert (usual.status, usual.message, usual.scheme) == (
        *(403, "The consumer is forbidden."),
        "key-auth",
    )
    assert (own.status, own.message) == (451, "No.")


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("{}", "access.acl: expected allow_labels, deny_labels or both"),
        ("{allow_labels: {}}", "access.acl.allow_labels: expected 'object' of length >= 1"),
        ("{deny_labels: {team: []}}", "expected 'array' of length >= 1"),
        ("{deny_labels: {team: red}}", "expected 'array', got 'str'"),
    ],
)
def test_what_is_no_acl(rule: str, complaint: str) -> None:
    with pytest.raises(DocumentError, match=r"^services\[0\]\.access\.acl") as refused:
        api(f"{{acl: {rule}}}")

    assert complaint in str(refused.value)
