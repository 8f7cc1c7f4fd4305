"""Average ranks over studies: in plain pandas, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from scipy.stats import friedmanchisquare

from tamcl import plots
from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.report.ranking import rank_studies
from tamcl.results import load_results
from tests.synthetic_study import write_study

ARMS = [["sgdm", "tam", "adam"], ["sgdm", "tam", "adam", "adatam"], ["tam", "adam", "sgdm"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("ranks")
    return [
        write_study(base / str(i), arms=arms, seeds=3 + i, tune_seeds=1, experiences=2, steps=20)
        for i, arms in enumerate(ARMS)
    ]


def test_ranks_in_plain_pandas(folders: list[Path]) -> None:
    ranks = rank_studies(folders, "forgetting").set_index("arm")
    means = []
    for folder in folders:
        metrics = load_results(folder).metrics.query("metric == 'forgetting' and seed < 1000 and arm != 'adatam'")
        means.append(metrics.groupby("arm")["value"].mean())
    expected = pd.DataFrame(means).rank(axis=1).mean()  # little forgetting is good
    assert ranks["rank"].to_dict() == pytest.approx(expected.to_dict())
    assert (ranks["n_scenarios"] == 3).all()
    assert 0 < ranks["p_value"].iloc[0] <= 1
    assert ranks["critical_difference"].iloc[0] == pytest.approx(2.343 * (3 * 4 / 18) ** 0.5, abs=1e-3)
    assert friedmanchisquare(*pd.DataFrame(means).to_numpy().T).statistic == pytest.approx(
        12 * 3 / (3 * 4) * ((expected - 2) ** 2).sum()
    )


def test_the_command_prints_and_draws(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ranks", *map(str, folders), "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    ranks = pd.read_parquet(tmp_path / "ranks.parquet")
    assert [line.split() for line in lines[:3]] == [[row.arm, f"{row.rank:.2f}"] for row in ranks.itertuples()]
    assert lines[3].startswith("3 studies; ranks less than 1.91 apart are not told apart")
    with Image.open(lines[4].removeprefix("picture: ")) as picture:
        assert picture.width > 500


def test_the_picture_has_the_arms_in_the_order_of_the_first_study(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [load_results(folder).arms for folder in folders] == ARMS
    given, draw = [], plots.critical_differences
    monkeypatch.setattr(
        plots, "critical_differences", lambda ranks, *, arms: [given.append(arms), draw(ranks, arms=arms)][1]
    )
    assert main(["ranks", *map(str, folders[1:]), "--out", str(tmp_path)]) == 0
    assert given == [ARMS[1]]


def test_what_is_refused(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0: ranks need at least two studies$"):
        rank_studies(folders[:1])
    with pytest.raises(InputError, match=r"1: is given twice$"):
        rank_studies([folders[0], folders[1], folders[1] / ".." / "1"])
    with pytest.raises(InputError, match="holds no finished study"):
        rank_studies([folders[0], tmp_path])
    with pytest.raises(InputError, match=r"unknown metric 'onlin'"):
        rank_studies(folders, "onlin")
    other = write_study(tmp_path / "other", arms=["adatam", "tam"], seeds=2, tune_seeds=1, experiences=2, steps=20)
    with pytest.raises(InputError, match=r"two arms must have a value in every study, and here have tam$"):
        rank_studies([folders[0], other])
