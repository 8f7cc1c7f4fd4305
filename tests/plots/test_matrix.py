from __future__ import annotations

import numpy as np
import pytest

from tamcl import plots
from tamcl.errors import InputError
from tamcl.results import Results


def test_accuracy_matrix_shows_the_mean_over_seeds(study: Results) -> None:
    evaluated = study.phase(study.eval)
    ax = plots.accuracy_matrix(evaluated, arm="adam")
    rows = evaluated[evaluated["arm"] == "adam"].groupby(["trained_on", "evaluated_on"])["accuracy"].mean()
    np.testing.assert_allclose(ax.images[0].get_array(), 100 * rows.to_numpy().reshape(4, 3))
    assert [text.get_text() for text in ax.texts] == [f"{100 * value:.0f}" for value in rows]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "0", "1", "2"]
    assert len(ax.figure.axes) == 1
    assert len(plots.accuracy_matrix(evaluated, arm="adam", numbers=False).figure.axes) == 2  # a scale instead


def test_a_shade_is_the_same_accuracy_in_every_matrix(study: Results) -> None:
    low = study.phase(study.eval).assign(accuracy=lambda table: table["accuracy"] / 5)
    assert plots.accuracy_matrix(low, arm="adam").images[0].get_clim() == (0, 100)


def test_accuracy_matrix_asks_which_arm(study: Results) -> None:
    with pytest.raises(InputError, match="choose one of adam, sgdm, tam"):
        plots.accuracy_matrix(study.phase(study.eval))
