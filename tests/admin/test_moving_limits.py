"""How often who may call, moved in: what can be said here counts as it did there, or it is
reported; and a limit that is left closes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.admin.moving.moved import move

KONG = "_format_version: '3.0'\n"


def moved(tmp_path: Path, text: str) -> tuple[dict[str, Any], list[str]]:
    """The document, and what is said of limits and labels."""
    file = tmp_path / "source"
    file.write_text(text)
    made = move(file)
    said = [f"{e.word} {e.path}: {e.why}" for e in made.report.entries()]
    return yaml.safe_load(made.document), said


def limits(document: dict[str, Any]) -> dict[str, Any]:
    """By service."""
    return {s["id"]: s.get("access", {}).get("limits") for s in document["services"]}


def apisix(tmp_path: Path, settings: str) -> tuple[Any, str]:
    """The limits that came of a route's limit-count, and what is said of it."""
    text = f"routes: [{{id: a, uri: /a, plugins: {{key-auth: {{}}, limit-count: {{{settings}}}}}}}]"
    document, said = moved(tmp_path, text)
    assert document["services"][0]["auth"] == {"key-auth": {}}
    return limits(document)["default"], next(line for line in said if "limit-count" in line)


SHARED = "policy: redis, count: 5, "


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("time_window: 1", {"per": "second", "by": "address"}),
        ("time_window: '600', key: remote_addr", {"per": "10 minutes", "by": "address"}),
        ("time_window: 3600, key: consumer_name", {"per": "hour", "by": "consumer"}),
        ("time_window: 604800, key: $consumer_name, key_type: var_combination",
         {"per": "week", "by": "consumer"}),
        ("time_window: 90, key: service_id", {"per": "90 seconds", "by": "service"}),
        ("time_window: 60, key: all, key_type: constant", {"per": "minute", "by": "service"}),
        ("time_window: 60, key: route_id", {"per": "minute", "by": "service"}),
        ("time_window: 60, rejected_code: 429, allow_degradation: true, redis_host: a, "
         "show_limit_quota_header: false",
         {"per": "minute", "by": "address", "status": None, "when_away": "open", "headers": False}),
    ],
)  # fmt: skip
def test_limit_count_is_a_limit(settings: str, expected: dict[str, Any], tmp_path: Path) -> None:
    """With APISIX's status, unless it says another."""
    found, said = apisix(tmp_path, SHARED + settings)
    whole = {"requests": 5, "status": 503, **expected}

    assert found == [{name: value for name, value in whole.items() if value is not None}]
    assert said == "took routes[0].plugins.limit-count: as limits"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("count: 5, time_window: 60", "counts for all workers together, not on each node"),
        (f"{SHARED}time_window: 60, window_type: sliding", "its window does not slide"),
        (f"{SHARED}time_window: 60, group: g", "counts apart from the others of its `group`"),
        (f"{SHARED}time_window: 60, rejected_msg: wait", "rejected_msg is not told"),
        (f"{SHARED}time_window: 60, rejected_code: 302", "rejected_code: no refusal; 429"),
        (f"{SHARED}time_window: 60, key: consumer_group_id", "who is in no group counts with"),
        (f"{SHARED}time_window: 60, unheard_of: 1", "unheard_of is not taken over"),
    ],
)
def test_what_a_limit_is_not_any_more_is_said(settings: str, why: str, tmp_path: Path) -> None:
    """Where it counts otherwise than it did."""
    found, said = apisix(tmp_path, settings)

    assert found[0]["requests"] == 5
    assert said.startswith(f"changed routes[0].plugins.limit-count: {why}")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("count: 5, time_window: 60, key: http_host", "nothing is counted by 'http_host' here"),
        ("count: 5, time_window: 60, key: $remote_addr $consumer_name, key_type: var_combination",
         "nothing is counted by '$remote_addr $consumer_name' here"),
        ("count: 5, time_window: 60, key: remote_addr, key_type: var_combination",
         "nothing is counted by 'remote_addr' here"),
        ("count: 5, time_window: $http_window", "is not a number of requests in a number of"),
        ("count: 0, time_window: 60", "is not a number of requests in a number of seconds"),
        ("count: 5, time_window: 10007", "per: "),
        ("count: 5, time_window: 34560000", "limit: per: no window is longer than 366 days"),
        ("count: 2000000000, time_window: 60", "requests: "),
        ("rules: []", "says no limit"),
        ("rules: [{count: 5, time_window: 60, key: $remote_addr}, {count: 5, time_window: 60, "
         "key: $http_x}]", "nothing is counted by '$http_x' here"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_said_is_left(settings: str, why: str, tmp_path: Path) -> None:
    """And the route stays open to whom it was open."""
    found, said = apisix(tmp_path, settings)

    assert found is None
    assert said.startswith(f"left routes[0].plugins.limit-count: {why}")
    assert said.endswith(": so this is not limited")


def test_of_rules_that_count_the_same_the_lower_stays(tmp_path: Path) -> None:
    """Others are limits beside each other."""
    found, said = apisix(
        tmp_path,
        "policy: redis, rules: [{count: 5, time_window: 60, key: $remote_addr}, "
        "{count: 3, time_window: 60, key: '${remote_addr}'}, "
        "{count: 9, time_window: 60, key: $consumer_name}]",
    )

    assert [(each["requests"], each["by"]) for each in found] == [(3, "address"), (9, "consumer")]
    assert "of two that count the same for the same time the lower one" in said


def test_what_counted_together_counts_together(tmp_path: Path) -> None:
    """A service's limit over its routes, whatever else they ask; a route's own over its paths."""
    document, said = moved(
        tmp_path,
        "services: [{id: s, plugins: {key-auth: {}, limit-count: {count: 5, time_window: 60}}}]\n"
        "routes:\n"
        "  - {id: a, uri: /a, service_id: s}\n"
        "  - {id: b, uri: /b, service_id: s, plugins: {basic-auth: {}}}\n"
        "  - {id: c, uris: [/c, /d], service_id: s, plugins: {limit-count: {count: 1, "
        "time_window: 60}}}\n"
        "  - {id: e, uri: /e, service_id: s, plugins: {opa: {}}}\n",
    )
    routes = {s["id"]: [route["id"] for route in s["routes"]] for s in document["services"]}

    assert routes == {"s": ["a", "b", "e"], "s-all": ["c", "c-2"]}
    assert {name: found[0]["requests"] for name, found in limits(document).items()} == {
        "s": 5,
        "s-all": 1,
    }
    assert not any("counts apart" in line for line in said)


def test_what_counts_apart_is_said(tmp_path: Path) -> None:
    """A rule of everything, where services count each for itself."""
    document, said = moved(
        tmp_path,
        "global_rules: [{id: 1, plugins: {limit-count: {count: 5, time_window: 60}}}]\n"
        "services: [{id: s, plugins: {key-auth: {}}}, {id: t, plugins: {key-auth: {}}}]\n"
        "routes: [{uri: /a, service_id: s}, {uri: /b, service_id: t}]\n",
    )

    assert [each[0]["requests"] for each in limits(document).values()] == [5, 5]
    where = "global_rules[0].plugins.limit-count"
    assert f"changed {where}: counts apart for each of s, t" in said


def test_two_routes_for_the_same_requests_have_the_limits_of_the_first(tmp_path: Path) -> None:
    """They ask the same of who calls, so neither is closed."""
    document, said = moved(
        tmp_path,
        "routes:\n"
        "  - {uri: /a, plugins: {key-auth: {}, limit-count: {count: 5, time_window: 60}}}\n"
        "  - {uri: /a, plugins: {key-auth: {}}}\n",
    )

    assert limits(document)["default"][0]["requests"] == 5
    assert document["services"][0]["auth"] == {"key-auth": {}}
    assert "left routes[1]: /a: the limits are those of routes[0]" in said


def test_consumers_and_groups_keep_their_limits(tmp_path: Path) -> None:
    """A left one disables nobody."""
    document, said = moved(
        tmp_path,
        "consumers:\n"
        "  - {username: a, plugins: {limit-count: {count: 5, time_window: 60, key: x, "
        "key_type: constant}}}\n"
        "  - {username: b, group_id: g, plugins: {limit-conn: {}, limit-count: {count: 5, "
        "time_window: 60, key: uri}}}\n"
        "consumer_groups: [{id: g, plugins: {limit-count: {count: 7, time_window: 60, key: x, "
        "key_type: constant}}}]\n",
    )
    a, b = document["consumers"]

    assert a["access"]["limits"][0]["by"] == "consumer"
    assert b == {"username": "b", "groups": ["g"]}
    assert document["groups"][0]["access"]["limits"][0]["by"] == "group"
    assert sum("the limit of a route is met, too" in line for line in said) == 2


@pytest.mark.parametrize(
    ("auth", "header", "word", "why"),
    [
        ("key-auth: {}", "X-Team", "took", "as labels that the upstream is told"),
        ("key-auth: {header: X-Team}", "X-Team", "left", "headers: x-team is where key-auth reads"),
        ("key-auth: {}", "Host", "left", "no label may set the header Host"),
    ],
)
def test_labels_are_told(auth: str, header: str, word: str, why: str, tmp_path: Path) -> None:
    """Where the header is free to be."""
    settings = {"headers": {header: "$team"}}
    document, said = moved(
        tmp_path,
        f"routes: [{{uri: /a, plugins: {{{auth}, attach-consumer-label: {settings}}}}}]",
    )
    [service] = document["services"]
    [line] = [line for line in said if "attach" in line]

    assert "key-auth" in service["auth"]
    assert service.get("access") == (
        {"attach-consumer-label": settings} if word == "took" else None
    )
    assert line.startswith(f"{word} routes[0].plugins.attach-consumer-label: ")
    assert why in line


def kong(tmp_path: Path, config: str) -> tuple[Any, str]:
    """The limits that came of a service's rate-limiting, and what is said of it."""
    text = (
        f"{KONG}services: [{{name: a, plugins: [{{name: key-auth}}, {{name: rate-limiting, config: "
        f"{{{config}}}}}], routes: [{{name: r, paths: [/x]}}]}}]\n"
    )
    document, said = moved(tmp_path, text)
    assert document["services"][0]["auth"]
    return limits(document)["a"], next(line for line in said if "plugins[1]" in line)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("second: 5, hour: 100.0", [{"requests": 5, "per": "second", "when_away": "open"},
                                    {"requests": 100, "per": "hour", "when_away": "open"}]),
        ("month: 5, year: 9, fault_tolerant: false", [{"requests": 5, "per": "month"},
                                                     {"requests": 9, "per": "365 days"}]),
        ("day: 5, limit_by: ip, fault_tolerant: false, hide_client_headers: true, error_code: 403",
         [{"requests": 5, "per": "day", "by": "address", "headers": False, "status": 403}]),
        *((f"minute: 5, limit_by: {by}, fault_tolerant: false",
           [{"requests": 5, "per": "minute", "by": by}])
          for by in ("consumer", "credential", "service", "route")),
        ("minute: 5, limit_by: header, header_name: x", None),
        ("minute: 0.5", None),
        ("minute: null", None),
    ],
)  # fmt: skip
def test_rate_limiting_is_a_limit_for_each_period(
    config: str, expected: Any, tmp_path: Path
) -> None:
    """Its windows are not the calendar's any more, so none is what it was."""
    found, said = kong(tmp_path, config)
    whole = expected and [{"by": "consumer", **each} for each in expected]

    assert found == whole
    assert said.startswith("left " if expected is None else "changed ")


def test_kongs_limits_are_of_whom_they_were(tmp_path: Path) -> None:
    """In either place; of a consumer and a service at once nobody's."""
    limit = "name: rate-limiting, config: {minute: 5}"
    document, said = moved(
        tmp_path,
        f"{KONG}consumers: [{{username: a}}, {{username: b, plugins: [{{{limit}}}]}}, "
        "{username: c}]\n"
        f"consumer_groups: [{{name: g, plugins: [{{{limit}}}]}}, {{name: h}}]\n"
        f"plugins: [{{{limit}, consumer: a}}, {{{limit}, consumer: c, service: s}}, "
        f"{{{limit}, consumer_group: h}}, {{{limit}, consumer: nobody}}]\n",
    )

    assert ["access" in each for each in document["consumers"]] == [True, True, False]
    assert [each["id"] for each in document["groups"]] == ["g", "h"]
    assert [line[: line.index(":")] for line in said if line.startswith("left")] == [
        "left plugins[1]",
        "left plugins[3]",
    ]
