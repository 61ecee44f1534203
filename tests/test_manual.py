"""The manual says what the code does: commands, settings, reasons, and nothing of its makers."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase
from typer.testing import CliRunner

from authz import denials, reasons
from authz.access import RULES, grants, guessing, limits
from authz.cli import app
from authz.config import Settings
from authz.endpoints import ENDPOINTS
from authz.schemes import SCHEMES
from authz.server import metrics, service, wire
from authz.server.exporter import AGE
from authz.store import key_source, passwords, records, unknown
from authz.store import redis as store

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The README's shell blocks that begin by making a virtual environment."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [block.strip() for block in blocks if block.startswith("python3 -m venv")]


def test_ci_runs_the_readmes_test_command() -> None:
    """Exactly it, so that it cannot rot."""
    up, test = commands()

    assert up.endswith("authz up")
    assert test in (ROOT / ".ci" / "run").read_text()


def test_ci_runs_the_benchmark_after_the_tests() -> None:
    """From the same installation, and for its figures alone."""
    _, test = commands()
    after = (ROOT / ".ci" / "run").read_text().partition(test)[2]

    assert after.strip() == ".venv/bin/authz bench --quick --json bench.json"


def test_the_readme_quotes_what_was_measured() -> None:
    """Ratios of docs/benchmark.json, whose tables docs/benchmark.md has."""
    ratios = json.loads((ROOT / "docs" / "benchmark.json").read_text())["ratios"]
    faster, cheaper = (
        ratios[f"{name}_vs_bare_grpcio"] for name in ("checks_per_second", "cpu_per_check")
    )
    tables = (ROOT / "docs" / "benchmark.md").read_text()

    assert f"{faster:.1f} times that handler's Checks a second" in README
    assert f"for {cheaper:.2f} times its CPU time" in README
    assert f"| checks per second vs bare grpcio | {faster:.2f} |" in tables


def test_the_readme_is_short() -> None:
    """Longer matter goes into docs/."""
    assert len(README.splitlines()) < 200


def test_every_link_of_the_manual_leads_somewhere() -> None:
    """Relative links name files that are there."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "envoy" / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_sizes_are_computed(capsys: pytest.CaptureFixture[str]) -> None:
    """The tables of docs/sizing.md are what its program prints."""
    page = (ROOT / "docs" / "sizing.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})
    rows = capsys.readouterr().out.splitlines()

    assert len(rows) == 7
    assert [row for row in rows if row not in page.splitlines()] == []


def all_reasons() -> set[str]:
    """Every reason that the code can give, but the schemes' own."""
    found = {deny.reason for deny in denials.GENERAL} | set(denials.LIVENESS)
    found |= {reason for endpoint in ENDPOINTS.values() for reason in endpoint.reasons}
    found |= {reason for _, reason in store.REASONS} | {store.EMPTY, store.BREAKER_OPEN}
    found |= set(limits.REASONS)
    found |= {records.CORRUPT, passwords.BUSY, key_source.UNAVAILABLE, wire.ALLOWED, wire.ANONYMOUS}
    found |= {denials.NONE_PROVEN.reason, *grants.REASONS}
    found |= {reason for rule in RULES.values() for reason in rule.reasons}
    found |= {service.OVERLOADED, service.ABANDONED, unknown.TOO_MANY}
    found |= set(guessing.REASONS)
    return found | {service.NOT_READY, service.NOT_A_CHECK, service.CRASHED}


def test_every_reason_has_a_meaning() -> None:
    """The table has each reason of the code, and no other."""
    listed = [reason.name for _, section in reasons.SECTIONS for reason in section]

    assert sorted(listed) == sorted(all_reasons())
    assert all(reason.meaning for reason in reasons.of_schemes())


def test_every_reason_is_explained() -> None:
    """docs/reasons.md is what the code prints."""
    assert (ROOT / "docs" / "reasons.md").read_text() == reasons.manual()


def test_the_readme_lists_every_reason() -> None:
    """As the code has them; what each means is in docs/reasons.md."""
    assert reasons.summary() in README


def test_every_setting_is_explained() -> None:
    """docs/settings.md has each setting, its flag, its variable and its default."""
    text = (ROOT / "docs" / "settings.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))

    assert listed == set(Settings.__struct_fields__)


def test_every_setting_is_a_flag() -> None:
    """Flags, environment or a file: all of them take every setting."""
    help_text = CliRunner().invoke(app, ["serve", "--help"], terminal_width=200).output

    for name in Settings.__struct_fields__:
        assert f"--{name.replace('_', '-')}" in help_text


def test_every_metric_is_explained() -> None:
    """docs/metrics.md has each metric, by the name under which it is shown, and its labels."""
    found = {AGE: ""}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.collect()
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = ", ".join(metric._labelnames)
    del found[metrics.SEEN]  # shown as an age
    text = (ROOT / "docs" / "metrics.md").read_text()

    assert dict(re.findall(r"^\| `([a-z_]+)` \|(?: ([a-z, ]+))? \|", text, re.MULTILINE)) == found


FOREIGN = re.compile(
    r"/work/|\.\./shared|/tmp/venv|files\.pythonhosted|registry\.npmjs|\bsubagent|\bhelper-\d",
    re.IGNORECASE,
)


def test_the_project_speaks_of_itself_alone() -> None:
    """No file names the place where it was written, or where packages come from."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        found = FOREIGN.search(path.read_bytes().decode(errors="replace"))
        assert found is None, f"{name}: {found}"


def test_every_scheme_is_explained() -> None:
    """docs/schemes.md names every scheme, its settings, and the fields of its credential."""
    text = (ROOT / "docs" / "schemes.md").read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL))
    common = text[: text.index("## ")]

    for kind, scheme in SCHEMES.items():
        fields = {name.encode_name for name in msgspec.structs.fields(scheme)}
        if scheme.public_identifier or kind != "jwt-plugin":
            fields |= {name.encode_name for name in msgspec.structs.fields(scheme.draft)}
        listed = set(re.findall(r"`([A-Za-z0-9_]+)`", sections[kind] + common))
        assert fields <= listed, f"{kind}: {sorted(fields - listed)}"
