"""Limits as a document has them: where they stand, what they count, and what clients are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from authz import document
from authz.access.limits import Limit
from authz.admin.export import export
from authz.admin.plan import plan
from authz.contracts import StoreDown
from authz.pipeline import decide
from authz.plain import DocumentError
from authz.signing import sign_digest, sign_hmac_auth
from authz.values import Allow, Deny, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.memory import Memory, MemoryLookup
from tests.support.valkey import Valkey
from tests.support.workers import apply, catalog

MINUTE = 60_000


def gateway(service: str, consumers: str = "", more: str = "", profile: str = "api7") -> Gateway:
    """Ann, with two keys, and Ben, of the groups g and h; Cy is of none."""
    return Gateway(f"""
profile: {profile}
services:
  - id: s
    hosts: [s]
    auth: {{key-auth: {{}}}}
    access: {{{service}}}
    routes: [{{id: one, match: {{path: /1}}}}, {{id: two, match: {{path: /2}}}}]
  - {{id: other, hosts: [other], auth: {{key-auth: {{}}}}}}
consumers:
  - username: ann
    groups: [g, h]
    access: {{{consumers}}}
    credentials: [{{id: a1, key-auth: {{key: a1}}}}, {{id: a2, key-auth: {{key: a2}}}}]
  - {{username: ben, groups: [g], credentials: [{{id: b1, key-auth: {{key: b1}}}}]}}
  - {{username: cy, credentials: [{{id: c1, key-auth: {{key: c1}}}}]}}
  - {{username: di, credentials: [{{id: d1, key-auth: {{key: d1}}}}]}}
{more}""")


def call(key: str, path: str = "/1", host: str = "s", address: str = "192.0.2.1") -> Request:
    return replace(ask(path, ("apikey", key), host=host), address=address)


def outcome(made: Gateway, request: Request) -> str:
    decision = made.decide(request)
    if isinstance(decision, Allow):
        return "allow"
    assert isinstance(decision, Deny)
    return decision.limit or decision.reason


def outcomes(made: Gateway, *requests: Request) -> list[str]:
    return [outcome(made, request) for request in requests]


FULL = "service/{}/hour"
ONE = "limits: [{{requests: 1, per: hour, by: {}}}]"


@pytest.mark.parametrize(
    ("by", "same", "others"),
    [
        ("consumer", call("a2", "/2", address="192.0.2.2"), [call("b1")]),
        ("credential", call("a1", "/2", address="192.0.2.2"), [call("a2"), call("b1")]),
        ("service", call("b1", "/2", address="192.0.2.2"), [call("b1", host="other")]),
        ("route", call("b1", "/1", address="192.0.2.2"), [call("b1", "/2")]),
        ("address", call("b1", "/2"), [call("b1", address="192.0.2.2")]),
    ],
)
def test_what_is_counted_together(by: str, same: Request, others: list[Request]) -> None:
    """The same in that respect shares a count, whatever else differs; another one has its own."""
    made = gateway(ONE.format(by))
    assert outcomes(made, call("a1"), same) == ["allow", FULL.format(by)]
    assert outcomes(made, *others) == ["allow"] * len(others)


def test_by_group() -> None:
    """Of several groups each is taken from, or none; those who are in none count together."""
    made = gateway("limits: [{requests: 2, per: hour, by: group}]")
    assert outcomes(made, call("a1"), call("b1"), call("b1")) == [
        "allow",
        "allow",
        FULL.format("group"),
    ]
    assert outcome(made, call("a1")) == FULL.format("group")
    assert made.memory.counters["", "service/s/group/h/3600000"][1] == 1
    assert outcomes(made, call("c1"), call("d1"), call("c1")) == [
        "allow",
        "allow",
        FULL.format("group"),
    ]


def test_a_consumers_limit_goes_with_it() -> None:
    """Beside the service's, wherever it calls."""
    made = gateway("limits: [{requests: 2, per: hour}]", "limits: [{requests: 3, per: hour}]")
    asked = [call("a1"), call("a1"), call("a1"), call("a1", host="other"), call("a2", host="other")]
    assert outcomes(made, *asked) == [
        "allow",
        "allow",
        "service/consumer/hour",
        "allow",
        "consumer/consumer/hour",
    ]


