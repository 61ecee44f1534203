"""Gateways for the rules' tests: one API with one rule, and people who differ in what it asks."""

from __future__ import annotations

from authz.access.address import parsed
from authz.values import Allow, Request
from tests.support.gateway import Gateway, ask

PEOPLE = """
consumers:
  - {username: ann, groups: [gold, beta], labels: {team: "red,blue", plan: gold},
     credentials: [{key-auth: {key: ann-key}}]}
  - {username: ben, groups: [silver], labels: {team: '["green","a,b"]'},
     credentials: [{key-auth: {key: ben-key}}]}
  - {username: cleo, credentials: [{key-auth: {key: cleo-key}}]}
"""


def api(access: str, *, profile: str = "api7", more: str = "", people: str = PEOPLE) -> Gateway:
    """A service `api` with routes `read` (`/r`) and `other`, and this `access`."""
    return Gateway(f"""
profile: {profile}
services:
  - id: api
    hosts: [api.test]
    auth: {{key-auth: {{}}}}
    access: {access}
    routes: [{{id: read, match: {{path: /r}}}}, {{id: other}}]
  - {{id: bare, hosts: [bare.test], auth: {{key-auth: {{}}}}, access: {access}}}
{more}{people}""")


def call(
    who: str, path: str = "/r", *, method: str = "GET", host: str = "api.test", peer: str = ""
) -> Request:
    assert peer == "" or parsed(peer)
    key = [("apikey", f"{who}-key")] if who else []
    return ask(path, *key, method=method, host=host, address=peer)


def outcome(gateway: Gateway, request: Request) -> str:
    """`allowed`, or why not."""
    decision = gateway.decide(request)
    return "allowed" if isinstance(decision, Allow) else decision.reason
