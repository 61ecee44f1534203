"""Every case of every case file, asked directly and through the real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.bench import Bench
from tests.conformance.case import Answer, Exchange, Inexpressible, Judgement, Mode

if TYPE_CHECKING:
    from tests.conformance.files import Case


def test_case(case: Case, mode: Mode, bench: Bench, request: pytest.FixtureRequest) -> None:
    try:
        trial = case.translate(mode)
    except Inexpressible as reason:
        pytest.skip(str(reason))
    if isinstance(trial, Judgement):
        if mode == "envoy":
            pytest.skip("no request in it: judged directly")
        trial.verify(bench.judge(trial.document))
        return
    ask = bench.ask if mode == "direct" else request.getfixturevalue("gateway").ask
    bench.now = trial.now
    refused = bench.prepare(trial.document, trial.refusal)
    remark = _verify(trial, refused, [] if refused else [ask(each) for each in trial.requests])
    if bench.left_out:
        remark = "without a credential that is refused when it is written"
    if remark is not None:
        request.node.user_properties.append(("remark", remark))


def _verify(trial: Exchange, refused: str | None, answers: list[Answer]) -> str | None:
    if refused is None:
        return trial.verify(answers)
    if trial.refusal == "fine":
        return "refused when it is written"
    refusal = Answer("error", 503, note=f"the document is refused: {refused}", asked=False)
    return trial.verify([refusal] * len(trial.requests))