def test_a_groups_limit() -> None:
    """Of each of its consumers, or of all together; a consumer's own is there in its place."""
    groups = """
groups:
  - {id: g, access: {limits: [{requests: 1, per: hour}, {requests: 2, per: day, by: group}]}}
  - {id: h, access: {limits: [{requests: 1, per: minute, by: group}]}}"""
    made = gateway("", "", groups)
    assert outcomes(made, call("a1"), call("a1"), call("b1"), call("c1"), call("c1")) == [
        "allow",
        "group/consumer/hour",
        "allow",
        "allow",
        "allow",
    ]
    together = {
        name: used for (_, name), (_, used) in made.memory.counters.items() if "/group/" in name
    }
    assert together == {"group/g/group/g/86400000": 2, "group/h/group/h/60000": 1}
    own = gateway("", "limits: [{requests: 2, per: hour}]", groups)
    assert outcomes(own, *[call("a1")] * 3) == ["allow", "allow", "consumer/consumer/hour"]


def test_a_routes_limits_are_there_in_place_of_its_services() -> None:
    """None at all, too."""
    made = Gateway("""
services:
  - id: s
    auth: {key-auth: {}}
    access: {limits: [{requests: 1, per: hour}]}
    routes:
      - {id: one, match: {path: /1}}
      - {id: two, match: {path: /2}, access: {limits: [{requests: 2, per: 2 hours}]}}
      - {id: free, match: {path: /3}, access: {limits: []}}
consumers: [{username: ann, credentials: [{id: a1, key-auth: {key: a1}}]}]
""")
    found = [outcomes(made, *[call("a1", path)] * 3) for path in ("/1", "/2", "/3")]
    assert found == [
        ["allow", "service/consumer/hour", "service/consumer/hour"],
        ["allow", "allow", "route/consumer/2-hours"],
        ["allow", "allow", "allow"],
    ]


def test_names_that_look_alike_are_counted_apart() -> None:
    """Whatever a consumer is called."""
    made = Gateway("""
services: [{id: s, auth: {key-auth: {}}, access: {limits: [{requests: 1, per: hour}]}}]
consumers:
  - {username: a/b, credentials: [{id: c, key-auth: {key: k1}}]}
  - {username: a%2Fb, credentials: [{id: c, key-auth: {key: k2}}]}
  - {username: a, tenant: "", credentials: [{id: b, key-auth: {key: k3}}]}
""")
    assert outcomes(made, *[call(f"k{n}") for n in (1, 2, 3)]) == ["allow"] * 3
    assert len(made.memory.counters) == 3


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:DB8:1:2::", "20010db800010002"),
        ("", ""),
        ("/a" * 100, "%2Fa" * 32),
    ],
)
def test_an_address_is_its_site(address: str, site: str) -> None:
    """Who has one address of IPv6 has 2^64 of them."""
    made = gateway(ONE.format("address"))
    assert outcome(made, call("a1", address=address)) == "allow"
    assert [*made.memory.counters] == [("", f"service/s/address/{site}/3600000")]


def test_behind_a_trusted_proxy_the_client_is_counted() -> None:
    """Not the proxy, and not what a stranger writes."""
    made = gateway(ONE.format("address"), more="trusted_proxies: [192.0.2.9]")

    def through(client: str, proxy: str = "192.0.2.9") -> Request:
        lines = ("apikey", "a1"), ("x-forwarded-for", client)
        return replace(ask("/1", *lines, host="s"), address=proxy)

    asked = [through("198.51.100.1"), through("198.51.100.2"), through("198.51.100.1")]
    assert outcomes(made, *asked) == ["allow", "allow", FULL.format("address")]
    strangers = [through(f"198.51.100.{n}", "203.0.113.1") for n in (3, 4)]
    assert outcomes(made, *strangers) == ["allow", FULL.format("address")]


