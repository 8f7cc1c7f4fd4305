"""Each arm is held against itself as an oracle: what is trained, what is said of it, and what is refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.report import oracle_verdicts, write_report
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare
from tamcl.study.regret import train_oracle
from tamcl.training.cell import Cell
from tamcl.training.run import run_cell
from tests.helpers import in_this_process, interrupted, refusal
from tests.report.test_page import Page

ARMS = ["sgdm", "tam"]
RATES = {"sgdm": 0.02, "tam": 0.04}
"""The better ones of two each; both are the upper ends of their grids, and beyond them it is better still."""
KINDS = ["restart", "no_shift"]
SETTINGS = [
    *("stream.experiences=3", "protocol.seeds=2", "protocol.tune_seeds=1", "evaluation.every=5"),
    *("arms.sgdm.lr=[0.01, 0.02]", "arms.tam.lr=[0.04, 0.02]"),
]


def scenario_of(tiny: Path, *settings: str) -> Scenario:
    return load_scenario(str(tiny), [*SETTINGS, *settings], ARMS)


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """Train in this process, and draw no figures but those of the part on oracles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.engines.local.Local", in_this_process)
        patch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
        patch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
        yield


@pytest.fixture(scope="module")
def bare(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms, three experiences and two reported seeds."""
    return compare(scenario_of(tiny), tmp_path_factory.mktemp("bare") / "study").directory


@pytest.fixture(scope="module")
def held(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with both oracles."""
    folder = shutil.copytree(bare, tmp_path_factory.mktemp("held") / "study")
    for kind in KINDS:
        train_oracle(folder, kind)
    return folder


@pytest.fixture
def study(bare: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bare, tmp_path / "study")


@pytest.fixture
def changed(held: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the study with its oracles after a change of one table of the restart oracle."""

    def write(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
        folder = shutil.copytree(held, tmp_path / "changed")
        path = folder / "oracles" / "restart" / f"{name}.parquet"
        change(pd.read_parquet(path)).to_parquet(path)
        return folder

    return write


def tables(folder: Path, name: str, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table of the study on its reported seeds, and the same of an oracle."""
    own = pd.read_parquet(folder / f"{name}.parquet").query("seed < 1000")
    return own, pd.read_parquet(folder / "oracles" / kind / f"{name}.parquet")


def said(folder: Path, kind: str) -> list[str]:
    """The sentences on one oracle."""
    return [words for words in oracle_verdicts(load_results(folder)) if f"{kind.replace('_', '-')} oracle" in words]


def by_hand(folder: Path, kind: str) -> pd.DataFrame:
    """Regret in points, a row a seed and a column an arm."""
    share = [
        table.groupby(["seed", "arm"])["correct"].sum() / table.groupby(["seed", "arm"])["n"].sum()
        for table in tables(folder, "online", kind)
    ]
    return 100 * (share[1] - share[0]).unstack("arm")


@pytest.mark.parametrize("kind", KINDS)
def test_an_oracle_has_the_arms_rates_seeds_and_mini_batches_of_the_study(held: Path, kind: str) -> None:
    own, oracle = tables(held, "runs", kind)
    cells = ["arm", "lr", "seed", "status"]
    assert_frame_equal(own[cells].reset_index(drop=True), oracle[cells])
    assert own.groupby("arm")["lr"].first().to_dict() == RATES
    assert set(oracle["phase"]) == {"report"}
    assert [json.loads(config)["stream"]["oracle"] for config in oracle["config"]] == [kind] * 4
    assert (own["fingerprint"].to_numpy() == oracle["fingerprint"].to_numpy()).all() == (kind == "restart")
    own, oracle = tables(held, "online", kind)
    batches = ["arm", "lr", "seed", "experience", "step", "n"]
    assert_frame_equal(own[batches].reset_index(drop=True), oracle[batches])
    # Before the first shift nothing differs, and after it everything may.
    first = own["experience"].to_numpy() == 0
    assert (own["loss"].to_numpy() == oracle["loss"].to_numpy())[first].all()
    assert not (own["loss"].to_numpy() == oracle["loss"].to_numpy())[~first].all()
    assert not (held / "oracles" / kind / "continual.parquet").is_file()  # it changes no result, so it is left out


def test_the_restart_oracle_starts_anew_at_every_shift(held: Path) -> None:
    _, oracle = tables(held, "online", "restart")
    starts = oracle.groupby(["arm", "seed", "experience"]).head(1)
    np.testing.assert_allclose(starts["loss"], np.log(10), atol=0.5)  # as before any training


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_say_what_pandas_and_scipy_compute(held: Path, kind: str) -> None:
    regret = by_hand(held, kind)
    p = {arm: 0.5 if regret[arm].min() * regret[arm].max() > 0 else 1.0 for arm in ARMS}  # of 4 patterns of signs
    adjusted = {arm: 1.0 if min(p.values()) == 0.5 else p[arm] for arm in ARMS}  # by Holm over two arms
    for arm, sentence in zip(ARMS, said(held, kind), strict=True):
        below, ends = regret[arm].mean(), stats.ttest_1samp(regret[arm], 0).confidence_interval(0.95)  # Student's
        numbers = re.search(r"95% interval ([+-]?[\d.]+) to ([+-]?[\d.]+), 2 seeds, p = ([\d.]+)", sentence)
        assert numbers, sentence
        if p[arm] == 1 or ends.low < 0 < ends.high:
            assert sentence.startswith("No evidence of a difference")
            assert f"{arm} minus its {kind.replace('_', '-')} oracle is {-below:+.1f} points" in sentence
            shown = [-ends.high, -ends.low]
        else:
            side = 1 if below > 0 else -1
            how = f"{side * below:.1f} points of online accuracy {'below' if below > 0 else 'above'} its "
            assert sentence.startswith(f"{arm} is {how}")
            assert "on every seed" in sentence
            shown = sorted([side * ends.low, side * ends.high])
        assert [float(numbers[1]), float(numbers[2])] == pytest.approx(shown, abs=0.051)
        assert float(numbers[3]) == p[arm]
        assert ("1 after Holm" in sentence) == (adjusted[arm] != p[arm])


def test_the_report_has_a_table_and_a_figure_of_what_pandas_computes(held: Path) -> None:
    page = Page(write_report(held).read_text(encoding="utf-8"))
    assert {"oracles", "figure-regret"} <= page.ids
    assert (held / "figures" / "regret.png").is_file()
    assert "The oracles take the learning rates of the study, which were tuned with the shifts." in page.text
    assert "With 2 seeds and 2 arms no adjusted p-value can be below 1, however large a regret is" in page.text
    assert "it takes at least 7 seeds." in page.text
    assert all(sentence in page.text for kind in KINDS for sentence in said(held, kind))
    heads = [text for text, _ in page.tables["table-oracles"][0]]
    assert heads[:5] == ["Arm", "Online accuracy", "Restart oracle", "Regret, restart", "Intransigence"]
    assert heads[5:] == ["No-shift oracle", "Regret, no-shift"]
    table = page.table("oracles").set_index("Arm").astype(float).loc[ARMS]
    assert "sortable" in [a.get("class") for tag, a in page.tags if tag == "table" and a["id"] == "table-oracles"]
    for kind, column in zip(KINDS, ("restart", "no-shift"), strict=True):
        own, oracle = (each.groupby("arm")[["correct", "n"]].sum() for each in tables(held, "online", kind))
        np.testing.assert_allclose(table[f"{column.capitalize()} oracle"], 100 * oracle["correct"] / oracle["n"])
        np.testing.assert_allclose(table["Online accuracy"], 100 * own["correct"] / own["n"])
        np.testing.assert_allclose(table[f"Regret, {column}"], by_hand(held, kind).mean())
        for arm in ARMS:
            low, high = stats.ttest_1samp(by_hand(held, kind)[arm], 0).confidence_interval(0.95)
            places = min(3, max(0, 1 - math.floor(math.log10((high - low) / 2))))
            assert f"{low:+.{places}f} to {high:+.{places}f}".replace("-", "−") in page.text
    learnt = [
        each[each["trained_on"] == each["evaluated_on"]].groupby("arm")["accuracy"].mean()
        for each in tables(held, "eval", "restart")
    ]
    np.testing.assert_allclose(table["Intransigence"], 100 * (learnt[1] - learnt[0]))


@pytest.mark.parametrize(
    ("setting", "harder"), [("task_incremental", True), ("class_incremental", True), ("domain_incremental", False)]
)
def test_where_a_shift_brings_other_classes_the_oracle_without_has_another_question(
    changed: Callable[..., Path], setting: str, harder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_oracle_pictures", lambda study, found: [])
    folder = changed("runs", lambda runs: runs)
    study = json.loads((folder / "study.json").read_text())
    study["scenario"]["stream"] |= {"name": "task_shift", "setting": setting}
    (folder / "study.json").write_text(json.dumps(study))
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert ("Here a shift brings other classes." in text) == harder


def test_without_oracles_the_report_says_nothing_of_them(bare: Path) -> None:
    page = Page(write_report(bare).read_text(encoding="utf-8"))
    assert "oracles" not in page.ids
    assert "Against oracles" not in page.text
    assert oracle_verdicts(load_results(bare)) == []


def test_an_oracle_that_was_stopped_goes_on(study: Path, held: Path) -> None:
    with interrupted(after=2):
        train_oracle(study, "restart")
    unfinished = "The restart oracle was asked for and not trained to its end: see tamcl regret."
    assert oracle_verdicts(load_results(study)) == [unfinished]
    assert unfinished in Page(write_report(study).read_text(encoding="utf-8")).text
    seen = []
    stopped = train_oracle(study, "restart", on_progress=seen.append)
    assert [progress.done for progress in seen] == [2, 3, 4]
    assert {progress.phase for progress in seen} == {"restart oracle"}
    at_once = load_results(held / "oracles" / "restart")
    for name in ("online", "eval", "metrics", "comparisons"):
        assert_frame_equal(getattr(stopped, name), getattr(at_once, name), check_exact=True)


def test_more_seeds_and_other_rates_of_the_study_are_trained_as_well(study: Path, tiny: Path) -> None:
    train_oracle(study, "no_shift")
    compare(scenario_of(tiny, "protocol.seeds=3", "protocol.extend=1"), study)
    rates = load_results(study).phase(load_results(study).runs).groupby("arm")["lr"].first().to_dict()
    missing = sum(3 if rates[arm] != rate else 1 for arm, rate in RATES.items())
    assert missing > 2  # a rate has moved
    caution = (
        f"{missing} of 6 reported runs have no counterpart in the no-shift oracle, since the study has more seeds,"
    )
    assert oracle_verdicts(load_results(study))[0].startswith(caution)
    trained = []
    oracle = train_oracle(study, "no_shift", on_progress=trained.append)
    assert [progress.done for progress in trained] == list(range(6 - missing, 7))
    assert oracle.runs.groupby("arm")["lr"].unique().map(list).to_dict() == {arm: [rates[arm]] for arm in ARMS}
    assert set(oracle.runs["seed"]) == {0, 1, 2}
    assert oracle.study["scenario"]["protocol"]["seeds"] == 3
    sentences = oracle_verdicts(load_results(study))
    assert len(sentences) == 2
    assert all("3 seeds" in sentence for sentence in sentences)


CHANGES: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], list[str]]] = {
    "diverged": (
        "runs",
        lambda runs: runs.assign(status=runs["status"].where((runs["arm"] == "tam") | (runs["seed"] == 0), "diverged")),
        ["sgdm minus its restart oracle is .* on the one seed they share: .* 1 of 2 seeds are missing, where not"],
    ),
    "none left": (
        "runs",
        lambda runs: runs.assign(status=runs["status"].where(runs["arm"] == "tam", "failed")),
        ["sgdm and its restart oracle share no seed with a value of online accuracy. 2 of 2 seeds are missing,"],
    ),
    "another rate": (
        "runs",
        lambda runs: runs.assign(lr=runs["lr"].where(runs["arm"] == "tam", 0.7)),
        ["2 of 4 reported runs have no counterpart in the restart oracle, since the study has more seeds, or other"],
    ),
    "another optimizer file": (
        "runs",
        lambda runs: runs.assign(config=runs["config"].str.replace('"name": "sgd"', '"source": "a", "name": "sgd"')),
        ["2 of 4 reported runs have no counterpart in the restart oracle"],
    ),
    "another stream": (
        "runs",
        lambda runs: runs.assign(fingerprint=runs["fingerprint"].where(runs["seed"] == 0, "other")),
        ["2 of 4 runs of the restart oracle saw another stream than the study's and are left out."],
    ),
    "another version": (
        "runs",
        lambda runs: runs.assign(versions=json.dumps({"torch": "0.1"})),
        ["The restart oracle was trained with other versions of torch than the study: 0.1, not "],
    ),
    "other mini-batches": (
        "online",
        lambda online: online.assign(n=online["n"] + 1),
        ["lr 0.02, seed 0 and its oracle differ in their mini-batches: they cannot be held together."],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_paired_is_left_out_and_said(changed: Callable[..., Path], change: str) -> None:
    table, edit, words = CHANGES[change]
    folder = changed(table, edit)
    sentences = oracle_verdicts(load_results(folder))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    for pattern in words:
        assert any(re.search(pattern, sentence) for sentence in sentences), sentences
    assert all(sentence in page.text for sentence in sentences)
    assert "nan" not in page.text


def test_the_command_trains_both_and_says_what_it_found(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regret", str(study), "--oracles", "no_shift"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in printed[2:]] == ["report"]
    assert printed[:2] == said(study, "no_shift")
    assert not (study / "oracles" / "restart").exists()
    assert main(["regret", str(study)]) == 0
    output, errors = capsys.readouterr()
    assert output.splitlines()[:-1] == [*said(study, "restart"), *said(study, "no_shift")]
    assert "restart oracle 4/4 cells" in errors
    assert "no_shift oracle 4/4 cells" in errors
    held = json.loads((study / "oracles" / "restart" / "study.json").read_text())
    assert held["command"] == f"tamcl regret {study}"


def test_an_oracle_that_failed_is_named_and_the_status_is_3(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(cell: Cell, *rest: Any) -> Any:
        if cell.arm == "tam":
            raise RuntimeError("no memory")
        return run_cell(cell, *rest)

    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    monkeypatch.setattr("tamcl.training.run.run_cell", train)
    assert main(["regret", str(study), "--oracles", "restart"]) == 3
    output, errors = capsys.readouterr()
    assert "failed: tam lr 0.04 seed 1: RuntimeError: no memory" in errors
    assert "tam and its restart oracle share no seed with a value of online accuracy." in output


def numbers_learnt(study: dict[str, Any]) -> None:
    study["scenario"] = load_scenario("slowly_changing_regression").dump()


def oracle_already(study: dict[str, Any]) -> None:
    study["scenario"]["stream"]["oracle"] = "no_shift"


def no_shift(study: dict[str, Any]) -> None:
    study["scenario"]["stream"]["experiences"] = 1


def pulled_back(study: dict[str, Any]) -> None:
    study["scenario"]["strategy"] |= {"name": "ewc", "strength": 1.0}


def other_data(study: dict[str, Any]) -> None:
    study["data"]["checksum"] = "0123456789abcdef"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (numbers_learnt, [], "stream 'slowly_changing_regression' learns numbers, and regret counts right answers"),
        (oracle_already, [], "is an oracle itself (stream.oracle = 'no_shift'): name the study it is for"),
        (no_shift, [], "has a single experience, and so no shift that an oracle could know of"),
        (pulled_back, ["--oracles", "restart"], "EWC has nothing to pull new weights back to"),
        (other_data, [], "was trained on other data: 01234567 there, not those here"),
        (lambda study: None, ["--jobs", "0"], "jobs = 0: must be at least 1"),
        (lambda study: None, ["--oracles", "restart,noshift"], "unknown oracle 'noshift': did you mean 'no_shift'?"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    study: Path,
    change: Callable[[dict[str, Any]], None],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = json.loads((study / "study.json").read_text())
    change(values)
    (study / "study.json").write_text(json.dumps(values))
    assert message in refusal(["regret", str(study), *options], capsys)
    assert not (study / "oracles").exists()


def test_a_study_without_a_result_has_no_oracle(study: Path) -> None:
    runs = pd.read_parquet(study / "runs.parquet")
    runs[runs["phase"] == "tune"].to_parquet(study / "runs.parquet")
    with pytest.raises(InputError, match="reports no arm, so there is nothing to hold against an oracle"):
        train_oracle(study, "restart")
    with pytest.raises(InputError, match="unknown oracle 'none': Known: no_shift, restart."):
        train_oracle(study, "none")
