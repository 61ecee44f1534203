"""Tokens at a worker on a real store: what was verified once is judged again each time."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from authz.admin import credentials
from authz.pb.external_auth_pb2 import CheckRequest
from tests.support.checks import Seen, check
from tests.support.sites import Answer, answer, site
from tests.support.tokens import SECRET, jwk, rsa_key, token
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, catalog, running

KEY, OTHER = rsa_key(), rsa_key(name="other")
NOW = time.time()
CLAIMS = {"key": "alice", "name": "alice", "exp": NOW + 600, "jti": "1"}
#: One token for each scheme that knows alice.
TOKENS = {
    "jwt-auth": token(CLAIMS),
    "jwt": token(CLAIMS),
    "jwt-plugin": token(CLAIMS, KEY, "RS256"),
}
ALLOWED = Seen("allow", 200, "allowed", "alice")


def document(secret: str = SECRET.decode(), key: Any = KEY, **credential: Any) -> str:
    """A host for each scheme and each rule, and alice, known to all of them."""
    plugin = {"jwk": jwk("RS256", key), "consumerClaim": "key"}
    hosts: dict[str, dict[str, Any]] = {
        "jwt-auth": {"jwt-auth": {}},
        "jwt": {"jwt": {}},
        "jwt-plugin": {"jwt-plugin": plugin},
        "audience": {"jwt-auth": {"audience": ["us"]}},
        "not-before": {"jwt-auth": {"claims_to_verify": ["nbf"]}},
        "key-claim": {"jwt-auth": {"key_claim_name": "sub"}},
        "once": {"jwt-auth": {"require_jti_once": True}},
        "plugin-once": {"jwt-plugin": plugin | {"preventJtiReplay": True}},
        "other-key": {"jwt-plugin": plugin | {"jwk": jwk("RS256", OTHER)}},
    }
    services = [{"id": id, "hosts": [f"{id}.test"], "auth": auth} for id, auth in hosts.items()]
    for kind in ("jwt-auth", "jwt", "jwt-plugin"):
        theirs = {"id": f"t-{kind}", "tenant": "t", "hosts": [f"t-{kind}.test"]}
        services.append(theirs | {"auth": hosts[kind]})
    held = {"secret": secret}
    alice = [
        {"id": "jwt-auth", "jwt-auth": {"key": "alice", **held, **credential}},
        {"id": "jwt", "jwt": {"username": "alice", **held, **credential}},
    ]
    return json.dumps(
        {"services": services, "consumers": [{"username": "alice", "credentials": alice}]}
    )


def bearing(text: str, host: str) -> CheckRequest:
    return check("/ip", ("authorization", f"Bearer {text}"), host=f"{host}.test")


def asked(client: Running, kind: str, host: str = "") -> Seen:
    return client.ask(bearing(TOKENS[kind], host or kind))


def refused(reason: str) -> Seen:
    return Seen("deny", 401, reason)


def change(url: str, what: str, kind: str) -> None:
    """Something that ends a credential, or the key that its tokens were signed with."""
    target, alice = catalog(url), ("", "alice")
    if what == "revoked":
        credentials.revoke(target, alice, kind)
    elif what == "disabled":
        credentials.set_disabled(target, alice, kind, disabled=True)
    elif what == "consumer disabled":
        credentials.set_consumer_disabled(target, "", "alice", disabled=True)
    elif what == "consumer revoked":
        credentials.revoke_consumer(target, "", "alice")
    elif what == "another secret":
        apply(url, document(secret="x" * 64))
    elif what == "another algorithm":
        apply(url, document(algorithm="HS512"))
    else:
        assert what == "another key in the route"
        apply(url, document(key=OTHER))


@pytest.mark.parametrize(
    ("kind", "what", "reason"),
    [
        ("jwt-auth", "revoked", "invalid_user_key"),
        ("jwt-auth", "disabled", "credential_disabled"),
        ("jwt-auth", "consumer disabled", "consumer_disabled"),
        ("jwt-auth", "consumer revoked", "invalid_user_key"),
        ("jwt-auth", "another secret", "invalid_signature"),
        ("jwt-auth", "another algorithm", "wrong_algorithm"),
        ("jwt", "revoked", "unknown_user"),
        ("jwt", "disabled", "credential_disabled"),
        ("jwt", "consumer disabled", "consumer_disabled"),
        ("jwt", "consumer revoked", "unknown_user"),
        ("jwt", "another secret", "invalid_signature"),
        ("jwt", "another algorithm", "wrong_algorithm"),
        ("jwt-plugin", "consumer disabled", "consumer_disabled"),
        ("jwt-plugin", "consumer revoked", "consumer_missing"),
        ("jwt-plugin", "another key in the route", "invalid_signature"),
    ],
)
def test_a_verified_token_ends_with_what_it_relies_on(
    store: Valkey, kind: str, what: str, reason: str
) -> None:
    """However often it passed before, on every worker, within a moment."""
    apply(store.url, document())
    with running(store.url) as one, running(store.url) as two:
        for client in (one, two):
            assert [asked(client, kind) for _ in range(3)] == [ALLOWED] * 3

        change(store.url, what, kind)

        for client in (one, two):
            until(lambda: asked(client, kind) == refused(reason), reason)  # noqa: B023


def test_a_verified_token_is_judged_by_each_route(store: Valkey) -> None:
    """That another scheme, route or tenant took it says nothing."""
    apply(store.url, document())
    with running(store.url) as client:
        for kind in TOKENS:
            assert [asked(client, kind) for _ in range(2)] == [ALLOWED] * 2
        found = {
            (kind, host): asked(client, kind, host).reason
            for kind, hosts in {
                "jwt-auth": ("audience", "not-before", "key-claim", "t-jwt-auth", "jwt-plugin"),
                "jwt": ("t-jwt", "jwt-plugin"),
                "jwt-plugin": ("jwt-auth", "jwt", "other-key", "t-jwt-plugin"),
            }.items()
            for host in hosts
        }

    assert found == {
        ("jwt-auth", "audience"): "claim_missing",
        ("jwt-auth", "not-before"): "claim_missing",
        ("jwt-auth", "key-claim"): "missing_user_key",
        ("jwt-auth", "t-jwt-auth"): "invalid_user_key",
        ("jwt-auth", "jwt-plugin"): "unknown_key_id",
        ("jwt", "t-jwt"): "unknown_user",
        ("jwt", "jwt-plugin"): "unknown_key_id",
        ("jwt-plugin", "jwt-auth"): "wrong_algorithm",
        ("jwt-plugin", "jwt"): "wrong_algorithm",
        ("jwt-plugin", "other-key"): "invalid_signature",
        ("jwt-plugin", "t-jwt-plugin"): "consumer_missing",
    }


def test_a_verified_token_expires(store: Valkey) -> None:
    """At its very instant, by the clock of each request."""
    apply(store.url, document())
    at = NOW
    with running(store.url, clock=lambda: at) as client:
        for kind in TOKENS:
            at = NOW
            assert asked(client, kind) == ALLOWED
            at = NOW + 599.9
            assert asked(client, kind) == ALLOWED
            at = NOW + 600
            assert asked(client, kind) == refused("token_expired")
            at = NOW
            assert asked(client, kind) == ALLOWED


@pytest.mark.parametrize(("kind", "host"), [("jwt-auth", "once"), ("jwt-plugin", "plugin-once")])
def test_a_token_that_counts_once_counts_once_at_all_workers(
    store: Valkey, kind: str, host: str
) -> None:
    """Though it was verified before, and however many copies arrive at the same moment."""
    apply(store.url, document())
    with running(store.url) as one, running(store.url) as two, ThreadPoolExecutor(8) as pool:
        for client in (one, two):
            assert asked(client, kind) == ALLOWED  # on a route that takes it many times
        clients = [one, two] * 8
        found = list(pool.map(lambda client: asked(client, kind, host), clients))
        late = asked(one, kind, host)

    assert sorted(found) == [ALLOWED, *[refused("token_replayed")] * 15]
    assert late == refused("token_replayed")


def test_a_published_set(store: Valkey) -> None:
    """An issuer's keys are fetched from it, a new one as soon as a token names it; another kind of
    document there is not taken, and then nothing is known of new keys."""
    texts = {
        name: token(CLAIMS, key, "RS256", kid=name)
        for name, key in (("a", KEY), ("b", OTHER), ("c", KEY))
    }
    with site() as issuer:
        issuer.answer = published(a=KEY)
        held = json.loads(document())
        entry = {"id": "url", "jwt-auth": {"key": "alice", "jwks_url": issuer.url}}
        held["consumers"][0]["credentials"] = [entry]
        apply(store.url, json.dumps(held))
        with running(store.url, jwks_allow_private=True) as client:

            def asked_with(name: str) -> Seen:
                return client.ask(bearing(texts[name], "jwt-auth"))

            until(lambda: asked_with("a") == ALLOWED, "the set")
            issuer.answer = published(a=KEY, b=OTHER)
            until(lambda: asked_with("b") == ALLOWED, "the new key")
            issuer.answer = answer(b"<html>")
            assert asked_with("a") == ALLOWED
            assert asked_with("c") == refused("unknown_key_id")
        assert len(issuer.heads) == 2


def published(**keys: Any) -> Answer:
    members = [jwk("RS256", key, kid=name) for name, key in keys.items()]
    return answer(json.dumps({"keys": members}).encode())
