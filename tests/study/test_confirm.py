"""Claims are declared before anything is run, repeated on fresh seeds, and never changed by what is found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.report import outcomes
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare
from tamcl.study.confirm import confirm
from tamcl.study.regret import train_oracle
from tamcl.study.repeat import at_trials
from tamcl.trial import Trial
from tests.helpers import StartedFirst, in_this_process, interrupted, refusal
from tests.synthetic_study import write_study


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process."""
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)


@pytest.fixture
def scenario(tiny: Path) -> Scenario:
    rates = {"tam": 0.2, "tam_frozen": 0.2, "sgdm": 0.001}
    return load_scenario(str(tiny), ["protocol.seeds=3", *(f"arms.{arm}.lr=[{lr}]" for arm, lr in rates.items())])


@pytest.fixture
def study(here: None, scenario: Scenario, tmp_path: Path) -> Path:
    compare(scenario, tmp_path / "study")
    return tmp_path / "study"


def test_claims_are_repeated_by_an_engine_that_starts_something_first(study: Path, tmp_path: Path) -> None:
    engine = StartedFirst()
    confirm(study, seeds=1, engine=engine)
    assert engine.trained_in == [study / "confirm" / "cells"]


def test_claims_are_repeated_at_their_rates_on_seeds_that_were_never_used(study: Path) -> None:
    results = confirm(study, seeds=7)
    assert results.directory == study / "confirm"
    declared = json.loads((study / "confirm" / "claims.json").read_text())
    assert declared["seeds"] == list(range(2000, 2007))
    assert declared["rates"] == {"tam": 0.2, "tam_frozen": 0.2, "sgdm": 0.001}
    assert [(row["arm_a"], row["arm_b"]) for row in declared["claims"]] == [("tam", "sgdm"), ("tam", "tam_frozen")]
    assert set(results.runs["phase"]) == {"report"}
    assert set(results.runs["seed"]).isdisjoint(load_results(study).runs["seed"])
    assert results.runs.groupby("arm")["lr"].unique().map(list).to_dict() == {
        arm: [rate] for arm, rate in declared["rates"].items()
    }

    # By hand: the exact sign-flip p of the paired differences, and Holm over the two claims.
    wide = results.metrics.query("metric == 'online_accuracy'").pivot(index="seed", columns="arm", values="value")
    p = {}
    for other in ("sgdm", "tam_frozen"):
        d = wide["tam"] - wide[other]
        p[other] = stats.permutation_test(
            (d,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=1e5, vectorized=True
        ).pvalue
    assert p["sgdm"] == pytest.approx(2 / 2**7)
    sentence = outcomes(load_results(study))[0]
    assert sentence.startswith("Held on fresh seeds: tam beats sgdm by ")
    assert "7 seeds, p = 0.016, 0.031 after Holm" in sentence


def test_claims_are_there_before_the_first_run_and_a_killed_confirmation_goes_on(study: Path, tmp_path: Path) -> None:
    def declared() -> None:
        assert (study / "confirm" / "claims.json").is_file()

    with interrupted(after=2, before=declared):
        confirm(study)
    before = (study / "confirm" / "claims.json").read_bytes()
    assert outcomes(load_results(study)) == []
    stopped = confirm(study)
    assert (study / "confirm" / "claims.json").read_bytes() == before
    (study / "confirm").rename(tmp_path / "elsewhere")
    at_once = confirm(study)
    for name in ("online", "metrics", "comparisons"):
        assert_frame_equal(getattr(stopped, name), getattr(at_once, name), check_exact=True)


def test_neither_seeds_nor_claims_change_once_declared(study: Path, scenario: Scenario) -> None:
    confirm(study, seeds=2)
    with pytest.raises(InputError, match="--seeds 9: .*claims.json' declares 2 seeds, which looking at them must not"):
        confirm(study, seeds=9)
    more = scenario.model_copy(update={"protocol": scenario.protocol.model_copy(update={"seeds": 4})})
    compare(more, study)
    with pytest.raises(
        InputError, match="claims of other results than the study has now, and its seeds are no longer fresh$"
    ):
        confirm(study)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["confirm", "/nowhere"], "'/nowhere' holds no finished study"),
        (["confirm"], "Missing argument 'DIR'"),
        (["confirm", "STUDY", "--seeds", "0"], "--seeds 0: must be 1 to 1000"),
        (["confirm", "STUDY", "--jobs", "0"], "jobs = 0: must be at least 1"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    study: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal([str(study) if word == "STUDY" else word for word in arguments], capsys)
    assert not (study / "confirm").exists()


def test_other_data_are_refused(study: Path) -> None:
    held = json.loads((study / "study.json").read_text())
    held["data"]["checksum"] = "0123456789abcdef"
    (study / "study.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match="was trained on other data: 01234567 there"):
        confirm(study)


def test_one_arm_claims_nothing(here: None, scenario: Scenario, tmp_path: Path) -> None:
    compare(scenario.only(["sgdm"]), tmp_path / "one")
    with pytest.raises(InputError, match="compares nothing in online_accuracy, so nothing can be"):
        confirm(tmp_path / "one")


def test_the_command_says_what_held_and_the_report_shows_it(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet: Callable[[object], list[object]] = lambda study: []  # noqa: E731
    monkeypatch.setattr("tamcl.report.page.draw_pictures", quiet)
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", quiet)
    assert main(["confirm", str(study), "--seeds", "6"]) == 0
    printed = capsys.readouterr().out.splitlines()
    page = (study / "report.html").read_text()
    assert [line.split(" ")[0] for line in printed] == [
        "Not",
        "No",
        "report:",
    ]  # 6 seeds give 0.031, and Holm over two claims 0.062
    assert "2 claims repeated on 6 fresh seeds (declared " in page
    assert 'id="table-confirmation"' in page
    row = pd.read_parquet(study / "confirm" / "comparisons.parquet").query("metric == 'online_accuracy'").iloc[0]
    assert f"{100 * row['diff']:.1f} points" in page


def test_as_many_fresh_seeds_as_it_takes_to_show_anything(study: Path) -> None:
    confirm(study)  # of 2 reported seeds; the least p of 7 is 2 / 2^7, 0.031 after Holm over two claims
    assert len(json.loads((study / "confirm" / "claims.json").read_text())["seeds"]) == 7


def test_as_many_fresh_seeds_as_were_reported_where_fewer_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(confirm.__globals__, "repeat", lambda study, scenario, seeds, folder, **how: seeds)
    folder = write_study(tmp_path, arms=["sgdm", "tam"], seeds=9, tune_seeds=1, experiences=1, steps=10)
    assert list(confirm(folder)) == list(range(2000, 2009))  # 6 could show the one claim


@pytest.mark.parametrize("search", [["protocol.extend=2"], ["protocol.search=random", "protocol.trials=4"]])
def test_what_is_repeated_at_a_rate_is_searched_no_more(tiny: Path, search: list[str]) -> None:
    fixed = at_trials(load_scenario(str(tiny), search), {"tam": Trial(0.3), "sgdm": Trial(0.1)}, seeds=5)
    assert {arm: config.lr for arm, config in fixed.arms.items()} == {"tam": (0.3,), "sgdm": (0.1,)}
    protocol = fixed.protocol
    assert (protocol.seeds, protocol.search, protocol.trials, protocol.extend) == (5, "grid", None, 0)


def test_a_study_of_the_last_seeds_is_repeated_like_any_other(here: None, tiny: Path, tmp_path: Path) -> None:
    settings = ["protocol.first_seed=998", "protocol.seeds=2", "arms.tam.lr=[0.1]", "arms.sgdm.lr=[0.1]"]
    compare(load_scenario(str(tiny), settings, ["sgdm", "tam"]), tmp_path / "out")
    assert set(confirm(tmp_path / "out", seeds=3).runs["seed"]) == {2000, 2001, 2002}
    assert set(train_oracle(tmp_path / "out", "restart").runs["seed"]) == {998, 999}


def test_a_confirmation_is_not_confirmed_again_on_its_own_seeds(study: Path) -> None:
    confirm(study, seeds=2)
    with pytest.raises(InputError, match=r"confirm': repeats the claims of a study; name the study itself$"):
        confirm(study / "confirm")


def test_an_optimizer_that_is_another_one_by_now_confirms_nothing(
    here: None, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import torch\n\nclass Mine(torch.optim.SGD):\n    pass\n"
    (tmp_path / "its_own.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = ["protocol.seeds=2", "arms.tam.optimizer=its_own:Mine", "arms.tam.lr=[0.1]", "arms.sgdm.lr=[0.1]"]
    compare(load_scenario(str(tiny), settings, ["sgdm", "tam"]), tmp_path / "out")
    (tmp_path / "its_own.py").write_text(f"{text}\n\n# changed\n")
    monkeypatch.delitem(sys.modules, "its_own")  # as in another process
    with pytest.raises(InputError, match=r"^arms.tam: the code of its_own is not that of the study by now; run"):
        confirm(tmp_path / "out")
    assert not (tmp_path / "out" / "confirm").exists()


def test_a_table_that_was_not_written_to_its_end_is_no_end(study: Path) -> None:
    confirm(study, seeds=2)
    (study / "confirm" / "comparisons.parquet").write_bytes(b"")
    assert outcomes(load_results(study)) == []
    confirm(study)
    assert len(outcomes(load_results(study))) == 2
