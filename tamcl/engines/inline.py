"""Tasks trained one after another in this process: without the seconds that a process takes to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tamcl.engines.processes import OnSteps
from tamcl.seeding import generator_states, set_generators
from tamcl.training.cell import Cell, Task, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells


@dataclass(frozen=True)
class Inline:
    """Trains in the process that calls it, so that a script, a notebook, a debugger and a profiler see all of it.

    Torch computes as in a new process, whatever was set in this one, and has its settings back afterwards. Nothing
    protects a run from what somebody's code in another changes otherwise, ends or keeps waiting: ``Local`` does.
    """

    is_here: ClassVar[bool] = True

    on_steps: OnSteps | None = None
    """Told how far the run is, while it is trained."""

    def watched(self, on_steps: OnSteps) -> Inline:
        """Return the same engine, which says how far its runs are."""
        found = copy(self)  # also of a class of somebody's own, which may be made in another way
        object.__setattr__(found, "on_steps", on_steps)
        return found

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train tasks, as ``Engine.train`` says."""
        for task in tasks:
            with _as_in_a_new_process(), self._told():
                outcomes = run_cells(task, resources, directory)
            for cell, outcome in zip(task, outcomes, strict=True):
                write_cell(directory, cell, outcome)
                yield cell, str(outcome.runs["status"].item())

    def call(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what a call returns in this process."""
        with _as_in_a_new_process(), self._told():
            return make()

    @contextmanager
    def _told(self) -> Iterator[None]:
        from tamcl.strategies.heartbeat import listen, steps

        def tell() -> None:
            if self.on_steps is not None and (now := steps()).of:
                self.on_steps([now])

        listen(tell if self.on_steps else None)
        try:
            yield
        finally:
            listen(None)


@contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Let torch compute as in a new process, and give it back its settings and random numbers as they were."""
    import torch

    threads, generators, place = torch.get_num_threads(), generator_states(), torch.get_default_device()
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    is_exact = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    flushes = bool(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1 == 0)
    try:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)
        torch.set_flush_denormal(False)
        lowered = [torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda")]
        with torch.inference_mode(False), torch.enable_grad(), lowered[0], lowered[1]:
            yield
    finally:
        torch.set_flush_denormal(flushes)
        torch.use_deterministic_algorithms(is_exact, warn_only=only_warns)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if place.type == "cpu" else place)
        torch.set_num_threads(threads)
        if torch.cuda.is_initialized():
            torch.cuda.set_device(gpu)
        set_generators(generators)