def test_the_manuals_example_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document of docs/limits.md does what its comments say, and the table is whole."""
    text = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    monkeypatch.setenv("ALICE_KEY", "a")
    [example] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    made = Gateway(example)
    found = {path: made.verdict(call("a", path, "api.example.com")) for path in ("/search", "/x")}
    policies = {path: dict(each.respond)["ratelimit-policy"] for path, each in found.items()}
    alice = '"consumer/consumer/month";q=50000;w=2592000'
    assert policies == {
        "/search": f'"route/route/second";q=5;w=1, {alice}',
        "/x": '"service/consumer/minute";q=100;w=60, "service/address/hour";q=5000;w=3600, '
        + alice,
    }
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == [*Limit.__struct_fields__]


# -- what clients are told -------------------------------------------------------------------------


def denied(made: Gateway, request: Request) -> Deny:
    decision = made.decide(request)
    assert isinstance(decision, Deny)
    return decision


TWO = "limits: [{requests: 2, per: minute}, {requests: 9, per: hour, burst: 3, by: service}]"
POLICY = '"service/consumer/minute";q=2;w=60, "service/service/hour";q=9;w=3600'


def test_the_standard_fields() -> None:
    """On an allow and on a refusal; who is refused hears when to come back."""
    made = gateway(TWO)
    told = [made.verdict(call("a1")).respond for _ in "ab"]
    assert [dict(lines)["ratelimit-policy"] for lines in told] == [POLICY, POLICY]
    assert [dict(lines)["ratelimit"] for lines in told] == [
        '"service/consumer/minute";r=1;t=60, "service/service/hour";r=2;t=400',
        '"service/consumer/minute";r=0;t=60, "service/service/hour";r=1;t=800',
    ]
    made.memory.milliseconds = 20_001
    refusal = denied(made, call("a1"))
    assert (refusal.status, refusal.reason, refusal.message) == (
        429,
        "too_many_requests",
        "Too many requests",
    )
    assert dict(refusal.headers)["retry-after"] == "40"
    assert dict(refusal.headers)["ratelimit"].startswith('"service/consumer/minute";r=0;t=40, ')
    made.memory.milliseconds += 39_999
    assert outcome(made, call("a1")) == "allow"


def test_of_two_that_refuse_the_longer_counts() -> None:
    made = gateway("limits: [{requests: 1, per: minute}, {requests: 1, per: hour, by: service}]")
    assert outcome(made, call("a1")) == "allow"
    refusal = denied(made, call("a1"))
    assert dict(refusal.headers)["retry-after"] == "3600"
    assert refusal.limit == "service/service/hour"


def test_in_apisix_words() -> None:
    """Of the limit of which least is left."""
    made = gateway(TWO, profile="apisix-3.18")
    assert made.verdict(call("a1")).respond == (
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "1"),
        ("x-ratelimit-reset", "60"),
    )
    made.decide(call("a1"))
    assert denied(made, call("a1")).headers == (
        ("retry-after", "60"),
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "60"),
    )


@pytest.mark.parametrize(
    ("by", "flow"),
    [("consumer", "APP"), ("group", "USER"), ("service", "GROUP"), ("route", "API")],
)
@pytest.mark.parametrize(("profile", "status"), [("alibaba", 403), ("api7", 429)])
def test_in_alibabas_words(by: str, flow: str, profile: str, status: int) -> None:
    made = Gateway(f"""
profile: {profile}
services:
  - {{id: s, hosts: [s], auth: {{digest: {{}}}},
      access: {{limits: [{{requests: 1, per: day, by: {by}}}]}}}}
consumers:
  - {{username: ann, credentials: [{{id: a, digest: {{app_key: "203", app_secret: secret}}}}]}}
""")

    def signed() -> Request:
        lines = sign_digest("GET", "/1", app_key="203", app_secret="secret", at=NOW).headers
        return ask("/1", *((name.lower(), value) for name, value in lines), host="s")

    assert outcome(made, signed()) == "allow"
    refusal = denied(made, signed())
    assert refusal.status == status
    assert refusal.body == ""
    told = dict(refusal.headers)
    assert told["x-ca-error-message"] == f"Throttled by {flow} Flow Control"
    assert told["retry-after"] == "86400"


def test_headers_and_status_as_written() -> None:
    """Switched off for one limit, the other is told; a refusal says when to come back all the
    same."""
    quiet = "{requests: 1, per: minute, headers: false, status: 503}"
    made = gateway(f"limits: [{quiet}]")
    first = made.verdict(call("a1"))
    assert (first.respond, first.under) == ((), None)
    refusal = denied(made, call("a1"))
    assert (refusal.status, refusal.headers) == (503, (("retry-after", "60"),))

    both = gateway(f"limits: [{quiet}, {{requests: 5, per: hour}}]")
    assert both.verdict(call("a1")).respond[1] == (
        "ratelimit",
        '"service/consumer/hour";r=4;t=3600',
    )


def test_an_allow_that_lasts_is_under_each_of_its_kind() -> None:
    """Its numbers are another's each time; itself it is made once, and recalled it takes, too."""
    made = gateway("limits: [{requests: 3, per: minute}]")
    verdicts = [made.verdict(call("a1")) for _ in range(3)]
    assert all(verdict.under is verdicts[0].under is not None for verdict in verdicts)
    assert len({verdict.respond for verdict in verdicts}) == 3
    assert outcome(made, call("a1")) == "service/consumer/minute"


