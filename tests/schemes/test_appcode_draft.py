"""appcode: how a code is written down, stored and issued."""

from __future__ import annotations

import re

import pytest

from authz.references import Secret
from authz.schemes.appcode import AppCodeDraft
from authz.schemes.digested import Digested
from tests.support.alibaba import VAULT
from tests.support.memory import RING

CODE, SECOND = "3F2504E04F8911D39A0C0305E82C3301", "second-appcode"


def test_a_sealed_code_is_not_the_code() -> None:
    """What is stored is a keyed digest and, of a long code, its ends."""
    index, form = AppCodeDraft(Secret(CODE)).seal(VAULT, "t", None)

    assert (index, form) == (RING.digests("appcode", "t", CODE)[0], Digested("3F25…3301"))
    assert AppCodeDraft(Secret(SECOND)).seal(VAULT, "", None)[1] == Digested("")
    assert AppCodeDraft(Secret(SECOND), "phone").seal(VAULT, "", None)[1] == Digested("phone")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret(""), "expected 1 to 128"),
        (Secret("a b"), "without blanks"),
        (Secret("a,b"), "without blanks"),
        (Secret("a!b"), "without blanks"),
        (Secret("码"), "printable ASCII"),
        (Secret("a\n"), "printable ASCII"),
        (Secret("x" * 129), "1 to 128"),
        (Secret("x", "hash"), "digest"),
        (Secret("k1.nope", "digest"), "not of a code that the key ring holds"),
    ],
)
def test_unfit_drafts(secret: Secret, message: str) -> None:
    """A code that no request can carry is refused when it is written."""
    with pytest.raises(ValueError, match=f"code: .*{message}"):
        AppCodeDraft(secret).seal(VAULT, "", None)


def test_an_exported_code_can_be_applied_again() -> None:
    """The digest stands for the code, and what was known of it is kept."""
    index, form = AppCodeDraft(Secret(CODE)).seal(VAULT, "", None)
    plain = AppCodeDraft.reopen(index, form, VAULT)
    again = AppCodeDraft(Secret.decode(plain["code"]), plain["hint"])

    assert CODE not in str(plain)
    assert again.seal(VAULT, "", form) == again.seal(VAULT, "", None) == (index, form)
    assert AppCodeDraft(again.code).seal(VAULT, "", form) == (index, form)


def test_issued_codes() -> None:
    """32 upper-case hexadecimal digits, as the vendor makes them."""
    draft, shown = AppCodeDraft.issue("app")

    assert draft.code.value == shown["code"]
    assert re.fullmatch(r"[0-9A-F]{32}", shown["code"])
    assert shown != AppCodeDraft.issue("app")[1]
