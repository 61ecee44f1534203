"""People and their credentials: as a document has them, and told once more for a reference."""

from __future__ import annotations

from typing import NamedTuple

HOUR = 3600.0
#: 2027-01-15T08:00:00Z; everything below begins or ends an hour before or after it.
NOON = 1_800_000_000.0
BEFORE, AFTER = "2027-01-15T07:00:00Z", "2027-01-15T09:00:00Z"


class Person(NamedTuple):
    """A consumer as a reference knows it; `headers` is all that an upstream may hear of it."""

    tenant: str
    headers: dict[str, str]
    begins: float = 0.0
    ends: float = float("inf")


class Way(NamedTuple):
    """A credential as a reference knows it."""

    tenant: str
    consumer: str
    id: str | None
    secret: str
    begins: float = 0.0
    ends: float = float("inf")


PEOPLE = {
    "alice": Person("", {"x-consumer-groups": "gold", "x-consumer-custom-id": "4711"}),
    "bob": Person("", {"x-consumer-plan": "p"}, ends=NOON + HOUR),
    "carol": Person("", {}, begins=NOON - HOUR),
    "guest": Person("", {"x-consumer-groups": "anon"}),
    "tom": Person("t", {}),
    "dead": Person("", {}, ends=0.0),
}
WAYS = [
    Way("", "alice", "a1", "alice-key"),
    Way("", "alice", None, "ends-key", ends=NOON + HOUR),
    Way("", "alice", "a3", "begins-key", begins=NOON - HOUR),
    Way("", "alice", "a4", "dead-key", ends=0.0),
    Way("", "bob", "b1", "bob-key"),
    Way("", "carol", "c1", "carol-key"),
    Way("", "dead", "d1", "corpse-key"),
    Way("t", "tom", "t1", "alice-key"),
    Way("", "alice", "a5", "al:p:w"),
    Way("", "bob", "b2", "bo:pw"),
    Way("t", "tom", "t2", "al:other"),
]
DOCUMENT = f"""
profile: PROFILE
services:
  - {{id: key, hosts: [key], auth: {{key-auth: {{hide_credentials: true, cookie: apikey}}}}}}
  - {{id: basic, hosts: [basic], auth: {{basic-auth: {{}}}}}}
  - {{id: any, hosts: [any], auth: {{any: [{{key-auth: {{hide_credentials: true}}}},
      {{basic-auth: {{hide_credentials: true}}}}]}}}}
  - {{id: all, hosts: [all], auth: {{all: [{{key-auth: {{}}}}, {{basic-auth: {{}}}}]}}}}
  - {{id: guests, hosts: [guests], auth: {{key-auth: {{anonymous_consumer: guest}}}}}}
  - {{id: ghosts, hosts: [ghosts], auth: {{basic-auth: {{anonymous_consumer: dead}}}}}}
  - {{id: tenant, hosts: [tenant], tenant: t, auth: {{any: [{{key-auth: {{}}}},
      {{basic-auth: {{}}}}]}}}}
  - {{id: nobody, hosts: [nobody]}}
consumers:
  - username: alice
    groups: [gold]
    labels: {{custom_id: "4711"}}
    credentials:
      - {{id: a1, key-auth: {{key: alice-key}}}}
      - {{key-auth: {{key: ends-key}}, expires_at: {AFTER}}}
      - {{id: a3, key-auth: {{key: begins-key}}, not_before: {BEFORE}}}
      - {{id: a4, key-auth: {{key: dead-key}}, disabled: true}}
      - {{id: a5, basic-auth: {{username: al, password: "p:w"}}}}
  - username: bob
    headers: {{X-Consumer-Plan: p}}
    expires_at: {AFTER}
    credentials:
      - {{id: b1, key-auth: {{key: bob-key}}}}
      - {{id: b2, basic-auth: {{username: bo, password: pw}}}}
  - username: carol
    not_before: {BEFORE}
    credentials: [{{id: c1, key-auth: {{key: carol-key}}}}]
  - {{username: guest, groups: [anon], labels: {{custom_id: g}}}}
  - {{username: dead, disabled: true, credentials: [{{id: d1, key-auth: {{key: corpse-key}}}}]}}
  - username: tom
    tenant: t
    credentials:
      - {{id: t1, key-auth: {{key: alice-key}}}}
      - {{id: t2, basic-auth: {{username: al, password: other}}}}
"""
