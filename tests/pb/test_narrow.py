"""The narrow view of a CheckRequest is one: every field under the official number, of a type that
reads the same bytes."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor

from authz.pb import attribute_context_pb2, base_pb2, external_auth_pb2, narrow_pb2

CONTEXT = attribute_context_pb2.DESCRIPTOR.message_types_by_name["AttributeContext"]
WHOLE = {
    "Check": external_auth_pb2.DESCRIPTOR.message_types_by_name["CheckRequest"],
    "Attributes": CONTEXT,
    "Request": CONTEXT.nested_types_by_name["Request"],
    "Http": CONTEXT.nested_types_by_name["HttpRequest"],
    "Entries": base_pb2.DESCRIPTOR.message_types_by_name["HeaderMap"],
}
NARROW = narrow_pb2.DESCRIPTOR.message_types_by_name
#: What may be left as it came.
TAKEN_APART_LATER = {FieldDescriptor.TYPE_MESSAGE: FieldDescriptor.TYPE_BYTES}


def test_every_message_is_compared() -> None:
    """And no other is there."""
    assert set(NARROW) == set(WHOLE)


@pytest.mark.parametrize(
    ("message", "field"), [(m, f.name) for m, kind in NARROW.items() for f in kind.fields]
)
def test_fields(message: str, field: str) -> None:
    """Number, type, and whether there are several."""
    narrow = NARROW[message].fields_by_name[field]
    whole = WHOLE[message].fields_by_name[field]

    assert narrow.number == whole.number
    assert narrow.is_repeated == whole.is_repeated
    assert narrow.type in (whole.type, TAKEN_APART_LATER.get(whole.type))
    assert narrow.has_presence == whole.has_presence or narrow.type != whole.type
