"""CheckRequests written out in JSON, those included that no Envoy would send."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.conformance.case import Inexpressible

#: Prose beside the field that it speaks of.
_PROSE = "repeat_field"
_FILLER = b"x"


def message(empty: Message, shape: Mapping[str, Any]) -> bytes:
    """The bytes of `shape`.

    Beside the fields' own names: `raw_bytes_b64` is the whole message, `FIELD_b64` a field's bytes,
    `FIELD_size` a field filled up to that many bytes.
    """
    if "raw_bytes_b64" in shape:
        return base64.b64decode(shape["raw_bytes_b64"], validate=True)
    fill(empty, {name: value for name, value in shape.items() if name != _PROSE})
    return empty.SerializeToString()


def fill(target: Message, shape: Mapping[str, Any]) -> None:
    """Set the fields of a message. Raises `Inexpressible` for a word that is not understood."""
    for key, written in shape.items():
        field, value = _resolve(target, key, written)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(getattr(target, field.name), value)
        elif field.is_repeated:
            _fill_list(target, field, value)
        elif field.message_type is not None:
            inner = getattr(target, field.name)
            inner.SetInParent()
            fill(inner, value)
        else:
            setattr(target, field.name, _scalar(field, value))


def _resolve(target: Message, key: str, value: Any) -> tuple[Any, Any]:
    fields = target.DESCRIPTOR.fields_by_name
    if key in fields:
        return fields[key], value
    name, _, how = key.rpartition("_")
    if name in fields and how == "b64":
        return fields[name], base64.b64decode(value, validate=True)
    if name in fields and how == "size":
        return fields[name], _FILLER * int(value)
    raise Inexpressible(f"{key} in a check_request is not understood")


def _scalar(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.encode() if isinstance(value, str) else value
    if field.type == FieldDescriptor.TYPE_STRING and isinstance(value, bytes):
        return value.decode()
    return value


def _fill_map(target: Any, value: Mapping[str, Any]) -> None:
    for key, each in value.items():
        if isinstance(each, Mapping):
            fill(target[key], each)
        else:
            target[key] = each


def _fill_list(target: Message, field: Any, value: Any) -> None:
    holder = getattr(target, field.name)
    for each in value:
        if field.message_type is not None:
            fill(holder.add(), each)
        else:
            holder.append(_scalar(field, each))
