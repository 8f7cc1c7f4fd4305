from __future__ import annotations

import numpy as np
import pytest

from tamcl import plots
from tamcl.errors import InputError
from tamcl.results import Results
from tests.plots.helpers import line


def test_recovery_is_the_mean_over_shifts(study: Results) -> None:
    online = study.phase(study.online)
    ax = plots.recovery(online, window=5)
    rows = online[online["arm"] == "sgdm"]
    expected = []
    for seed in range(4):
        right = rows[rows["seed"] == seed].sort_values("step")["correct"].to_numpy()
        expected.append(np.mean([right[shift : shift + 5].mean() for shift in (40, 80)]))
    points = line(ax, "sgdm")
    np.testing.assert_allclose(points[points[:, 0] == 0, 1], 100 * np.mean(expected) / 10)
    assert points[:, 0].min() == -30
    assert "2 shifts" in ax.get_title(loc="left")


def test_recovery_needs_a_shift(study: Results) -> None:
    online = study.phase(study.online)
    with pytest.raises(InputError, match="recovery: the stream has a single experience"):
        plots.recovery(online[online["experience"] == 0])
