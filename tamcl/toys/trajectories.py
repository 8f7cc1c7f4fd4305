"""The paths that optimizers take over a surface, from many starts at once, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS
from tamcl.optim.closures import needs_closure
from tamcl.registry import lookup
from tamcl.seeding import derive_seed
from tamcl.toys.surfaces import Surface, find_surface, gradient

OptimizerClass = str | Callable[..., Optimizer]
"""A registered name, ``package.module:Class``, or what makes an optimizer from a list of parameters."""

Arms = Mapping[str, Mapping[str, Any]]
"""Optimizers to compare, as in a scenario file: ``{"tam": {"optimizer": "tam", "lr": 0.1}}``."""

LAST = 0.1
"""Share of the steps that count as the end of a run."""

ELEMENTWISE: set[Any] = {SGD, Adam, AdamW, RMSprop, Adagrad, NAdam, RAdam}
"""Optimizers that treat every number by itself, so that one of them takes all starts at once."""


def trajectory(
    surface: Surface | str,
    optimizer_class: OptimizerClass,
    start: ArrayLike,
    steps: int,
    *,
    noise_seed: int = 0,
    **options: Any,
) -> NDArray[np.float64]:
    """Return where an optimizer goes from a start, or from each of several as if it were alone.

    Parameters
    ----------
    surface : Surface or str
        What is minimised, or its name in ``SURFACES``.
    optimizer_class : str, type or callable
        A registered name, ``package.module:Class``, or what makes an optimizer from a list of parameters.
    start : array, (dimension,) or (starts, dimension)
    steps : int
        At least 0.
    noise_seed : int
        Of the noise of the gradients, where the surface has noise. Each start has its own noise, which depends on its
        position among the starts and not on their number; it is the same for all optimizers.
    **options
        Of the optimizer.

    Returns
    -------
    array, (steps + 1, dimension) or (steps + 1, starts, dimension)
        Points, the start first. A path that overflows is nan from there on.

    Examples
    --------
    >>> path = trajectory("rosenbrock", "tam", [-1.2, 1.0], 800, lr=0.001)
    >>> path.shape, path[-1].round(1)
    ((801, 2), array([1., 1.]))
    """
    surface = find_surface(surface)
    points = np.asarray(start, dtype=np.float64)
    dimension = len(surface.bounds)
    if points.ndim not in (1, 2) or points.shape[-1] != dimension:
        raise ValueError(f"start must have shape ({dimension},) or (starts, {dimension}), got {points.shape}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps!r}")
    paths = _follow(surface, [(optimizer_class, options)], points.reshape(-1, dimension), steps, noise_seed)
    return paths.reshape(steps + 1, *points.shape)


def each_path(
    surface: Surface | str,
    arms: Arms,
    starts: ArrayLike,
    steps: int,
    noise_seed: int = 0,
    center: NDArray[np.float64] | None = None,
) -> Iterator[tuple[str, float, NDArray[np.float64]]]:
    """Yield name, learning rate and paths, (steps + 1, starts, dimension), of every arm at each of its rates.

    With a ``center``, of that shape, the surface moves: its point 0 is there before each step.
    """
    surface = find_surface(surface)
    names, makers = [], []
    for arm, given in arms.items():
        options = dict(given)
        missing = sorted({"optimizer", "lr"} - set(options))
        if missing:
            raise InputError(f"arm '{arm}': {' and '.join(missing)} missing")
        optimizer_class, rates = options.pop("optimizer"), np.atleast_1d(options.pop("lr"))
        names += [(arm, float(lr)) for lr in rates]
        makers += [(optimizer_class, options | {"lr": float(lr)}) for lr in rates]
    rows = np.atleast_2d(np.asarray(starts, dtype=np.float64))
    paths = _follow(surface, makers, rows, steps, noise_seed, center)
    for i, (arm, lr) in enumerate(names):
        yield arm, lr, paths[:, i]


def _follow(
    surface: Surface,
    makers: Sequence[tuple[OptimizerClass, Mapping[str, Any]]],
    starts: NDArray[np.float64],
    steps: int,
    noise_seed: int,
    center: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the paths of several optimizers, of shape (steps + 1, optimizers, starts, dimension)."""
    centers = torch.zeros(steps, 1, 1) if center is None else torch.tensor(center)
    points = torch.tensor(starts).repeat(len(makers), 1, 1)
    grads = torch.zeros_like(points)
    noises = _noises(surface, starts.shape, steps, noise_seed)
    runs = [
        ((i, rows), *_run(maker, points[i][rows], grads[i][rows]))
        for i, maker in enumerate(makers)
        for rows in _apart(maker[0], len(starts))
    ]
    closes = {optimizer: needs_closure(optimizer) for *_, optimizer in runs}
    paths = np.full((steps + 1, *points.shape), np.nan)
    paths[0] = points
    for step in range(steps):
        grads.copy_(gradient(surface, points - centers[step]) + noises[step])
        alive = np.isfinite(grads.numpy()).all(-1)
        whole = alive.all()
        for rows, param, optimizer in runs:
            if not whole and not alive[rows].any():
                continue
            if closes[optimizer]:
                optimizer.step(_closure(surface, points, centers[step], rows, param, noises[step]))
            else:
                optimizer.step()
        paths[step + 1][alive] = points.numpy()[alive]
    return paths


def _apart(optimizer_class: OptimizerClass, count: int) -> list[Any]:
    """Return the rows that each of the optimizers needed for so many starts has."""
    return [slice(None)] if _found(optimizer_class) in ELEMENTWISE else list(range(count))


