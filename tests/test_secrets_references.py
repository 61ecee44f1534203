"""Secrets in documents: as text, or where to find them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.references import Secret, Unresolved
from tests.support.texts import NAUGHTY


def _parts(secret: Secret) -> tuple[str, str]:
    return secret.source, secret.value


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("k", ("text", "k")),
        ("", ("text", "")),
        ({"env": "NAME"}, ("env", "NAME")),
        ({"file": "/run/x"}, ("file", "/run/x")),
        ({"digest": "k1.x"}, ("digest", "k1.x")),
        ({"hash": "$argon2id$"}, ("hash", "$argon2id$")),
        ("$env://NAME", ("env", "NAME")),
        ({"file": "$env://NAME"}, ("file", "$env://NAME")),
    ],
)
def test_what_a_secret_may_be(written: Any, expected: tuple[str, str]) -> None:
    """Text stands for itself; a reference says where the text is."""
    assert _parts(Secret.decode(written)) == expected


@pytest.mark.parametrize(
    ("written", "got"),
    [
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        (None, "null"),
        ([], "something else"),
        ({}, "something else"),
        ({"env": 1}, "something else"),
        ({"text": "k"}, "something else"),
        ({"env": "A", "file": "B"}, "something else"),
        ({1: "A"}, "something else"),
    ],
)
def test_what_a_secret_may_not_be(written: Any, got: str) -> None:
    """Anything else is a ValueError that names the type and not the value."""
    with pytest.raises(ValueError, match=f"expected a string, or one of .* got {got}"):
        Secret.decode(written)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Secret.SOURCES, "text"]) | st.integers(), inner)
    ),
    max_leaves=4,
)


@given(_PLAIN)
def test_a_secret_is_read_or_refused(written: Any) -> None:
    """Whatever a document holds, the answer is a secret or a ValueError."""
    with suppress(ValueError):
        assert Secret.decode(written).source in ("text", *Secret.SOURCES)


@pytest.mark.parametrize(
    "written",
    ["k", "", "$env://NAME", "$secret://x", *({source: "NAME"} for source in Secret.SOURCES)],
)
def test_what_does_not_refer_is_left_as_it_is(written: Any, tmp_path: Path) -> None:
    """And what does becomes another secret, or leads nowhere."""
    secret = Secret.decode(written)
    try:
        left = secret.resolve(tmp_path) is secret
    except Unresolved:
        left = False

    assert secret.refers is not left


@pytest.mark.parametrize("source", ["text", *Secret.SOURCES])
def test_a_secret_is_not_printed(source: str) -> None:
    """`repr` and `str` show where a secret comes from, never what it is."""
    assert (repr(Secret("s3cret", source)), f"{Secret('s3cret', source)}") == (
        f"Secret({source})",
        f"Secret({source})",
    )


@pytest.mark.parametrize("text", [*NAUGHTY, "$env://OTHER", "$secret://x", " a ", "a\nb"])
def test_the_environment_is_taken_at_its_word(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a variable holds is the secret itself, and no reference in its turn."""
    monkeypatch.setenv("A_SECRET", text)

    assert _parts(Secret.decode({"env": "A_SECRET"}).resolve(tmp_path)) == ("text", text)
    assert _parts(Secret.decode("$env://A_SECRET").resolve(tmp_path)) == ("text", text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"k", "k"),
        (b"k\n", "k"),
        (b"k\r\n", "k"),
        (b" k \n", " k "),
        (b"a\nb\n", "a\nb"),
        (b"$env://OTHER\n", "$env://OTHER"),
        ("ключ\n".encode(), "ключ"),
        (b"", ""),
    ],
)
def test_a_file_without_its_last_newline(content: bytes, expected: str, tmp_path: Path) -> None:
    """The newline that editors put at the end is not the secret's; all else is."""
    (tmp_path / "secret").write_bytes(content)

    assert _parts(Secret("secret", "file").resolve(tmp_path)) == ("text", expected)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret("AUTHZ_NOT_SET", "env"), "environment variable AUTHZ_NOT_SET is not set"),
        (Secret("", "env"), "is not set"),
        (Secret("absent", "file"), "file absent: FileNotFoundError"),
        (Secret(".", "file"), "file .: IsADirectoryError"),
        (Secret("latin", "file"), "file latin: UnicodeDecodeError"),
        (Secret("a\0b", "file"), "file a.b: ValueError"),
        (Secret("a" * 5000, "file"), "OSError"),
        (Secret("$secret://vault/x"), "not supported"),
    ],
)
def test_references_that_lead_nowhere(secret: Secret, message: str, tmp_path: Path) -> None:
    """A reference that cannot be followed is `Unresolved`, in words that name it."""
    (tmp_path / "latin").write_bytes(b"\xff")

    with pytest.raises(Unresolved, match=message):
        secret.resolve(tmp_path)


@pytest.mark.parametrize("secret", [Secret("k"), Secret("k", "digest"), Secret("k", "hash")])
def test_what_needs_no_following(secret: Secret, tmp_path: Path) -> None:
    """Text, digests and hashes are already what they are; only the last two are safe."""
    assert secret.resolve(tmp_path) is secret
    assert secret.safe is (secret.source != "text")
