"""Wrong credentials are not looked at for ever, and nobody is locked out from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from authz import document
from authz.access.guess_reasons import COUNTED, NOT_COUNTED
from authz.access.guessing import ALARM, FAILURE, LIMITS, TOO_MANY, Guesses, mode, network
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.schemes import SCHEMES
from authz.values import Deny, Request
from tests.support.gateway import NOW, ask
from tests.support.guessing import (
    SECRET,
    THERE,
    Guarded,
    digest,
    key,
    keys,
    password,
    passwords,
    signature,
    token,
)

ONE, ALL = LIMITS["on"].one.failures, LIMITS["on"].all.failures
#: Until every allow of before is forgotten.
LATER = NOW + 60
RIGHT = password("right")
ALICE, BOB = key("alice-key"), key("bob-key")


# -- what a guesser meets --------------------------------------------------------------------------


def test_guessing_is_refused_and_the_victim_elsewhere_is_not() -> None:
    """Twenty passwords are looked at; the owner, at another address, notices nothing."""
    made = Guarded()
    seen, victim = [], []
    for attempt in passwords(2000):
        seen.append(made.ask(attempt))
        victim.append(made.ask(RIGHT, THERE))

    assert seen == [401] * ONE + [429] * (2000 - ONE)
    assert set(victim) == {200}


def test_the_answer_says_when_to_come_again() -> None:
    """And it takes longer each time."""
    made = Guarded()
    made.all(passwords(ONE))
    waits, at = [], NOW
    for number in range(8):
        found = made.decision(password("x"), at=at)
        assert isinstance(found, Deny)
        assert (found.reason, found.status, found.challenges) == (TOO_MANY, 429, ())
        [(name, wait)] = found.headers
        assert name == "retry-after"
        assert made.ask(password("x"), at=at + int(wait) - 1) == 429
        at += int(wait)
        assert made.ask(password(f"more-{number}"), at=at) == 401
        waits.append(int(wait))

    # Twice as long each time, less what was forgotten meanwhile.
    assert waits == [1, 2, 4, 8, 16, 31, 60, 112]


def test_a_right_guess_looks_like_a_wrong_one() -> None:
    """While it has to wait: also when its owner was let in a moment ago, and all is remembered."""
    made = Guarded()
    assert made.ask(RIGHT, THERE) == 200
    made.all(passwords(ONE))

    right, wrong = made.decision(RIGHT), made.decision(password("wrong"))
    assert right == wrong
    assert right.status == 429
    assert made.ask(RIGHT, THERE) == 200


def test_nothing_is_hashed_or_asked_for_while_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Guarded()
    made.all(passwords(ONE))
    store = made.gateway.memory.within("")
    for name in ("password_matches", "find", "find_secret"):
        monkeypatch.setattr(type(store), name, None)  # to call it would be an error

    assert made.ask(password("more")) == 429


def test_who_waited_gets_in() -> None:
    made = Guarded()
    made.all(passwords(ONE))

    assert made.ask(RIGHT) == 429
    assert made.ask(RIGHT, at=NOW + 1) == 200


def test_the_same_wrong_credential_is_one_guess() -> None:
    """A client with an old password or key sends it again and again."""
    made = Guarded()
    for each in (password("old"), key("old"), token("alice", 1)):
        assert set(made.all([each] * 500)) == {401}

    assert made.all([RIGHT, ALICE]) == [200, 200]


def test_failures_are_forgotten() -> None:
    """One in a while: a person who mistypes twice a day never waits."""
    made, each = Guarded(), LIMITS["on"].one.seconds
    attempts = list(passwords(200))

    assert {made.ask(one, at=NOW + n * each) for n, one in enumerate(attempts)} == {401}


def test_its_owner_does_not_make_a_guesser_forgotten() -> None:
    """Where both have one address."""
    made = Guarded()
    for attempt in passwords(ONE):
        assert made.ask(attempt) == 401
        assert made.ask(RIGHT, at=NOW) in (200, 429)

    assert made.ask(password("more")) == 429


# -- whole addresses -------------------------------------------------------------------------------


def test_many_identifiers_from_one_address() -> None:
    """Its neighbours pass with what was proven from there before, however long ago; what never was
    waits. Elsewhere nothing happened."""
    made = Guarded()
    assert made.ask(ALICE) == 200
    seen = made.all(keys(1000), at=LATER)

    assert seen == [401] * ALL + [429] * (1000 - ALL)
    assert made.ask(ALICE, at=LATER) == 200
    assert made.ask(BOB, at=LATER) == 429
    assert made.ask(BOB, THERE, at=LATER) == 200


def test_a_neighbours_password_is_guessed_no_faster() -> None:
    """That it was proven from there spares it the address's wait, not its own."""
    made = Guarded()
    assert made.ask(RIGHT) == 200
    made.all(keys(ALL), at=LATER)

    assert made.all(passwords(ONE + 1), at=LATER) == [401] * ONE + [429]


