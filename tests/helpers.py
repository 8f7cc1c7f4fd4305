"""Small data for tests, and short ways to build things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamcl.cli import main
from tamcl.data import DataSet
from tamcl.run import Cell, run_cell, write_cell
from tamcl.streams import Segment


def train_here(
    cells: Sequence[Cell],
    directory: Path,
    data_dir: Path | None = None,
    allow_subset: bool = False,
    jobs: int = 1,
    timeout: float | None = None,
) -> Iterator[tuple[Cell, str]]:
    """Train cells in this process, in place of `tamcl.workers.train_cells`, whose processes take seconds to start."""
    for cell in cells:
        outcome = run_cell(cell, data_dir, allow_subset)
        write_cell(directory, cell, outcome)
        yield cell, outcome.runs["status"].item()


@contextmanager
def interrupted(after: int, before: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let a study's arms be trained once more here, until Ctrl-C comes after so many cells.

    `before` is called before the first of them.
    """

    def train(cells: Sequence[Cell], *arguments: Any, **options: Any) -> Iterator[tuple[Cell, str]]:
        before()
        yield from islice(train_here(cells, *arguments, **options), after)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.repeat.train_cells", train)
        with pytest.raises(KeyboardInterrupt):
            yield


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Give a wrong call, and return the one line that it is answered with."""
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("tamcl: ")
    assert errors.count("\n") == 1
    return errors


def noise_data(samples: int = 100, shape: tuple[int, int, int] = (1, 4, 4), classes: int = 10) -> DataSet:
    """Noise images with labels in turn; half as many test images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples + samples // 2, *shape), dtype=np.uint8)
    labels = np.arange(len(images)) % classes
    train, test = slice(0, samples), slice(samples, None)
    return DataSet("noise", images[train], labels[train], images[test], labels[test], classes, (samples, samples // 2))


def noise_segments(data: DataSet, experiences: int = 2) -> list[Segment]:
    """All images in every experience."""
    train, test = np.arange(len(data.train_y)), np.arange(len(data.test_y))
    classes = tuple(range(data.classes))
    return [Segment(train, data.train_y, test, data.test_y, 0, classes) for _ in range(experiences)]
