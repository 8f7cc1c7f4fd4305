"""What runs take from the machine: chosen once, and handed down to whatever trains."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamcl.arguments import instance, whole_number
from tamcl.data import data_root
from tamcl.errors import InputError
from tamcl.training.logs import Log

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Resources:
    """Where the images are, which of them will do, what computes, and who looks on.

    Parameters
    ----------
    data_dir : path, optional
        Folder of the data sets; ``$TAMCL_DATA_DIR`` or the user's cache if absent.
    allow_subset : bool
        Whether fewer images than were published will do; the report says how many there were.
    device : {"cpu", "cuda"}, optional
        What computes; a GPU where there is one if absent.
    threads : int
        Of torch in each process. More than one changes the last bits, and loses time on small models.
    log : Log, optional
        One of Avalanche's loggers on every run; none if absent.

    Attributes
    ----------
    root : Path
        The folder of the data sets, absolute: it stays the same whatever folder a process changes to.

    Raises
    ------
    InputError
        If there is no such device or logger, or there are no threads.

    Examples
    --------
    >>> Resources(data_dir="images").root == Path("images").absolute()
    True
    """

    data_dir: str | Path | None = None
    allow_subset: bool = False
    device: str | None = None
    threads: int = 1
    log: Log | None = None
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        if self.device not in (None, *DEVICES):
            raise InputError(f"device = {self.device!r}: must be {' or '.join(map(repr, DEVICES))}")
        object.__setattr__(self, "threads", whole_number("threads =", self.threads, 1))
        if self.log is not None:
            instance("log", self.log, Log)
        object.__setattr__(self, "root", data_root(self.data_dir).absolute())

    def choose_device(self) -> str:
        """Return the device that computes. Imports torch."""
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")


def resources_of(resources: Resources | None) -> Resources:
    """Return the resources that are given, or those of ``Resources()``."""
    return Resources() if resources is None else instance("resources", resources, Resources)


def name_of(device: Any) -> str:
    """Return what a torch device is called: two kinds of GPU do not compute the same bits."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


def missing_compiler() -> str:
    """Return the name of the compiler of C++ that torch would look for in vain; nothing if it is there.

    Torch takes ``$CXX``, or ``clang++`` on macOS, ``cl`` on Windows and ``g++`` elsewhere.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    return "" if shutil.which(name) else name
