"""What runs take from the machine: chosen once, and handed down to whatever trains."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamcl.arguments import instance, whole_number
from tamcl.data import data_root
from tamcl.errors import InputError
from tamcl.training.logs import Log

DEVICES = re.compile(r"auto|cpu|cuda(:\d{1,4})?", re.ASCII)


@dataclass(frozen=True)
class Resources:
    """Where the images are, which of them will do, what computes, and who looks on.

    Parameters
    ----------
    data_dir : path, optional
        Folder of the data sets; ``$TAMCL_DATA_DIR`` or the user's cache if absent.
    allow_subset : bool
        Whether fewer images than were published will do; the report says how many there were.
    device : str
        What computes: "cpu"; one GPU, as "cuda:1"; "cuda", all GPUs that there are, dealt out to the processes that
        train; or "auto", these where there are any, and else the CPU. torch counts what ``CUDA_VISIBLE_DEVICES`` says.
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
    device: str = "auto"
    threads: int = 1
    log: Log | None = None
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.device, str) or not DEVICES.fullmatch(self.device):
            raise InputError(f"device = {self.device!r}: must be 'auto', 'cpu', 'cuda', or one GPU, such as 'cuda:1'")
        object.__setattr__(self, "threads", whole_number("threads =", self.threads, 1))
        if self.log is not None:
            instance("log", self.log, Log)
        object.__setattr__(self, "root", data_root(self.data_dir).absolute())

    def choose_device(self) -> str:
        """Return the device that computes; a GPU is torch's own choice in this process from here on. Imports torch.

        Raises
        ------
        InputError
            If it is not there.
        """
        import torch

        chosen = device_of(self.device, _place, [] if self.device == "cpu" else gpus())
        if chosen != "cpu":
            torch.cuda.set_device(torch.device(chosen))  # where "cuda" is meant from here on, as by somebody's own code
        return chosen


def gpus() -> list[str]:
    """Return what the GPUs are called that torch can use. Imports torch."""
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def device_of(asked: str, place: int, gpus: Sequence[str]) -> str:
    """Return the device of a process by its place among those that train, counted from 0.

    Raises
    ------
    InputError
        If it is a GPU that is not there, with what there is.

    Examples
    --------
    >>> two = ["NVIDIA A100", "NVIDIA A100"]
    >>> [device_of("auto", place, two) for place in range(3)]
    ['cuda:0', 'cuda:1', 'cuda:0']
    >>> device_of("cuda:1", 0, two), device_of("auto", 0, [])
    ('cuda:1', 'cpu')
    """
    if asked == "cpu" or (asked == "auto" and not gpus):
        return "cpu"
    number = int(asked.partition(":")[2] or place % max(1, len(gpus)))
    if number >= len(gpus):
        there = ", ".join(["cpu", *(f"cuda:{each} ({name})" for each, name in enumerate(gpus))])
        raise InputError(f"device = {asked!r}: torch finds no such GPU here; there is {there}")
    return f"cuda:{number}"


_place = 0


def take_place(place: int) -> None:
    """Say which of the processes that train this is, counted from 0, by which GPUs are dealt out."""
    global _place
    _place = place


def resources_of(resources: Resources | None) -> Resources:
    """Return the resources that are given, or those of ``Resources()``."""
    return Resources() if resources is None else instance("resources", resources, Resources)


def name_of(device: Any) -> str:
    """Return what a torch device is called: two kinds of GPU do not compute the same bits, and two of a kind do."""
    import torch

    found = torch.device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else str(found.type)


def missing_compiler() -> str:
    """Return the name of the compiler of C++ that torch would look for in vain; nothing if it is there.

    Torch takes ``$CXX``, or ``clang++`` on macOS, ``cl`` on Windows and ``g++`` elsewhere.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    return "" if shutil.which(name) else name
