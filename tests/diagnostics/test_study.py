"""Diagnostics from the scenario file to the report: asked for by name, off by default, and no result changes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pandas.testing import assert_frame_equal

from tamcl import plots
from tamcl.errors import InputError
from tamcl.findings.study import Study
from tamcl.metrics import diagnostic_curves
from tamcl.report.figures import WIDTHS, drawings
from tamcl.report.page import _facts
from tamcl.results import TABLES, Results, load_results, read_table
from tamcl.scenario.load import load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare, run
from tamcl.study.folder import check_folder
from tamcl.study.gather import in_parts
from tamcl.study.plan import report_cells
from tamcl.training.cell import Cell, write_cell
from tamcl.training.run import run_cell
from tamcl.trial import Trial

SHORT = ["protocol.seeds=2", *(f"arms.{arm}.lr=[0.1]" for arm in ("sgdm", "tam", "tam_frozen"))]
ON = [
    *SHORT,
    "diagnostics.every=4",
    'diagnostics.names=["damping", "update_norm", "dormant_units"]',
    "diagnostics.options.dormant_units.tau=0.05",
]


@pytest.fixture(scope="module")
def scenario(tiny: Path) -> Scenario:
    return load_scenario(str(tiny), ON)


@pytest.fixture(scope="module")
def study(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return compare(scenario, tmp_path_factory.mktemp("diagnostics") / "out")


def test_rows_of_the_reported_runs(study: Results) -> None:
    table = study.diagnostics
    assert list(table.columns) == list(TABLES["diagnostics"].columns)
    assert not table.duplicated(TABLES["diagnostics"].keys).any()
    assert set(table["seed"]) == {0, 1}
    assert table.groupby(["arm", "diagnostic"]).ngroups == 3 * 3 - 1
    assert table.loc[table["arm"] == "sgdm", "diagnostic"].unique().tolist() == ["dormant_units", "update_norm"]
    assert sorted(table["step"].unique()) == [0, 4, 8, 12]
    held = table[(table["arm"] == "tam_frozen") & (table["diagnostic"] == "damping")]
    assert held["value"].tolist() == [1.0 if step == 0 else 0.5 for step in held["step"]]  # the first gradient is whole
    assert set(table.loc[table["diagnostic"] == "dormant_units", "tensor"]) == {"", "body.layers.1.1"}


def test_a_cell_without_them_is_the_same_but_for_their_table(tiny: Path, study: Results, tmp_path: Path) -> None:
    cell = Cell(load_scenario(str(tiny), SHORT), "tam", 0.1, 0, "report")
    outcome = run_cell(cell)
    write_cell(tmp_path, cell, outcome)
    for name in ("online", "eval"):
        table = getattr(study, name).query("arm == 'tam' and seed == 0").reset_index(drop=True)
        assert_frame_equal(read_table(tmp_path / cell.id, name), table, check_exact=True)
    assert outcome.diagnostics.empty
    assert not (tmp_path / cell.id / "diagnostics.parquet").exists()
    assert (study.directory / "cells" / cell.id / "diagnostics.parquet").is_file()


def test_off_means_that_nothing_is_built(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("built a collector that nobody asked for")

    monkeypatch.setattr("tamcl.diagnostics.collector.DiagnosticsCollector.__init__", never)
    scenario = load_scenario(str(tiny))
    assert scenario.diagnostics is None
    assert run_cell(Cell(scenario, "tam", 0.1, 0, "report")).diagnostics.empty
    asked = load_scenario(str(tiny), ON)
    assert run_cell(Cell(asked, "tam", 0.1, 1000, "tune")).diagnostics.empty
    with pytest.raises(AssertionError):
        run_cell(Cell(asked, "tam", 0.1, 0, "report"))


def test_time_per_step_leaves_them_out(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: object, update: object) -> list[tuple[str, float]]:
        time.sleep(0.1)
        return [("", 0.0)]

    monkeypatch.setattr("tamcl.diagnostics.movement.UpdateNorm.measure", slow)
    run = run_cell(Cell(scenario, "tam", 0.1, 0, "report")).runs
    assert run["wall_s"].item() > 0.4
    assert run["ms_per_step"].item() * 16 < 300


def test_a_study_from_before_there_were_diagnostics_is_opened_and_goes_on(
    tiny: Path, study: Results, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study.directory, tmp_path / "out"))
    for path in out.rglob("diagnostics.parquet"):
        path.unlink()
    held = json.loads((out / "study.json").read_text())
    del held["scenario"]["diagnostics"]
    (out / "study.json").write_text(json.dumps(held))
    old = load_scenario(str(tiny), SHORT)
    results = load_results(out)
    assert results.diagnostics.empty
    assert list(results.diagnostics.columns) == list(TABLES["diagnostics"].columns)
    check_folder(out, old.dump())
    cells = report_cells(old, {"tam": Trial(0.1)})
    (tables,) = in_parts([out / "cells" / cell.id for cell in cells])
    assert tables["diagnostics"].empty
    assert len(tables["online"]) == 2 * 16
    assert "diagnostics" not in [drawing.name for drawing in drawings(Study(results))]
    with pytest.raises(InputError, match="holds another study: diagnostics is null there"):
        check_folder(out, load_scenario(str(tiny), ON).dump())


def test_one_run_writes_its_own(scenario: Scenario, tmp_path: Path) -> None:
    run(scenario, "tam", 0, directory=tmp_path / "run")
    rows = pd.read_parquet(tmp_path / "run" / "diagnostics.parquet")
    assert set(rows["diagnostic"]) == {"damping", "update_norm", "dormant_units"}


def test_a_scenario_with_diagnostics_survives_a_round_trip(scenario: Scenario) -> None:
    assert parse(scenario.dump()) == scenario
    assert scenario.diagnostics is not None
    assert scenario.diagnostics.samples == 500
    assert load_scenario("label_flip_digits", ['diagnostics.names=["cosine"]']).diagnostics.every == 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["diagnostics.every=10"], "diagnostics.names: is missing"),
        (["diagnostics.names=[]"], "diagnostics.names: names no diagnostic"),
        (['diagnostics.names=["dampin"]'], "diagnostics.names: unknown diagnostic 'dampin': did you mean 'damping'?"),
        (['diagnostics.names=["damping", "damping"]'], "diagnostics.names: names a diagnostic twice"),
        (
            ['diagnostics.names=["damping"]', "diagnostics.evry=3"],
            "diagnostics.evry: unknown key: did you mean 'every'?",
        ),
        (
            ['diagnostics.names=["damping"]', "diagnostics.every=0"],
            "diagnostics.every = 0: must be greater than or equal to 1",
        ),
        (
            ['diagnostics.names=["sam_sharpness"]', "diagnostics.options.sam_sharpness.roh=1"],
            "unknown key 'roh': did you mean 'rho'?",
        ),
        (
            ['diagnostics.names=["damping"]', "diagnostics.options.sam_sharpness.rho=1"],
            "diagnostics.options: unknown diagnostic with options 'sam_sharpness'",
        ),
    ],
)
def test_mistakes_in_a_scenario_are_said(settings: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        load_scenario("label_flip_digits", settings)
    assert message in str(error.value)


def test_an_option_out_of_range_is_said_before_anything_is_trained(tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(str(tiny), [*ON, "diagnostics.options.dormant_units.tau=-1"])
    with pytest.raises(InputError, match="diagnostics.options.dormant_units: tau = -1: must be at least 0"):
        compare(scenario, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_plot_shows_mean_and_interval_over_seeds_and_where_the_shifts_are(study: Results) -> None:
    table = study.diagnostics
    ax = plots.diagnostics(table, diagnostic="update_norm", arms=["sgdm", "tam", "tam_frozen"])
    rows = table[(table["diagnostic"] == "update_norm") & (table["tensor"] == "") & (table["arm"] == "tam")]
    expected = rows.groupby("step")["value"].mean()
    line = next(line for line in ax.lines if line.get_label() == "tam")
    points = np.asarray(line.get_xydata(), dtype=float)
    points = points[~np.isnan(points).any(axis=1)]
    np.testing.assert_allclose(points, np.column_stack([expected.index, expected]))
    assert [line.get_xdata()[0] for line in ax.lines if line.get_label().startswith("_")] == [8]
    assert ax.get_ylabel() == "update norm"
    assert ax.get_xlabel() == "mini-batches seen"
    assert ax.get_title(loc="left") == "Mean and 95 % interval over 2 seeds; dotted: shifts"
    assert len(ax.collections) == 3


def test_the_plot_stands_below_the_online_accuracy_on_one_axis(study: Results) -> None:
    top, bottom = Figure().subplots(2, sharex=True)
    plots.online_accuracy(study.phase(study.online), ax=top)
    limits = top.get_xlim()
    assert plots.diagnostics(study.diagnostics, diagnostic="damping", ax=bottom) is bottom
    assert bottom.get_xlim() == top.get_xlim() == limits
    assert {line.get_label() for line in bottom.lines if not line.get_label().startswith("_")} == {"tam", "tam_frozen"}


def test_shares_are_in_percent_and_parts_can_be_chosen(study: Results) -> None:
    ax = plots.diagnostics(study.diagnostics, diagnostic="dormant_units", tensor="body.layers.1.1")
    assert ax.get_ylabel() == "dormant units of body.layers.1.1 (%)"
    largest = study.diagnostics.query("diagnostic == 'dormant_units'")["value"].max()
    assert largest <= 1 < max(np.nanmax(line.get_ydata()) for line in ax.lines if not line.get_label().startswith("_"))


def test_one_point_an_experience_is_drawn_as_one_line(study: Results) -> None:
    rows = study.diagnostics[study.diagnostics["step"].isin([0, 8])]
    ax = plots.diagnostics(rows, diagnostic="update_norm")
    for line in (line for line in ax.lines if not line.get_label().startswith("_")):
        assert np.isfinite(line.get_ydata()).tolist() == [True, True]


def test_values_that_are_not_finite_are_left_out_and_nothing_is_an_error(study: Results) -> None:
    table = study.diagnostics.copy()
    table.loc[(table["arm"] == "tam") & (table["step"] == 4), "value"] = np.inf
    ax = plots.diagnostics(table, diagnostic="update_norm")
    line = next(line for line in ax.lines if line.get_label() == "tam")
    assert 4 not in line.get_xdata()
    with pytest.raises(InputError, match="^diagnostics of 'cosine': the table has no rows to draw"):
        plots.diagnostics(table, diagnostic="cosine")


def test_the_report_shows_them_below_the_online_accuracy(study: Results) -> None:
    found = {drawing.name: drawing for drawing in drawings(Study(study))}
    assert list(found).index("diagnostics") == list(found).index("recovery") + 1
    for width in WIDTHS.values():
        top, *axes = found["diagnostics"].draw(width).axes
        assert top.get_ylabel() == "online accuracy (%)"
        assert [ax.get_title(loc="left") for ax in axes] == ["damping", "update norm", "dormant units (%)"]
        assert {ax.get_xlim() for ax in axes} == {top.get_xlim()}
    assert ("Diagnostics", "damping, update_norm, dormant_units; every 4 updates") in _facts(Study(study))


def test_shifts_are_laid_on_one_another(study: Results) -> None:
    table = study.diagnostics
    ax = plots.diagnostics_after_shift(diagnostic_curves(table), diagnostic="update_norm")
    second = table.query("experience == 1 and diagnostic == 'update_norm' and tensor == '' and arm == 'tam'")
    expected = second.groupby("step")["value"].mean()
    drawn = next(line for line in ax.lines if line.get_label() == "tam")
    assert drawn.get_xdata().tolist() == [0, 4]
    assert expected.index.tolist() == [8, 12]
    assert drawn.get_ydata() == pytest.approx(expected.to_numpy())
    assert ax.get_title(loc="left") == "Mean over 1 shift and 95 % interval over 2 seeds"
    with pytest.raises(InputError, match="^diagnostics_after_shift of 'cosine' of 'body': the table has no rows"):
        plots.diagnostics_after_shift(diagnostic_curves(table), diagnostic="cosine", tensor="body")


def test_the_mean_over_shifts_leaves_out_what_is_not_finite() -> None:
    cell = {"scenario": "flips", "arm": "tam", "lr": 0.1, "seed": 0, "diagnostic": "cosine", "tensor": ""}
    rows = [
        (e, 10 * e + k, value)
        for e, values in enumerate([[1, 1], [2, 3], [4, np.nan]])
        for k, value in enumerate(values)
    ]
    table = pd.DataFrame([cell | {"experience": e, "step": step, "value": value} for e, step, value in rows])
    curves = diagnostic_curves(table)
    assert curves[["since_shift", "value", "n_shifts"]].to_numpy().tolist() == [[0, 3, 2], [1, 3, 1]]
    assert diagnostic_curves(table.iloc[:0]).empty
