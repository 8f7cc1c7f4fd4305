"""Imports go downwards only, public names are what they say, and every object of a table has its file.

``python -m tests.test_architecture`` prints which part imports which.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tamcl.registry import Table

ROOT = Path(__file__).parents[1] / "tamcl"

FLOORS = [
    {"errors", "seeding", "trial"},
    {"arguments", "session_code", "validation"},
    {"avalanche", "files", "user_code"},
    {"registry"},
    {"data", "models", "optim", "results"},
    {"diagnostics", "interventions", "metrics", "streams"},
    {"stats", "strategies"},
    {"plots", "scenario"},
    {"sweeps"},
    {"findings", "training"},
    {"engines", "landscape"},
    {"report", "study", "testing", "toys"},
    {"cli"},
    {"__main__"},
]
"""Parts from the ground up: each may import those of the floors below it, and none of its own floor or above."""

OUTSIDE = {
    "avalanche": {"avalanche"},
    "cli": {"pydantic", "rich", "torch", "typer"},
    "data": {"PIL", "numpy", "platformdirs", "rich", "sklearn", "torchvision"},
    "diagnostics": {"numpy", "pandas", "torch"},
    "engines": {"distributed", "submitit", "torch"},
    "files": {"pandas", "pyarrow", "pydantic"},
    "findings": {"pandas"},
    "interventions": {"torch"},
    "landscape": {"numpy", "pandas", "torch"},
    "metrics": {"numpy", "pandas"},
    "models": {"timm", "torch", "torchvision"},
    "optim": {"numpy", "torch"},
    "plots": {"matplotlib", "numpy", "pandas", "scipy"},
    "report": {"PIL", "jinja2", "matplotlib", "numpy", "pandas", "scipy"},
    "results": {"numpy", "pandas", "pyarrow"},
    "scenario": {"pydantic", "pydantic_core"},
    "stats": {"numpy", "pandas", "scipy"},
    "seeding": {"numpy", "torch"},
    "strategies": {"numpy", "pydantic", "torch", "tqdm"},
    "streams": {"numpy", "pydantic", "pydantic_core", "torch"},
    "sweeps": {"pandas"},
    "study": {"IPython", "optuna", "pandas", "rich"},
    "testing": {"numpy", "pandas", "pydantic", "torch"},
    "toys": {"matplotlib", "numpy", "pandas", "scipy", "torch"},
    "training": {"numpy", "pandas", "torch", "wandb"},
}
"""What a part may import beside tamcl and the standard library."""


def imports(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"tamcl.{a.name}" for a in node.names} if node.module == "tamcl" else {str(node.module)}
    return found - {"tamcl.__version__"}


def files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]


def parts_of(part: str) -> set[str]:
    """The other parts that a part imports."""
    modules = set().union(*map(imports, files(part)))
    return {module.split(".")[1] for module in modules if module.startswith("tamcl.")} - {part}


PARTS = [part for floor in FLOORS for part in sorted(floor)]


@pytest.mark.parametrize("part", PARTS)
def test_imports_go_downwards(part: str) -> None:
    floor = next(i for i, parts in enumerate(FLOORS) if part in parts)
    below = {part}.union(*FLOORS[:floor])
    for path in files(part):
        for module in imports(path):
            package, _, rest = module.partition(".")
            if package == "tamcl":
                allowed = rest.partition(".")[0] in below
            else:
                allowed = package in OUTSIDE.get(part, set()) | sys.stdlib_module_names
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_every_part_stands_on_a_floor() -> None:
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert sorted(parts - {"__init__"}) == sorted(PARTS)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("tamcl.results", {"torch", "avalanche", "matplotlib", "jinja2"}),
        ("tamcl.plots", {"torch", "avalanche", "jinja2"}),
        ("tamcl.findings", {"torch", "avalanche", "matplotlib", "jinja2"}),
        ("tamcl.findings.oracles", {"torch", "avalanche", "matplotlib", "jinja2"}),
        ("tamcl.training.run", {"torch", "avalanche", "matplotlib", "jinja2"}),
        ("tamcl.study", {"torch", "avalanche", "matplotlib", "jinja2"}),
        ("tamcl.cli", {"torch", "avalanche", "matplotlib", "jinja2", "sklearn", "pandas"}),
    ],
)
def test_what_an_import_does_not_bring_along(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules.keys() & {unwanted!r})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


PACKAGES = [part for part in PARTS if (ROOT / part).is_dir() and part not in ("cli", "files", "training")]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_there(package: str) -> None:
    module = importlib.import_module(f"tamcl.{package}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", ["data", "models", "optim", "strategies", "streams"])
def test_type_checkers_see_what_a_table_exports(package: str) -> None:
    """A class of a table that is missing under ``TYPE_CHECKING`` is unknown to editors and mypy."""
    module = importlib.import_module(f"tamcl.{package}")
    tree = ast.parse(inspect.getsource(module))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    lines = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {f"{line.module}:{name.asname}" for line in lines for name in line.names}
    tables = [value for value in vars(module).values() if isinstance(value, Table) and value.noun != "head"]
    entries = {path for table in tables for path in table.values() if path.startswith("tamcl.")}
    assert seen - entries <= {
        "tamcl.data.arrays:from_arrays",
        "tamcl.data.folder:from_folder",
        "tamcl.data.torchvision_sets:from_torchvision",
        "tamcl.models.classifier:Classifier",
        "tamcl.strategies.settings:TrainingSettings",
    }
    assert entries <= seen


if __name__ == "__main__":
    for floor in reversed(FLOORS):
        for part in sorted(floor):
            print(f"{part:12} -> {' '.join(sorted(parts_of(part))) or '(nothing of tamcl)'}")
