"""A study folder made of plain NumPy and pandas: learning curves with a known shape, no training."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tamcl.results import TABLES, empty
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.plan import report_cells, tuning_cells
from tamcl.training.cell import Cell, Outcome, run_row, write_cell

SCENARIO = "label_flip_digits"
ARMS = {  # best lr, accuracy reached, mini-batches to learn, accuracy lost for each factor of 3 in lr
    "sgdm": (0.1, 0.86, 24.0, 0.05),
    "tam": (0.2, 0.855, 25.0, 0.05),
    "tam_frozen": (0.2, 0.852, 25.0, 0.05),
    "adam": (0.003, 0.82, 30.0, 0.04),
    "adatam": (0.0006, 0.80, 31.0, 0.04),
    "adam_cm": (0.0005, 0.74, 45.0, 0.06),
}
CELL = ["scenario", "arm", "lr", "options", "seed"]


def shape(arm: str) -> tuple[float, float, float, float]:
    """How an arm learns; one that is not named above comes to an accuracy of its own between 0.3 and 0.9."""
    return ARMS.get(arm) or (0.1, 0.3 + 0.6 * (zlib.crc32(arm.encode()) % 997) / 997, 24.0, 0.05)


def learning_rates(arm: str, edge: Sequence[str] = ()) -> list[float]:
    """Return an arm's grid; the best one is the largest for the arms in `edge`, the second largest for others."""
    best, first = shape(arm)[0], 0 if arm in edge else 1
    return [float(f"{best * 3.0**power:.2g}") for power in range(first, first - 4, -1)]


def curve(arm: str, lr: float, steps: int, experience: int) -> np.ndarray:
    """Probability to be right, one value a mini-batch."""
    best, top, tau, cost = shape(arm)
    distance = abs(np.log(lr / best) / np.log(3))
    start = 0.1 if experience == 0 else 0.22
    return start + (top - cost * distance**1.5 - start) * (1 - np.exp(-np.arange(steps) / (tau * (1 + 0.3 * distance))))


