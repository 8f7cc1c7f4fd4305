"""What ``tamcl toys`` makes: the arms, the experiments on the toy surfaces, and their figures and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context

from tamcl.errors import InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.paths import user_path
from tamcl.plots import theme
from tamcl.toys import figures
from tamcl.toys.drift import Drift, track, tracking_error, worst_period
from tamcl.toys.escape import escape_ratio
from tamcl.toys.quadratics import best_rate, convergence_rates, largest_step
from tamcl.toys.surfaces import SURFACES, flat_sharp, quadratic
from tamcl.toys.trajectories import best_lrs, outcomes, path_table

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgdm": {"optimizer": "sgd", "momentum": 0.9},
    "tam": {"optimizer": "tam"},
    "tam_frozen": {"optimizer": "tam", "damping": 0.5},
    "sgd_cm": {"optimizer": "sgd_cm"},
    "sgdm_long": {"optimizer": "sgd", "momentum": 0.9},
    "adam": {"optimizer": "adam"},
    "adatam": {"optimizer": "adatam"},
    "adam_cm": {"optimizer": "adam_cm"},
    "adam_cm_empty": {"optimizer": "adam_cm", "capacity": 0},
    "adam_long": {"optimizer": "adam"},
}
"""The arms without their learning rates. ``tam_frozen`` (damping held at 1/2), ``adam_cm_empty`` (a buffer of none) and
the two that are ``long`` (the plain optimizer with longer steps) are null models."""

THEME: Any = theme()

SGD_FAMILY = ("sgdm", "tam", "tam_frozen", "sgd_cm")
ADAM_FAMILY = ("adam", "adatam", "adam_cm", "adam_cm_empty")
ORDER = tuple(OPTIMIZERS)
RATES = {
    "ackley": (0.03, 0.06, 0.06, 5e-3, 0.3, 0.3, 0.1, 0.1),
    "goldstein_price": (3e-6, 6e-6, 6e-6, 6e-7, 0.3, 0.3, 0.03, 0.03),
    "rosenbrock": (1e-3, 2e-3, 2e-3, 3e-5, 0.3, 0.5, 0.01, 0.1),
}
GRID = (0.1, 0.3, 1.0, 3.0)
"""Learning rates around which the arms of the two families are tried, and what they are multiplied by."""

TUNED_ON = 8
STEPS = 300
"""Starts of the runs that choose a learning rate, and the length of all runs."""

ESCAPE_RATE = {"sgd": 0.01, "adam": 0.1}
ESCAPE_FACTORS = {
    "sgdm": 1, "tam": 2, "tam_frozen": 2, "sgd_cm": 0.5,
    "adam": 1, "adatam": 0.2, "adam_cm": 1, "adam_cm_empty": 1, "adam_long": 8,
}  # fmt: skip
"""Learning rates for the same steps on average: a buffer doubles those of SGD, and not those of Adam, which divides by
them; a damping of 1/2 halves those of TAM; AdaTAM's momentum is a sum, ten times Adam's average, times 1/2."""

CONDITION_NUMBERS = tuple(float(10 ** (k / 4)) for k in range(1, 17))
SIMULATED = (10**0.5, 10.0**1.25, 100.0)

QUADRATIC, NOISE, DIMENSION, RUNS = 100.0, 0.1, 10, 10


DRIFT = Drift(walk=0.3, noise=1.0)
LENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
MOMENTA = (0.0, 0.5, 0.9, 0.99)
"""What the optimizers follow, and how long their steps are tried, in the end, at each momentum."""

COORDINATES = 50
SUMS = ("sgd", "tam", "sgd_cm", "sgd_cg", "rmsprop", "rmsprop_cg", "sam", "lookahead")
AVERAGES = ("adam", "adamw", "nadam", "radam", "adatam", "adatamw", "adam_rel", "hgm")
OTHERS = ("adam_cm", "adamw_cm", "adam_cg", "ademamix", "lion", "schedule_free", "cautious", "adagrad", "fade", "upgd")
"""The optimizers that follow it: those with an option ``momentum``, and others, most of which have ``betas``. Not here
are ``switch``, which is two of them in turn, and ``muon``, which is AdamW where there is no matrix."""

WITHOUT_MOMENTUM = ("adagrad", "fade", "upgd")
DECAYING = ("adamw", "adatamw", "adamw_cm", "cautious")
"""They decay weights unless told otherwise, which would hold them where they start."""


def write_toys(directory: str | Path, *, steps: int = STEPS) -> list[Path]:
    """Run all experiments on the toy surfaces and write their figures and tables; it takes about a minute.

    Parameters
    ----------
    directory : str or Path
        Made if it is not there; files of the same names are written over.
    steps : int
        Length of the runs.

    Returns
    -------
    list of Path
        What was written: for each experiment its figures (.png) and its table (.csv).

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    directory = user_path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error
    return [path for experiment in EXPERIMENTS for path in experiment(directory, steps)]