def test_a_caller_without_limits_is_told_nothing() -> None:
    made = gateway("", "limits: [{requests: 3, per: minute}]")
    assert made.verdict(call("b1")) is made.verdict(call("b1"))
    assert made.verdict(call("a1")).respond


# -- order -----------------------------------------------------------------------------------------


def test_only_who_may_call_is_counted() -> None:
    """A wrong key, a missing grant, a replay: none of them takes from anybody's limit."""
    made = Gateway("""
services:
  - id: s
    hosts: [s]
    auth: {hmac-auth: {nonce_header: X-Nonce}}
    access: {limits: [{requests: 2, per: hour, by: service}]}
  - id: granted
    hosts: [granted]
    auth: {key-auth: {}}
    access: {grant: required, limits: [{requests: 2, per: hour, by: service}]}
consumers:
  - username: ann
    credentials: [{id: a, hmac-auth: {key_id: a, secret_key: a-secret}}, {key-auth: {key: k}}]
""")

    def signed(secret: str = "a-secret") -> Request:
        how: dict[str, Any] = {"key_id": "a", "secret": secret, "nonce_header": "X-Nonce"}
        lines = sign_hmac_auth("GET", "/1", at=NOW, **how).headers
        return ask("/1", *((name.lower(), value) for name, value in lines), host="s")

    first, last = signed(), signed()
    found = outcomes(made, first, first, first, signed("wrong"), signed(), last, last)
    assert found == [
        "allow",
        *["replayed"] * 2,
        "bad_signature",
        "allow",
        *["service/service/hour"] * 2,
    ]
    # What the limit refused was not used up: it may be sent again.
    made.memory.milliseconds += 60 * MINUTE
    assert outcomes(made, last, last) == ["allow", "replayed"]
    assert outcomes(made, *[call("k", host="granted")] * 3) == ["not_granted"] * 3


class _Away(Memory):
    def within(self, tenant: str) -> MemoryLookup:
        return _AwayLookup(self, tenant)


class _AwayLookup(MemoryLookup):
    def spend(self, quotas: Any, onces: Any) -> Any:
        raise StoreDown("store_unreachable")

    def claim(self, nonce: str, seconds: int) -> bool:
        raise StoreDown("store_unreachable")


@pytest.mark.parametrize(
    ("limits", "open_"),
    [
        ("{requests: 9, per: hour}", False),
        ("{requests: 9, per: hour, when_away: open}", True),
        ("{requests: 9, per: hour, when_away: open}, {requests: 9, per: day}", False),
    ],
)
def test_a_store_that_is_away(limits: str, open_: bool) -> None:
    """Closed unless every limit says otherwise; an open one is told nobody's numbers."""
    made = gateway(f"limits: [{limits}]")
    memory = _Away().load(made.document)
    if open_:
        verdict = decide(call("a1"), made.routes, memory)
        assert isinstance(verdict.decision, Allow)
        assert verdict.respond == ()
    else:
        with pytest.raises(StoreDown):
            decide(call("a1"), made.routes, memory)


