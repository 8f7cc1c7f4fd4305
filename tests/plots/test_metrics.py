from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tamcl import plots
from tamcl.errors import InputError
from tamcl.plots.style import KNOWN
from tamcl.results import Results
from tests.plots.helpers import SMALL, line


def test_summary_shows_mean_interval_and_seeds(study: Results) -> None:
    metrics = study.phase(study.metrics)
    ax = plots.summary(metrics, metric="online_accuracy", arms=SMALL)
    values = 100 * metrics.query("arm == 'tam' and metric == 'online_accuracy'")["value"]
    seeds, interval, mean = ax.lines[3:6]
    np.testing.assert_allclose(seeds.get_xdata(), values)
    np.testing.assert_allclose(interval.get_xdata(), stats.t.interval(0.95, 3, values.mean(), values.sem()))
    np.testing.assert_allclose(mean.get_xdata(), [values.mean()])
    assert ax.get_xlabel() == "Online accuracy (%, higher is better)"
    assert [label.get_text() for label in ax.get_yticklabels()] == SMALL


def test_summary_keeps_the_place_of_an_arm_without_values(study: Results) -> None:
    metrics = study.phase(study.metrics)
    metrics.loc[metrics["arm"] == "tam", "value"] = np.nan
    ax = plots.summary(metrics, metric="forgetting", arms=SMALL)
    assert [label.get_text() for label in ax.get_yticklabels()] == SMALL
    assert {line.get_label() for line in ax.lines} & set(SMALL) == {"sgdm", "adam"}


def test_forgetting_against_learning_shows_means_and_seeds(study: Results) -> None:
    metrics = study.phase(study.metrics)
    ax = plots.forgetting_against_learning(metrics, arms=SMALL)
    wide = metrics[metrics["arm"] == "adam"].pivot(index="seed", columns="metric", values="value") * 100
    np.testing.assert_allclose(line(ax, "adam"), [[wide["learning_accuracy"].mean(), wide["forgetting"].mean()]])
    own = [found for found in ax.lines if found.get_color() == KNOWN["adam"].color]
    np.testing.assert_allclose(own[0].get_xydata(), wide[["learning_accuracy", "forgetting"]])
    expected = stats.t.interval(0.95, 3, wide["forgetting"].mean(), wide["forgetting"].sem())
    np.testing.assert_allclose(own[2].get_ydata(), expected)
    assert ax.get_xlabel() == "Learning accuracy (%, higher is better)"
    assert ax.get_ylabel() == "Forgetting (%, lower is better)"
    with pytest.raises(InputError, match="no seed has both 'learning_accuracy' and 'forgetting'"):
        plots.forgetting_against_learning(metrics[metrics["metric"] != "forgetting"])
