from __future__ import annotations

import numpy as np
import pytest

from tamcl import plots
from tamcl.errors import InputError
from tamcl.plots import arm_styles
from tamcl.results import Results
from tests.plots.helpers import SMALL, behind, line


def test_regret_adds_up_from_nothing_at_the_end_of_each_experience(study: Results) -> None:
    table = behind(study)
    table.loc[(table["arm"] == "tam") & (table["seed"] == 0), "cumulative"] += [0, 4, 8]
    ax = plots.regret(table, arms=SMALL)
    np.testing.assert_allclose(line(ax, "sgdm"), [[0, 0], [1, 0], [2, 40], [3, 80]])  # 40 mini-batches, one more each
    np.testing.assert_allclose(line(ax, "tam"), [[0, 0], [1, 0], [2, 41], [3, 82]])  # 4 seeds
    assert [drawn.get_color() for drawn in ax.lines if drawn.get_label() == "tam"] == [arm_styles(SMALL)["tam"].color]
    assert ax.get_ylabel() == "cumulative regret (right answers)"
    assert ax.get_xlabel() == "experiences seen"
    assert ax.get_title(loc="left") == "Mean and 95 % interval over 4 seeds"
    bands = {band.get_label(): band for band in ax.collections}
    assert len(bands) == len(ax.collections)
    assert ax.get_xlim() == (0, 3)


def test_regret_starts_at_nothing_where_the_first_experience_brings_some(study: Results) -> None:
    table = behind(study)
    ax = plots.regret(table.assign(cumulative=table["cumulative"] + 5), arms=SMALL)
    np.testing.assert_allclose(line(ax, "sgdm"), [[0, 0], [1, 5], [2, 45], [3, 85]])


def test_regret_is_drawn_against_one_oracle_at_one_learning_rate(study: Results) -> None:
    table = behind(study)
    table.loc[0, "lr"] = 17.0
    with pytest.raises(InputError, match="regret: arm 'adam' stands at 2 learning rates"):
        plots.regret(table)
