"""What README and site say is there: links lead somewhere, examples run, and every kind of object has its page."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import sys
import tomllib
from itertools import chain, pairwise
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import yaml

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.registry import Table
from tamcl.scenario.load import load_scenario

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))
ELSEWHERE = re.compile(r"(?<![\w.~])/(work|tmp|home|root|Users|mnt)/")
"""Paths of somebody's own machine."""
TO_BE_WRITTEN = re.compile(
    r"(mine|sign_momentum|dimmed_inputs|shapes|tiny_cnn|clipped|fixed_norm|largest_weight|my_flips|perceptron|mydata|weakest|mybenchmark|smaller_weights)\.(py|toml)$"
)
"""Files that a page tells its reader to write."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8")) < 10_000


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        found = GENERATED.get(found.relative_to(ROOT).as_posix(), found)
        assert found.is_file() or is_module(found), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w]+", "-", title.lower()).strip("-") for title in headings], target


GENERATED = {
    "docs/scenarios.md": ROOT / "scenarios" / "README.md",
    "docs/contributing.md": ROOT / "CONTRIBUTING.md",
    "docs/changelog.md": ROOT / "CHANGELOG.md",
}
"""Pages of the site that lie elsewhere in the repository."""


def is_module(page: Path) -> bool:
    """Whether a page is the reference of a module."""
    return page.parent == DOCS / "reference" and importlib.util.find_spec(f"tamcl.{page.stem}") is not None


@pytest.mark.parametrize("page", [*PAGES, ROOT / "mkdocs.yml"], ids=name)
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    assert not ELSEWHERE.search(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *HOW_TO, DOCS / "design.md"], ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    paths = re.findall(r"`((?:tamcl|tests|docs|scenarios|analysis)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert not [path for path in paths if not (ROOT / path).exists() and not TO_BE_WRITTEN.search(path)]


def navigation() -> list[str]:
    """Every page in the navigation that is written in ``mkdocs.yml``."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)

    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        inside = part.values() if isinstance(part, dict) else part
        return [page for each in inside for page in pages(each)]  # type: ignore[attr-defined]

    return pages(config["nav"])


def test_the_navigation_has_every_page_once() -> None:
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    generated = {name.removeprefix("docs/") for name in GENERATED}
    assert sorted(navigation()) == sorted(written | generated)


KINDS = {"OPTIMIZERS", "STREAMS", "DATASETS", "MODELS", "METRICS", "STRATEGIES", "INTERVENTIONS", "DIAGNOSTICS"}
OTHERS = {"HEADS", "SURFACES", "ENGINES", "EXECUTORS"}
"""Tables that nobody is told to add to."""


def tables() -> dict[str, str]:
    """Every table of registered objects and its package."""
    found = {"METRICS": "metrics"}
    for path in sorted((ROOT / "tamcl").glob("*/__init__.py")):
        for key, value in vars(importlib.import_module(f"tamcl.{path.parent.name}")).items():
            if key.isupper() and isinstance(value, Table):
                found.setdefault(key, path.parent.name)
    return found


def test_every_registered_kind_has_its_page_which_readme_contributing_and_design_lead_to() -> None:
    found = {kind: package for kind, package in tables().items() if kind not in OTHERS}
    assert set(found) == KINDS
    for kind, package in found.items():
        line = f"`{kind}` of `tamcl/{package}/__init__.py`"
        pages = [page for page in HOW_TO if line in " ".join(page.read_text(encoding="utf-8").split())]
        assert len(pages) == 1, line
        for start in ("README.md", "CONTRIBUTING.md", "docs/design.md"):
            assert f"how-to/{pages[0].name})" in (ROOT / start).read_text(encoding="utf-8")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that a page tells its reader to save, in the folder that commands are given in."""
    page: Path = request.param
    named = re.search(r"`(\w+)\.py`:\n", page.read_text(encoding="utf-8"))
    assert named
    source = "\n\n".join(block for block in blocks(page) if not block.startswith(">>>"))
    (tmp_path / f"{named[1]}.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("TAMCL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, named[1], raising=False)
    return importlib.import_module(named[1])


def pages(*names: str) -> pytest.MarkDecorator:
    found = [DOCS / "how-to" / f"{each}.md" for each in names]
    return pytest.mark.parametrize(("saved", "page"), [(page, page) for page in found], ids=names, indirect=["saved"])


@pages("optimizer", "stream", "own_benchmark", "dataset", "arrays", "model", "metric", "intervention")
def test_the_object_of_a_page_passes_the_checks_that_the_page_runs(saved: ModuleType, page: Path) -> None:
    examples = "\n".join(block for block in blocks(page) if block.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(examples, vars(saved), page.name, str(page), 0)
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert found.attempted >= 2
    assert found.failed == 0


@pages(
    "optimizer",
    "stream",
    "arrays",
    "model",
    "plain_model",
    "metric",
    "strategy",
    "plugin",
    "intervention",
    "diagnostic",
)
def test_the_object_of_a_page_is_trained_with_by_the_name_that_the_page_gives(saved: ModuleType, page: Path) -> None:
    """By ``tamcl run`` and on few images, where the page compares."""
    commands = re.findall(r"^\$ tamcl (?:run|compare) \w+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    parts = shlex.split(next(each for each in commands if f"{saved.__name__}:" in each))
    given = [(option, value) for option, value in pairwise(parts) if option == "--set"]
    arm = f"{saved.__name__}:SignMomentum,lr=0.001" if page.stem == "optimizer" else "tam,lr=0.1"
    small = [("--set", "stream.samples=30"), ("--set", "stream.experiences=2"), ("--arm", arm), ("--out", "out")]
    assert main(["run", "label_flip_digits", *chain(*given, *small)]) == 0
    assert pd.read_parquet("out/online.parquet")["n"].sum() == 60
    if page.stem == "metric":
        assert "weakest:weakest" in set(pd.read_parquet("out/metrics.parquet")["metric"])
    if page.stem == "diagnostic":
        assert "LargestWeight" in str(set(pd.read_parquet("out/diagnostics.parquet")["diagnostic"]))


def test_the_page_on_tuning_makes_the_trials_that_it_says(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "tuning.md"
    text = page.read_text(encoding="utf-8")
    (toml,) = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_decay.toml").write_text(toml, encoding="utf-8")
    scenario = load_scenario(str(tmp_path / "my_decay.toml"))
    assert {arm: scenario.trials_of(arm) for arm in scenario.arms} == {"sgdm": 9, "adamw": 9}
    assert scenario.arms["adamw"].options == {"betas": (0.9, 0.99)}
    found = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0))
    assert found.attempted >= 6
    assert found.failed == 0
    commands = re.findall(r"^\$ tamcl compare (.*)$", text, re.MULTILINE)
    for command in commands[:2]:
        assert main(["compare", *shlex.split(command), "--dry-run", "--set", "stream.samples=20"]) == 0
    with pytest.raises(InputError) as refused:
        load_scenario("label_flip_digits", ["arms.adam.weight_decay=[0,0.001]"], ["sgdm", "adam"])
    assert f"tamcl: {refused.value}" in text


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["authors"] == project["authors"]
    assert citation["license"] == project["license"]
