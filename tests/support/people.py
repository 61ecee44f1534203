"""Services and consumers in every state, and what their clients send."""

from __future__ import annotations

import base64

PAST, FUTURE = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"
#: The very instant of the requests.
SHARP = "2027-01-15T08:00:00Z"

CONSUMERS = f"""
consumers:
  - username: alice
    groups: [gold, eu]
    labels: {{custom_id: "4711", team: x}}
    headers: {{X-Consumer-Plan: "gold plan"}}
    credentials:
      - {{id: primary, key-auth: {{key: alice-key}}}}
      - {{key-auth: {{key: embedded-key}}}}
      - {{id: web, basic-auth: {{username: al, password: secret}}}}
      - {{id: dis, disabled: true, key-auth: {{key: out-key}}}}
      - {{id: old, expires_at: {PAST}, key-auth: {{key: old-key}}}}
      - {{id: sharp, expires_at: {SHARP}, key-auth: {{key: sharp-key}}}}
      - {{id: new, not_before: {FUTURE}, key-auth: {{key: new-key}}}}
      - {{id: now, not_before: {SHARP}, key-auth: {{key: now-key}}}}
  - {{username: bob, credentials: [{{id: b, key-auth: {{key: bob-key}}}}]}}
  - {{username: dis, disabled: true, credentials: [{{id: o, key-auth: {{key: dis-key}}}}]}}
  - {{username: old, expires_at: {SHARP}, credentials: [{{id: e, key-auth: {{key: exp-key}}}}]}}
  - {{username: new, not_before: {FUTURE}, credentials: [{{id: n, key-auth: {{key: nyv-key}}}}]}}
  - {{username: guest, groups: [anon], labels: {{custom_id: g-1}}}}
  - {{username: t-user, tenant: t, credentials: [{{id: t, key-auth: {{key: alice-key}}}}]}}
"""
SERVICES = """
services:
  - {id: key, hosts: [key.test], auth: {key-auth: {}}}
  - {id: basic, hosts: [basic.test], auth: {basic-auth: {}}}
  - {id: tenant, tenant: t, hosts: [tenant.test], auth: {key-auth: {}}}
  - {id: hide, hosts: [hide.test], auth: {any: [{key-auth: {hide_credentials: true, cookie: k}},
      {basic-auth: {hide_credentials: true}}]}}
  - {id: any, hosts: [any.test], auth: {any: [{basic-auth: {}}, {key-auth: {realm: r}}]}}
  - {id: all, hosts: [all.test], auth: {all: [{basic-auth: {}}, {key-auth: {}}]}}
  - {id: each, hosts: [each.test], auth: {all: [{basic-auth: {}}, {key-auth: {}}],
      same_consumer: false}}
  - {id: guests, hosts: [guests.test], auth: {key-auth: {anonymous_consumer: guest,
      hide_credentials: true}}}
  - {id: lost, hosts: [lost.test], auth: {key-auth: {anonymous_consumer: nobody, realm: r}}}
  - {id: gone, hosts: [gone.test], auth: {key-auth: {anonymous_consumer: dis}}}
  - {id: mixed, hosts: [mixed.test], auth: {any: [{basic-auth: {}},
      {key-auth: {anonymous_consumer: guest}}]}}
  - {id: nobody, hosts: [nobody.test]}
"""


def key(value: str) -> tuple[str, str]:
    return "apikey", value


def basic(pair: str) -> tuple[str, str]:
    return "authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"
