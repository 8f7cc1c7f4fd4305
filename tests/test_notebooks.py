"""The notebooks as they are committed: whole, small, drawn, and about results only; those of kept tables run here."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tamcl.results import load_results

ANALYSIS = Path(__file__).parents[1] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))
KEPT = ["03_five_datasets", "04_tinyimagenet"]
ELSEWHERE = re.compile(r"(?<![\w.])/(work|tmp|home|root|Users|mnt)/")
"""Paths of somebody's own machine."""


def code(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_ten_in_order() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02}_" for number in range(1, 11)]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_with_figures_small_and_executed_in_order(notebook: Path) -> None:
    assert notebook.stat().st_size < 1_000_000
    assert not ELSEWHERE.search(re.sub(r'"image/png": "[^"]*"', "", notebook.read_text()))
    cells = code(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert "".join(json.loads(notebook.read_text())["cells"][0]["source"]).startswith("# ")


@pytest.mark.parametrize("notebook", [*NOTEBOOKS[:7], *NOTEBOOKS[8:]], ids=lambda path: path.stem)
def test_results_are_loaded_and_nothing_is_trained(notebook: Path) -> None:
    source = "\n".join("".join(cell["source"]) for cell in code(notebook))
    assert re.search(r"load_(results|sweep)\(", source)
    assert not re.search(r"^(import|from) torch|\.backward\(|\.train\(", source, flags=re.MULTILINE)


@pytest.mark.parametrize("folder", sorted((ANALYSIS / "results").glob("*")), ids=lambda path: path.name)
def test_kept_results_are_small_tables_with_the_command_that_makes_them(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".parquet", ".json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    results = load_results(folder)
    assert results.study["command"].startswith(f"tamcl compare {results.study['scenario']['name']} --")
    texts = [*results.runs["data"], *results.runs["config"], (folder / "study.json").read_text()]
    assert not [text for text in texts if ELSEWHERE.search(text)]
    assert (results.runs["status"] == "ok").all()


@pytest.mark.filterwarnings("ignore")  # the kernel's own
@pytest.mark.parametrize("name", KEPT)
def test_notebooks_of_kept_tables_run_from_a_fresh_clone(name: str) -> None:
    notebook = nbformat.read(ANALYSIS / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ANALYSIS)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ANALYSIS.parent)})
