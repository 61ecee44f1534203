"""References to secrets in a document, and documents as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.document import chosen, parse
from authz.documents import load
from authz.plain import DocumentError

SECRETS = """
profile: {profile}
consumers:
  - username: a
    credentials:
      - {{id: one, key-auth: {{key: {{file: key}}}}}}
      - {{id: two, basic-auth: {{username: a, password: $env://AUTHZ_TEST_UNSET}}}}
"""


def test_secrets_are_found_beside_the_document(tmp_path: Path) -> None:
    """A relative file is the document's neighbour."""
    (tmp_path / "key").write_text("k\n")
    (tmp_path / "gateway.yaml").write_text(SECRETS.format(profile="apisix-3.18"))

    entries = next(load([tmp_path / "gateway.yaml"]).entries()).entry.credentials

    assert [(entry.id, chosen(entry)[1].key.value) for entry in entries] == [("one", "k")]


@pytest.mark.parametrize("profile", ["api7", "alibaba"])
def test_a_reference_that_leads_nowhere_refuses_the_document(tmp_path: Path, profile: str) -> None:
    """Outside of the APISIX profiles no credential is left out silently."""
    (tmp_path / "key").write_text("k\n")

    with pytest.raises(DocumentError) as caught:
        parse(SECRETS.format(profile=profile), tmp_path)
    assert str(caught.value) == (
        "consumers[0].credentials[1].basic-auth: environment variable AUTHZ_TEST_UNSET is not set"
    )


@pytest.mark.parametrize("content", [None, b"\xff", b"services: ["])
def test_a_file_that_is_no_document(content: bytes | None, tmp_path: Path) -> None:
    """Absent, not text, or not YAML: a `DocumentError` each time."""
    path = tmp_path / "gateway.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DocumentError):
        load([path])
