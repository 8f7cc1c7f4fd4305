"""The notebooks as they are committed: whole, small, drawn, and about results only; those of kept tables run here.

And what the page about Python and README tell a reader to put into a notebook, in kernels that know nothing yet.
"""

from __future__ import annotations

import ast
import json
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tamcl.results import load_results

ANALYSIS = Path(__file__).parents[1] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))
TOYS = {"08_toy_surfaces", "11_tracking_a_drift"}
KEPT = ["03_five_datasets", "04_tinyimagenet", "12_batch_size_and_smoothing", "13_sam_and_lookahead"]
ELSEWHERE = re.compile(r"(?<![\w.])/(work|tmp|home|root|Users|mnt)/")
"""Paths of somebody's own machine."""


def code(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_they_are_numbered_each_once() -> None:
    numbers = [int(re.fullmatch(r"(\d\d)_\w+", path.stem)[1]) for path in NOTEBOOKS]  # type: ignore[index]
    assert numbers[:8] == list(range(1, 9))
    assert numbers == sorted(set(numbers))


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


@pytest.mark.parametrize("notebook", [path for path in NOTEBOOKS if path.stem not in TOYS], ids=lambda path: path.stem)
def test_results_are_loaded_and_nothing_is_trained(notebook: Path) -> None:
    source = "\n".join("".join(cell["source"]) for cell in code(notebook))
    assert re.search(r"load_(results|sweep)\(|read_parquet\(", source)
    assert not re.search(r"^(import|from) torch|\.backward\(|\.train\(", source, flags=re.MULTILINE)


@pytest.mark.parametrize("folder", sorted((ANALYSIS / "results").glob("*")), ids=lambda path: path.name)
def test_kept_results_are_small_tables_with_the_command_that_makes_them(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".parquet", ".json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    (made,) = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert re.match(f"tamcl (compare|sweep) {made['scenario']['name']} --", made["command"])
    assert not ELSEWHERE.search(made["command"])


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ANALYSIS.glob("results/*/runs.parquet")), ids=lambda path: path.name
)
def test_kept_studies_are_whole(folder: Path) -> None:
    results = load_results(folder)
    texts = [*results.runs["data"], *results.runs["config"], (folder / "study.json").read_text()]
    assert not [text for text in texts if ELSEWHERE.search(text)]
    assert (results.runs["status"] == "ok").all()


@pytest.mark.filterwarnings("ignore")  # the kernel's own
@pytest.mark.parametrize("name", KEPT)
def test_notebooks_of_kept_tables_run_from_a_fresh_clone(name: str) -> None:
    notebook = nbformat.read(ANALYSIS / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ANALYSIS)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ANALYSIS.parent)})


def execute(cells: list[str], folder: Path) -> list[list[Any]]:
    """Run cells in a fresh kernel, and return the outputs of each."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ANALYSIS.parent)})
    return [cell["outputs"] for cell in notebook["cells"]]


def shown(outputs: list[Any], kind: str) -> list[str]:
    """What a cell shows of a kind, such as ``text/html``."""
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def python_blocks(page: str) -> list[str]:
    text = (ANALYSIS.parent / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


FIRST, OWN = python_blocks("docs/how-to/python.md")
SNIPPET = python_blocks("README.md")[0]
SHORT = ["stream.experiences=2", "stream.samples=100", "protocol.seeds=2", "protocol.tune_seeds=1"]
SCENARIO = f"import tamcl\nscenario = tamcl.load_scenario('label_flip_digits', {SHORT}).only(['sgdm', 'tam'])\nscenario"


@pytest.mark.filterwarnings("ignore")  # the kernel's own
def test_ten_lines_give_progress_sentences_and_a_figure_in_a_fresh_kernel(tmp_path: Path) -> None:
    assert len(FIRST.strip().splitlines()) <= 10
    first, snippet = execute([FIRST, SNIPPET.replace("out/demo", "out/first")], tmp_path)
    progress, *_ = shown(first, "text/html")
    assert "reporting" in progress
    assert "6/6 cells" in progress, "the last state of one display that was updated in place"
    (printed,) = [output["text"] for output in first if output["output_type"] == "stream"]
    assert re.search(r"\btam\b.* online accuracy", printed)
    assert not [output for output in first if output.get("name") == "stderr"]
    for outputs in (first, snippet):
        (picture,) = shown(outputs, "image/png")
        assert b64decode(picture).startswith(b"\x89PNG")
        assert len(picture) > 10_000


CHANGE = OWN.replace(", alpha=group", ", alpha=SCALE * group") + "\n"


@pytest.mark.filterwarnings("ignore")  # the kernel's own
def test_an_optimizer_of_a_cell_is_an_arm_whose_runs_are_found_again_unless_it_changed(tmp_path: Path) -> None:
    """Edited with the same name, in a kernel that goes on: old runs must not pass as its own."""
    again = "tamcl.compare(mine, 'out/mine', progress=False).runs.groupby('arm')['wall_s'].sum().to_dict()"
    shown_table = "tamcl.load_results('out/mine')"
    apart = "try:\n    tamcl.compare(mine, 'out/mine', jobs=2)\nexcept ValueError as error:\n    print(error)"
    cells = [SCENARIO, OWN, again, f"SCALE = 1.0\n{CHANGE}", again, f"SCALE = 0.5\n{again}", apart, shown_table]
    first, _, found, _, edited, scaled, refused, table = execute(cells, tmp_path)
    assert "<td>sgdm</td><td>sgd</td>" in shown(first, "text/html")[0]
    times = [ast.literal_eval(shown(outputs, "text/plain")[-1]) for outputs in (found, edited, scaled)]
    assert len({each["sgdm"] for each in times}) == 1, "trained once"
    assert len({each["SignDescent"] for each in times}) == 3, "trained anew after each change, of a number it uses too"
    words = "".join(output["text"] for output in scaled if output["output_type"] == "stream")
    assert words.startswith("tamcl: the code of __main__:SignDescent changed, so ")
    (why,) = [output["text"] for output in refused if output["output_type"] == "stream"]
    assert why == (
        "'__main__:SignDescent': no file holds it, and worker processes cannot import it; "
        "put it in a module, or train in this process, with jobs=1\n"
    )
    assert "<td>SignDescent</td>" in shown(table, "text/html")[0]
