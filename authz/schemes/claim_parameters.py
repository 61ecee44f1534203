"""Claims that the upstream is told as headers and query parameters, as Alibaba's JWT plug-in has
them (`claimParameters`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from authz.access.told import check_header_names
from authz.schemes.jwt_position import place_at
from authz.schemes.jwt_told import claim_text
from authz.schemes.settings import ParameterName

Location = Literal["header", "query"]


class ClaimParameter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """One claim, and where the upstream finds it."""

    claim_name: Annotated[str, Meta(min_length=1, max_length=256)]
    parameter_name: ParameterName
    location: Location

    @property
    def name(self) -> str:
        """The parameter's, that of a header in lower case."""
        folds = self.location == "header"
        return self.parameter_name.lower() if folds else self.parameter_name


def check(parameters: Iterable[ClaimParameter]) -> None:
    """Raises ValueError for names that no claim may have there, and for one that is given twice."""
    parameters = tuple(parameters)
    for each in parameters:
        place_at(each.location, each.parameter_name)
    check_header_names([each.parameter_name for each in parameters if each.location == "header"])
    queries = names(parameters, "query")
    if len(set(queries)) < len(queries):
        raise ValueError("one query parameter is named twice")


def names(parameters: Iterable[ClaimParameter], location: Location) -> tuple[str, ...]:
    return tuple(each.name for each in parameters if each.location == location)


def told(
    parameters: Iterable[ClaimParameter], claims: dict[str, Any], location: Location
) -> Iterator[tuple[str, str]]:
    """Names and texts at one location; a claim that is absent or empty is not told."""
    for each in parameters:
        text = claim_text(claims.get(each.claim_name)) if each.location == location else None
        if text:
            yield each.name, text
