"""Wheel and sdist as somebody gets them: built, installed elsewhere, and run from there in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
SCENARIOS = {path.stem for path in (ROOT / "scenarios").glob("*.toml")}
FOLDERS = {"analysis", "docs", "scenarios", "tamcl", "tests"}
PAGES = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"}
TOOLS = {"Makefile", "mkdocs.yml", "pyproject.toml", "PKG-INFO", ".gitignore", ".pre-commit-config.yaml"}
"""All that an sdist holds at its top, in three parts."""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist made from this checkout, and of a wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel was installed to; what it depends on is this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    run(*pip, "--target", folder, next(built.glob("*.whl")), cwd=folder)
    return folder


def test_an_sdist_has_tests_and_scenarios_and_nothing_large_or_private(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    files = {Path(*Path(member.name).parts[1:]): member.size for member in members}
    assert {path.parts[0] for path in files} == FOLDERS | PAGES | TOOLS
    assert {path.stem for path in files if path.match("scenarios/*.toml")} == SCENARIOS
    assert Path("tests/test_package.py") in files
    assert not [path for path in files if {"out", "__pycache__", ".venv", ".cache"} & set(path.parts)]
    assert max(files.values()) < 1_000_000
    assert sum(files.values()) < 10_000_000


def test_a_wheel_has_the_package_and_the_scenarios_alone(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = [Path(name) for name in archive.namelist()]
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    package = {path for path in names if path.parts[0] == "tamcl"}
    assert {path.parts[0] for path in set(names) - package} == {f"tamcl-{version()}.dist-info"}
    source = [path.relative_to(ROOT) for path in (ROOT / "tamcl").rglob("*") if path.is_file()]
    assert {path for path in source if "__pycache__" not in path.parts} <= package
    assert {path.stem for path in package if path.match("scenarios/*.toml")} == SCENARIOS
    assert f"\nVersion: {version()}\n" in metadata


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def test_an_installed_wheel_lists_its_scenarios_and_trains_a_cell_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    where = run(sys.executable, "-c", "import tamcl; print(tamcl.__file__)", cwd=tmp_path, PYTHONPATH=str(installed))
    assert Path(where.strip()) == installed / "tamcl" / "__init__.py"
    command = installed / "bin" / "tamcl"
    listed = run(command, "list", "scenarios", cwd=tmp_path, PYTHONPATH=str(installed))
    assert {line.split()[0] for line in listed.splitlines() if line.strip()} >= SCENARIOS
    assert "tam " in run(command, "list", cwd=tmp_path, PYTHONPATH=str(installed))
    assert not list(tmp_path.iterdir())
    cell = ["--arm", "tam,lr=0.1", "--set", "stream.experiences=2", "--set", "stream.samples=50", "--out", "cell"]
    run(command, "run", "label_flip_digits", *cell, cwd=tmp_path, PYTHONPATH=str(installed))
    online = pd.read_parquet(tmp_path / "cell" / "online.parquet")
    assert online["n"].sum() == 2 * 50
    assert set(online["arm"]) == {"tam"}
