"""What several test files use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tamcl.avalanche  # noqa: F401 - before any test imports avalanche, whose own import warns
from tamcl.engines.inline import Inline
from tamcl.study.compare import compare
from tamcl.study.regret import train_oracle
from tests.oracles import KINDS, scenario_of

TINY = """
title = "A study that takes seconds"
stream = { name = "label_flip", dataset = "digits", experiences = 2, samples = 80, fraction = 0.8 }
model = { name = "mlp", hidden = [16] }
protocol = { seeds = 3, tune_seeds = 2, pairs = [["tam", "sgdm"]] }
evaluation = { samples = 50 }
[arms.sgdm]
optimizer = "sgd"
lr = [0.1, 0.05]
momentum = 0.9
[arms.tam]
optimizer = "tam"
lr = [0.2, 0.1]
[arms.tam_frozen]
optimizer = "tam"
null_of = "tam"
lr = [0.2, 0.1]
damping = 0.5
"""


@pytest.fixture(scope="session", autouse=True)
def cache_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in place of the user's cache, the same one in all of pytest's processes."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMCL_CACHE_DIR", str((base.parent if base.name.startswith("popen") else base) / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file of three arms and 21 cells."""
    path = tmp_path_factory.mktemp("scenario") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def without_oracles(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms, three experiences and two reported seeds."""
    return compare(scenario_of(tiny), tmp_path_factory.mktemp("bare") / "study", engine=Inline()).directory


@pytest.fixture(scope="session")
def with_oracles(without_oracles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with both oracles."""
    folder = shutil.copytree(without_oracles, tmp_path_factory.mktemp("held") / "study")
    for kind in KINDS:
        train_oracle(folder, kind, engine=Inline())
    return folder
