"""Imports go one way, public names are what they say, and every object of a table has its file."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "tamcl"

ALLOWED = {
    "errors": set(),
    "seeding": set(),
    "own_code": {"tamcl.errors"},
    "offline": set(),
    "paths": {"tamcl.errors"},
    "plain": {"tamcl.errors"},
    "digests": set(),
    "lock": set(),
    "parquet": {"tamcl.digests", "pandas", "pyarrow"},
    "records": {"tamcl.digests", "tamcl.errors", "pydantic"},
    "registry": {"tamcl.errors", "tamcl.own_code"},
    "optim": {"tamcl.errors", "tamcl.registry", "tamcl.seeding", "tamcl.optim", "torch"},
    "models": {"tamcl.registry", "tamcl.seeding", "tamcl.models", "torch", "torchvision"},
    "metrics": {"tamcl.errors", "tamcl.results", "tamcl.metrics", "numpy", "pandas"},
    "stats": {"tamcl.errors", "tamcl.seeding", "tamcl.results", "tamcl.metrics", "tamcl.stats"}
    | {"numpy", "pandas", "scipy"},
    "tuning": {"tamcl.metrics", "pandas"},
    "data": {"tamcl.digests", "tamcl.errors", "tamcl.lock", "tamcl.paths", "tamcl.registry", "tamcl.data"}
    | {"numpy", "PIL", "platformdirs", "rich", "sklearn"},
    "streams": {"tamcl.errors", "tamcl.registry", "tamcl.seeding", "tamcl.data", "tamcl.streams"}
    | {"tamcl.avalanche", "numpy", "pydantic", "pydantic_core", "torch"},
    "strategies": {"tamcl.registry", "tamcl.seeding", "tamcl.models", "tamcl.optim", "tamcl.streams"}
    | {"tamcl.avalanche", "tamcl.errors", "tamcl.strategies", "torch"},
    "avalanche": {"avalanche"},
    "diagnostics": {"tamcl.errors", "tamcl.registry", "tamcl.avalanche", "tamcl.diagnostics"}
    | {"numpy", "pandas", "torch"},
    "collectors": {"tamcl.avalanche", "numpy", "pandas", "torch"},
    "checkpoint": {"tamcl.avalanche", "tamcl.digests", "tamcl.results", "tamcl.streams", "numpy", "torch"},
    "folder": {"tamcl.errors", "tamcl.lock", "tamcl.records", "tamcl.results"},
    "logs": {"tamcl.errors", "tamcl.paths"},
    "loggers": {"tamcl.avalanche", "tamcl.logs", "wandb"},
    "watch": {"tamcl.errors", "tamcl.folder", "tamcl.lock", "tamcl.metrics", "tamcl.paths", "tamcl.records"}
    | {"tamcl.results", "pandas"},
    "display": {"tamcl.study", "tamcl.watch", "rich"},
    "results": {"tamcl.errors", "tamcl.parquet", "tamcl.paths", "tamcl.records", "pandas"},
    "toys": {"tamcl.errors", "tamcl.optim", "tamcl.paths", "tamcl.plots", "tamcl.registry", "tamcl.results"}
    | {"tamcl.seeding", "tamcl.toys", "matplotlib", "numpy", "pandas", "scipy", "torch"},
    "verdicts": {"tamcl.metrics", "tamcl.stats"},
    "plots": {"tamcl.diagnostics", "tamcl.errors", "tamcl.metrics", "tamcl.plots", "tamcl.stats"}
    | {"matplotlib", "numpy", "pandas", "scipy"},
    "ranking": {"tamcl.errors", "tamcl.metrics", "tamcl.paths", "tamcl.plots", "tamcl.results", "tamcl.stats"}
    | {"matplotlib", "pandas"},
    "report": {"tamcl.errors", "tamcl.metrics", "tamcl.results", "tamcl.stats", "tamcl.tuning", "tamcl.verdicts"}
    | {"tamcl.optim", "tamcl.plots", "tamcl.records", "tamcl.report", "jinja2", "matplotlib", "numpy", "pandas", "PIL"}
    | {"scipy"},
}
"""Who may import whom, beside the standard library. What is not named here (catalogue, config, confirm, oracles,
repeat, run, search, study, workers, cli, cli_data, testing) stands at the top and may import everything below."""


def imports(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"tamcl.{a.name}" for a in node.names} if node.module == "tamcl" else {str(node.module)}
    return found


def files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_go_one_way(part: str) -> None:
    for path in files(part):
        for module in imports(path):
            package = module.partition(".")[0]
            name = ".".join(module.split(".")[:2]) if package == "tamcl" else package
            assert name in ALLOWED[part] | sys.stdlib_module_names, f"{path.relative_to(ROOT)} imports {module}"


PACKAGES = ["optim", "data", "streams", "models", "strategies", "metrics", "diagnostics", "testing", "report"]
PACKAGES += ["plots", "stats"]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_there(package: str) -> None:
    module = importlib.import_module(f"tamcl.{package}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_every_part_is_named_here_or_stands_at_the_top() -> None:
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    top = {
        "__init__",
        "catalogue",
        "cli",
        "cli_data",
        "config",
        "confirm",
        "oracles",
        "repeat",
        "run",
        "search",
        "study",
        "testing",
        "workers",
    }
    assert parts - set(ALLOWED) == top
