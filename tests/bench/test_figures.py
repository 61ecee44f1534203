"""From measurements to medians, ratios, tables and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from authz.bench import candidates, figures, picture, report
from authz.bench.candidates import BARE_HANDLER, OURS
from authz.bench.figures import NOTHING, Run
from authz.bench.measured import Figure, Measured, Pace, figure_of
from authz.bench.order import BenchError, Latency, Result, percentiles

MACHINE = {
    "cpu": "A <fast> CPU",
    "cores": 2,
    "placement": {"server": [0], "second": [1], "load": [1]},
    "memory_gib": 4.0,
    "kernel": "Linux 6.1",
    "python": "CPython 3.11",
    "packages": {"grpcio": "1.85"},
    "load_average_at_start": [0.5, 0.5, 0.5],
}


def figure(per_second: float, cpu_us: float, share: float = 0.1, **more: float) -> Figure:
    return Figure(
        per_second=per_second,
        cpu_us={"authorizer": cpu_us, **more},
        own_cpu_us=5.0,
        own_share=share,
        answers=1000,
        seconds=1.0,
        rate=0.0,
        latency=Latency(1000.0, 2000.0, cpu_us * 100),
        stolen=0.0,
    )


def measured(name: str, group: candidates.Group, *rounds: Figure) -> Measured:
    loads = {"50%": list(rounds), "85%": list(rounds)}
    return Measured(name=name, group=group, in_flight=256, saturated=list(rounds), loads=loads)


#: In the second round the machine was busy with something else, and both were half as fast.
ROUNDS = (
    measured(BARE_HANDLER, "direct", figure(1000, 100), figure(500, 200), figure(900, 110)),
    measured(OURS, "direct", figure(4000, 20), figure(2100, 50), figure(2700, 33, share=0.99)),
    measured(f"{OURS}, 1,000 credentials", "direct", *[figure(2000, 33)] * 3),
    measured(f"{OURS}, 1,000,000 credentials", "direct", *[figure(2000, 40)] * 3),
    measured(NOTHING, "envoy", *[figure(1000, 10, Envoy=40)] * 3),
    measured(OURS, "envoy", *[figure(900, 30, Envoy=45)] * 3),
    measured("Envoy's api_key_auth", "envoy", *[figure(1800, 0, Envoy=25)] * 3),
)


def run(*rows: Measured) -> Run:
    return Run(
        made_by="authz 0",
        at="today",
        quick=True,
        transport=candidates.DEFAULT,
        pace=Pace(1.0, 0.1, 3, 3, 10),
        machine=MACHINE,
        ratios=figures.ratios(rows),
        in_process={"key-auth": [Latency(10.0, 11.0, 12.0), Latency(20.0, 21.0, 22.0)]},
        budgets_us=figures.BUDGETS_US,
        candidates=list(rows),
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 1, 1)),
        (10, (5, 9, 10)),
        (100, (50, 90, 99)),
        (1000, (500, 900, 990)),
    ],
)
def test_percentiles_are_nearest_ranks(count: int, expected: tuple[int, ...]) -> None:
    """Each is one of the values: the smallest that so many do not exceed."""
    seconds = [(count - n) / 1e6 for n in range(count)]

    assert msgspec.structs.astuple(percentiles(seconds)) == expected


def test_a_figure_is_by_the_answer() -> None:
    result = Result(
        answers=2000,
        seconds=0.5,
        cpu={"authorizer": 0.04},
        own_cpu=0.45,
        latency=Latency(1, 2, 3),
        stolen=0.1,
    )
    made = figure_of(result, 0, cores=2)

    assert made.stolen == 0.1
    assert (made.per_second, made.cpu_us, made.own_cpu_us) == (4000, {"authorizer": 20}, 225)
    assert made.own_share == 0.9


def test_ratios_are_of_rounds() -> None:
    """A round's noise hits both sides: 4, 4.2 and 3 make 4, whatever the medians are."""
    made = figures.ratios(ROUNDS)

    assert made["checks_per_second_vs_bare_grpcio"] == 4.0
    assert made["cpu_per_check_vs_bare_grpcio"] == 0.25
    assert made["cpu_per_check_1000000_credentials_vs_1000_credentials"] == 1.212
    assert made["requests_per_second_through_envoy_vs_do_nothing"] == 0.9
    # What a request costs through Envoy is Envoy's time and the authorizer's.
    assert made["cpu_per_request_through_envoy_vs_do_nothing"] == 1.5
    assert made["cpu_per_request_through_envoy_key-auth_vs_envoys_api_key_auth"] == 3.0
    assert not any("2_workers" in name for name in made)


