"""What ``import tamcl`` offers: light, complete, known to editors, and shown in a notebook without a trap."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tamcl
from tamcl.results import Results, load_results
from tamcl.scenario.load import load_scenario, parse

NAMES = ["Results", "Scenario", "compare", "load_results", "load_scenario", "optim", "plots", "run", "scenarios"]
NAMES += ["verdicts"]


def test_importing_it_brings_nothing_heavy_and_each_name_comes_when_it_is_used() -> None:
    code = (
        "import sys, tamcl\n"
        "heavy = ['torch', 'numpy', 'pandas', 'pydantic', 'rich', 'matplotlib', 'tamcl.scenario', 'tamcl.results']\n"
        "print([name for name in heavy if name in sys.modules], [name for name in dir(tamcl) if name[0] != '_'])\n"
        "tamcl.load_scenario, tamcl.load_results, tamcl.plots, tamcl.verdicts, tamcl.compare\n"
        "print([name for name in ('torch', 'avalanche') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"[] {NAMES}", "[]"]


def test_every_name_is_there_and_any_other_is_an_attribute_error() -> None:
    assert sorted(tamcl.__all__) == sorted([*NAMES, "__version__"])
    for name in tamcl.__all__:
        assert getattr(tamcl, name) is not None
    with pytest.raises(AttributeError, match="module 'tamcl' has no attribute 'comparee'"):
        tamcl.comparee  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(tamcl))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    lines = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {name.asname: f"{line.module}.{name.name}" for line in lines for name in line.names}
    assert sorted(map(str, seen)) == NAMES
    for name, path in seen.items():
        found = getattr(tamcl, str(name))
        home = found.__name__ if inspect.ismodule(found) else f"{found.__module__}.{found.__name__}"
        assert home == path


class Tags(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


PLAIN = {"p", "b", "br", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_scenario_is_shown_in_a_line_and_as_a_table_without_tags_of_somebody_elses() -> None:
    scenario = load_scenario("label_flip_digits", ["protocol.seeds=3"], ["sgdm", "tam"])
    assert repr(scenario) == str(scenario)
    assert repr(scenario) == (
        "<Scenario label_flip_digits: label_flip on digits, 10 experiences; sgdm, tam; 5 learning rates each, 3 seeds>"
    )
    nasty = parse(scenario.dump() | {"title": "<script>alert(1)</script>"})
    page = Tags(nasty._repr_html_())
    assert page.tags <= PLAIN
    assert "<script>alert(1)</script>" in "".join(page.texts)
    assert page.texts[-3:] == ["tam", "tam", "0.1, 0.05, 0.025, 0.0125, 0.00625"]


def test_results_are_shown_by_arms_seeds_and_sentences(without_oracles: Path) -> None:
    results = load_results(without_oracles)
    runs = results.runs
    assert repr(results) == (
        f"<Results {results.study['scenario']['name']}: {', '.join(results.arms)}; 2 seeds, {len(runs)} runs; "
        f"in {str(without_oracles)!r}>"
    )
    page = Tags(results._repr_html_())
    assert page.tags <= PLAIN
    assert next(text for text in page.texts if " online accuracy" in text) == tamcl.verdicts(results)[0]
    values = results.phase(results.metrics).query("metric == 'online_accuracy' and arm == 'tam'")["value"]
    at = page.texts.index("tam", page.texts.index("standard deviation"))
    assert page.texts[at + 2 : at + 4] == ["2", f"{100 * values.mean():.4g}"]
    study = results.study | {"scenario": results.study["scenario"] | {"name": "<img src=x>"}}
    assert Tags(Results._repr_html_(replace(results, study=study))).tags <= PLAIN
