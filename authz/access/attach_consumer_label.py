"""attach-consumer-label: labels of the consumer as headers for the upstream, as APISIX has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from authz.access.told import check_header_names
from authz.values import Consumer

_HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$(?!\n)")]
_Label = Annotated[str, Meta(pattern=r"^\$[^\x00-\x1f\x7f]{1,256}$(?!\n)")]


class AttachConsumerLabel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """It asks for nothing. A header of these names is told by us, or is not there: a client's own
    never arrives."""

    headers: Annotated[
        dict[_HeaderName, _Label],
        Meta(min_length=1, description="Header: `$label`, the consumer's label of that name."),
    ]

    kind: ClassVar[str] = "attach-consumer-label"

    def __post_init__(self) -> None:
        check_header_names(list(self.headers), of="label", own=True)

    @cached_property
    def tells(self) -> tuple[str, ...]:
        """The headers' names, in lower case."""
        return tuple(name.lower() for name in self.headers)

    def told(self, consumer: Consumer) -> Iterator[tuple[str, str]]:
        """Names and texts; a label that is absent or empty is not told."""
        for name, label in self.headers.items():
            text = consumer.labels.get(label[1:])
            if text:
                yield name.lower(), text
