"""The tables of a study: every cell measured once, whatever the order of the rows; nothing missing is filled in."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.metrics import (
    METRICS,
    accuracy_matrix,
    by_experience,
    find,
    intransigence,
    intransigences,
    measure,
    recovery_curves,
    regret,
    regrets,
    shifts,
    stability_curves,
)
from tamcl.metrics.cells import lowest_inside
from tamcl.metrics.tables import Measuring
from tamcl.results import TABLES, conform, read_table, write_table

CELL = ["scenario", "arm", "lr", "options", "seed"]
OF_TEXT = {metric.name for metric in METRICS.values() if metric.on == "text_loss"}
OF_CONTINUAL = {metric.name for metric in METRICS.values() if metric.on in {"matrix_and_lowest", "inside"}}
OF_ALL = set(METRICS) - OF_TEXT - OF_CONTINUAL


def study(arms=("sgdm", "tam"), lrs=(0.1,), seeds=range(3), T=3, steps=40, scenario="flips"):
    """Random `online` and `eval` tables."""
    rng = np.random.default_rng(0)
    online, evaluated = [], []
    for arm in arms:
        for lr in lrs:
            for seed in seeds:
                cell = {"scenario": scenario, "arm": arm, "lr": lr, "seed": seed}
                rows = {"experience": np.repeat(np.arange(T), steps), "step": np.arange(T * steps)}
                values = {"n": 10, "loss": 1.0, "correct": rng.integers(0, 11, T * steps)}
                online.append(pd.DataFrame(cell | rows | values))
                i, j = np.indices((T + 1, T)).reshape(2, -1)
                values = {"n": 50, "accuracy": rng.integers(0, 51, len(i)) / 50, "loss": 1.0}
                evaluated.append(pd.DataFrame(cell | {"trained_on": i - 1, "evaluated_on": j} | values))
    return conform("online", pd.concat(online)), conform("eval", pd.concat(evaluated))


def inside(evaluated: pd.DataFrame, every: int = 10, steps: int = 40) -> pd.DataFrame:
    """A random `continual` table: seen experiences after every k-th update, never better than at the end."""
    rng = np.random.default_rng(5)
    rows = evaluated[evaluated["evaluated_on"] <= evaluated["trained_on"]].rename(columns={"trained_on": "experience"})
    tables = [
        rows.assign(step=rows["experience"] * steps + k, accuracy=rows["accuracy"] * rng.random(len(rows)))
        for k in range(0, steps, every)
    ]
    return conform("continual", pd.concat(tables))


def one(table: pd.DataFrame, arm: str, seed: int) -> pd.DataFrame:
    return table[(table["arm"] == arm) & (table["seed"] == seed)]


def test_every_metric_of_every_cell():
    online, evaluated = study()
    table = measure(online, evaluated)
    assert list(table.columns) == list(TABLES["metrics"].columns)
    assert set(table["metric"]) == OF_ALL
    assert len(table) == 2 * 3 * len(OF_ALL)
    assert not table.duplicated([*CELL, "metric"]).any()
    assert table["value"].notna().all()


def test_values_in_plain_pandas():
    online, evaluated = study()
    table = measure(online, evaluated).set_index(["metric", *CELL])["value"]
    sums = online.groupby(CELL)[["correct", "n"]].sum()
    for cell, expected in (sums["correct"] / sums["n"]).items():
        assert table["online_accuracy"][cell] == pytest.approx(expected)
    last = evaluated[evaluated["trained_on"] == 2].groupby(CELL)["accuracy"].mean()
    right_after = evaluated[evaluated["trained_on"] == evaluated["evaluated_on"]].groupby(CELL)["accuracy"].mean()
    for cell in last.index:
        assert table["average_accuracy"][cell] == pytest.approx(last[cell])
        assert table["learning_accuracy"][cell] == pytest.approx(right_after[cell])


def test_order_of_rows_and_a_stored_table_change_nothing(tmp_path):
    online, evaluated = study()
    expected = measure(online, evaluated)
    rng = np.random.default_rng(1)
    shuffled = [table.iloc[rng.permutation(len(table))] for table in (online, evaluated)]
    assert_frame_equal(measure(*shuffled), expected)
    for name, table in {"online": online, "eval": evaluated, "metrics": expected}.items():
        write_table(tmp_path, name, table)
    assert_frame_equal(measure(read_table(tmp_path, "online"), read_table(tmp_path, "eval")), expected)
    assert_frame_equal(read_table(tmp_path, "metrics"), expected)


def test_tables_are_not_changed():
    online, evaluated = study()
    copies = online.copy(), evaluated.copy()
    measure(online, evaluated)
    shifts(online)
    recovery_curves(online)
    assert_frame_equal(online, copies[0])
    assert_frame_equal(evaluated, copies[1])


def test_one_experience_gives_nan_and_no_shift():
    online, evaluated = study(T=1, seeds=[0], arms=["tam"])
    values = measure(online, evaluated).set_index("metric")["value"]
    without_value = set(values[values.isna()].index)
    of_shifts = {"drop", "recovery_steps", "recovered", "area_lost", "recovery_auc", "end_accuracy_slope"}
    of_earlier = {"forgetting", "forgetting_max", "forgetting_first", "backward_transfer", "forward_transfer"}
    assert without_value == of_shifts | of_earlier | {"retained"}
    assert list(shifts(online).columns) == [
        *CELL,
        "experience",
        "step",
        "level_before",
        "drop",
        "recovery_steps",
        "censored",
        "area_lost",
    ]
    assert shifts(online).empty
    assert recovery_curves(online).empty


def test_tests_inside_experiences_in_plain_pandas():
    online, evaluated = study()
    continual = inside(evaluated)
    values = measure(online, evaluated, continual=continual).set_index(["metric", *CELL])["value"]
    assert set(values.index.unique("metric")) == set(METRICS) - OF_TEXT
    R = evaluated.set_index([*CELL, "trained_on", "evaluated_on"])["accuracy"]
    lowest = continual.groupby([*CELL, "experience", "evaluated_on"])["accuracy"].min()
    for cell in R.index.droplevel(["trained_on", "evaluated_on"]).unique():
        after, low = R[cell], lowest[cell]
        gaps = [[min(after[i - 1, j], after[i, j]) - min(after[i - 1, j], low[i, j]) for j in range(i)] for i in (1, 2)]
        assert values["stability_gap"][cell] == pytest.approx(np.mean([np.mean(each) for each in gaps]))
        worst = (after[2, 2] + min(low[1, 0], low[2, 0]) + low[2, 1]) / 3
        assert values["continual_worst_case_accuracy"][cell] == pytest.approx(worst)
        assert values["continual_worst_case_accuracy"][cell] <= values["worst_case_accuracy"][cell]
    own = continual[continual["experience"] == continual["evaluated_on"]]
    best = own.groupby([*CELL, "experience"])["accuracy"].max().groupby(CELL).mean()
    for cell, expected in best.items():
        assert values["best_accuracy"][cell] == pytest.approx(expected)
    assert measure(online, evaluated, continual=one(continual, "tam", 1))["metric"].isin(OF_CONTINUAL).sum() == 3
    hole = (continual["experience"] == 2) & (continual["evaluated_on"] == 1)
    holed = measure(online, evaluated, continual=continual[~hole])
    assert holed.loc[holed["metric"] == "stability_gap", "value"].isna().all()


def test_the_lowest_accuracy_of_an_experience_counts_its_end():
    _, evaluated = study(arms=["tam"], seeds=[0])
    above = inside(evaluated).assign(accuracy=1.0)
    ((_, (R, lowest)),) = lowest_inside(evaluated, above)
    tested = np.tril(np.ones((3, 3), dtype=bool))
    np.testing.assert_array_equal(lowest, np.where(tested, R, np.nan))


def test_stability_curves_begin_at_the_accuracy_before_the_shift():
    _, evaluated = study(T=4)
    continual = inside(evaluated)
    curves = one(stability_curves(continual, evaluated), "tam", 2).set_index("since_shift")
    assert list(curves.index) == [1, 11, 21, 31]
    assert (curves["n_shifts"] == 3).all()
    R = accuracy_matrix(one(evaluated, "tam", 2))
    rows = one(continual, "tam", 2).set_index(["experience", "step", "evaluated_on"])["accuracy"]
    for k in (0, 10, 20, 30):
        changes = [np.mean([rows[i, 40 * i + k, j] - R[i - 1, j] for j in range(i)]) for i in (1, 2, 3)]
        assert curves["change"][k + 1] == pytest.approx(np.mean(changes))
    assert stability_curves(continual.iloc[:0], evaluated).empty


def test_empty_tables():
    online, evaluated = study()
    assert measure(online.iloc[:0], evaluated.iloc[:0]).empty
    assert shifts(online.iloc[:0]).empty
    assert recovery_curves(online.iloc[:0]).empty
    of_matrix = {metric.name for metric in METRICS.values() if metric.on in {"matrix", "matrix_and_start"}}
    assert set(measure(online, evaluated.iloc[:0])["metric"]) == OF_ALL - of_matrix
    assert set(measure(online.iloc[:0], evaluated)["metric"]) == of_matrix
    assert by_experience(online.iloc[:0]).empty


def test_what_no_cell_was_tested_on_is_not_filled_in():
    online, evaluated = study()
    full = measure(online, evaluated).set_index(["metric", *CELL])["value"]
    seen = evaluated[evaluated["evaluated_on"] <= evaluated["trained_on"]]
    lower = measure(online, seen).set_index(["metric", *CELL])["value"]
    assert lower["forward_transfer"].isna().all()  # what comes next was not tested
    pd.testing.assert_series_equal(
        lower.drop("forward_transfer", level="metric"), full.drop("forward_transfer", level="metric")
    )
    no_start = measure(online, evaluated[evaluated["trained_on"] >= 0]).set_index(["metric", *CELL])["value"]
    assert no_start["forward_transfer"].isna().all()  # the untrained model was not tested
    pd.testing.assert_series_equal(
        no_start.drop("forward_transfer", level="metric"), full.drop("forward_transfer", level="metric")
    )
    just_trained = evaluated["evaluated_on"] == evaluated["trained_on"]
    current = measure(online, evaluated[just_trained | (evaluated["trained_on"] == 2)])
    current = current.set_index(["metric", *CELL])["value"]
    assert current["forgetting"].isna().all()  # the best of the rows between was not measured
    for name in ("average_accuracy", "learning_accuracy", "backward_transfer"):
        pd.testing.assert_series_equal(current[name], full[name])


def test_numbers_to_be_learnt_have_a_loss_and_no_accuracy():
    online, evaluated = study()
    online, evaluated = online.assign(correct=np.nan, loss=0.5), evaluated.assign(accuracy=np.nan)
    values = measure(online, evaluated).groupby("metric")["value"].unique()
    assert values["online_loss"].tolist() == [0.5]
    assert values.drop("online_loss").map(lambda each: np.isnan(each).all()).all()
    assert shifts(online).empty
    assert recovery_curves(online).empty


def test_online_loss_counts_every_example_once():
    online, evaluated = study()
    rng = np.random.default_rng(3)
    online = online.assign(loss=rng.random(len(online)), n=rng.integers(10, 13, len(online)))
    table = measure(online, evaluated).set_index(["metric", *CELL])["value"]["online_loss"]
    total = online.assign(total=online["loss"] * online["n"]).groupby(CELL)[["total", "n"]].sum()
    for cell, value in table.items():
        assert value == pytest.approx(total["total"][cell] / total["n"][cell])


def test_a_run_that_diverged_is_left_out():
    online, evaluated = study()
    broken = (online["arm"] == "tam") & (online["seed"] == 1) & (online["step"] > 55)
    unfinished = (evaluated["arm"] == "tam") & (evaluated["seed"] == 1) & (evaluated["trained_on"] > 0)
    online, evaluated = online[~broken], evaluated[~unfinished]
    runs = online[CELL].drop_duplicates()
    runs = runs.assign(status=np.where((runs["arm"] == "tam") & (runs["seed"] == 1), "diverged", "ok"))
    table = measure(online, evaluated, runs)
    assert one(table, "tam", 1).empty
    assert len(table) == 5 * len(OF_ALL)
    with pytest.raises(
        InputError, match=r"^online rows of flips, tam, lr 0.1, seed 1: step 56 stands there 0 times, not once$"
    ):
        measure(online, evaluated)
    assert one(shifts(online), "tam", 1)["experience"].tolist() == [1]
    assert not one(recovery_curves(online), "tam", 1).empty


def test_missing_rows_are_named():
    online, evaluated = study()
    hole = (online["seed"] == 2) & (online["step"] == 7)
    with pytest.raises(
        InputError, match=r"^online rows of flips, sgdm, lr 0.1, seed 2: step 7 stands there 0 times, not once$"
    ):
        measure(online[~hole], evaluated)
    with pytest.raises(InputError, match="step 7 stands there 0 times"):
        shifts(online[~hole])
    with pytest.raises(InputError, match="step 0 stands there 2 times"):
        measure(pd.concat([online, online.iloc[:1]]), evaluated)
    hole = (evaluated["seed"] == 2) & (evaluated["trained_on"] == 2) & (evaluated["evaluated_on"] == 1)
    with pytest.raises(
        InputError, match=r"of flips, sgdm, lr 0.1, seed 2: R\[2, 1\] is missing, which other cells have$"
    ):
        measure(online, evaluated[~hole])
    hole = (evaluated["seed"] == 2) & (evaluated["trained_on"] == -1) & (evaluated["evaluated_on"] == 1)
    with pytest.raises(
        InputError,
        match=r"seed 2: the accuracy of the untrained model on experience 1 is missing, which other cells have$",
    ):
        measure(online, evaluated[~hole])
    with pytest.raises(InputError, match=r"^flips, tam, lr 0.1, seed 0 has online rows but no eval rows$"):
        measure(online, evaluated[(evaluated["arm"] != "tam") | (evaluated["seed"] != 0)])


def test_cells_measured_a_few_at_a_time_are_measured_as_all_at_once():
    online, evaluated = study(seeds=range(4))
    continual, runs = inside(evaluated), online[CELL].drop_duplicates().assign(status="ok", batches=1)
    measuring = Measuring()
    for seed in (2, 0, 3, 1):
        part = [table[table["seed"] == seed] for table in (online, evaluated, runs, continual)]
        measuring.add(*part[:3], continual=part[3])
    assert_frame_equal(measuring.table(), measure(online, evaluated, runs, continual=continual), check_exact=True)


@pytest.mark.parametrize(
    ("table", "holes", "said"),
    [
        ("online", "step > 115", "online rows of flips, tam, lr 0.1, seed 1: step 116 stands there 0 times"),
        ("eval", "trained_on == 2", r"eval rows of flips, tam, lr 0.1, seed 1: R\[2, 0\] is missing, which other"),
        ("eval", "trained_on == -1", "seed 1: the accuracy of the untrained model on experience 0 is missing"),
        ("eval", "trained_on > -9", "flips, tam, lr 0.1, seed 1 has online rows but no eval rows"),
        ("online", "step > -9", "flips, tam, lr 0.1, seed 1 has eval rows but no online rows"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_a_cell_lacks_is_known_from_cells_measured_before_or_after(table, holes, said, together):
    online, evaluated = study()
    tables = {"online": online, "eval": evaluated}
    lacks = tables[table].eval(f"arm == 'tam' and seed == 1 and {holes}")
    tables[table] = tables[table][~lacks]
    measuring = Measuring()
    for arms in [["sgdm", "tam"]] if together else [["tam"], ["sgdm"]]:
        measuring.add(*(each[each["arm"].isin(arms)] for each in tables.values()))
    with pytest.raises(InputError, match=said):
        measuring.table()


def test_rows_that_no_run_leaves_are_refused():
    online, evaluated = study()
    for change, said in [
        (evaluated.assign(trained_on=evaluated["trained_on"] - 5), "seed 0: experiences from -6 to "),
        (evaluated.assign(evaluated_on=10**12), "seed 0: experiences from "),
        (pd.concat([evaluated, evaluated.iloc[:1]]), r"seed 0: R\[-1, 0\] stands there several times"),
    ]:
        with pytest.raises(InputError, match=said):
            measure(online, change)
    for step in (-1, 10**15):
        with pytest.raises(InputError, match="online rows of flips, sgdm, lr 0.1, seed 0: step"):
            measure(online.assign(step=online["step"].where(online["step"] != 7, step)), evaluated)


def test_accuracy_matrix_leaves_out_the_untrained_model():
    _, evaluated = study()
    cell = one(evaluated, "tam", 1)
    R = accuracy_matrix(cell)
    trained = cell[cell["trained_on"] >= 0]
    np.testing.assert_array_equal(R, trained.pivot(index="trained_on", columns="evaluated_on", values="accuracy"))
    with pytest.raises(InputError, match=r"several accuracies for R\[0, 0\]: give the rows of one cell"):
        accuracy_matrix(evaluated)


def test_shifts_table():
    online, _ = study(T=4)
    table = shifts(online)
    assert len(table) == 2 * 3 * 3
    assert set(zip(table["experience"], table["step"], strict=True)) == {(1, 40), (2, 80), (3, 120)}
    rows = one(online, "tam", 2)
    level = rows[rows["step"].between(60, 79)]["correct"].mean() / 10  # half of the 40 mini-batches
    start = rows[rows["step"].between(80, 89)]["correct"].mean() / 10
    row = one(table, "tam", 2).set_index("experience").loc[2]
    assert (row["level_before"], row["drop"]) == (pytest.approx(level), pytest.approx(level - start))
    values = measure(online, study(T=4)[1]).set_index(["metric", *CELL])["value"]
    for name, column in [("drop", "drop"), ("recovery_steps", "recovery_steps"), ("area_lost", "area_lost")]:
        for cell, mean in table.groupby(CELL)[column].mean().items():
            assert values[name][cell] == pytest.approx(mean)
    censored = table.groupby(CELL)["censored"].mean()
    assert (1 - censored).to_numpy() == pytest.approx(values["recovered"].to_numpy())


def test_what_counts_mini_batches_has_no_value_where_rows_are_blocks_of_them():
    online, evaluated = study()
    cells = online[CELL].drop_duplicates()
    batches = [4 if arm == "tam" else 1 for arm in cells["arm"]]
    runs = cells.assign(status="ok", batches=batches)
    found = measure(online, evaluated, runs).set_index(["metric", *CELL])["value"]
    old = cells.assign(status="ok", config=[json.dumps({"evaluation": {"batches": number}}) for number in batches])
    pd.testing.assert_frame_equal(measure(online, evaluated, old), measure(online, evaluated, runs))
    whole = measure(online, evaluated).set_index(["metric", *CELL])["value"]
    gone = {(metric, arm) for metric, _, arm, *_ in found.index[found.isna() & whole.notna()]}
    counting = {"drop", "recovery_steps", "recovered", "area_lost", "recovery_auc", "learning_curve_area"}
    assert gone == {(metric, "tam") for metric in counting}
    pd.testing.assert_series_equal(found[found.notna()], whole[found.notna()])


def test_recovery_curve_is_the_mean_over_shifts():
    online, _ = study(T=4, seeds=[0], arms=["tam"])
    curve = recovery_curves(online, before=20).set_index("since_shift")
    assert list(curve.index) == [*range(-20, -9), *range(31)]
    assert (curve["n_shifts"] == 3).all()
    right = online.set_index("step")["correct"]
    for k in (-20, -10, 0, 17, 30):
        windows = [right.loc[shift + k : shift + k + 9].mean() / 10 for shift in (40, 80, 120)]
        assert curve["accuracy"][k] == pytest.approx(np.mean(windows))


def test_recovery_curve_of_experiences_of_unequal_length():
    n = np.full(70, 10)
    experience = np.repeat([0, 1, 2], [30, 30, 10])
    rows = {"experience": experience, "step": np.arange(70), "n": n, "loss": 1.0, "correct": experience}
    online = pd.DataFrame({"scenario": "flips", "arm": "tam", "lr": 0.1, "seed": 0} | rows)
    curve = recovery_curves(online, before=0).set_index("since_shift")
    assert curve["n_shifts"].to_dict() == {k: 2 if k <= 5 else 1 for k in range(21)}  # 10 mini-batches: a window of 5
    assert curve["accuracy"][0] == pytest.approx(0.15)
    assert curve["accuracy"][20] == pytest.approx(0.1)


def test_recovery_curve_before_a_shift_has_a_window_that_fits_the_experience_before():
    rows = {"experience": np.repeat([0, 1], [10, 40]), "step": np.arange(50), "n": 10, "loss": 1.0, "correct": 5}
    online = pd.DataFrame({"scenario": "flips", "arm": "tam", "lr": 0.1, "seed": 0} | rows)
    since = recovery_curves(online, before=20)["since_shift"]
    assert since[since < 0].tolist() == list(range(-10, -4))  # of 10 mini-batches: a window of 5


def test_forward_transfer_in_plain_pandas():
    online, evaluated = study()
    values = measure(online, evaluated).set_index(["metric", *CELL])["value"]["forward_transfer"]
    before = evaluated[evaluated["evaluated_on"] == evaluated["trained_on"] + 1]
    start = evaluated[evaluated["trained_on"] == -1].set_index([*CELL, "evaluated_on"])["accuracy"]
    gained = before.set_index([*CELL, "evaluated_on"])["accuracy"] - start
    for cell, expected in gained.drop(0, level="evaluated_on").groupby(CELL).mean().items():
        assert values[cell] == pytest.approx(expected)


def test_by_experience_in_plain_pandas():
    online, _ = study(T=4)
    table = by_experience(online, window=10)
    assert list(table.columns) == [
        *(*CELL, "experience", "step", "n", "accuracy", "end_accuracy"),
        *(f"accuracy_{share}" for share in (10, 25, 50, 75, 100)),
    ]
    assert len(table) == 2 * 3 * 4
    assert (table["n"] == 400).all()
    sums = online.groupby([*CELL, "experience"])["correct"].sum() / 400
    np.testing.assert_allclose(table["accuracy"], sums)
    row = one(table, "tam", 1).set_index("experience").loc[2]
    right = one(online, "tam", 1).set_index("step")["correct"] / 10
    assert row["step"] == 80
    assert row["end_accuracy"] == pytest.approx(right.loc[110:119].mean())
    assert row["accuracy_10"] == pytest.approx(right.loc[80:83].mean())  # only 4 mini-batches so far
    assert row["accuracy_50"] == pytest.approx(right.loc[90:99].mean())
    assert row["accuracy_100"] == pytest.approx(right.loc[110:119].mean())
    whole = measure(online, study(T=4)[1]).set_index(["metric", *CELL])["value"]
    means = by_experience(online).groupby(CELL)[["accuracy", "end_accuracy"]].mean()
    np.testing.assert_allclose(means["accuracy"], whole["online_accuracy"])
    np.testing.assert_allclose(means["end_accuracy"], whole["end_accuracy"])


def test_regrets_against_an_oracle():
    online, _ = study(T=3)
    oracle, _ = study(T=3, scenario="flips_restart", lrs=(0.3,))
    oracle["correct"] = np.minimum(oracle["correct"] + 2, 10)
    table = regrets(online, oracle)
    assert len(table) == 2 * 3 * 3
    for arm, seed in [("tam", 0), ("sgdm", 2)]:
        study_rows, best, rows = (one(each, arm, seed) for each in (online, oracle, table))
        behind = best.groupby("experience")["correct"].sum() - study_rows.groupby("experience")["correct"].sum()
        np.testing.assert_allclose(rows["regret"], behind / 400)
        np.testing.assert_allclose(rows["cumulative"], behind.cumsum())
        arrays = [study_rows.sort_values("step")[name] for name in ("correct", "n", "experience")]
        whole = regret(arrays[0], best.sort_values("step")["correct"], *arrays[1:])
        assert whole == pytest.approx(rows["regret"].mean())
    assert (regrets(online, online)["regret"] == 0).all()
    assert set(regrets(online, oracle[oracle["arm"] == "tam"])["arm"]) == {"tam"}
    with pytest.raises(InputError, match="flips, sgdm, lr 0.1, seed 0 and its oracle differ in their mini-batches"):
        regrets(online, study(T=2)[0])
    with pytest.raises(InputError, match="oracle: arm 'sgdm' stands there at several learning rates"):
        regrets(online, pd.concat([online, oracle]))


def test_intransigences_against_an_oracle():
    _, evaluated = study(T=3)
    _, oracle = study(T=3, lrs=(0.3,))
    oracle["accuracy"] = oracle["accuracy"] / 2
    table = intransigences(evaluated, oracle).set_index(["arm", "seed"])["intransigence"]
    fresh = evaluated[evaluated["trained_on"] == evaluated["evaluated_on"]].groupby(["arm", "seed"])["accuracy"].mean()
    best = oracle[oracle["trained_on"] == oracle["evaluated_on"]].groupby(["arm", "seed"])["accuracy"].mean()
    pd.testing.assert_series_equal(table, best - fresh, check_names=False)
    cell = one(evaluated, "tam", 1)
    assert intransigence(accuracy_matrix(cell), accuracy_matrix(one(oracle, "tam", 1)).diagonal()) == pytest.approx(
        table["tam", 1]
    )
    unmeasured = evaluated[evaluated["trained_on"] != evaluated["evaluated_on"]]
    assert intransigences(unmeasured, oracle)["intransigence"].isna().all()
    with pytest.raises(InputError, match="has 3 experiences and its oracle 2"):
        intransigences(evaluated, study(T=2)[1])


@pytest.mark.parametrize("other", [{"scenario": "tasks"}, {"lrs": (0.3,)}], ids=["scenario", "learning rate"])
def test_an_oracle_is_of_one_learning_rate_and_one_scenario(other):
    _, evaluated = study()
    oracle = pd.concat([evaluated, study(**other)[1]])
    with pytest.raises(InputError, match="oracle: arm 'sgdm' stands there at several learning rates or scenarios"):
        intransigences(evaluated, oracle)


def test_large_study_is_fast():
    online, evaluated = study(arms="abcdef", lrs=(0.1, 0.2, 0.3, 0.4, 0.5), seeds=range(5), T=20, steps=200)
    assert len(online) == 600_000
    started = time.process_time()
    measure(online, evaluated)
    assert time.process_time() - started < 8  # about 1 s


def test_unknown_metric_is_named():
    with pytest.raises(
        InputError, match=r"^unknown metric 'forgeting': did you mean 'forgetting'\? Known: area_lost, "
    ):
        find("forgeting")


def test_text_has_a_perplexity_and_images_have_none():
    online, evaluated = study(arms=["adamw", "tam"], seeds=[0, 1])
    evaluated["loss"] = np.random.default_rng(2).random(len(evaluated))
    cells = evaluated[CELL].drop_duplicates()
    described = {0: '{"name": "books", "vocabulary": 82}', 1: '{"name": "digits"}'}
    runs = cells.assign(status="ok", data=cells["seed"].map(described))
    table = measure(online, evaluated, runs).set_index(["metric", *CELL])["value"]
    last = evaluated[evaluated["trained_on"] == 2].groupby(CELL)["loss"].apply(list)
    of_text = last[last.index.get_level_values("seed") == 0]
    assert table["validation_loss"].to_dict() == pytest.approx({c: sum(each) / 3 for c, each in of_text.items()})
    geometric = {cell: np.prod(np.exp(each)) ** (1 / 3) for cell, each in of_text.items()}
    assert table["perplexity"].to_dict() == pytest.approx(geometric)
    assert set(measure(online, evaluated, runs.drop(columns="data"))["metric"]) == OF_ALL
