"""The link's arithmetic: since when may a record be wrong?"""

from __future__ import annotations

import time

from authz.store.link import Link


def test_while_the_link_lives_records_stay_true() -> None:
    """A record read long ago is as true as the last sign of life."""
    link = Link(1)
    link.begin(time.monotonic())
    link.hear(time.monotonic())

    assert link.true_at(read_at=0.0, generation=link.generation) == link.seen
    assert link.alive(time.monotonic())


def test_a_lost_link_stops_the_clock() -> None:
    """From the last sign of life on a record ages, also under the link's successor."""
    link = Link(1)
    link.begin(time.monotonic())
    seen, generation = link.seen, link.generation
    link.lose()

    assert not link.alive(time.monotonic())
    assert link.true_at(0.0, generation) == seen
    link.begin(time.monotonic())
    assert link.true_at(0.0, generation) == seen


def test_two_links_later_only_the_reading_counts() -> None:
    """Nothing vouches for a record that two links did not cover."""
    link = Link(1)
    link.begin(time.monotonic())
    generation = link.generation
    link.begin(time.monotonic())
    link.begin(time.monotonic())

    assert link.true_at(7.0, generation) == 7.0


def test_losing_twice_changes_nothing() -> None:
    """Repeated failures to link again do not make records younger or older."""
    link = Link(1)
    link.begin(time.monotonic())
    seen, generation = link.seen, link.generation
    link.lose()
    link.lose()

    assert link.true_at(0.0, generation) == seen
