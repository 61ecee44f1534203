"""Our definition of the wire agrees with Envoy's field by field, and leaves out what is listed."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pool import DescriptorPool

from authz.pb import (
    address_pb2,
    attribute_context_pb2,
    base_pb2,
    external_auth_pb2,
    http_status_pb2,
    status_pb2,
)

FILES: dict[str, FileDescriptor] = {
    "envoy/config/core/v3/address.proto": address_pb2.DESCRIPTOR,
    "envoy/config/core/v3/base.proto": base_pb2.DESCRIPTOR,
    "envoy/service/auth/v3/attribute_context.proto": attribute_context_pb2.DESCRIPTOR,
    "envoy/service/auth/v3/external_auth.proto": external_auth_pb2.DESCRIPTOR,
    "envoy/type/v3/http_status.proto": http_status_pb2.DESCRIPTOR,
    "google/rpc/status.proto": status_pb2.DESCRIPTOR,
}

SERVICE = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"]

#: Official fields of our messages that we do not define, as "message.field": none.
FIELDS_LEFT_OUT: frozenset[str] = frozenset()

#: What the official files define beside what a Check can reach, all in envoy.config.core.v3.
TYPES_LEFT_OUT = """
    AsyncDataSource BindConfig BuildVersion CidrRange ControlPlane DataSource
    Extension ExtraSourceAddress KeyValue KeyValueAppend
    KeyValueAppend.KeyValueAppendAction KeyValueMutation KeyValuePair Locality Node
    Node.DynamicParametersEntry RemoteDataSource RequestMethod RetryPolicy
    RetryPolicy.RetryHostPredicate RetryPolicy.RetryPriority RoutingPriority
    RuntimeDouble RuntimeFeatureFlag RuntimeFractionalPercent RuntimePercent
    RuntimeUInt32 RuntimeUInt64 TcpKeepalive TrafficDirection TransportSocket
    WatchedDirectory
"""


class Field(NamedTuple):
    """All of a field that the wire, JSON or the text format can show."""

    name: str
    number: int
    type: int
    type_name: str | None
    repeated: bool
    required: bool
    packed: bool
    presence: bool
    oneof: str | None
    json_name: str
    default: object
    deprecated: bool


def describe(field: FieldDescriptor) -> Field:
    kind = field.message_type or field.enum_type
    return Field(
        field.name,
        field.number,
        field.type,
        kind.full_name if kind else None,
        field.is_repeated,
        field.is_required,
        field.is_packed,
        field.has_presence,
        field.containing_oneof.name if field.containing_oneof else None,
        field.json_name,
        None if field.is_repeated else field.default_value,
        field.GetOptions().deprecated,
    )


def reachable(service: ServiceDescriptor) -> dict[str, Descriptor | EnumDescriptor]:
    """Every message and enum that the service's methods can carry, by full name."""
    found: dict[str, Descriptor | EnumDescriptor] = {}
    waiting: list[Descriptor | EnumDescriptor | None] = []
    for method in service.methods:
        waiting += [method.input_type, method.output_type]
    while waiting:
        kind = waiting.pop()
        if kind is None or kind.full_name in found or kind.file.package == "google.protobuf":
            continue
        found[kind.full_name] = kind
        if isinstance(kind, Descriptor):
            waiting += [each for f in kind.fields for each in (f.message_type, f.enum_type)]
    return found


def declared(file: FileDescriptor) -> Iterator[str]:
    """The full names of all messages and enums of a file, nested ones included."""
    yield from (enum.full_name for enum in file.enum_types_by_name.values())
    yield from nested(file.message_types_by_name.values())


def nested(messages: Iterable[Descriptor]) -> Iterator[str]:
    for message in messages:
        yield message.full_name
        yield from (enum.full_name for enum in message.enum_types)
        yield from nested(message.nested_types)


TYPES = reachable(SERVICE)
MESSAGES = sorted(name for name, kind in TYPES.items() if isinstance(kind, Descriptor))
ENUMS = sorted(name for name, kind in TYPES.items() if isinstance(kind, EnumDescriptor))


@pytest.mark.parametrize("name", MESSAGES)
def test_message(official: DescriptorPool, name: str) -> None:
    ours, theirs = TYPES[name], official.FindMessageTypeByName(name)
    assert isinstance(ours, Descriptor)
    kept = [f for f in theirs.fields if f"{name}.{f.name}" not in FIELDS_LEFT_OUT]
    assert {f.number: describe(f) for f in ours.fields} == {f.number: describe(f) for f in kept}
    assert [o.name for o in ours.oneofs] == [o.name for o in theirs.oneofs]
    assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry


@pytest.mark.parametrize("name", ENUMS)
def test_enum(official: DescriptorPool, name: str) -> None:
    ours, theirs = TYPES[name], official.FindEnumTypeByName(name)
    assert isinstance(ours, EnumDescriptor)
    assert [(v.name, v.number) for v in ours.values] == [(v.name, v.number) for v in theirs.values]
    assert ours.is_closed == theirs.is_closed


def test_service(official: DescriptorPool) -> None:
    theirs = official.FindServiceByName(SERVICE.full_name)
    assert [m.name for m in SERVICE.methods] == [m.name for m in theirs.methods] == ["Check"]
    for mine, other in zip(SERVICE.methods, theirs.methods, strict=True):
        assert mine.input_type.full_name == other.input_type.full_name
        assert mine.output_type.full_name == other.output_type.full_name
        assert mine.client_streaming is other.client_streaming is False
        assert mine.server_streaming is other.server_streaming is False


def test_everything_a_check_can_carry_is_defined(official: DescriptorPool) -> None:
    assert TYPES.keys() == reachable(official.FindServiceByName(SERVICE.full_name)).keys()


def test_nothing_else_is_defined() -> None:
    assert {name for file in FILES.values() for name in declared(file)} == TYPES.keys()


def test_only_what_is_listed_is_left_out(official: DescriptorPool) -> None:
    theirs = {name for path in FILES for name in declared(official.FindFileByName(path))}
    left_out = {f"envoy.config.core.v3.{name}" for name in TYPES_LEFT_OUT.split()}
    assert theirs - TYPES.keys() == left_out


@pytest.mark.parametrize("path", FILES)
def test_package(official: DescriptorPool, path: str) -> None:
    assert FILES[path].package == official.FindFileByName(path).package
