"""The evaluation plugin of a run that is logged: Avalanche's metrics, what was tested, and a logger."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tamcl.avalanche import (
    BaseLogger,
    CSVLogger,
    EvaluationPlugin,
    MetricValue,
    PluginMetric,
    TensorboardLogger,
    WandBLogger,
    accuracy_metrics,
    loss_metrics,
)
from tamcl.training.logs import Log


@contextmanager
def evaluator(log: Log, run: str, config: dict[str, Any], target: str = "class") -> Iterator[EvaluationPlugin]:
    """Give the evaluation plugin of a run, and close its logger in the end.

    Parameters
    ----------
    log : Log
    run : str
        Name of the run's folder; what an earlier try left there is removed.
    config : dict
        What Weights & Biases shows beside the run.
    target : {"class", "number", "token"}
        What is learnt; numbers have no accuracy.
    """
    folder = log.directory / run
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    metrics = [loss_metrics(minibatch=True, epoch=True), Tested(target)]
    if target != "number":
        metrics.insert(0, accuracy_metrics(minibatch=True, epoch=True))
    with _temporary_files_in(folder / "tmp") if log.logger == "wandb" else nullcontext():
        logger = _logger(log.logger, folder, run, config)
        try:
            yield EvaluationPlugin(*metrics, loggers=[logger], collect_all=False)
        finally:
            _close(logger)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Keep in one folder, and remove, what is made in the folder for temporary files: W&B leaves some when killed."""
    before = tempfile.tempdir
    folder.mkdir()
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


class Tested(PluginMetric):  # type: ignore[misc]
    """Accuracy, loss and forgetting of each experience that ``eval`` tested, named as Avalanche's own metrics are.

    Parameters
    ----------
    target : {"class", "number", "token"}
        What is learnt; numbers have no accuracy.
    """

    def __init__(self, target: str = "class") -> None:
        super().__init__()
        self.target = target
        self.learnt: dict[int, float] = {}

    def result(self) -> None:
        """Return nothing: there is no value outside of a test."""

    def reset(self) -> None:
        """Keep what was learnt: forgetting is counted from there."""

    def after_eval_exp(self, strategy: Any) -> list[MetricValue]:
        """Return the values of the experience that is reported."""
        accuracy, loss = strategy.evaluation.accuracy, strategy.evaluation.loss
        experience, clock = strategy.experience, strategy.clock
        position = experience.current_experience
        values = {"Loss_Exp": loss}
        if self.target != "number":
            if position == clock.train_exp_counter - 1:
                self.learnt[position] = accuracy
            values["Top1_Acc_Exp"] = accuracy
            if position in self.learnt:
                values["ExperienceForgetting"] = self.learnt[position] - accuracy
        where = f"eval_phase/test_stream/Task{experience.task:03}/Exp{position:03}"
        return [MetricValue(self, f"{name}/{where}", value, clock.train_iterations) for name, value in values.items()]


class OfflineWandB(WandBLogger):  # type: ignore[misc]
    """Avalanche's logger for Weights & Biases, offline, for numbers: its own way of logging needs parts W&B dropped."""

    def log_single_metric(self, name: str, value: float, x_plot: int) -> None:
        """Log a number over the mini-batches trained on."""
        self.step = x_plot
        self.wandb.log({name: value}, step=x_plot)


def _logger(name: str, folder: Path, run: str, config: dict[str, Any]) -> BaseLogger:
    if name == "csv":
        return CSVLogger(folder)
    if name == "tensorboard":
        return TensorboardLogger(folder)
    import wandb

    given = {
        "id": blake2b(run.encode(), digest_size=8).hexdigest(),  # what Avalanche draws it with, W&B has no more
        "mode": "offline",  # nothing leaves the machine; `wandb sync` sends it on demand
        "settings": wandb.Settings(silent=True, console="off"),
    }
    return OfflineWandB("tamcl", run, dir=folder, save_code=False, config=config, params=given)


def _close(logger: BaseLogger) -> None:
    if isinstance(logger, TensorboardLogger):
        logger.writer.close()
    elif isinstance(logger, CSVLogger):
        logger.close()
    else:
        logger.wandb.finish()
