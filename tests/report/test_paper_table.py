"""Tables for a paper: numbers in plain pandas and SciPy, marks, escapes, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.report import paper_table
from tamcl.report.paper_table import _best, latex_text
from tamcl.results import load_results
from tests.report.helpers import edited, write_sweep
from tests.synthetic_study import write_study

ARMS = ["sgdm", "tam", "tam_frozen"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(
        tmp_path_factory.mktemp("table") / "study", arms=ARMS, seeds=4, tune_seeds=2, experiences=3, steps=20
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller study with other arms."""
    return write_study(
        tmp_path_factory.mktemp("table") / "other",
        arms=["tam", "adam"],
        seeds=2,
        tune_seeds=1,
        experiences=2,
        steps=10,
        pairs=[["tam", "adam"]],
    )


def expected(folder: Path, metric: str) -> pd.DataFrame:
    """Mean and half of the 95 % interval by SciPy."""
    results = load_results(folder)
    rows = results.phase(results.metrics).query("metric == @metric")
    found = {}
    for arm, values in rows.groupby("arm")["value"]:
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        found[arm] = {"mean": 100 * values.mean(), "half": 50 * (high - low)}
    return pd.DataFrame(found).T.loc[ARMS]


def markdown_rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_csv_has_the_numbers_in_full(folder: Path) -> None:
    table = pd.read_csv(io.StringIO(paper_table(folder, format="csv", metrics=["forgetting"])), keep_default_na=False)
    numbers = expected(folder, "forgetting")
    assert list(table["arm"]) == ARMS
    assert list(table["null_of"]) == ["", "", "tam"]
    assert table["mean"].to_numpy() == pytest.approx(numbers["mean"].to_numpy())
    assert table["half_of_95_interval"].to_numpy() == pytest.approx(numbers["half"].to_numpy())
    assert (table["seeds"] == 4).all()
    assert (table["unit"] == "%").all()
    assert list(table["best"]) == list(numbers["mean"].round(1) == numbers["mean"].round(1).min())  # less is better


def test_cells_are_mean_and_half_of_the_interval_with_the_best_in_bold(folder: Path) -> None:
    numbers = expected(folder, "online_accuracy")
    digits = max(1, int(-np.floor(np.log10(numbers["half"].median()))))
    head, _, *rows = markdown_rows(paper_table(folder, format="markdown", metrics=["online_accuracy"]))
    assert head == ["", "Online accuracy (%) ↑"]
    assert [row[0] for row in rows] == ["sgdm", "tam", "tam\\_frozen†"]
    for (_, cell), (mean, half) in zip(rows, numbers.to_numpy(), strict=True):
        text = f"{mean:.{digits}f} ± {half:.{digits}f}"
        assert cell == (f"**{text}**" if round(mean, digits) == numbers["mean"].round(digits).max() else text)


def test_arms_that_read_the_same_are_bold_together(tmp_path: Path) -> None:
    study = write_study(tmp_path / "same", arms=ARMS, seeds=4, tune_seeds=1, experiences=2, steps=20)

    def same(metrics: pd.DataFrame) -> pd.DataFrame:
        of_tam = metrics.query("arm == 'tam' and seed < 1000").set_index(["metric", "seed"])["value"]
        twin = (metrics["arm"] == "sgdm") & (metrics["seed"] < 1000)
        keys = pd.MultiIndex.from_frame(metrics.loc[twin, ["metric", "seed"]])
        metrics.loc[twin, "value"] = of_tam.loc[keys].to_numpy() - 1e-7
        return metrics

    edited("metrics", same)(study)
    rows = markdown_rows(paper_table(study, format="markdown", metrics=["online_accuracy"]))[2:]
    assert rows[0][1] == rows[1][1]
    assert rows[0][1].startswith("**")
    assert not rows[2][1].startswith("**")


def test_an_arm_with_fewer_seeds_says_so_and_is_not_best(tmp_path: Path) -> None:
    study = write_study(tmp_path / "fewer", arms=ARMS, seeds=4, tune_seeds=1, experiences=2, steps=20)

    def lost(metrics: pd.DataFrame) -> pd.DataFrame:
        metrics = metrics[~((metrics["arm"] == "sgdm") & (metrics["seed"] == 3))]
        return metrics.assign(value=metrics["value"] + (metrics["arm"] == "sgdm"))  # far ahead on what is left

    edited("metrics", lost)(study)
    text = paper_table(study, format="markdown", metrics=["online_accuracy"])
    rows = markdown_rows(text)[2:]
    assert re.fullmatch(r"\d+\.\d+ ± \d+\.\d+ \(3\)", rows[0][1])
    assert [row[1].startswith("**") for row in rows].count(True) == 1
    assert "over 4 seeds" in text
    assert "In brackets: seeds, where there are fewer." in text


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "one", arms=ARMS[:2], seeds=1, tune_seeds=1, experiences=2, steps=20, pairs=[["tam", "sgdm"]]
    )
    text = paper_table(study, format="markdown", metrics=["online_accuracy"])
    assert "±" not in text
    assert "Mean over 1 seed," in text


