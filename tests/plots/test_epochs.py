"""How training goes on from epoch to epoch, as it is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamcl import plots
from tamcl.errors import InputError
from tamcl.metrics import by_epoch
from tamcl.results import Results
from tests.plots.helpers import after_epochs, line


def norms(tests: pd.DataFrame) -> pd.DataFrame:
    """A gradient norm at each of the ten updates of an epoch, its number in the stream; and one of a single tensor."""
    steps = tests.loc[tests.index.repeat(10), ["scenario", "arm", "lr", "seed", "experience", "step"]]
    steps["step"] -= np.tile(np.arange(10), len(tests))
    whole = steps.assign(diagnostic="gradient_norm", tensor="", value=steps["step"].astype(float))
    return pd.concat([whole, whole.assign(tensor="weight", value=-1.0)], ignore_index=True)


def test_an_epoch_has_the_mean_of_what_was_measured_in_it(study: Results) -> None:
    tests = after_epochs(study)
    table = by_epoch(tests.sample(frac=1, random_state=0), norms(tests).sample(frac=1, random_state=1))
    assert set(table["quantity"]) == {"accuracy", "loss", "gradient_norm"}
    found = table.set_index(["arm", "seed", "experience", "epoch", "quantity"])["value"]
    assert found.index.is_unique
    for (arm, seed, experience), rows in tests.groupby(["arm", "seed", "experience"]):
        for epoch, (_, row) in enumerate(rows.sort_values("step").iterrows(), 1):
            assert found[arm, seed, experience, epoch, "accuracy"] == row["accuracy"]
            assert found[arm, seed, experience, epoch, "loss"] == row["loss"]
            assert found[arm, seed, experience, epoch, "gradient_norm"] == row["step"] - 4.5


def test_values_that_are_not_finite_are_no_part_of_a_mean(study: Results) -> None:
    tests = after_epochs(study)
    measured = norms(tests)
    holed = measured.assign(value=measured["value"].where(measured["step"] % 10 == 9, np.inf))
    table = by_epoch(tests, holed).query("quantity == 'gradient_norm'")
    assert (table["value"] == table["step"]).all()


def test_epochs_are_counted_on_over_experiences(study: Results) -> None:
    tests = after_epochs(study)
    ax = plots.over_epochs(by_epoch(tests), quantity="accuracy")
    of_arm = tests[tests["arm"] == "tam"]
    expected = 100 * of_arm.groupby("step")["accuracy"].mean()
    np.testing.assert_allclose(line(ax, "tam")[:, 1], expected)
    np.testing.assert_allclose(line(ax, "tam")[:, 0], np.arange(1, len(expected) + 1))


def test_a_quantity_that_was_not_measured_is_refused(study: Results) -> None:
    with pytest.raises(InputError, match="unknown quantity 'acuracy': did you mean 'accuracy'"):
        plots.over_epochs(by_epoch(after_epochs(study)), quantity="acuracy")