def _run(maker: tuple[OptimizerClass, Mapping[str, Any]], points: Tensor, grads: Tensor) -> tuple[Parameter, Optimizer]:
    # the parameter and its gradient are views: what is written to one shows in the other
    optimizer_class, options = maker
    param = Parameter(points)
    param.grad = grads
    return param, _found(optimizer_class)([param], **options)


def _found(optimizer_class: OptimizerClass) -> Any:
    return lookup(OPTIMIZERS, optimizer_class) if isinstance(optimizer_class, str) else optimizer_class


def _noises(surface: Surface, shape: tuple[int, ...], steps: int, seed: int) -> Tensor:
    """Return the noise of every step, start and coordinate."""
    starts, dimension = shape
    if not surface.noise:
        return torch.zeros(steps, 1, 1)
    drawn = np.random.default_rng(derive_seed(seed, "stream")).normal(size=(starts, steps, dimension))
    return torch.tensor(surface.noise * drawn).transpose(0, 1)


def _closure(
    surface: Surface, points: Tensor, center: Tensor, rows: Any, param: Parameter, noise: Tensor
) -> Callable[[], float]:
    """Return what computes the gradient of a run anew, wherever its optimizer has moved it to."""

    def closure() -> float:
        assert param.grad is not None
        param.grad.copy_((gradient(surface, points - center) + noise)[rows])
        return float(surface.function(points - center)[rows].sum())

    return closure


def path_table(
    surface: Surface | str, arms: Arms, starts: ArrayLike, steps: int, *, noise_seed: int = 0
) -> pd.DataFrame:
    """Return the paths of several optimizers as a table.

    Parameters
    ----------
    surface : Surface or str
        What is minimised, or its name in ``SURFACES``.
    arms : dict of str to dict
        Of every arm ``optimizer``, ``lr`` (a number or a list) and other options.
    starts : array, (starts, dimension) or (dimension,)
    steps : int
    noise_seed : int
        Of the noise of the gradients, as in ``trajectory``.

    Returns
    -------
    DataFrame
        arm, lr, start (which one), step, a column for each coordinate (x, y) and loss, which is without noise.

    Examples
    --------
    >>> arms = {"sgdm": {"optimizer": "sgd", "lr": 0.001, "momentum": 0.9}}
    >>> path_table("rosenbrock", arms, [0.0, 0.0], 2).round(4)
        arm     lr  start  step       x    y    loss
    0  sgdm  0.001      0     0  0.0000  0.0  1.0000
    1  sgdm  0.001      0     1  0.0020  0.0  0.9960
    2  sgdm  0.001      0     2  0.0058  0.0  0.9884
    """
    surface = find_surface(surface)
    tables = []
    for arm, lr, path in each_path(surface, arms, starts, steps, noise_seed):
        by_start = path.swapaxes(0, 1)
        start, step = np.indices(by_start.shape[:2])
        columns = {axis: by_start[..., i].ravel() for i, axis in enumerate(surface.axes)}
        columns["loss"] = surface.value(by_start).ravel()
        tables.append(pd.DataFrame({"arm": arm, "lr": lr, "start": start.ravel(), "step": step.ravel(), **columns}))
    return pd.concat(tables, ignore_index=True)


def outcomes(surface: Surface | str, arms: Arms, starts: ArrayLike, steps: int, *, noise_seed: int = 0) -> pd.DataFrame:
    """Return how each run of each optimizer ended.

    Parameters
    ----------
    surface, arms, starts, steps, noise_seed
        As in ``path_table``.

    Returns
    -------
    DataFrame
        arm, lr, start, loss (mean over the last tenth of the steps, above the lowest possible), lowest_loss (along the
        path), and distance from the nearest of the lowest minima in the end; nan or inf if the run diverged.

    Examples
    --------
    >>> arms = {"sgdm": {"optimizer": "sgd", "lr": [0.002, 1.0], "momentum": 0.9}}
    >>> outcomes("rosenbrock", arms, [[0.0, 0.0]], 500).round(3)
        arm     lr  start  loss  lowest_loss  distance
    0  sgdm  0.002      0   0.0          0.0     0.008
    1  sgdm  1.000      0   NaN          1.0       NaN
    """
    surface = find_surface(surface)
    tables = []
    for arm, lr, path in each_path(surface, arms, starts, steps, noise_seed):
        above = surface.value(path) - surface.lowest
        last = above[-last_steps(steps) :]
        ends = {"loss": last.mean(0), "lowest_loss": np.nanmin(above, axis=0), "distance": surface.distance(path[-1])}
        tables.append(pd.DataFrame({"arm": arm, "lr": lr, "start": np.arange(path.shape[1]), **ends}))
    return pd.concat(tables, ignore_index=True)


def last_steps(steps: int) -> int:
    """Return over how many steps the end of a run is measured."""
    return max(1, round(LAST * steps))


def best_lrs(ended: pd.DataFrame) -> dict[str, float]:
    """Return each arm's learning rate with the lowest mean loss; one at which a run diverges comes after all others.

    Parameters
    ----------
    ended : DataFrame
        Rows of ``outcomes``.

    Examples
    --------
    >>> best_lrs(pd.DataFrame({"arm": "tam", "lr": [0.1, 0.2, 0.2], "loss": [3.0, 1.0, float("nan")]}))
    {'tam': 0.1}
    """
    means = ended.assign(loss=ended["loss"].fillna(np.inf)).groupby(["arm", "lr"], sort=False)["loss"].mean()
    return {str(arm): float(lr) for arm, lr in means.groupby("arm", sort=False).idxmin()}