def surfaces(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw each arm's path over the classical surfaces, at the best of its four learning rates."""
    written, ended = [], []
    for name, surface in SURFACES.items():
        middle = zip((*SGD_FAMILY, *ADAM_FAMILY), RATES[name], strict=True)
        arms = {arm: OPTIMIZERS[arm] | {"lr": [float(f"{lr * factor:.6g}") for factor in GRID]} for arm, lr in middle}
        table = outcomes(surface, arms, surface.starts(TUNED_ON), steps)
        chosen = best_lrs(table)
        ended.append(table.assign(surface=name, chosen=table["lr"] == table["arm"].map(chosen)))
        tuned = {arm: arms[arm] | {"lr": chosen[arm]} for arm in arms}
        paths = path_table(surface, tuned, surface.start, steps)
        with rc_context(THEME):
            figure, axes = figures.new_figure(9.4, 5.6, 2)
            for ax, members in zip(axes, (SGD_FAMILY, ADAM_FAMILY), strict=True):
                figures.contours(paths[paths["arm"].isin(members)], surface=surface, arms=ORDER, ax=ax)
                chosen_by = f"lr: best of {len(GRID)} on {TUNED_ON} other starts"
                ax.set_title(f"{ax.get_title(loc='left')}; {chosen_by}", loc="left", size="small")
            written.append(_save(figure, directory / f"{name}.png"))
    columns = ["surface", "arm", "lr", "chosen", "start", "loss", "lowest_loss", "distance"]
    return [*written, _write(pd.concat(ended)[columns], directory / "surfaces.csv")]


def escapes(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw which arms leave the sharp minimum, with the null models that have longer steps alone."""
    arms = {
        arm: OPTIMIZERS[arm] | {"lr": ESCAPE_FACTORS[arm] * ESCAPE_RATE[family]}
        for family, members in (("sgd", SGD_FAMILY), ("adam", (*ADAM_FAMILY, "adam_long")))
        for arm in members
    }
    unbuffered, buffered = largest_step(0.9), largest_step(0.9, 5)
    arms["sgdm_long"] = OPTIMIZERS["sgdm_long"] | {"lr": arms["sgd_cm"]["lr"] * unbuffered / buffered}
    limits = {"sgdm": unbuffered / arms["sgdm"]["lr"], "sgd_cm": buffered / arms["sgd_cm"]["lr"]}
    table = escape_ratio(arms, steps=steps)
    x = np.linspace(-2, 2, 801)
    family = pd.concat(
        pd.DataFrame({"sharpness": k, "x": x, "value": flat_sharp(k).value(x[:, None])}) for k in (4.0, 32.0, 256.0)
    )
    with rc_context(THEME):
        figure, axes = figures.new_figure(10.4, 4.4, 2, sharey=True)
        for ax, members in zip(axes, ((*SGD_FAMILY, "sgdm_long"), (*ADAM_FAMILY, "adam_long")), strict=True):
            known = {arm: limit for arm, limit in limits.items() if arm in members}
            figures.escape(table[table["arm"].isin(members)], arms=ORDER, limits=known, ax=ax)
        written = [
            _save(figures.curves(family).figure, directory / "flat_sharp.png"),
            _save(figure, directory / "escape_ratio.png"),
        ]
    return [*written, _write(table, directory / "escape_ratio.csv")]


def rates(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw how fast heavy ball and critical momenta converge on quadratics, whatever the length of the other runs."""
    table = convergence_rates(CONDITION_NUMBERS, simulated=SIMULATED)
    with rc_context(THEME):
        path = _save(figures.convergence(table).figure, directory / "convergence_rate.png")
    return [path, _write(table, directory / "convergence_rate.csv")]


def noise(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw the loss on a quadratic with exact and with noisy gradients, at momentum .9 and the best step sizes."""
    best = {capacity: best_rate(QUADRATIC, capacity=capacity, beta=0.9) for capacity in (0, 5)}
    step = {"sgdm": best[0].alpha, "tam": 2 * best[0].alpha, "tam_frozen": 2 * best[0].alpha, "sgd_cm": best[5].alpha}
    arms = {arm: OPTIMIZERS[arm] | {"lr": alpha} for arm, alpha in step.items()}
    tables = []
    with rc_context(THEME):
        figure, axes = figures.new_figure(9.4, 4.2, 2)
        for ax, level in zip(axes, (0.0, NOISE), strict=True):
            surface = quadratic(QUADRATIC, dimension=DIMENSION, noise=level)
            starts = np.tile(surface.start, (RUNS if level else 1, 1))
            table = path_table(surface, arms, starts, steps)
            slopes = None if level else {"sgdm": best[0].rho, "sgd_cm": best[5].rho}
            figures.losses(table, arms=ORDER, slopes=slopes, ax=ax)
            words = f"noise of standard deviation {level:g}" if level else "exact gradients"
            ax.set_title(f"κ = {QUADRATIC:g}, {words}. {ax.get_title(loc='left')}", loc="left", size="small")
            medians = table.groupby(["arm", "lr", "step"], sort=False)["loss"].median().reset_index()
            tables.append(medians.assign(noise=level))
        path = _save(figure, directory / "noisy_quadratic.png")
    return [path, _write(pd.concat(tables), directory / "noisy_quadratic.csv")]


def drift_law(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw what momentum costs where the minimum moves, by the closed form and as measured, at equally long steps."""
    length, rows = 0.5, []
    for cause in ("constant velocity", "noise", "random walk", "worst swing"):
        for beta in (0.0, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99):
            heavy_ball = {"lr": length * (1 - beta), "momentum": beta}
            drift = {
                "constant velocity": Drift(velocity=1.0),
                "noise": Drift(noise=1.0),
                "random walk": Drift(walk=1.0),
                "worst swing": Drift(swing=1.0, period=min(1000.0, worst_period(**heavy_ball))),
            }[cause]
            arms = {"sgdm": {"optimizer": "sgd"} | heavy_ball}
            measured = track(arms, drift, steps=10 * steps, runs=1, dimension=COORDINATES)["error"].item()
            rows.append((cause, beta, tracking_error(drift, **heavy_ball), measured))
    table = pd.DataFrame(rows, columns=["cause", "momentum", "error", "measured"])
    with rc_context(THEME):
        path = _save(figures.drift_law(table).figure, directory / "drift_law.png")
    return [path, _write(table, directory / "drift_law.csv")]


def followers(directory: Path, steps: int = STEPS) -> list[Path]:
    """Draw how well every optimizer follows a random walk through noise, at the best of its learning rates."""
    tables = []
    for name in (*SUMS, *AVERAGES, *OTHERS):
        for beta in MOMENTA[:1] if name in WITHOUT_MOMENTUM else MOMENTA[name == "schedule_free" :]:
            found = track({name: follower(name, beta)}, DRIFT, steps=2 * steps, runs=1, dimension=COORDINATES)
            best = found.loc[[found["error"].idxmin()]].drop(columns="run")
            tables.append(best.assign(momentum=np.nan if name in WITHOUT_MOMENTUM else beta))
    table = pd.concat(tables)[["arm", "momentum", "lr", "error"]]
    variance = DRIFT.walk**2  # of a filter of Kalman, which is SGD at one learning rate
    lowest = variance / 2 + np.sqrt(variance**2 / 4 + variance * DRIFT.noise**2)
    with rc_context(THEME):
        figure, axes = figures.new_figure(12.6, 4.4, 3, sharey=True)
        for ax, members in zip(axes, (SUMS, AVERAGES, OTHERS), strict=True):
            figures.tracking(table[table["arm"].isin(members)], lowest=lowest, ax=ax)
        figure.suptitle(
            f"A random walk ({DRIFT.walk:g} a step) seen through noise of {DRIFT.noise:g}; each point at the best of "
            f"{len(LENGTHS)} learning rates",
            size="small",
        )
        path = _save(figure, directory / "drift.png")
    return [path, _write(table, directory / "drift.csv")]


def follower(name: str, beta: float) -> dict[str, Any]:
    """Return an optimizer's options at a momentum, with learning rates for equally long steps in the end."""
    is_sum = name in SUMS or name.startswith("adatam")  # momentum is a sum of gradients there, not an average
    options: dict[str, Any] = {"optimizer": name, "lr": [length * (1 - beta if is_sum else 1) for length in LENGTHS]}
    if name in DECAYING:
        options["weight_decay"] = 0.0
    if name in WITHOUT_MOMENTUM:
        return options
    return options | ({"momentum": beta} if name in SUMS else {"betas": (beta, 0.99 if name == "lion" else 0.999)})


EXPERIMENTS: tuple[Callable[[Path, int], list[Path]], ...] = (surfaces, escapes, rates, noise, drift_law, followers)


def _save(figure: Any, path: Path) -> Path:
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=160))
    return path


def _write(table: pd.DataFrame, path: Path) -> Path:
    write_atomic(path, lambda temporary: table.to_csv(temporary, index=False, float_format="%.6g"))
    return path
