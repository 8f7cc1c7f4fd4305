"""What callers from Python give: a scenario by its name, results by their folder, and one line for what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tamcl
from tamcl.engines.local import Local
from tamcl.errors import InputError
from tamcl.report import oracle_verdicts, outcomes
from tamcl.results import load_results
from tamcl.scenario.load import as_scenario, load_scenario
from tamcl.study import confirm, estimate, estimate_sweep, landscape, merge, sweep, train_oracle, verify
from tamcl.training.resources import Resources

compare: Any = tamcl.compare
run: Any = tamcl.run
wrong: Any = None
"""Names without types: what is given here is what a type checker would refuse."""


def test_a_scenario_may_be_its_name_or_its_file(tiny: Path, tmp_path: Path) -> None:
    assert as_scenario("label_flip_digits") == load_scenario("label_flip_digits")
    assert as_scenario(tiny) == as_scenario(str(tiny)) == load_scenario(tiny)
    assert (
        tamcl.run(tiny, "tam", lr=0.1)
        .tables["online"]
        .equals(tamcl.run(load_scenario(str(tiny)), "tam", lr=0.1).tables["online"])
    )
    folder = tmp_path / "study.json"
    folder.write_text("")
    for call in (compare, lambda *given: sweep(given[0], {"stream.fraction": [0.5]}, given[1])):
        with pytest.raises(InputError, match="unknown scenario 'tiny': "):
            call("tiny", folder)
        with pytest.raises(InputError, match="is a file; name a folder|File exists"):  # so the scenario was read
            call(tiny, folder)
    over = {"stream.fraction": [2]}
    with pytest.raises(InputError, match="--over stream.fraction = 2: scenario 'tiny'"):
        estimate_sweep(tiny, over, tmp_path / "none")
    with pytest.raises(InputError, match="unknown scenario 'tiny'"):
        estimate("tiny")


def test_results_may_be_their_folder(without_oracles: Path) -> None:
    results = load_results(without_oracles)
    for say in (tamcl.verdicts, oracle_verdicts, outcomes):
        given: Any = say
        assert given(results) == given(without_oracles) == given(str(without_oracles))
    assert tamcl.verdicts(results)


KIND = "must be a tamcl.Scenario, the name of one that comes with tamcl, or the path of a .toml file"


@pytest.mark.parametrize("given", [None, 1, {}, load_results, ["label_flip_digits"]])
def test_what_is_no_scenario_is_said(given: Any, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: compare(given, tmp_path),
        lambda: run(given, "tam"),
        lambda: estimate(given),
        lambda: sweep(given, {}, tmp_path),
        lambda: estimate_sweep(given, {}, tmp_path),
    ]
    for call in calls:
        with pytest.raises(InputError, match=rf"^scenario = .*: {re.escape(KIND)}$"):
            call()


@pytest.mark.parametrize("given", [None, 1, [], b"study", load_scenario("label_flip_digits")])
def test_what_is_no_folder_is_said(given: Any) -> None:
    for call in (load_results, confirm, verify, lambda folder: train_oracle(folder, "restart"), landscape):
        with pytest.raises(InputError, match=f"must be a text or a pathlib.Path, not a {type(given).__name__}"):
            call(given)
    if not isinstance(given, bytes):
        with pytest.raises(InputError, match="must be what tamcl.load_results returns, or the path of a study's"):
            tamcl.verdicts(given)


def test_results_where_a_folder_is_meant_tell_the_way_to_it(without_oracles: Path) -> None:
    given: Any = load_results(without_oracles)
    with pytest.raises(InputError, match="not a Results, which has its folder as .directory$"):
        confirm(given)


def test_rows_of_a_phase_are_asked_for_by_a_table_and_a_phase(without_oracles: Path) -> None:
    results: Any = load_results(without_oracles)
    assert set(results.phase(results.online, "tune")["seed"]) == {1000}
    with pytest.raises(InputError, match=r"^table = 'report': must be a table, as in results.phase\(results.online, "):
        results.phase("report")
    with pytest.raises(InputError, match="^unknown phase 'reported': did you mean 'report'"):
        results.phase(results.online, "reported")
    with pytest.raises(InputError, match="^unknown table 'onlin': did you mean 'online'"):
        results.rows_of("onlin", results.runs)


@pytest.mark.parametrize("given", ["2", 1.5, 2.0, True, [], float("nan")])
def test_what_is_no_whole_number_is_said(given: Any, tiny: Path, without_oracles: Path, tmp_path: Path) -> None:
    calls: dict[str, Callable[[], object]] = {
        "seed =": lambda: run(tiny, "tam", given, lr=0.1),
        "jobs =": lambda: compare(tiny, tmp_path / "study", jobs=given),
        "--cells": lambda: verify(without_oracles, cells=given),
        "--seeds": lambda: confirm(without_oracles, seeds=given),
        "--points": lambda: landscape(without_oracles, points=given),
        "threads =": lambda: Resources(threads=given),
        "jobs =  ": lambda: Local(given),
    }
    for what, call in calls.items():
        with pytest.raises(InputError, match=rf"^{what.strip()} {re.escape(repr(given))}: must be a whole number$"):
            call()
    assert not (tmp_path / "study").exists()


def test_numbers_out_of_range_are_refused_before_anything_is_trained(tiny: Path) -> None:
    for seed in (-1, 2**63, 2**64):
        with pytest.raises(InputError, match=f"^seed = {seed}: must be 0 to {2**63 - 1}$"):
            run(tiny, "tam", seed, lr=0.1)
    for jobs in (0, -1):
        with pytest.raises(InputError, match=f"^jobs = {jobs}: must be at least 1$"):
            estimate(tiny, jobs=jobs)
    assert run(tiny, "tam", np.int64(1), lr=np.float32(0.125)).status == "ok"


def test_a_text_is_not_taken_letter_by_letter(tiny: Path, without_oracles: Path, tmp_path: Path) -> None:
    scenario: Any = load_scenario(tiny)
    load: Any = load_scenario
    calls: dict[str, Callable[[], object]] = {
        "arms = 'tam': must be a list, such as ['sgdm']": lambda: scenario.only("tam"),
        "arms = 'sgdm': must be a list, such as ['sgdm']": lambda: load(tiny, arms="sgdm"),
        "arms = 'adam': must be a list, such as ": lambda: landscape(without_oracles, arms="adam"),
        "arms = 3: must be a list, such as ['sgdm']": lambda: scenario.only(3),
        "arms: has 3, and must hold texts, such as ['sgdm']": lambda: scenario.only([3]),
        "arms: names none; 'tiny' has sgdm, tam, tam_frozen": lambda: scenario.only([]),
        "settings = 'stream.samples=5': must be a list, such as [": lambda: load(tiny, "stream.samples=5"),
        "settings = {'stream.samples': 5}: must be a list, such as [": lambda: load(tiny, {"stream.samples": 5}),
        "settings: has 5, and must hold texts, such as [": lambda: load(tiny, [5]),
        "name = None: must be the name of a scenario, or the path of": lambda: load(None),
        "--code = 'mine': must be a list, such as ['my.module']": lambda: verify(without_oracles, code="mine"),
        "directories = 'ab': must be a list, such as": lambda: merge("ab", tmp_path / "merged"),
        "--over 'stream.fraction': must be values by key": lambda: sweep(tiny, "stream.fraction", tmp_path),  # type: ignore[arg-type]
    }
    for message, call in calls.items():
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            call()


def test_what_is_of_another_kind_is_said(tiny: Path, without_oracles: Path, tmp_path: Path) -> None:
    scenario: Any = load_scenario(tiny)
    again: Any = confirm
    calls: dict[str, Callable[[], object]] = {
        "arm = ['tam']: must be a text": lambda: run(tiny, ["tam"], lr=0.1),
        "label = 3: must be a text": lambda: scenario.with_arm("tam", 3, lr=[0.1, 0.2]),
        "engine = 'local': must be one of tamcl.engines, as Local(jobs=4)": lambda: compare(
            tiny, tmp_path, engine="local"
        ),
        f"engine = {Local!r}: must be one of tamcl.engines": lambda: compare(tiny, tmp_path, engine=Local),
        "resources = '/data': must be a tamcl.training.resources.Resources": lambda: run(
            tiny, "tam", lr=0.1, resources="/data"
        ),
        "resources = {}: must be a tamcl.training.resources.Resources": lambda: estimate(tiny, resources=wrong or {}),
        "unknown option 'job': did you mean 'jobs'?": lambda: again(without_oracles, job=2),
        "kind = []: must be a text": lambda: train_oracle(without_oracles, wrong or []),
    }
    for message, call in calls.items():
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            call()


def test_a_command_that_is_no_text_leaves_the_folder_as_it_was(tiny: Path, tmp_path: Path) -> None:
    for message, given in {
        "command = 3: must be a text": {"command": 3},
        "on_progress = 3: must be a function": {"on_progress": 3},
    }.items():
        with pytest.raises(InputError, match=f"^{message}$"):
            compare(tiny, tmp_path / "study", progress=False, **given)
        assert not (tmp_path / "study" / "study.json").exists()


def test_a_scenario_that_was_read_is_kept_as_it_was_given(tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(tiny, ["protocol.seeds=1", "protocol.tune_seeds=1"], ["sgdm"])
    compare(scenario, tmp_path, progress=False)
    assert json.loads((tmp_path / "study.json").read_text())["scenario"] == scenario.dump()