def test_strict_spares_nobody() -> None:
    """Fewer attempts, and neighbours wait as well."""
    made, limits = Guarded("{guessing: strict}"), LIMITS["strict"]
    assert made.ask(ALICE) == 200
    assert made.all(passwords(6), at=LATER) == [401] * limits.one.failures + [429]
    made.all(keys(50), at=LATER)

    assert made.ask(ALICE, at=LATER) == 429
    assert made.ask(ALICE, THERE, at=LATER) == 200


def test_strict_spares_nobody_whom_another_service_let_in() -> None:
    """Where guesses are counted less strictly."""
    made = Guarded("{guessing: strict}")
    assert made.ask(password("right", host="guest.test")) == 200  # which says nothing: `on`
    made.all(keys(50), at=LATER)

    assert made.ask(RIGHT, at=LATER) == 429


def test_failures_elsewhere_are_not_the_owners() -> None:
    """Also where something else waits."""
    made = Guarded()
    made.all(passwords(ONE))
    made.all(passwords(ONE, "another"), THERE)
    assert made.ask(password("right", "another"), THERE) == 429

    assert made.ask(RIGHT, THERE) == 200


@pytest.mark.parametrize(
    ("address", "other", "one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_network_is_one_address(address: str, other: str, one: bool) -> None:
    assert (network(address) == network(other)) is one
    made = Guarded()
    made.all(passwords(ONE), address)

    assert made.ask(RIGHT, other) == (429 if one else 200)


def test_who_has_no_address_is_not_counted() -> None:
    made = Guarded()

    assert set(made.all(passwords(200), address="")) == {401}


# -- what is counted -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCHEMES)
def test_every_reason_is_on_one_side(kind: str) -> None:
    """A new one has to be put there."""
    assert COUNTED[kind].isdisjoint(NOT_COUNTED[kind])
    assert COUNTED[kind] | NOT_COUNTED[kind] == set(SCHEMES[kind].reasons)


def test_no_other_scheme_is_listed() -> None:
    assert COUNTED.keys() == NOT_COUNTED.keys() == SCHEMES.keys()


ATTEMPTS: dict[str, Callable[[str, int], Request]] = {
    "password": lambda user, number: password(str(number), user),
    "token": token,
    "token by another algorithm": lambda user, n: token(user, n, SECRET * 2, "HS512"),
    "signature": signature,
    "old signature": lambda user, number: signature(user, number, at=NOW - 4000),
    "old signature by the secret": lambda user, n: signature(user, n, SECRET, at=NOW - 4000),
    "digest": digest,
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_known_and_unknown_identifiers_are_alike(name: str) -> None:
    """When the first 429 comes, and what it says."""
    attempt, limit = ATTEMPTS[name], LIMITS["on"].one.failures

    def answers(user: str) -> list[Any]:
        made = Guarded()
        found = [made.decision(attempt(user, number)) for number in range(limit + 2)]
        return [each if each.status == 429 else "looked at" for each in found]

    known = answers("alice")
    assert known == answers("nobody")
    assert [known.index(each) for each in known] == [*[0] * limit, limit, limit]


def test_signatures_that_hold_do_not_count() -> None:
    """However many: neither do requests without a credential, or with one that is malformed."""
    made = Guarded()
    assert set(made.all(signature("alice", n, SECRET) for n in range(300))) == {200}
    assert set(made.all(ask("/", host="basic.test") for _ in range(300))) == {401}
    bad = ask("/", ("authorization", "Basic ?"), host="basic.test")
    assert set(made.all([bad] * 300)) == {401}
    doubled = ask("/", ("apikey", "a"), ("apikey", "b"), host="key.test")
    assert set(made.all([doubled] * 300)) == {401}

    assert made.all([RIGHT, ALICE]) == [200, 200]


def test_an_expired_token_is_no_guess() -> None:
    made = Guarded()
    tokens = [token("alice", number, SECRET) for number in range(300)]
    late = [made.ask(each, at=NOW + 86_400) for each in tokens]

    assert set(late) == {401}
    assert made.ask(RIGHT, at=NOW + 86_400) == 200


def test_the_password_of_a_disabled_account_does_not_show() -> None:
    """It counts like any other; its owner, who sends it again and again, is counted once."""
    made = Guarded()
    assert set(made.all([password("right", "gone")] * 100)) == {401}
    seen = made.all(passwords(ONE, "gone"))

    assert seen == [401] * (ONE - 1) + [429]


def test_guests_guess_as_well() -> None:
    """Under APISIX's profiles who is wrong passes as a guest, until it was too often."""
    made = Guarded()
    seen = made.all(passwords(ONE + 5, host="guest.test"))

    assert seen == [200] * ONE + [429] * 5


def test_keys_are_not_guessed_at_the_sign_endpoint() -> None:
    """It gives a token to whoever knows one."""
    made = Guarded()

    def sign(name: str) -> Request:
        return ask(f"/apisix/plugin/jwt/sign?key={name}", host="sign.test")

    assert set(made.all([sign("typo")] * 300)) == {404}
    seen = made.all(sign(f"guess-{number}") for number in range(ALL + 5))
    assert seen == [404] * (ALL - 1) + [429] * 6
    assert made.ask(sign("alice")) == 429
    assert made.ask(sign("alice"), THERE) == 200


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [("off", "off"), ('"off"', "off"), ("on", "on"), ('"on"', "on"), ("strict", "strict")],
)
def test_a_service_says_how_strict_it_is(said: str, meant: str) -> None:
    """Without quotes YAML 1.1 reads `off` and `on` as booleans."""
    made = Guarded(f"{{guessing: {said}}}")
    route = made.gateway.routes.match(RIGHT)

    assert route.access.guessing == meant
    assert (429 in made.all(passwords(200))) is (meant != "off")


def test_a_route_says_it_in_its_services_place() -> None:
    text = """
services:
  - id: api
    access: {guessing: strict}
    routes: [{id: a, match: {path: /a}, access: {guessing: off}}, {id: b, match: {path: /b}}]
"""
    routes = document.parse(text)
    table = RouteTable(routes)
    assert [table.match(ask(path)).access.guessing for path in ("/a", "/b")] == ["off", "strict"]


def test_another_word_is_refused() -> None:
    with pytest.raises(DocumentError, match="guessing"):
        document.parse("services: [{id: api, access: {guessing: never}}]")


def test_nothing_said_is_on() -> None:
    assert {mode(said) for said in (True, "on")} == {"on"}
    assert Guarded().gateway.routes.match(RIGHT).access.guessing == "on"


# -- what it costs, and what is told ---------------------------------------------------------------


def test_its_memory_is_bounded_and_tells_nothing() -> None:
    """However many identifiers and addresses come: numbers alone, and addresses."""
    guesses = Guesses(size=500)
    made = Guarded(guesses=guesses)
    for number in range(5000):
        made.ask(key(f"secret-{number}"), f"10.{number >> 8}.{number & 255}.1")
        made.ask(password(f"secret-{number}"), f"10.0.{number >> 8}.{number & 255}")

    kept: list[dict[int, Any]] = [
        *(scores._scores for scores in (guesses._scores, guesses._addresses, guesses._identifiers)),
        *(marks._marks for marks in (guesses._tried, guesses._proven)),
    ]
    assert [len(each) for each in kept] == [500, 500, 500, 500, 0]
    assert {type(mark) for each in kept for mark in each} == {int}
    assert len(guesses.suspects) <= 500
    assert "secret" not in repr(vars(guesses))


def test_the_last_that_failed_are_kept() -> None:
    """A flood of others does not make room for a guesser who goes on."""
    made = Guarded(guesses=Guesses(size=50))
    for number, attempt in enumerate(passwords(ONE)):
        assert made.ask(attempt) == 401
        for other in range(40):
            made.ask(key(f"{number}-{other}"), f"10.0.{number}.{other}")

    assert made.ask(password("more")) == 429


def test_suspects_are_forgotten_when_all_is_calm() -> None:
    """Then a Check costs what it costs without."""
    made = Guarded()
    made.all(passwords(ONE))
    assert made.guesses.suspects

    assert made.ask(RIGHT, THERE, at=LATER) == 200
    assert not made.guesses.suspects


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    made = Guarded()
    made.all(passwords(ONE), at=NOW + 86_400)

    assert made.ask(RIGHT, at=NOW) == 200


def test_many_addresses_that_guess_at_one_identifier_are_told_of() -> None:
    """Once, and without its name. It is refused to none of them."""
    told = Counter[tuple[str, str]]()
    made = Guarded(guesses=Guesses(lambda event, kind: told.update([(event, kind)])))
    seen = [made.ask(each, f"10.0.{n >> 8}.{n & 255}") for n, each in enumerate(passwords(150))]

    assert set(seen) == {401}
    assert told == {(FAILURE, "basic-auth"): 150, (ALARM, "basic-auth"): 1}
    assert made.ask(RIGHT) == 200
