from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.toys import SURFACES, showcase, write_toys
from tamcl.toys.surfaces import barrier

SHOWN = ("escape_ratio", "convergence_rate", "noisy_quadratic", "drift_law", "drift")
FIGURES = {f"{name}.png" for name in (*SURFACES, "flat_sharp", *SHOWN)}
TABLES = {f"{name}.csv" for name in ("surfaces", *SHOWN)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showcase, "CONDITION_NUMBERS", (2.0, 10.0))
        patch.setattr(showcase, "SIMULATED", ())
        paths = write_toys(folder, steps=4)
    assert {path.name for path in paths} == FIGURES | TABLES == {path.name for path in folder.iterdir()}
    return folder


def test_figures_are_pictures(written: Path) -> None:
    for name in FIGURES:
        data = (written / name).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert 20_000 < len(data) < 400_000


def test_every_arm_has_as_many_rates_and_its_null_model(written: Path) -> None:
    table = pd.read_csv(written / "surfaces.csv")
    assert set(table["surface"]) == set(SURFACES)
    assert set(table["arm"]) == {*showcase.SGD_FAMILY, *showcase.ADAM_FAMILY}
    assert (table.groupby(["surface", "arm"])["lr"].nunique() == len(showcase.GRID)).all()
    assert (table[table["chosen"]].groupby(["surface", "arm"])["lr"].nunique() == 1).all()
    escapes = pd.read_csv(written / "escape_ratio.csv")
    assert set(escapes["arm"]) == set(showcase.OPTIMIZERS)
    assert (escapes["start"] > barrier(escapes["sharpness"])).all()


def test_every_optimizer_of_the_table_follows_the_drift(written: Path) -> None:
    table = pd.read_csv(written / "drift.csv")
    assert set(table["arm"]) == set(OPTIMIZERS) - {"muon", "switch"}
    counts = table.groupby("arm")["momentum"].nunique()
    assert {arm for arm, count in counts.items() if count == 0} == set(showcase.WITHOUT_MOMENTUM)
    assert set(counts) == {0, 3, 4}


def test_decoupled_decay_is_off_where_it_would_hold_an_optimizer_back() -> None:
    for name in (*showcase.SUMS, *showcase.AVERAGES, *showcase.OTHERS):
        options = showcase.follower(name, 0.5)
        parameters = [torch.nn.Parameter(torch.ones(2))]
        made = lookup(OPTIMIZERS, options.pop("optimizer"))(parameters, **options | {"lr": 0.1})
        assert made.param_groups[0].get("weight_decay", 0) == 0, name


def test_the_same_numbers_each_time(written: Path, tmp_path: Path) -> None:
    for experiment in (showcase.escapes, showcase.noise):
        experiment(tmp_path, 4)
    for path in tmp_path.glob("*.csv"):
        assert path.read_bytes() == (written / path.name).read_bytes()
    assert len(list(tmp_path.glob("*.csv"))) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out .*file: File exists"):
        write_toys(tmp_path / "file")
