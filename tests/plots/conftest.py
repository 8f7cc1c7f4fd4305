"""Studies to draw."""

from __future__ import annotations

import pytest

from tamcl.results import Results, load_results
from tests.plots.helpers import SMALL
from tests.synthetic_study import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("plots") / "study"
    return load_results(write_study(folder, arms=SMALL, seeds=4, tune_seeds=2, experiences=3, steps=40))


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One arm, one seed."""
    folder = tmp_path_factory.mktemp("plots") / "single"
    return load_results(write_study(folder, arms=["tam"], seeds=1, tune_seeds=1, experiences=2, steps=20))
