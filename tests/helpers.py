"""Small data for tests, and short ways to build things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamcl.cli.main import main
from tamcl.data import DataSet
from tamcl.engines import Engine
from tamcl.engines.inline import Inline
from tamcl.engines.local import Local
from tamcl.streams import Segment
from tamcl.training.cell import Cell, Task
from tamcl.training.resources import Resources


def in_this_process(jobs: int = 1, timeout: float | None = None) -> Inline:
    """Stand in for `tamcl.engines.local.Local`, whose processes take seconds to start."""
    Local(jobs, timeout)  # which refuses what cannot be
    return Inline()


class StartedFirst:
    """An engine that must be started before it knows how many tasks it trains at once, as one of an executor."""

    jobs = None

    def __init__(self) -> None:
        self.trained_in: list[Path] = []

    @contextmanager
    def kept(self) -> Iterator[Engine]:
        trained_in = self.trained_in

        class Started(Inline):
            jobs = 2

            def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
                trained_in.append(directory)
                yield from super().train(tasks, directory, resources)

        yield Started()

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train nothing: nobody has started it."""
        raise AssertionError("it is not started")


def train_here(cells: Sequence[Cell], directory: Path) -> list[str]:
    """Train cells in this process, and return how they ended."""
    return [status for _, status in Inline().train([(cell,) for cell in cells], directory, Resources())]


@contextmanager
def interrupted(after: int, before: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let a study's arms be trained once more here, until Ctrl-C comes after so many cells.

    `before` is called before the first of them.
    """

    class Interrupted(Inline):
        def train(self, tasks: Sequence[Task], *arguments: Any) -> Iterator[tuple[Cell, str]]:
            before()
            yield from islice(super().train(tasks, *arguments), after)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.engines.local.Local", lambda *_, **__: Interrupted())
        patch.setattr("tamcl.engines.inline.Inline", lambda: Interrupted())
        with pytest.raises(KeyboardInterrupt):
            yield


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Give a wrong call, and return the one line that it is answered with, but for what a slow check says before."""
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    lines = [line for line in errors.splitlines(keepends=True) if not line.endswith(BEFORE)]
    assert len(lines) == 1, errors
    assert lines[0].startswith("tamcl: ")
    assert lines[0].endswith("\n")
    return lines[0]


BEFORE = ("a step of each arm\n", ": starting\n", " studies\n")


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
