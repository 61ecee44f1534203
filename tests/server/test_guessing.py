"""A real worker on a real store, and a list of passwords and keys that somebody tries."""

from __future__ import annotations

from collections import Counter

from authz.pb.external_auth_pb2 import CheckRequest
from tests.support.checks import Seen, basic, check
from tests.support.valkey import Valkey
from tests.support.workers import DEMO, apply, running

#: Passwords, and as many keys.
TRIED = 1000
GUESSER, CLIENT = "192.0.2.1", "198.51.100.7"
WRONG_KEY, WRONG_PASSWORD = Seen("deny", 401, "invalid_key"), Seen("deny", 401, "invalid_password")
REFUSED = Seen("deny", 429, "too_many_failures")
ALLOWED = Seen("allow", 200, "allowed", "alice")


def sent(address: str, *headers: tuple[str, str]) -> CheckRequest:
    request = check("/ip", *headers)
    request.attributes.source.address.socket_address.address = address
    return request


def test_a_list_of_passwords_and_keys_is_not_tried(store: Valkey) -> None:
    """Long before its end nothing of it is looked at: neither hashed, nor asked of the store. Who
    is elsewhere is let in every time. Nothing that was tried is logged."""
    apply(store.url)
    now = 1_800_000_000.0
    with running(store.url, clock=lambda: now) as client:
        seen: Counter[Seen] = Counter()
        for number in range(TRIED):
            seen[client.ask(sent(GUESSER, basic("alice", f"tried-{number}")))] += 1
            seen[client.ask(sent(GUESSER, ("apikey", f"tried-{number}")))] += 1
            if number % 10 == 0:
                seen[client.ask(sent(CLIENT, ("apikey", "alice-key")))] += 1
                seen[client.ask(sent(CLIENT, basic("alice", "alice-password")))] += 1

        assert seen == {
            WRONG_PASSWORD: 20,
            WRONG_KEY: 80,
            REFUSED: 2 * TRIED - 100,
            ALLOWED: TRIED // 5,
        }
        assert client.ask(sent(GUESSER, basic("alice", "alice-password"))) == REFUSED
        now += 60
        assert client.ask(sent(GUESSER, basic("alice", "alice-password"))) == ALLOWED
        log = client.log

        assert "tried-" not in log.read_text()


def test_the_answer_is_what_http_clients_know(store: Valkey) -> None:
    """429 with Retry-After (RFC 6585), the same for a name that nobody has."""
    apply(store.url, DEMO.replace("- id: api", "- id: api\n    access: {guessing: strict}"))
    with running(store.url, clock=lambda: 1_800_000_000.0) as client:
        answers = []
        for user in ("alice", "nobody"):
            for number in range(5):
                client.ask(sent(GUESSER, basic(user, f"{number}")))
            answers.append(client.answer(sent(GUESSER, basic(user, "more"))))

        known, unknown = answers
        assert known == unknown
        headers = {h.header.key: h.header.value for h in known.denied_response.headers}
        assert known.denied_response.status.code == 429
        assert headers["retry-after"] == "1"
