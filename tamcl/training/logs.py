"""Avalanche's loggers on a run, for TensorBoard, Weights & Biases or CSV files: to look on while it is trained.

Nothing is computed from them, and they change no result: a study's answers come from its tables. What is logged, under
the names that Avalanche gives:

- accuracy and loss of each mini-batch, measured before the update as in the table ``online``
  (``Top1_Acc_MB/train_phase/...``, ``Loss_MB/...``), and of each epoch (``..._Epoch/...``), by Avalanche's own metrics;
- accuracy and loss on each experience that is tested (``Top1_Acc_Exp/eval_phase/...``, ``Loss_Exp/...``), and how much
  was forgotten since it was trained on (``ExperienceForgetting/...``). tamcl tests all experiences in one pass and not
  in Avalanche's loop, so these are the values of the table ``eval``, handed to the logger.

They stand over the number of mini-batches trained on so far. Avalanche's CSV file of the training has two columns for
tests in the middle of an experience, ``val_accuracy`` and ``val_loss``: there are none, and Avalanche writes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tamcl.errors import InputError, unknown_name
from tamcl.files.paths import user_path

LOGGERS = ("tensorboard", "wandb", "csv")
"""Names of the loggers."""


@dataclass(frozen=True)
class Log:
    """Which logger, and the folder that gets a folder for each run.

    Raises
    ------
    InputError
        If there is no such logger, or what it needs is not installed.

    Examples
    --------
    >>> Log("csv", Path("out/logs")).directory == Path("out/logs").absolute()
    True
    """

    logger: str
    directory: Path

    def __post_init__(self) -> None:
        check_logger(self.logger)
        object.__setattr__(self, "directory", user_path(self.directory).absolute())


def check_logger(name: str) -> None:
    """Raise an ``InputError`` if there is no such logger, or what it needs is not installed. Imports nothing."""
    if name not in LOGGERS:
        raise unknown_name("logger", name, LOGGERS)
    if find_spec(name) is None and name != "csv":
        raise InputError(f"--log {name}: {name} is not installed; install it, or take --log csv")
