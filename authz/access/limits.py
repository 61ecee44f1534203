"""How often: so many requests a time, by whom they are counted, and what a limit costs to keep.

A limit stands where it is written: a service's counts the calls of that service, a route's those of
the route in place of the service's, a consumer's that consumer's calls wherever they go, a group's
those of its consumers (of the consumers without limits of their own). `by` parts the count: by
consumer, credential, group, service, route or client address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from authz.access.address import from_client
from authz.access.guessing import network
from authz.access.rule import Call
from authz.plain import DocumentError
from authz.quotas import Quota

TOO_MANY = "too_many_requests"
REASONS = {
    TOO_MANY: "a limit is used up; which one is in `limit`, and the client is told when to return",
}

#: Milliseconds. A month is thirty days: no window knows a calendar.
UNITS = {"second": 1000, "minute": 60_000, "hour": 3_600_000}
UNITS |= {"day": 24 * UNITS["hour"], "week": 168 * UNITS["hour"], "month": 720 * UNITS["hour"]}
_PERIOD = rf"(?:([1-9][0-9]{{0,3}}) )?({'|'.join(UNITS)})s?"
#: The longest window, and the largest burst: their product is the largest number that a bucket has
#: to do with, and less than 2^53, so that its arithmetic is exact in a double.
LONGEST, MOST_AT_ONCE = 366 * UNITS["day"], 100_000
#: What `quote` leaves as it is, and asking it takes longer than to see so.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
#: Characters of what may be no address, such as the path of a socket.
_ADDRESS = 64

By = Literal["consumer", "credential", "group", "service", "route", "address"]


class Limit(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, dict=True
):
    """So many requests in a time."""

    requests: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    per: Annotated[
        str,
        Meta(
            pattern=rf"^(?:{_PERIOD})$(?!\n)",
            description="second, minute, hour, day, week, month (30 days), or `10 minutes`.",
        ),
    ]
    by: Annotated[By, Meta(description="What is counted together.")] = "consumer"
    burst: (
        Annotated[
            int,
            Meta(ge=1, le=MOST_AT_ONCE, description="So many at once, the rest evenly."),
        ]
        | None
    ) = None
    mode: Annotated[
        Literal["exact", "leased"],
        Meta(description="Whether every request is counted in the store, or shares are taken."),
    ] = "exact"
    lease: (
        Annotated[int, Meta(ge=1, description="How many a worker takes at once: 1 % if not given.")]
        | None
    ) = None
    when_away: Annotated[
        Literal["closed", "open"], Meta(description="What happens while the store is away.")
    ] = "closed"
    headers: Annotated[bool, Meta(description="Whether clients are told how it stands.")] = True
    status: Annotated[int, Meta(ge=400, le=599, description="Of a refusal.")] = 429

    def __post_init__(self) -> None:
        if self.window > LONGEST:
            raise ValueError("per: no window is longer than 366 days")
        if self.mode != "leased":
            if self.lease is not None:
                raise ValueError("lease: only means something with `mode: leased`")
        elif self.burst is not None:
            raise ValueError("mode: a burst is counted exactly; leave out `burst`, or `mode`")
        if self.lease is not None and self.lease > self.requests:
            raise ValueError("lease: more than `requests`")

    @cached_property
    def window(self) -> int:
        """Milliseconds."""
        found = re.fullmatch(_PERIOD, self.per)
        return int(found[1] or 1) * UNITS[found[2]] if found else 0

    @cached_property
    def share(self) -> int:
        """How many a worker takes at once; 0 where each is counted."""
        if self.mode != "leased":
            return 0
        return self.lease or max(1, self.requests // 100)

    @property
    def kind(self) -> tuple[str, int, bool]:
        """What no two limits of one place may have in common: they would share a counter."""
        return self.by, self.window, self.burst is not None


#: Where a limit may be written.
Owner = Literal["service", "route", "consumer", "group"]


class Counted(Struct, frozen=True, gc=False):
    """A limit that a call has to meet, and what is counted for it."""

    limit: Limit
    quota: Quota


def require_sound(place: str, owner: Owner, limits: Iterable[Limit]) -> None:
    """Refuse limits that mean nothing there, or count the same thing twice. Raises
    `DocumentError`."""
    seen: set[Any] = set()
    for number, limit in enumerate(limits):
        at = f"{place}[{number}]"
        if owner == "consumer" and limit.by == "group":
            raise DocumentError(f"{at}.by: one consumer's calls are no group's; give the group one")
        if limit.kind in seen:
            raise DocumentError(f"{at}: there is one by {limit.by} for the same time already")
        seen.add(limit.kind)


def counted(owner: Owner, name: str, limits: Iterable[Limit], call: Call) -> Iterator[Counted]:
    """What a call has to meet of the limits of one place, whose name no two of a kind share."""
    for limit in limits:
        label = f"{owner}/{limit.by}/{limit.per.replace(' ', '-')}"
        kind = f"{limit.window}" if limit.burst is None else f"{limit.window}b"
        # A group's own limit by group is that group's, also of those who are in others, too.
        together = owner == "group" and limit.by == "group"
        for whose in (name,) if together else _subjects(limit, call):
            yield Counted(
                limit,
                Quota(
                    f"{owner}/{name}/{limit.by}/{whose}/{kind}",
                    limit.requests,
                    limit.window,
                    limit.burst or 0,
                    limit.share,
                    call.service,
                    label,
                ),
            )


def _subjects(limit: Limit, call: Call) -> tuple[str, ...]:
    """As whose a call counts. Who is in no group counts together with all others that are not; who
    brought no credential (the anonymous consumer) as the consumer."""
    by, consumer, credential = limit.by, call.consumer, call.identity.credential
    if by == "service":
        return (call.service,)
    if by == "route":
        return (f"{call.service}/{call.route}",)
    if by == "address":
        sender = from_client(call.request, call.trusted)
        return (part(network(sender.address)[:_ADDRESS]),)
    if by == "group":
        return consumer.groups or ("",)
    if by == "credential" and credential is not None:
        return (f"{part(consumer.username)}/{part(credential.id)}",)
    return (part(consumer.username),)


def part(text: str) -> str:
    """A part of a counter's name: percent-encoded, so that no name passes for another."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe="", errors="surrogatepass")
