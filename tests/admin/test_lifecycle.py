"""When credentials end: as commands set it, show it, and clear it away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from authz.admin import credentials, lifecycle
from authz.admin.catalog import Held
from authz.admin.credentials import Refused, Validity
from authz.admin.spans import LONGEST, bounds, span
from authz.admin.terminal import Row
from authz.admin.typed import instant
from authz.cli import app
from authz.store.keys import Keys
from tests.support.gateway import NOW
from tests.support.valkey import Valkey
from tests.support.workers import RING, apply, catalog

DAY = 86_400.0
ALICE = ("", "alice")
Run = Callable[..., Any]


@pytest.fixture
def run(store: Valkey) -> Run:
    apply(store.url)
    env = {"AUTHZ_REDIS_URL": store.url, "AUTHZ_KEYRING": RING, "COLUMNS": "200"}
    return lambda *words: CliRunner().invoke(app, words, env=env)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("15m", 900), ("24h", DAY), ("30d", 30 * DAY), ("2w", 14 * DAY)],
)
def test_spans(text: str, seconds: float) -> None:
    """A number with its unit."""
    assert span(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "24", "h", "-1h", "1.5h", "1 h", "1H", "1y", "٣d", f"{LONGEST + 1}s", "9" * 12],
)
def test_what_is_no_span(text: str) -> None:
    """The error says what is."""
    with pytest.raises(typer.BadParameter, match="90s, 15m, 24h, 30d or 2w"):
        span(text)


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-15", "2027-01-15T08:00:00", "1800000000"])
def test_what_is_no_instant(text: str) -> None:
    """A zone is needed: an hour more or less is not for us to guess."""
    with pytest.raises(Refused, match="expected an instant"):
        instant(text)


def test_an_end_before_the_beginning_is_refused() -> None:
    """And one that is over."""
    assert bounds(NOW + 5, None, 10.0, NOW) == (NOW + 5, NOW + 10)
    assert bounds(None, NOW + 1, None, NOW) == (0.0, NOW + 1)
    wrong = [(NOW + 5, NOW + 5, None), (None, NOW, None), (None, NOW + 1, 1.0)]
    for begins, ends, after in wrong:
        with pytest.raises(typer.BadParameter):
            bounds(begins, ends, after, NOW)


def test_bounds_of_what_is_made_by_command(run: Run) -> None:
    """Of consumers and credentials, as instants and as spans."""
    window = ("--not-before", "2027-01-15T09:00:00+01:00", "--expires-at", "2028-01-01T00:00:00Z")
    assert run("consumer", "add", "zoe", *window).exit_code == 0
    assert run("credential", "issue", "zoe", "key-auth", "--id", "k", *window).exit_code == 0
    for command in (("consumer", "show", "zoe"), ("credential", "show", "zoe", "k")):
        shown = json.loads(run(*command).output)
        assert shown["not_before"] == "2027-01-15T08:00:00Z"
        assert shown["expires_at"] == "2028-01-01T00:00:00Z"
    both = run("consumer", "add", "yan", *window, "--expires-in", "1d")
    assert both.exit_code == 2


def test_an_end_can_be_set_and_lifted(run: Run, store: Valkey) -> None:
    """At an instant, after a span, never; and what the document will say to it."""

    def ends() -> float:
        return credentials.credential_of(catalog(store.url), *ALICE, "key")[1].expires_at

    told = run("credential", "expire", "alice", "key", "--at", "2027-01-15T08:00:00Z")
    assert (ends(), told.exit_code) == (NOW, 0)
    assert "alice/key ends 2027-01-15T08:00:00Z" in told.output
    assert "set its expires_at there, too" in told.output
    before = time.time()
    run("credential", "expire", "alice", "key", "--in", "24h")
    assert before + DAY <= ends() <= time.time() + DAY
    assert "has no end" in run("credential", "expire", "alice", "key", "--never").output
    assert ends() == 0.0
    for wrong in ([], ["--never", "--in", "0"]):
        assert run("credential", "expire", "alice", "key", *wrong).exit_code == 2


def endings(store: Valkey, ends: dict[str, float]) -> None:
    for name, at in ends.items():
        credentials.issue(
            catalog(store.url),
            ALICE,
            "key-auth",
            identifier=name,
            validity=Validity(expires_at=at),
            at=NOW - 90 * DAY,
        )


def row(held: Held, used: float) -> Row:
    return {"id": held[1].id, "used": used}


def test_what_ends_soon_is_listed_the_next_first(run: Run, store: Valkey) -> None:
    """From now on, up to the very end of the span; with its last use."""
    soon = {
        "b": NOW + 2,
        "c": NOW + 10,
        "a": NOW + 2,
        "over": NOW,
        "far": NOW + 10.5,
        "first": NOW + 1,
    }
    endings(store, soon)
    store.client().set(Keys("authz").used("", "alice", "c"), b"%d" % (NOW - 60))
    rows = list(lifecycle.expiring(catalog(store.url), NOW, 10.0, row))

    assert [each["id"] for each in rows] == ["first", "a", "b", "c"]
    assert [each["used"] for each in rows] == [0.0, 0.0, 0.0, NOW - 60]
    listed = json.loads(run("credential", "expiring", "--within", "1000w", "--json").output)
    assert [each["id"] for each in listed] == ["over", "first", "a", "b", "c", "far"]
    assert listed[4]["last_used"] == "2027-01-15T07:59:00Z"
    assert run("credential", "expiring", "--within", "1s").output == "none\n"


def test_what_ended_long_ago_is_removed(run: Run, store: Valkey) -> None:
    """To the second; what a document brings, or has no end, stays."""
    endings(store, {"long": NOW - 10, "edge": NOW - 5, "late": NOW - 4, "never": 0.0})
    lifecycle.expire(catalog(store.url), ALICE, "key", NOW - 100)

    assert lifecycle.prune(catalog(store.url), NOW - 5) == (2, 1)
    left = credentials.account_of(catalog(store.url), *ALICE).credentials
    assert set(left) == {"late", "never", "key", "web"}
    assert lifecycle.prune(catalog(store.url), NOW - 5) == (0, 1)
    done = run("credential", "prune", "--expired-for", "0")
    assert done.exit_code == 0


def test_last_use_is_shown(run: Run, store: Valkey) -> None:
    """In lists and alone; empty where nobody knows."""
    store.client().set(Keys("authz").used("", "alice", "key"), b"%d" % NOW)
    store.client().set(Keys("authz").used("", "alice", "web"), b"nonsense")
    listed = json.loads(run("credential", "list", "--json").output)
    assert [each["last_used"] for each in listed] == ["2027-01-15T08:00:00Z", "", ""]
    shown = json.loads(run("credential", "show", "alice", "key").output)
    assert shown["last_used"] == "2027-01-15T08:00:00Z"