def cell(
    arm: str, lr: float, seed: int, experiences: int, steps: int, batch_size: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The online and eval rows of one cell; the seed shifts every arm alike, so that pairing matters."""
    number = sorted(ARMS).index(arm) if arm in ARMS else zlib.crc32(arm.encode())
    rng = np.random.default_rng([seed, number, int(lr * 1e6)])
    stream = np.random.default_rng(seed)
    luck = stream.normal(0, 0.015) + rng.normal(0, 0.004)
    key = {"scenario": SCENARIO, "arm": arm, "lr": lr, "options": "", "seed": seed}
    probability = np.stack([curve(arm, lr, steps, i) for i in range(experiences)]) + luck
    correct = rng.binomial(batch_size, np.clip(probability, 0, 1))
    online = pd.DataFrame(
        key
        | {
            "experience": np.repeat(np.arange(experiences), steps),
            "step": np.arange(experiences * steps),
            "n": batch_size,
            "loss": -np.log(np.clip(probability, 0.02, 0.99)).ravel(),
            "correct": correct.ravel(),
        }
    )
    kept = 0.28 + 0.1 * stream.random((experiences + 1, experiences))
    rows, columns = np.indices(kept.shape)
    accuracy = np.where(rows - 1 == columns, probability[:, -1][columns], kept * 0.9)
    accuracy[0] = 0.08 + 0.04 * stream.random(experiences)
    held_out = 360
    counts = rng.binomial(held_out, np.clip(accuracy, 0, 1))
    evaluated = pd.DataFrame(
        key
        | {
            "trained_on": rows.ravel() - 1,
            "evaluated_on": columns.ravel(),
            "n": held_out,
            "accuracy": counts.ravel() / held_out,
            "loss": 2 * (1 - accuracy).ravel(),
        }
    )
    return online, evaluated


def metrics_of(online: pd.DataFrame, evaluated: pd.DataFrame) -> pd.DataFrame:
    """A few metrics in plain pandas; `metrics.parquet` of a real study holds more."""
    sums = online.groupby(CELL)[["correct", "n"]].sum()
    last = evaluated["evaluated_on"].max()
    final = evaluated[evaluated["trained_on"] == last].set_index([*CELL, "evaluated_on"])["accuracy"]
    after = evaluated[(evaluated["trained_on"] >= 0) & (evaluated["trained_on"] < last)]
    best = after.groupby([*CELL, "evaluated_on"])["accuracy"].max()
    own = evaluated[evaluated["trained_on"] == evaluated["evaluated_on"]].set_index([*CELL, "evaluated_on"])["accuracy"]
    ends = online.groupby([*CELL, "experience"]).tail(10).groupby(CELL)[["correct", "n"]].sum()
    values = {
        "online_accuracy": sums["correct"] / sums["n"],
        "end_accuracy": ends["correct"] / ends["n"],
        "average_accuracy": final.groupby(CELL).mean(),
        "forgetting": (best - final).drop(last, level="evaluated_on").groupby(CELL).mean(),
        "learning_accuracy": own.groupby(CELL).mean(),
        "backward_transfer": (final - own).drop(last, level="evaluated_on").groupby(CELL).mean(),
    }
    wide = pd.DataFrame(values).reset_index()
    return wide.melt(CELL, var_name="metric", value_name="value")


def comparisons_of(metrics: pd.DataFrame, pairs: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Paired differences with a normal interval and the exact sign-flip p-value."""
    rows = []
    for (metric, table), (a, b) in itertools.product(metrics.groupby("metric"), pairs):
        wide = table.pivot_table(index="seed", columns="arm", values="value").reindex(columns=[a, b]).dropna()
        if wide.empty:
            continue
        d = (wide[a] - wide[b]).to_numpy()
        flips = np.array(list(itertools.product([1, -1], repeat=len(d)))) @ d / len(d)
        half = 1.96 * d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
        p = float(np.mean(np.abs(flips) >= abs(d.mean()) - 1e-12))
        rows.append(
            {"scenario": SCENARIO, "metric": metric, "arm_a": a, "arm_b": b, "n_pairs": len(d)}
            | {"mean_a": wide[a].mean(), "mean_b": wide[b].mean(), "diff": d.mean()}
            | {"ci_low": d.mean() - half, "ci_high": d.mean() + half, "p_value": p}
            | {"p_adjusted": min(1.0, p * len(pairs)), "prob_a_better": float(np.mean(d > 0))}
        )
    return pd.DataFrame(rows, columns=list(TABLES["comparisons"].columns))


def study_of(
    arms: Sequence[str], seeds: int, tune_seeds: int, experiences: int, batch_size: int, edge: Sequence[str],
    pairs: Sequence[Sequence[str]],
) -> dict[str, object]:  # fmt: skip
    pairs = pairs or [["tam", "sgdm"], ["tam", "tam_frozen"], ["adatam", "adam"], ["adam_cm", "adam"]]
    optimizers = {
        "sgdm": {"optimizer": "sgd", "momentum": 0.9},
        "tam_frozen": {"optimizer": "tam", "null_of": "tam", "damping": 0.5},
    }
    settings = {name: optimizers.get(name, {"optimizer": name}) | {"lr": learning_rates(name, edge)} for name in arms}
    stream = {"name": "label_flip", "dataset": "digits", "experiences": experiences, "fraction": 0.8, "unit": "class"}
    return {
        "command": f"tamcl compare {SCENARIO} --out out/demo --jobs 2",
        "scenario": {
            "name": SCENARIO,
            "title": "Label flips on handwritten digits",
            "notes": ["Every boundary gives 80 % of the classes other labels; the images stay the same."],
            "stream": stream | {"epochs": 1, "batch_size": batch_size},
            "model": {"name": "mlp", "hidden": [100, 100]},
            "strategy": {"name": "naive", "optimizer_state": "keep"},
            "protocol": {
                "seeds": seeds,
                "tune_seeds": tune_seeds,
                "tune_by": "online_accuracy",
                "pairs": [pair for pair in pairs if set(pair) <= set(arms)],
            },
            "arms": settings,
        },
    }


def write_study(
    directory: Path,
    *,
    arms: Sequence[str] = tuple(ARMS),
    seeds: int = 5,
    tune_seeds: int = 3,
    experiences: int = 10,
    steps: int = 143,
    batch_size: int = 10,
    diverged: Sequence[tuple[str, int]] = (),
    untunable: Sequence[str] = (),
    edge: Sequence[str] = (),
    pairs: Sequence[Sequence[str]] = (),
) -> Path:
    """Write a whole study; `diverged` are reported cells (arm, seed), `untunable` arms
    diverged at every lr, the best lr of `edge` arms is the largest of their grid.
    """
    study = study_of(arms, seeds, tune_seeds, experiences, batch_size, edge, pairs)
    plan = [
        (arm, lr, seed, "tune")
        for arm in arms
        for lr in learning_rates(arm, edge)
        for seed in range(1000, 1000 + tune_seeds)
    ]
    plan += [(arm, shape(arm)[0], seed, "report") for arm in arms if arm not in untunable for seed in range(seeds)]
    online, evaluated, runs = [], [], []
    for arm, lr, seed, phase in plan:
        ok = (arm, seed) not in diverged and arm not in untunable
        if ok:
            for rows, table in zip(
                cell(arm, lr, seed, experiences, steps, batch_size), (online, evaluated), strict=True
            ):
                table.append(rows)
        runs.append(
            {"scenario": SCENARIO, "arm": arm, "lr": lr, "options": "", "seed": seed, "phase": phase}
            | {"status": "ok" if ok else "diverged", "error": "" if ok else "loss is nan at step 212 (experience 1)"}
            | {"optimizer_state": "keep", "fingerprint": f"{seed:016x}"}
            | {"batches": 1, "stacked": True, "compiled": False, "device": "cpu"}
            | dict.fromkeys(("order", "initial_weights"), "0123456789abcdef")
            | {"final_weights": "fedcba9876543210"}
            | {"optimizer": json.dumps({"name": arm, "lr": lr}), "code": "{}"}
            | {"config": json.dumps({"scenario": SCENARIO, "arm": arm, "options": {}, "lr": lr, "seed": seed})}
            | {
                "data": json.dumps(
                    {"name": "digits", "train": 1437, "test": 360, "classes": 10, "checksum": "9f8e7d6c5b4a"}
                )
            }
            | {"versions": json.dumps({"tamcl": "0.1.0", "python": "3.11.7", "torch": "2.9.0", "numpy": "2.4.6"})}
            | {"wall_s": 2.4 + 0.1 * (seed % 5), "ms_per_step": 1.6, "evaluation_s": 0.6}
        )
    tables = {
        "online": pd.concat([empty("online"), *online]),
        "eval": pd.concat([empty("eval"), *evaluated]),
        "runs": pd.DataFrame(runs),
    }
    tables["metrics"] = metrics_of(tables["online"], tables["eval"]) if online else empty("metrics")
    reported = tables["metrics"][tables["metrics"]["seed"] < 1000]
    tables["comparisons"] = comparisons_of(reported, study["scenario"]["protocol"]["pairs"])  # type: ignore[index]
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.astype(TABLES[name].columns).to_parquet(directory / f"{name}.parquet", index=False)
    (directory / "study.json").write_text(json.dumps(study, indent=2), encoding="utf-8")
    return directory


def scenario_of(cells: int) -> Scenario:
    """A scenario of five arms that has so many cells, a multiple of 125: 24 of 25 choose learning rates."""
    arms = ["sgdm", "tam", "tam_frozen", "adam", "adatam"]
    if cells % 125:
        raise ValueError(f"{cells} cells are no multiple of 125")
    seeds = cells // 125  # an arm has 8 rates on three times as many tuning seeds
    rates = [f"arms.{arm}.lr={[float(f'{0.1 / 2**power:.3g}') for power in range(8)]}" for arm in arms]
    return load_scenario(SCENARIO, [f"protocol.seeds={seeds}", f"protocol.tune_seeds={3 * seeds}", *rates], arms)


def plan_of(scenario: Scenario) -> list[Cell]:
    """All cells of a scenario, as if the third rate of each arm had been chosen."""
    return tuning_cells(scenario) + report_cells(scenario, {name: arm.trials[2] for name, arm in scenario.arms.items()})


def write_cells(directory: Path, cells: Sequence[Cell], *, rows: int = 10, experiences: int = 2) -> None:
    """Write cells as they are when they were trained, each with so many rows of `online`; none is trained."""
    for each in cells:
        rng = np.random.default_rng([each.seed, int(each.lr * 1e9), zlib.crc32(each.arm.encode())])
        right = rng.binomial(10, 0.2 + 0.6 * np.arange(rows) / rows + 0.1 * rng.random())
        online = {"experience": np.arange(rows) * experiences // rows, "step": np.arange(rows), "n": 10}
        online |= {"loss": rng.random(rows), "correct": right}
        trained_on, evaluated_on = np.indices((experiences + 1, experiences)).reshape(2, -1)
        accuracy = rng.integers(0, 361, len(trained_on)) / 360
        tested = {"trained_on": trained_on - 1, "evaluated_on": evaluated_on, "n": 360}
        tested |= {"accuracy": accuracy, "loss": 2 * (1 - accuracy)}
        outcome = Outcome(
            online=pd.DataFrame(each.key | online),
            eval=pd.DataFrame(each.key | tested),
            runs=run_row(each, status="ok", fingerprint=f"{each.seed:016x}", data='{"name": "digits"}', wall_s=1.0),
            diagnostics=empty("diagnostics"),
            continual=empty("continual"),
        )
        write_cell(directory, each, outcome)
