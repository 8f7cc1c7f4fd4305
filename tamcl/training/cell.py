"""A cell: one training run, what decides its result, and the tables that it leaves."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl import __version__
from tamcl.errors import InputError, said, shown
from tamcl.optim import OPTIMIZERS
from tamcl.optim.defaults import changed_defaults
from tamcl.results import OF_CELLS, empty, write_tables
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import is_compiled, is_stacked
from tamcl.trial import Trial
from tamcl.user_code import RECORDED, Code, holder_of, user_code


@dataclass(frozen=True)
class Cell:
    """One training run: scenario x arm x learning rate (and values of the options tuned with it) x seed."""

    scenario: Scenario
    arm: str
    lr: float
    seed: int
    phase: str
    """``tune`` or ``report``."""
    code: Code = field(init=False)
    """Digests of somebody's own code behind the run, as ``code_of`` returns them, which is called if none are given. A
    study takes them once, and they go with its cells to the processes that train them."""
    known: InitVar[Code | None] = None
    options: str = ""
    """Values of the options that are tuned, as of ``tamcl.trial.Trial``."""

    def __post_init__(self, known: Code | None) -> None:
        config = self.scenario.arms[self.arm]
        if self.trial.arguments.keys() != config.grids.keys():
            tuned = ", ".join(config.grids) or "none"
            raise InputError(f"arms.{self.arm}: tuned options are {tuned}, and a run has {shown(self.options)}")
        code = code_of(self.scenario, self.arm, self.phase) if known is None else known
        object.__setattr__(self, "code", code)

    @property
    def key(self) -> dict[str, Any]:
        """The coordinates that stand in every row."""
        return {
            "scenario": self.scenario.name,
            "arm": self.arm,
            "lr": self.lr,
            "options": self.options,
            "seed": self.seed,
        }

    @property
    def trial(self) -> Trial:
        """What the arm is tried with."""
        return Trial(self.lr, self.options)

    @property
    def chosen(self) -> dict[str, Any]:
        """Options of the optimizer besides lr, those that are tuned included."""
        return {**self.scenario.arms[self.arm].options, **self.trial.arguments}

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the result, the text of somebody's own code included; only the data are not.

        The digest of the module that an optimizer is in is its ``source``, those of other modules are the ``code``.
        Among the options are defaults that were others once: a run that was made with those is another run.
        """
        scenario = self.scenario.dump()
        parts = {part: scenario[part] for part in ("stream", "model", "strategy", "evaluation")}
        arm = self.scenario.arms[self.arm]
        options = {**self.chosen, **self.changed_defaults}
        optimizer, code = {"name": arm.optimizer, "lr": self.lr, **options}, dict(self.code)
        if arm.groups:
            optimizer["groups"] = [group.dump() for group in arm.groups]
        parts["strategy"]["optimizer_state"] = self.scenario.optimizer_state(self.arm)
        if arm.optimizer not in OPTIMIZERS:
            optimizer["source"] = code.pop(holder_of(arm.optimizer, code), "")
        for key in ("stacked", "compiled"):
            parts["strategy"].pop(key)  # what was asked for; what is done counts
        if parts["model"]["normalize_inputs"] is None:
            del parts["model"]["normalize_inputs"]
        for key in ("schedule", "clip", "plugins"):
            if parts["strategy"][key] is None:  # so that runs without have the configuration that they always had
                del parts["strategy"][key]
        more: dict[str, Any] = {"code": code} if code else {}
        if interventions := self.scenario.interventions_of(self.arm):
            more["interventions"] = [each.model_dump() for each in interventions]
        if self.is_stacked:
            more["stacked"] = True
        if self.is_compiled:
            more["compiled"] = True
        return parts | {"optimizer": optimizer, "seed": self.seed, "tamcl": __version__} | more

    @property
    def changed_defaults(self) -> dict[str, Any]:
        """Options of the optimizer that were not given, and whose defaults were others once."""
        return changed_defaults(self.scenario.arms[self.arm].optimizer, self.chosen)

    @property
    def is_stacked(self) -> bool:
        """Whether it is trained in a stack of runs, which may be one of it alone: rounding differs."""
        return is_stacked(self.scenario, self.arm)

    @property
    def is_compiled(self) -> bool:
        """Whether each step of the stack is one compiled graph: rounding differs from a stack that is not."""
        return is_compiled(self.scenario, self.arm)

    @property
    def keeps_weights(self) -> bool:
        """Whether it leaves its final weights, which changes no result."""
        return self.scenario.keep_weights and self.phase == "report"

    @property
    def ground(self) -> str:
        """What cells that are trained together have in common: all of the scenario but its arms.

        Those of a compiled graph have the optimizer in common too, but for its learning rate.
        """
        own = ("optimizer", "seed", "code", "interventions")
        shared = {key: part for key, part in self.config.items() if key not in own}
        if self.is_compiled:
            shared["optimizer"] = self.config["optimizer"] | {"lr": None}
        return json.dumps(shared)

    @property
    def id(self) -> str:
        """Folder name: readable, and another one if anything that decides the result is different."""
        return folder_of(self.arm, self.trial, self.seed, self.config, self.scenario.arms)

    @property
    def prefix(self) -> str:
        """What the folder's name has before the digest."""
        return prefix_of(self.arm, self.trial, self.seed)


