"""Bytes that our classes write mean the same to Envoy's, and the other way round."""

from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.pb.address_pb2 import Address
from authz.pb.attribute_context_pb2 import AttributeContext
from authz.pb.base_pb2 import HeaderValueOption, Metadata
from authz.pb.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from authz.pb.status_pb2 import Status

#: The parts are tried alone too: deep inside a whole, a field is seldom set.
KINDS = [
    CheckRequest,
    CheckResponse,
    AttributeContext,
    AttributeContext.Peer,
    AttributeContext.HttpRequest,
    Address,
    Metadata,
    HeaderValueOption,
    OkHttpResponse,
    DeniedHttpResponse,
    Status,
]

#: A Struct may nest without end, and runtimes refuse to parse beyond a hundred levels.
DEPTH = 6

SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    # Nothing is equal to NaN, itself included.
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    # Enums are open: numbers without a name must survive too.
    FieldDescriptor.TYPE_ENUM: st.integers(0, 5) | st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=20),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
}


@st.composite
def filled(draw: st.DrawFn, kind: type[Message]) -> Message:
    """A message of this class in which any fields at all are set, at any level."""
    message = kind()
    fill(draw, message, DEPTH)
    return message


def fill(draw: st.DrawFn, message: Message, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if (field.message_type and not depth) or not draw(st.booleans()):
            continue
        fill_field(draw, message, field, depth)


def fill_field(draw: st.DrawFn, message: Message, field: Any, depth: int) -> None:
    place: Any = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        fill_map(draw, place, field.message_type, depth)
    elif field.message_type and field.is_repeated:
        for _ in range(draw(st.integers(1, 3))):
            fill(draw, place.add(), depth - 1)
    elif field.message_type:
        place.SetInParent()
        fill(draw, place, depth - 1)
    elif field.is_repeated:
        place.extend(draw(st.lists(SCALARS[field.type], max_size=3)))
    else:
        setattr(message, field.name, draw(SCALARS[field.type]))


def fill_map(draw: st.DrawFn, place: Any, entry: Descriptor, depth: int) -> None:
    key, value = (entry.fields_by_name[name] for name in ("key", "value"))
    for name in draw(st.sets(SCALARS[key.type], max_size=3)):
        if value.message_type:
            fill(draw, place[name], depth - 1)
        else:
            place[name] = draw(SCALARS[value.type])


def theirs(official: DescriptorPool, kind: type[Message]) -> type[Message]:
    return GetMessageClass(official.FindMessageTypeByName(kind.DESCRIPTOR.full_name))


def carries(message: Message, other: type[Message]) -> None:
    """Assert that the other class reads the same content, by name, and gives back equal bytes."""
    read = other.FromString(message.SerializeToString())
    assert text_format.MessageToString(read) == text_format.MessageToString(message)
    assert type(message).FromString(read.SerializeToString()) == message


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_envoy_reads_what_we_write(
    official: DescriptorPool, kind: type[Message], data: st.DataObject
) -> None:
    carries(data.draw(filled(kind)), theirs(official, kind))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_we_read_what_envoy_writes(
    official: DescriptorPool, kind: type[Message], data: st.DataObject
) -> None:
    carries(data.draw(filled(theirs(official, kind))), kind)
