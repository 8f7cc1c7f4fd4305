"""What the site takes from elsewhere in the repository: notebooks, scenarios, the changelog, and every docstring."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import tamcl
from tamcl.metrics import METRICS
from tamcl.registry import Table

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))
OTHERS = {"scenarios.md": "scenarios/README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Pages of the site that are files of the repository for readers of the repository."""


def modules() -> list[str]:
    """Return every public module and package of ``tamcl``."""
    return sorted(found.name for found in pkgutil.iter_modules(tamcl.__path__) if not found.name.startswith("_"))


def reference(name: str) -> str:
    """Return the page of a module: what it says of itself, and every public name."""
    module = importlib.import_module(f"tamcl.{name}")
    names = getattr(module, "__all__", None)
    if names is None and not hasattr(module, "__path__"):
        return f"::: tamcl.{name}\n    options: {{heading_level: 1, show_root_full_path: true}}\n"
    head = f"::: tamcl.{name}\n    options: {{heading_level: 1, show_root_full_path: true, members: false}}\n"
    inside = [place(module, each) for each in names] if names else files(module)
    tables = {f"{module.__name__}.{each}": getattr(module, each) for each in names or () if each.isupper()}
    return head + "".join(f"\n::: {path}\n{rows(tables.get(path))}" for path in dict.fromkeys(inside))


def rows(table: object) -> str:
    """Return what a table of registered objects holds; nothing for anything else."""
    if isinstance(table, Table):
        described = {name: f"`{entry}`" for name, entry in table.items()}
    elif table is METRICS:
        described = {name: metric.axis for name, metric in METRICS.items()}
    else:
        return ""
    return "\n| name | |\n|---|---|\n" + "".join(f"| `{name}` | {what} |\n" for name, what in described.items())


def place(module: ModuleType, name: str) -> str:
    """Return where a public name is defined; a table or a constant is where it is exported."""
    found: Any = getattr(module, name)
    home = getattr(found, "__module__", None)
    if not isinstance(found, type) and not callable(found):
        home = None
    return f"{home}.{found.__qualname__}" if home else f"{module.__name__}.{name}"


def files(package: ModuleType) -> list[str]:
    """Return the modules of a package that exports nothing itself."""
    found = sorted(each.name for each in pkgutil.iter_modules(package.__path__) if not each.name.startswith("_"))
    return [f"{package.__name__}.{name}" for name in found]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put notebooks and modules into the navigation."""
    for part in config.nav or []:
        if "Notebooks" in part:
            part["Notebooks"] += [{title(path): path.relative_to(ROOT).as_posix()} for path in NOTEBOOKS]
        if "Reference" in part:
            part["Reference"] += [{f"tamcl.{name}": f"reference/{name}.md"} for name in modules()]
    return config


def title(notebook: Path) -> str:
    """Return the first heading of a notebook."""
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).splitlines()[0].removeprefix("# ")


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in ``docs``."""
    for path in NOTEBOOKS:
        files.append(File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls))
    for uri, source in OTHERS.items():
        files.append(File.generated(config, uri, content=moved((ROOT / source).read_text(encoding="utf-8"))))
    for name in modules():
        files.append(File.generated(config, f"reference/{name}.md", content=reference(name)))
    return files


def moved(text: str) -> str:
    """Return a page of the repository's root with its links as they are inside ``docs``."""
    return re.sub(r"\]\(docs/", "](", text)
