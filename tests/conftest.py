"""What several test files use."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

import tamcl.avalanche  # noqa: F401 - before any test imports avalanche, whose own import warns
from tamcl.engines.inline import Inline
from tamcl.streams.benchmark import Images
from tamcl.study.compare import compare
from tamcl.study.regret import train_oracle
from tests.helpers import in_this_process
from tests.oracles import KINDS, scenario_of

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; what tests start would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="module")
def oracles_in_this_process() -> Iterator[None]:
    """Train in this process, and draw no figures but those of the part on oracles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.engines.local.Local", in_this_process)
        patch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
        patch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
        yield


@pytest.fixture
def with_changed_oracle(with_oracles: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the study with its oracles after a change of one table of the restart oracle."""

    def write(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
        folder = shutil.copytree(with_oracles, tmp_path / "changed")
        path = folder / "oracles" / "restart" / f"{name}.parquet"
        change(pd.read_parquet(path)).to_parquet(path)
        return folder

    return write


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights and images in double precision, where rounding cannot tell two ways to compute apart."""
    batch = Images.batch
    monkeypatch.setattr(Images, "batch", lambda *arguments: batch(*arguments).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
