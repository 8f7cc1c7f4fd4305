"""What several test files use."""

from __future__ import annotations

from pathlib import Path

import pytest

import tamcl.avalanche  # noqa: F401 - before any test imports avalanche, whose own import warns

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


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file of three arms and 21 cells."""
    path = tmp_path_factory.mktemp("scenario") / "tiny.toml"
    path.write_text(TINY)
    return path
