"""What holds for every picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tamcl import plots
from tamcl.errors import InputError
from tamcl.metrics import by_epoch, by_experience
from tamcl.results import Results
from tests.plots.helpers import after_epochs, behind, curves, sweep, tuning_table


def tables(results: Results) -> dict[str, tuple[Callable[..., Axes], pd.DataFrame, dict[str, Any]]]:
    return {
        "online_accuracy": (plots.online_accuracy, results.phase(results.online), {}),
        "online_loss": (plots.online_loss, results.phase(results.online), {}),
        "regret": (plots.regret, behind(results), {}),
        "recovery": (plots.recovery, results.phase(results.online), {}),
        "over_experiences": (plots.over_experiences, by_experience(results.phase(results.online)), {}),
        "over_epochs": (plots.over_epochs, by_epoch(after_epochs(results)), {}),
        "stability": (plots.stability, curves(results), {}),
        "accuracy_matrix": (plots.accuracy_matrix, results.phase(results.eval), {"arm": "tam"}),
        "perplexity_matrix": (plots.perplexity_matrix, results.phase(results.eval), {"arm": "tam"}),
        "summary": (plots.summary, results.phase(results.metrics), {"metric": "forgetting"}),
        "lr_sensitivity": (plots.lr_sensitivity, tuning_table(results), {}),
        "forgetting_against_learning": (plots.forgetting_against_learning, results.phase(results.metrics), {}),
        "sweep": (plots.sweep, sweep(results), {"over": "fraction"}),
        "paired_differences": (plots.paired_differences, results.comparisons, {"metric": "online_accuracy"}),
        "sweep_differences": (plots.sweep_differences, results.comparisons.assign(fraction=0.2), {"over": "fraction"}),
    }


NAMES = ["online_accuracy", "online_loss", "recovery", "regret", "stability", "accuracy_matrix", "summary"]
NAMES += [
    "over_epochs",
    "perplexity_matrix",
    "over_experiences",
    "lr_sensitivity",
    "forgetting_against_learning",
    "sweep",
    "paired_differences",
    "sweep_differences",
]


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_the_given_axes_and_leaves_the_table_alone(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    before, ax = table.copy(deep=True), Figure().add_subplot()
    assert plot(table, ax=ax, **options) is ax
    pd.testing.assert_frame_equal(table, before)
    assert ax.get_xlabel()
    assert ax.get_ylabel() or [label.get_text() for label in ax.get_yticklabels()]
    assert "seed" in ax.get_title(loc="left")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_of_its_own_is_unknown_to_pyplot(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    assert plot(table, **options).figure is not None
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", NAMES[:-2])  # a single arm has nothing to be compared with
def test_one_arm_and_one_seed(single: Results, name: str) -> None:
    plot, table, options = tables(single)[name]
    ax = plot(table, **options)
    ax.figure.savefig(Path("/dev/null"), format="png")
    assert "interval" not in ax.get_title(loc="left")
    assert "1 seed" in ax.get_title(loc="left") or "1 tuning seed" in ax.get_title(loc="left")


@pytest.mark.parametrize("name", NAMES[:-2])
def test_an_empty_table_is_refused(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    with pytest.raises(InputError, match=name):
        plot(table.iloc[:0], **options)