def test_the_json_has_everything() -> None:
    """Each round, so that others can reckon again."""
    made = json.loads(figures.encode(run(*ROUNDS)))

    assert made["ratios"]["checks_per_second_vs_bare_grpcio"] == 4.0
    assert [each["per_second"] for each in made["candidates"][0]["saturated"]] == [1000, 500, 900]
    assert made["candidates"][0]["loads"]["50%"][0]["latency"]["p99_us"] == 10000
    assert made["machine"] == MACHINE
    assert msgspec.json.decode(figures.encode(run(*ROUNDS)), type=Run) == run(*ROUNDS)


def test_the_text_is_aligned() -> None:
    lines = report.text(run(*ROUNDS)).splitlines()
    top = next(n for n, line in enumerate(lines) if line.startswith("Asked directly"))

    ends = lines[top].index("Checks/s") + len("Checks/s")
    assert lines[top + 2][:ends].split()[-1] == "900"
    assert lines[top + 3][:ends].split()[-1] == "2,700"
    assert any(
        line.split() == ["checks", "per", "second", "vs", "bare", "grpcio", "4.00"]
        for line in lines
    )
    assert any(line.split() == ["key-auth", "15.0", "16.0", "17.0", "10.0", "15"] for line in lines)


def test_what_the_load_generator_limits_is_marked() -> None:
    """A busy load generator says nothing about the highest load."""
    busy = measured(NOTHING, "direct", *[figure(9000, 3, share=0.97)] * 3)

    assert report.FOOTNOTE not in report.text(run(*ROUNDS))
    assert "9,000*" in report.text(run(busy, *ROUNDS))
    assert report.FOOTNOTE in report.text(run(busy, *ROUNDS))


def test_what_was_measured_again_is_told() -> None:
    again = msgspec.structs.replace(figure(1, 1), again=2)
    told = report.text(run(measured(BARE_HANDLER, "direct", again)))

    assert "because of a fault (503): 6." in told


def test_what_the_host_took_is_told() -> None:
    """Where it took anything: a machine of one's own has no host."""
    shares = (0.002, 0.004, 0.061)
    taken = [msgspec.structs.replace(figure(1, 1), stolen=share) for share in shares]
    told = report.text(run(measured(BARE_HANDLER, "direct", *taken)))

    assert "0.4% in the middle of the measurements, 6.1% in the worst." in told
    assert "host" not in report.text(run(*ROUNDS))


def test_a_page_keeps_what_is_around_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.rewrite(page, run(*ROUNDS))
    report.rewrite(page, run(*ROUNDS))
    text = page.read_text()

    assert text.startswith(f"# Before\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert text.count("| checks per second vs bare grpcio | 4.00 |") == 1
    assert "old" not in text
    # Tables are of one width: as many cells in each row as in its title.
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


@pytest.mark.parametrize("text", ["", f"{report.END}\n{report.BEGIN}", f"{report.BEGIN}\n"])
def test_a_page_without_a_place_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BenchError, match=r"page\.md: expected the lines"):
        report.rewrite(page, run(*ROUNDS))
    assert page.read_text() == text


def test_the_picture_is_svg() -> None:
    """Well-formed, with every candidate and the machine, and nothing outside of it."""
    root = ElementTree.fromstring(picture.svg(run(*ROUNDS)))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    bars = [each.attrib for each in root.iter("{http://www.w3.org/2000/svg}rect")][1:]

    assert {each.name for each in ROUNDS} <= set(texts)
    assert any("A <fast> CPU" in each for each in texts)
    for bar in bars:
        assert 0 <= float(bar["x"]) <= float(bar["x"]) + float(bar["width"]) <= width
        assert 0 <= float(bar["y"]) <= height


def test_a_bar_that_is_far_too_long_is_cut() -> None:
    """A password's hash leaves the others their length."""
    rows = (*ROUNDS[:3], measured("slow", "direct", *[figure(30, 30_000)] * 3))
    root = ElementTree.fromstring(picture.svg(run(*rows)))
    bars = [
        float(each.attrib["width"])
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if each.attrib["height"] == "18"
    ]

    assert bars[0] == bars[3] == max(bars)
    assert "30,000.0" in picture.svg(run(*rows))
