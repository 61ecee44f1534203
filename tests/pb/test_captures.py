"""Real requests of Envoy 1.40.0 are read completely: no field is unknown, every value is right."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from authz.pb.external_auth_pb2 import CheckRequest

CAPTURES = Path(__file__).parents[1] / "vectors" / "captures"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.bin"))


def read(name: str) -> CheckRequest:
    return CheckRequest.FromString((CAPTURES / f"{name}.bin").read_bytes())


def within(message: Message) -> Iterator[Message]:
    """The message and every message inside it, values of maps included."""
    yield message
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            inner = value.values()
        else:
            inner = value if field.is_repeated else (value,)
        for each in inner:
            if isinstance(each, Message):
                yield from within(each)


def test_all_captures_are_here() -> None:
    assert len(NAMES) == 25
    assert sorted(path.stem for path in CAPTURES.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_field_is_unknown(name: str) -> None:
    assert [m for m in within(read(name)) if len(UnknownFieldSet(m))] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_text_agrees(name: str) -> None:
    text = (CAPTURES / f"{name}.txt").read_text(encoding="utf-8")
    assert read(name) == text_format.Parse(text, CheckRequest())


@pytest.mark.parametrize("name", NAMES)
def test_the_official_classes_agree(official: DescriptorPool, name: str) -> None:
    kind = GetMessageClass(official.FindMessageTypeByName(CheckRequest.DESCRIPTOR.full_name))
    message = kind.FromString((CAPTURES / f"{name}.bin").read_bytes())
    assert CheckRequest.FromString(message.SerializeToString()) == read(name)
