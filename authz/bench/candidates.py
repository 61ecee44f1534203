"""What is measured: who answers, what is asked of it, and under which loads. See `line_up`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from authz.bench import people
from authz.bench.calls import Call
from authz.config import Settings

#: As `--transport` has them.
TRANSPORTS = ("grpcio", "h2")
DEFAULT: str = Settings().transport
#: Connections and calls in flight on each: many, so that a system call carries several.
DIRECT, THROUGH_ENVOY, ONE = (8, 32), (32, 1), (1, 1)

#: Names of rows that others are compared with.
BARE_HANDLER = "stock grpcio, bare handler"
OURS = "authz key-auth"
#: Envoy's own filters, and the scheme of ours that takes the same credential.
ENVOYS_OWN = {"api_key_auth": "key-auth", "basic_auth": "basic-auth", "jwt_authn": "jwt-auth"}

#: Makes so many calls.
Calls = Callable[[int], list[Call]]
Group = Literal["direct", "envoy"]
#: Names of loads: of what was reached at the most, in requests a second, or one in flight.
Load = Literal["50%", "85%", "1000/s", "one"]
DIRECT_LOADS: tuple[Load, ...] = ("50%", "85%", "one")
ENVOY_LOADS: tuple[Load, ...] = ("50%", "85%", "1000/s")


def nothing_on(transport: str) -> str:
    """The name of a row."""
    return f"do-nothing on {transport}"


class Candidate(Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    group: Group
    addresses: tuple[str, ...]
    processes: dict[str, tuple[int, ...]]
    calls: Calls
    #: The service whose host is called, if it refuses those who bring nothing.
    guards: str = ""
    once: bool = False
    #: Whether there are many credentials, to be read from the store before anything is measured.
    many: bool = False
    in_flight: tuple[int, int] = DIRECT
    loads: tuple[Load, ...] = DIRECT_LOADS


#: Calls by the scheme's name, of which all is remembered that can be.
CACHED: dict[str, Calls] = {
    "key-auth": lambda count: people.keys([0] * count),
    "basic-auth": people.passwords,
    "jwt-auth": people.same_token,
    "hmac-auth": people.signatures,
}