def test_latex_is_a_booktabs_table_with_its_caption(folder: Path) -> None:
    text = paper_table(folder)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert text.count("{") == text.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {row.count(" & ") for row in rows} == {4}, "online and average accuracy, learning accuracy and forgetting"
    assert rows[3].startswith(r"tam\_frozen$^\dagger$ & ")
    assert r"Mean $\pm$ half of its 95~\% interval (Student's t) over 4 seeds" in text
    assert r"tam\_frozen of tam" in text
    assert text.count(r"\textbf{") >= 1
    assert text.isascii()


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b&c%d$e#f{g}", r"a\_b\&c\%d\$e\#f\{g\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("[10] and [20]", "{}[10] and [20]"),
        ("~^<>|", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"),
        ("−0.1 ± 2\n", r"$-$0.1 $\pm$ 2\textbackslash{}n"),
    ],
)
def test_what_means_something_in_latex_is_escaped(text: str, latex: str) -> None:
    assert latex_text(text) == latex


def test_several_studies_have_a_row_each(folder: Path, other: Path) -> None:
    head, _, *rows = markdown_rows(paper_table([folder, other], format="markdown"))
    assert head == ["", "sgdm", "tam", "tam\\_frozen†", "adam"]
    assert [row[0].replace("\\", "") for row in rows] == [str(folder), str(other)], "both are of one scenario"
    assert rows[1][1] == "–"
    assert rows[1][2].strip("*").endswith("(2)")


def test_a_sweep_has_a_row_a_value_and_says_what_is_missing(tmp_path: Path) -> None:
    text = paper_table(write_sweep(tmp_path / "sweep"), format="markdown", arms=["tam", "sgdm"])
    head, _, *rows = markdown_rows(text)
    assert head == ["stream.fraction", "tam", "sgdm"]
    assert [row[0] for row in rows] == ["0.2", "0.8"]
    assert "Without results, and left out: stream.fraction = 0.4, stream.fraction = 0.6." in text


def test_the_command_prints_or_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(folder), "--format", "markdown", "--metrics", "drop,forgetting", "--arms", "tam"]) == 2
    assert capsys.readouterr().err == "tamcl: --metrics drop: no finished run of these arms has a value of it\n"
    wanted = ["table", str(folder), "--metrics", "forgetting, online_accuracy", "--arms", "tam,sgdm"]
    assert main(wanted) == 0
    printed = capsys.readouterr().out
    assert printed == paper_table(folder, metrics=["forgetting", "online_accuracy"], arms=["tam", "sgdm"])
    assert main([*wanted, "--out", str(tmp_path / "new" / "t.tex"), "--bib", str(tmp_path / "r.bib")]) == 0
    assert (tmp_path / "new" / "t.tex").read_text(encoding="utf-8") == printed
    assert "malviya2024torque" in (tmp_path / "r.bib").read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"table: {tmp_path / 'new' / 't.tex'}\nreferences: {tmp_path / 'r.bib'}\n"


def test_bad_input_is_refused(folder: Path, other: Path) -> None:
    refused = [
        ({"format": "latx"}, "unknown --format 'latx': did you mean 'latex'?"),
        ({"metrics": ["forgeting"]}, "did you mean 'forgetting'?"),
        ({"arms": ["tamm"]}, "unknown arm 'tamm': did you mean 'tam'? Known: sgdm, tam, tam_frozen."),
    ]
    for options, words in refused:
        with pytest.raises(InputError, match=re.escape(words)):
            paper_table(folder, **options)
    with pytest.raises(
        InputError, match="^--metrics names drop, forgetting: a table of several studies is of one metric"
    ):
        paper_table([folder, other], metrics=["drop", "forgetting"])
    with pytest.raises(InputError, match="two rows would be called"):
        paper_table([folder, folder])


def test_of_equal_means_that_of_fewer_seeds_is_not_bold() -> None:
    table = {"metric": "online_accuracy", "mean": [50.0, 50.01, 49.0], "seeds": [4, 3, 4], "decimals": 1}
    assert _best(pd.DataFrame(table)).tolist() == [True, False, False]
    assert _best(pd.DataFrame(table | {"metric": "forgetting"})).tolist() == [False, False, True]
    assert not _best(pd.DataFrame(table | {"mean": [50.0, 50.01, 49.99]})).any(), "all read the same"
