from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from tamcl import plots
from tamcl.errors import InputError
from tamcl.findings.study import Study
from tamcl.metrics import by_experience
from tamcl.report.figures import drawings
from tamcl.results import Results
from tests.plots.helpers import line


def test_over_experiences_is_the_mean_over_seeds_of_the_last_half(study: Results) -> None:
    online = study.phase(study.online)
    ax = plots.over_experiences(by_experience(online))
    late = online[(online["arm"] == "adam") & (online["step"] % 40 >= 20)]  # 40 mini-batches: the last 20 of them
    each = 10 * late.pivot_table(index="seed", columns="experience", values="correct", aggfunc="mean")  # of 10, in %
    np.testing.assert_allclose(line(ax, "adam"), np.column_stack([[0, 1, 2], each.mean()]))
    low, high = t.interval(0.95, 3, each.mean(), each.std() / 2)  # 4 seeds
    band = ax.collections[[found.get_label() for found in ax.get_lines()].index("adam")].get_paths()[0].vertices
    for place, ends in enumerate(zip(low, high, strict=True)):
        found = band[band[:, 0] == place, 1]
        np.testing.assert_allclose([found.min(), found.max()], ends)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("experience", "accuracy at the end of an experience (%)")
    assert ax.get_title(loc="left") == "Mean and 95 % interval over 4 seeds"


def test_over_experiences_of_other_columns(study: Results) -> None:
    table = by_experience(study.phase(study.online))
    assert plots.over_experiences(table, column="accuracy_25").get_ylabel() == "accuracy when 25 % of it are over (%)"
    with pytest.raises(InputError, match="unknown column 'accuracy_20'"):
        plots.over_experiences(table, column="accuracy_20")


def test_the_report_has_it_after_recovery_from_three_experiences_on(study: Results, single: Results) -> None:
    names = [drawing.name for drawing in drawings(Study(study))]
    assert names.index("over_experiences") == names.index("recovery") + 1
    assert "over_experiences" not in [drawing.name for drawing in drawings(Study(single))]