def test_an_open_limit_opens_no_replay() -> None:
    """What is to be used once is not let in while nobody can record it."""
    made = Gateway("""
services:
  - {id: s, hosts: [s], auth: {hmac-auth: {nonce_header: X-Nonce}},
     access: {limits: [{requests: 2, per: hour, when_away: open}]}}
consumers: [{username: a, credentials: [{id: a, hmac-auth: {key_id: a, secret_key: a-secret}}]}]
""")
    how: dict[str, Any] = {"key_id": "a", "secret": "a-secret", "nonce_header": "X-Nonce"}
    lines = sign_hmac_auth("GET", "/1", at=NOW, **how).headers
    request = ask("/1", *((name.lower(), value) for name, value in lines), host="s")
    with pytest.raises(StoreDown):
        decide(request, made.routes, _Away().load(made.document))


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{per: hour}", "access.limits[0]: missing field 'requests'"),
        ("{requests: 0, per: hour}", "access.limits[0].requests: expected 'int' >= 1"),
        ("{requests: 1, per: fortnight}", "access.limits[0].per: expected 'str' matching"),
        ('{requests: 1, per: "hour\\n"}', "access.limits[0].per: expected 'str' matching"),
        ("{requests: 1, per: 0 hours}", "access.limits[0].per: expected 'str' matching"),
        ("{requests: 1, per: 13 months}", "per: no window is longer than 366 days"),
        ("{requests: 1, per: hour, by: colour}", "access.limits[0].by: invalid enum value"),
        ("{requests: 1, per: hour, lease: 1}", "lease: only means something with 'mode: leased'"),
        ("{requests: 1, per: hour, mode: leased, lease: 2}", "lease: more than 'requests'"),
        ("{requests: 9, per: hour, mode: leased, burst: 2}", "mode: a burst is counted exactly"),
        ("{requests: 1, per: hour, every: 2}", "unknown field 'every'"),
        (
            "{requests: 1, per: hour}, {requests: 2, per: 60 minutes}",
            "access.limits[1]: there is one by consumer for the same time already",
        ),
    ],
)
@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("services: [{{id: s, access: {}}}]", "services[0]."),
        ("services: [{{id: s, routes: [{{id: r, access: {}}}]}}]", "services[0].routes[0]."),
        ("groups: [{{id: g, access: {}}}]", "groups[0]."),
        ("consumers: [{{username: c, access: {}}}]", "consumers[0]."),
    ],
)
def test_what_cannot_be_meant_is_refused(written: str, told: str, place: str, at: str) -> None:
    """With its place in the document."""
    with pytest.raises(DocumentError) as caught:
        document.parse(place.format(f"{{limits: [{written}]}}"))
    text = str(caught.value)
    assert told in text
    assert text.startswith(f"{at}access.limits[")


def test_a_consumer_has_no_groups_limit() -> None:
    """Also on a line of its own."""
    entry = {"username": "c", "access": {"limits": [{"requests": 1, "per": "day", "by": "group"}]}}
    with pytest.raises(DocumentError, match=r"^access\.limits\[0\]\.by: .*give the group one"):
        document.decode_consumer(entry, "api7")


@pytest.mark.parametrize(
    ("per", "milliseconds"),
    [("second", 1000), ("10 minutes", 600_000), ("week", 604_800_000), ("month", 2_592_000_000)],
)
def test_periods(per: str, milliseconds: int) -> None:
    assert Limit(requests=1, per=per).window == milliseconds


def test_a_share_is_a_hundredth_unless_it_is_given() -> None:
    shares = [Limit(requests=n, per="day", mode="leased").share for n in (1, 99, 250, 10_000)]
    assert shares == [1, 1, 2, 100]
    assert Limit(requests=9, per="day", mode="leased", lease=3).share == 3
    assert Limit(requests=9, per="day").share == 0


def test_limits_are_stored_and_exported_as_written(store: Valkey) -> None:
    """Applied again, nothing changes; and a worker has a consumer's own from its record."""
    bucket = "{requests: 9, per: 2 days, by: route, burst: 3, status: 503}"
    limits = f"[{bucket}, {{requests: 5, per: hour, mode: leased, lease: 2}}]"
    text = f"""
services: [{{id: s, auth: {{key-auth: {{}}}}, access: {{limits: {limits}}}}}]
groups: [{{id: g, access: {{limits: {limits}}}}}]
consumers: [{{username: c, access: {{limits: {limits}}}}}]
"""
    apply(store.url, text)
    commands = catalog(store.url)
    exported = document.parse("".join(export(commands, "yaml")))
    written = document.parse(text)
    assert exported.services == written.services
    assert exported.groups == written.groups
    assert exported.consumers[0].access == written.consumers[0].access
    assert plan(exported, commands, NOW).changes == 0
