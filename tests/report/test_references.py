"""What is to be cited: everything of tamcl's tables has entries or none, and they are what its docstring names."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from tamcl.registry import Table, lookup
from tamcl.report.references import CITED, LIBRARIES, bibliography, entries
from tamcl.scenario.load import load_scenario, scenarios
from tests.report.helpers import write_sweep
from tests.synthetic_study import write_study

OBJECTS = [(table, name, keys.split()) for table, cited in CITED for name, keys in cited.items()]
OURS = [each for each in OBJECTS if each[2] and each[0][each[1]].startswith("tamcl.")]


def test_every_object_has_its_entries_or_none() -> None:
    for table, cited in CITED:
        assert set(cited) == set(table), table.noun
    used = {key for _, _, keys in OBJECTS for key in keys} | set(LIBRARIES.values())
    assert used == set(entries()), "no entry is missing, and none is left over"


@pytest.mark.parametrize(("table", "name", "keys"), OURS, ids=[name for _, name, _ in OURS])
def test_an_entry_is_a_source_that_the_docstring_names(table: Table, name: str, keys: list[str]) -> None:
    """By number, address or title; classes of torch name theirs in another way."""
    found = lookup(table, name)
    module = inspect.getmodule(found)
    words = " ".join((inspect.getdoc(found) or "").split()) + " ".join((module.__doc__ or "").split())
    for key in keys:
        fields = dict(re.findall(r"^  (\w+) = \{+(.*?)\}+,$", entries()[key], flags=re.MULTILINE))
        known = [fields.get("url"), fields.get("doi"), fields["title"]]
        parts = words + sources_of(name)
        assert any(each and each.lower() in parts.lower() for each in known), (name, key)


def sources_of(name: str) -> str:
    """What the five data sets name, whose entries stand with them."""
    if not name.startswith("five_datasets"):
        return ""
    table = next(table for table, cited in CITED if "mnist" in cited)
    parts = ("mnist", "fashion_mnist", "notmnist", "cifar10", "svhn", "five_datasets")
    return "".join(" ".join((inspect.getdoc(lookup(table, part)) or "").split()) for part in parts)


def test_an_arxiv_number_is_the_same_in_all_fields() -> None:
    for key, entry in entries().items():
        numbers = set(re.findall(r"\d{4}\.\d{4,5}", entry.replace("doi = ", "")))
        assert len(numbers) <= 1 or "doi" in entry, key
        assert entry.count("{") == entry.count("}"), key
        assert entry.isascii(), key


def test_a_study_cites_what_it_used(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=["sgdm", "tam"], seeds=1, tune_seeds=1, experiences=2, steps=6)
    path = folder / "study.json"
    study = json.loads(path.read_text())
    arms = study["scenario"]["arms"]
    arms["tam"] |= {"optimizer": "lookahead", "base": "adatam", "interventions": [{"name": "redo"}]}
    arms["sgdm"]["optimizer"] = "mine.optim:Mine"
    path.write_text(json.dumps(study))
    text = bibliography(folder)
    keys = set(re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE))
    assert keys == {
        *LIBRARIES.values(), "zhang2019lookahead", "malviya2024torque", "sokar2023dormant", "alpaydin1998optical",
        "elsayed2024addressing",
    }  # fmt: skip
    assert "% optimizer adatam, stream label_flip\n@article{malviya2024torque," in text
    assert "% optimizer mine.optim:Mine: not of tamcl, no entry is known" in text


def test_all_that_shipped_scenarios_use_has_a_line() -> None:
    known = {(table.noun, name) for table, name, _ in OBJECTS}
    for name in scenarios():
        scenario = load_scenario(name)
        for arm in scenario.arms.values():
            assert ("optimizer", arm.optimizer) in known, name
        assert ("stream", scenario.stream.name) in known, name
        assert ("data set", scenario.stream.dataset) in known, name


def test_a_sweep_cites_what_its_studies_used(tmp_path: Path) -> None:
    assert "malviya2024torque" in bibliography(write_sweep(tmp_path / "sweep"))
