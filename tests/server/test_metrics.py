"""What is counted at once is what would have been counted one by one."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram

from authz.server.metrics import CHECK_BUCKETS, CHECK_SECONDS, CHECKS, Recorder, observe
from authz.server.told import Told

AMOUNTS = [0.0, 0.00004, 0.0001, 0.00010001, 0.003, 0.5, 0.50001, 9.0]


def histogram() -> tuple[CollectorRegistry, Histogram]:
    registry = CollectorRegistry()
    return registry, Histogram("h", "h", ["l"], buckets=CHECK_BUCKETS, registry=registry)


def samples(registry: CollectorRegistry) -> dict[str, float]:
    [family] = registry.collect()
    return {
        f"{each.name}{each.labels.get('le', '')}": each.value
        for each in family.samples
        if not each.name.endswith("_created")
    }


@pytest.mark.parametrize("known", [True, False])
def test_many_are_observed_as_one_by_one(known: bool) -> None:
    """Also where prometheus_client is built otherwise."""
    registry, several = histogram()
    singly, one_by_one = histogram()
    child = several.labels("x")
    if not known:
        child = type("Other", (), {"observe": child.observe})()
    observe(child, CHECK_BUCKETS, AMOUNTS)
    for amount in AMOUNTS:
        one_by_one.labels("x").observe(amount)

    assert samples(registry) == pytest.approx(samples(singly))


def test_decisions_are_counted_by_what_is_told() -> None:
    """Each once, by the labels that it has."""
    recorder = Recorder()
    told = Told("deny", 401, {"service": "counted", "route": "r", "reason": "why"})
    for _ in range(3):
        recorder.decision(told, 0.001)
    recorder.decision(Told("fault", 503, {"reason": "counted"}), 0.001)
    recorder.close()
    recorder.flush()

    assert CHECKS.labels("counted", "r", "", "deny", "why")._value.get() == 3
    assert CHECKS.labels("", "", "", "fault", "counted")._value.get() == 1
    [family] = CHECK_SECONDS.collect()
    assert {sample.labels["outcome"] for sample in family.samples} >= {"deny", "fault"}
