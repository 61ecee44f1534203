"""The Dockerfile's steps, run here: what is copied suffices to build and install, and what is
installed finds its data without the repository."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD, FINAL = DOCKERFILE.split("\nFROM ")[1:]
HOME = "/opt/authz"


def steps(stage: str, word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", stage, re.MULTILINE)


def copied() -> list[str]:
    return [name for line in steps(BUILD, "COPY") for name in line.split()[:-1]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the image's first stage makes."""
    directory = tmp_path_factory.mktemp("image")
    source, target = directory / "src", directory / "authz"
    source.mkdir()
    for name in copied():
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, source)
    make, install = steps(BUILD, "RUN")
    _run(make.replace(HOME, str(target)), source)
    # The dependencies are this environment's: the step is tested, not the package index.
    [packages] = target.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
    _run(install.replace(HOME, str(target)), source, offline)
    shutil.rmtree(source)
    return target


def _run(step: str, directory: Path, environment: dict[str, str] | None = None) -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = {**os.environ, "PATH": path, **(environment or {})}
    found = subprocess.run(
        ["sh", "-c", step], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def ask(installed: Path, *words: str) -> str:
    """Run a program of the image, away from the repository."""
    found = subprocess.run(
        [str(installed / "bin" / words[0]), *words[1:]],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_command_is_there(installed: Path) -> None:
    assert "serve" in ask(installed, "authz", "--help")
    assert '"services"' in ask(installed, "authz", "schema")


def test_it_is_the_installed_code_that_runs(installed: Path) -> None:
    told = ask(installed, "python", "-c", "import authz; print(authz.__file__)")
    assert Path(told.strip()).is_relative_to(installed)


def test_the_template_and_the_demo_are_in_the_package(installed: Path) -> None:
    assert ask(installed, "python", "-m", "authz.stack.envoy") == (
        (ROOT / "envoy" / "envoy.yaml").read_text()
    )
    code = "from authz.stack import demo; print(demo.DOCUMENT.read_text(), end='')"
    assert ask(installed, "python", "-c", code) == (ROOT / "authz/stack/demo.yaml").read_text()


def test_the_upstream_needs_nothing_but_the_package(installed: Path) -> None:
    assert "--listen" in ask(installed, "python", "-m", "authz.stack.upstream", "--help")


def test_nothing_copied_is_ignored_and_no_more_is_sent() -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#"
    ]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_the_last_stage_only_makes_directories_and_is_nobody() -> None:
    assert steps(FINAL, "USER") == ["65532:65532"]
    [step] = steps(FINAL, "RUN")
    assert step.startswith("install -d -o 65532 -g 65532 -m 0700 /")
    assert steps(FINAL, "COPY") == [f"--from=build {HOME} {HOME}"]
    assert f"PATH={HOME}/bin:" in FINAL