def folder_of(arm: str, trial: Trial, seed: int, config: Mapping[str, Any], arms: Iterable[str]) -> str:
    """Return the name of a cell's folder by what its row of ``runs`` says, and by all arms of its scenario.

    File systems may ignore case, so the label counts where the scenario has another that differs in case alone.
    """
    same = sum(other.lower() == arm.lower() for other in arms)
    decides = {**config, "arm": arm} if same > 1 else config
    digest = blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{prefix_of(arm, trial, seed)}{digest}"


def prefix_of(arm: str, trial: Trial, seed: int) -> str:
    """Return what is before the digest in the name of a cell's folder."""
    return f"{arm}-{trial.folder}-seed{seed}-"


Task = tuple[Cell, ...]
"""Cells that are trained together, in one process."""


class Outcome(NamedTuple):
    """What one cell leaves: its tables, which are those of ``tamcl.results.OF_CELLS``, and its final weights."""

    online: pd.DataFrame
    eval: pd.DataFrame
    runs: pd.DataFrame
    diagnostics: pd.DataFrame
    continual: pd.DataFrame
    weights: bytes = b""
    """A file, as ``tamcl.training.weights`` writes it; nothing if none are kept."""

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by their names."""
        return {name: getattr(self, name) for name in OF_CELLS}


def code_of(scenario: Scenario, arm: str, phase: str) -> Code:
    """Return the digests of somebody's own code behind an arm's runs, as its files are now.

    Diagnostics decide no result, but the table of the reported runs that is theirs.
    """
    parts: list[Any] = [scenario.stream, scenario.model, scenario.strategy, scenario.arms[arm]]
    parts += scenario.interventions_of(arm)
    if phase == "report" and scenario.diagnostics is not None:
        parts.append(scenario.diagnostics)
    return user_code([part.model_dump(mode="json", serialize_as_any=True) for part in parts])


def run_row(cell: Cell, **values: Any) -> pd.DataFrame:
    """Return a cell's row of the ``runs`` table; what is not given is empty."""
    config = cell.config
    row = {
        **cell.key,
        "phase": cell.phase,
        "status": "failed",
        "error": "",
        "optimizer_state": cell.scenario.optimizer_state(cell.arm),
        "batches": cell.scenario.evaluation.batches,
        "stacked": cell.is_stacked,
        "compiled": cell.is_compiled,
        "optimizer": json.dumps(config["optimizer"]),
        "code": json.dumps(dict(cell.code)),
        "config": json.dumps(config),
        **dict.fromkeys(("fingerprint", "order", "initial_weights", "final_weights", "device"), ""),
        "data": "{}",
        "versions": json.dumps(versions()),
        "wall_s": float("nan"),
        "ms_per_step": float("nan"),
        "evaluation_s": float("nan"),
    }
    return pd.DataFrame([row | values])


@cache
def versions() -> dict[str, str]:
    """Return the versions of everything that decides a number."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in RECORDED}}


def failed(cell: Cell, error: BaseException) -> Outcome:
    """Return the tables of a cell that raised an exception or whose process died."""
    others = {name: empty(name) for name in OF_CELLS if name != "runs"}
    return Outcome(**others, runs=run_row(cell, error=said(error)), weights=b"")


CHECKPOINT = "checkpoint"
"""Name of a run's checkpoint in its folder, until the tables take its place; that of a run which is asked for no more
stays, as its tables would."""

WEIGHTS = "weights"
"""Name of the file with a run's final weights in its folder, if they are kept."""


def write_cell(directory: Path, cell: Cell, outcome: Outcome, *, keep_checkpoint: bool = False) -> None:
    """Write what a cell leaves to ``directory/<id>``, all or nothing, in place of what is there."""
    temporary, final = directory / f".{cell.id}.{os.getpid()}", directory / cell.id
    _remove(temporary)  # of a killed process that had this number
    try:
        write_tables(temporary, outcome.tables, of=cell.id)
        if outcome.weights:
            (temporary / WEIGHTS).write_bytes(outcome.weights)
        if keep_checkpoint:
            with suppress(FileNotFoundError, NotADirectoryError):
                (final / CHECKPOINT).rename(temporary / CHECKPOINT)
        _remove(final)
        temporary.rename(final)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(final)) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever has its name; no link is followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
