"""One seed of a study: its data, the surface of its loss, and where its runs ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tamcl.errors import InputError
from tamcl.landscape.line import between
from tamcl.landscape.normalization import statistics_of
from tamcl.landscape.plane import Plane
from tamcl.landscape.surface import Height, Surface, examples
from tamcl.scenario.schema import Scenario
from tamcl.strategies.evaluation import evaluate
from tamcl.training.build import build_model
from tamcl.training.resources import Resources
from tamcl.training.running import lay_ground
from tamcl.training.weights import Weights, load_weights, read_weights

CLOSE = 0.01
"""Kept weights are those of the tables if their loss on the last test set is the same but for so large a part of it, or
of this number where it is smaller."""


class Kept(NamedTuple):
    """A run that kept its weights."""

    run: dict[str, Any]
    """Its row of the table ``runs``."""
    path: Path
    """Of its weights, in its cell's folder."""
    loss: float
    """On the test set of the last experience, as the study measured it; nan if it did not."""


class Scene:
    """The data of a seed, the surface of the loss on them, and the ends of its runs.

    Parameters
    ----------
    scenario : Scenario
    seed : int
    kept : mapping of str to Kept
        By arm.
    samples : int
        Training examples, and as many test examples at most, that losses are measured on.
    last : bool
        Whether they are of the last experience alone, and not of all.
    resources : Resources

    Attributes
    ----------
    surface : Surface
    ends : dict of str to dict of str to Tensor
        The final weights of each arm.

    Raises
    ------
    InputError
        If data or stream are others by now, or the weights are not those of the runs.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        kept: Mapping[str, Kept],
        *,
        samples: int,
        last: bool,
        resources: Resources,
    ) -> None:
        torch.set_num_threads(resources.threads)
        ground = lay_ground(scenario, resources, seed)
        for arm, each in kept.items():
            if each.run["fingerprint"] not in ("", ground.digest):
                raise InputError(f"{arm}, seed {seed}: was trained on another stream than its scenario makes here")
        positions = range(len(ground.segments))[-1 if last else 0 :]
        train, test = ground.benchmark.train_stream, ground.benchmark.test_stream
        device = torch.device(resources.choose_device())
        model = build_model(scenario, ground.data, ground.segments, seed)
        self.segments = [ground.segments[position] for position in positions]
        parts = [examples(stream, positions, samples) for stream in (train, test)]
        self.surface = Surface(model, parts[0], parts[1], device)
        self.renewed = statistics_of(model)
        self.ends: dict[str, Weights] = {}
        for arm, each in kept.items():
            self.ends[arm] = weights = read_weights(each.path, of=each.path.parent.name)
            try:
                load_weights(model, weights)
            except ValueError as error:
                raise InputError(f"'{each.path}': does not fit the model: {error}") from error
            (found,) = evaluate(model, test, device, [len(ground.segments) - 1])
            if abs(found.loss - each.loss) > CLOSE * max(abs(each.loss), CLOSE):
                raise InputError(
                    f"'{each.path}': has a test loss of {found.loss:.4g}, and the study's table says {each.loss:.4g}"
                )

    def line(self, start: Weights, end: Weights, points: int) -> Iterator[tuple[float, str, float, float]]:
        """Yield place, part of the data, loss and accuracy on the straight line between two ends."""
        for alpha in np.linspace(0, 1, points):
            weights = between(start, end, float(alpha), renewed=self.renewed)
            yield from ((float(alpha), *row) for row in _rows(self.surface.heights(weights)))

    def plane(self, arms: Sequence[str]) -> Plane:
        """Return the plane through the ends of three arms."""
        return Plane([self.ends[arm] for arm in arms], renewed=self.renewed)

    def on_plane(
        self, plane: Plane, arms: Sequence[str], points: int
    ) -> Iterator[tuple[str, float, float, str, float, float]]:
        """Yield arm or nothing, coordinates, part of the data, loss and accuracy on a grid, and at the three ends."""
        x, y = (axis.tolist() for axis in plane.grid(points))
        places = [*((arm, *corner) for arm, corner in zip(arms, plane.corners, strict=True))]
        for arm, *place in [*places, *(("", a, b) for b in y for a in x)]:
            weights = plane.at(*place)
            yield from ((arm, *place, *row) for row in _rows(self.surface.heights(weights)))

    def check_same_task(self, other: Scene, seeds: tuple[int, int]) -> None:
        """Raise an ``InputError`` if the same image has another label, or looks otherwise, for another seed."""
        for here, there in zip(self.segments, other.segments, strict=True):
            looks = [None if each.transform is None else each.transform.describe() for each in (here, there)]
            labels = [
                dict(zip(each.test_index.tolist(), each.test_labels.tolist(), strict=True)) for each in (here, there)
            ]
            common = labels[0].keys() & labels[1].keys()
            if looks[0] != looks[1] or here.task != there.task or not common:
                why = "images"
            elif any(labels[0][index] != labels[1][index] for index in common):
                why = "labels"
            else:
                continue
            raise InputError(
                f"--pairs seeds: the {why} of seeds {seeds[0]} and {seeds[1]} are not the same in this stream, so "
                "their runs have learnt different things; --pairs arms compares arms on each seed"
            )


def _rows(heights: Mapping[str, Height]) -> Iterator[tuple[str, float, float]]:
    return ((part, *height) for part, height in heights.items())
