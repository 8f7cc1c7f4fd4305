"""Several runs trained as one, each step of all of them one compiled graph."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from threading import RLock
from types import FunctionType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamcl.errors import InputError, reason
from tamcl.models.classifier import Classifier
from tamcl.models.stacked import rows_for
from tamcl.models.weights import Shape, StackedWeights, passes
from tamcl.optim.stacked import make_step
from tamcl.optim.stacked.base import StackedState, StackedStep
from tamcl.strategies.heartbeat import beat
from tamcl.strategies.naive import RESETS, Naive
from tamcl.strategies.stacked import Batch, Hooks, Stacked, batches
from tamcl.strategies.state import State

_TRIED = 3
"""Steps that show whether a graph gives every place of a stack the same bits."""


class Compiled(Stacked):
    """A stack of runs whose forward pass, loss, backward pass and step of the optimizer are one compiled graph.

    The graph is made for a number of runs, the same for all stacks of a kind; places that no run takes are computed and
    not used. So what a run computes depends neither on the others nor on how many there are. It differs from what
    ``Stacked`` computes by rounding.

    Nothing may look inside of a step: plugins are told of experiences and epochs, and of what was measured.

    Parameters
    ----------
    optimizer : str
        The name in ``tamcl.optim.stacked.STEPS`` of the runs' optimizer, which has one parameter group.
    places : int
        Runs that the graph is made for.
    **stacked
        As of ``Stacked``; the runs have optimizers of one class that differ in the learning rate alone.

    Raises
    ------
    InputError
        In training, if a plugin looks inside of a step, or the graph cannot be compiled.
    """

    def __init__(self, *, optimizer: str, places: int, **stacked: Any) -> None:
        self._places = places
        if (state := stacked["runs"][0].settings.optimizer_state) in RESETS:
            raise InputError(
                f"optimizer_state = '{state}': cannot be compiled, as a graph knows a first step by its count"
            )
        super().__init__(**stacked)
        self._step_of = make_step(optimizer, self.runs[0].optimizer.param_groups[0])
        self._state = self._step_of.start(self.stack.flat)
        self._loaded: dict[Naive, torch.optim.Optimizer] = {}
        self._parked: dict[Naive, list[Tensor]] = {}

    def _stack(self, models: Sequence[Classifier]) -> StackedWeights:
        return StackedWeights(models, self._places)

    def take_apart(self) -> None:
        """Give every run a model and an optimizer of its own again; the stack is of no use then."""
        self.stack.take_apart()
        for run in self.runs:
            for state in run.optimizer.state.values():
                state.update({key: value.clone() for key, value in state.items() if isinstance(value, Tensor)})
            run.mbatch = run.mb_output = run.loss = None  # type: ignore[assignment]

    def _join(self, run: Naive) -> None:
        """Take over what a run's optimizer knows, which may have been made anew."""
        if self._loaded.get(run) is not run.optimizer:
            self._step_of.load(self._state, self.runs.index(run), run.optimizer)
            self._loaded[run] = run.optimizer

    def _after_training_exp(self, **kwargs: Any) -> None:
        for row, run in enumerate(self.runs):
            self._step_of.show(self._state, row, run.optimizer)
        super()._after_training_exp(**kwargs)

    def state_of(self, run: Naive) -> State:
        """Return what ``Stacked.state_of`` does, with what the graph knows of the run."""
        self._restore(run)
        self._step_of.show(self._state, self.runs.index(run), run.optimizer)
        return super().state_of(run)

    def training_epoch(self, **kwargs: Any) -> None:
        """Run one pass of all runs, step by step."""
        hooks = Hooks(self.runs)
        if hooks.look:
            raise InputError("strategy.compiled = true: a plugin looks inside of steps, which cannot be compiled then")
        dtype, spare = self.stack.flat[0].dtype, self._places - len(self.runs)
        rows = rows_for(self.runs[0].model, self.settings.batch_size)
        outside = self.stack.outside(self.runs[0].experience.task)
        rates, is_first = self._rates(max(len(run.dataloader) for run in self.runs))
        graph: Graph | None = None
        with torch.no_grad():
            # a pass that goes on has fewer steps than a whole one
            for batch, each, first in zip(batches(self.runs, rows, dtype, spare), rates, is_first, strict=False):
                on = [run for run, n in zip(self.runs, batch.sizes, strict=False) if n and self._takes_steps(run)]
                if not on:
                    break
                self._park(on)
                self._call(hooks, on, "before_training_iteration", "before_forward", "after_forward")
                graph = graph or self._graph(batch, outside)
                measured = graph(self.stack.flat, batch, outside, self._state, each, first)
                for run in self._steps.note(measured, batch.sizes[: len(self.runs)], on):
                    self._try(run, self._steps.hand_out)
                for row, run in enumerate(self.runs):
                    self._state.steps[row] += run in on
                self._call(hooks, on, "before_backward", "after_backward", "before_update")
                self._call(hooks, on, "after_update", "after_training_iteration")
                beat(on[0].clock.train_iterations)
                if self.after_step is not None:
                    self.after_step()
            self._unpark()

    def _rates(self, steps: int) -> tuple[Tensor, Tensor]:
        """Return the rates of all steps of a pass, (T, rates, R, 1), and whose first step each is, (T, R)."""
        rates = [*map(_rates_of, self.runs, [steps] * len(self.runs))]
        lr = torch.tensor(np.array(rates + [np.zeros(steps)] * (self._places - len(rates)))).T
        numbers = torch.tensor(self._state.steps).double() + 1 + torch.arange(steps)[:, None]
        return _table(self._step_of, numbers, lr, self.stack.flat[0]), numbers == 1

    def _graph(self, batch: Batch, outside: Tensor | None) -> Graph:
        """Return the graph for stacks of this kind, which is compiled if none of them was trained in this process."""
        step, flat = self._step_of, self.stack.flat
        shapes = *self.stack.shapes, tuple(batch.x.shape), batch.x.dtype, batch.y.dtype, str(batch.x.device)
        options, slope = repr(sorted(step.group.items())), self.stack.slope
        kind = type(step), options, shapes, slope, outside is not None, self.settings.target
        if kind not in _GRAPHS:
            _GRAPHS[kind] = Graph(step, flat, self.stack.shapes, slope, batch, outside, self._measure)
        return _GRAPHS[kind]

    def _park(self, on: Sequence[Naive]) -> None:
        """Note how the runs that take no further step are, since the graph goes on with all."""
        for row, run in enumerate(self.runs):
            if run not in on and run not in self._parked:
                self._parked[run] = [view.clone() for view in self._rows_of(row)]

    def _unpark(self) -> None:
        """Let the runs that took no further step be as they were."""
        for run in self._parked:
            self._restore(run)
        self._parked.clear()

    def _restore(self, run: Naive) -> None:
        """Let a run be as it was when it took its last step; the graph has gone on with it, for nothing."""
        for view, value in zip(self._rows_of(self.runs.index(run)), self._parked.get(run, ()), strict=False):
            view.copy_(value)

    def _rows_of(self, row: int) -> list[Tensor]:
        return [*(values[row] for values in self.stack.flat), *self._state.rows(row)]


class Graph:
    """One step of a stack of R runs, compiled; and tried, before it is relied on.

    Parameters
    ----------
    step : StackedStep
    flat, shapes, slope
        As ``StackedWeights`` has them.
    batch : Batch
    outside : Tensor, optional
        What is masked of the logits.
    measure : callable
        Takes logits and a batch.

    Attributes
    ----------
    seconds : float
        What compiling took, with the steps that it was tried with.

    Raises
    ------
    InputError
        If it cannot be compiled, or does not give every place the same bits.
    """

    def __init__(
        self,
        step: StackedStep,
        flat: Sequence[Tensor],
        shapes: Sequence[Shape],
        slope: float,
        batch: Batch,
        outside: Tensor | None,
        measure: Callable[[Tensor, Batch], tuple[Tensor, Tensor, Tensor]],
    ) -> None:
        started = time.perf_counter()
        names = [*step.rates(torch.ones(1, 1).double(), torch.ones(1).double())]
        self._step, self._is_on_gpu, self._is_tried = step, batch.x.is_cuda, False

        def do_step(
            flat: list[Tensor],
            images: Tensor,
            labels: Tensor,
            weights: Tensor,
            outside: Tensor | None,
            tensors: dict[str, list[Tensor]],
            numbers: dict[str, Tensor],
            rates: Tensor,
        ) -> tuple[Tensor, Tensor | None]:
            def measured(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                return measure(logits, Batch(images, labels, [], weights))

            loss, correct, gradients = passes(flat, shapes, images, outside, measured, slope)
            found = step.update(flat, gradients, tensors, numbers, dict(zip(names, rates.unbind(), strict=True)))
            return torch.stack((loss.double(), correct.double())), found

        _keep_to_one_process()
        mode = "reduce-overhead" if self._is_on_gpu else None  # CUDA graphs
        self._compiled = torch.compile(_of_its_own(do_step), fullgraph=True, dynamic=False, mode=mode)
        try:
            is_same = self._is_same_everywhere(flat, batch, outside)
        except Exception as error:  # the compiler, and what it calls, may raise anything
            raise InputError(f"strategy.compiled = true: the step cannot be compiled: {reason(error)}") from error
        if not is_same:
            raise InputError(
                "strategy.compiled = true: on this machine the last bits of a run depend on its place in a compiled "
                "stack; train without it"
            )
        self._is_tried = True
        self.seconds = time.perf_counter() - started
        COMPILING.append(self.seconds)

    def __call__(
        self,
        flat: list[Tensor],
        batch: Batch,
        outside: Tensor | None,
        state: StackedState,
        rates: Tensor,
        is_first: Tensor,
    ) -> Tensor:
        """Do one step of all runs, and return their loss and right answers, (2, R)."""
        arguments = flat, batch.x, batch.y, batch.weights, outside, state.tensors, state.numbers, rates
        measured: Tensor
        with torch.compiler.set_stance("fail_on_recompile") if self._is_tried else _NOTHING:
            measured, found = self._compiled(*arguments)
        if found is not None:
            self._step.after(state, found, is_first)
        return measured.clone() if self._is_on_gpu else measured  # the next step of a CUDA graph overwrites it

    def _is_same_everywhere(self, flat: Sequence[Tensor], batch: Batch, outside: Tensor | None) -> bool:
        """Whether equal runs get the same bits in all places, tried with some steps."""
        flat, (images, labels) = [_first_everywhere(values) for values in flat], (batch.x, batch.y)
        images = torch.arange(images[0].numel(), device=images.device).to(images.dtype).sin().view(images[0].shape)
        images = images.expand(batch.x.shape).contiguous()
        labels = _first_everywhere(labels)
        weights = torch.full_like(batch.weights, 1 / batch.weights.shape[1])
        batch = Batch(images, labels, [], weights)
        outside = None if outside is None else _first_everywhere(outside)
        state = self._step.start(flat)
        measured = []
        with torch.no_grad():
            for number in range(1, _TRIED + 1):
                numbers = torch.full((1, len(images)), float(number)).double()
                (each,) = _table(self._step, numbers, torch.full((len(images),), 0.01).double(), flat[0])
                measured.append(self(flat, batch, outside, state, each, numbers[0] == 1).T)
        first, *others = (
            [*(values[row] for values in [*flat, *measured]), *state.rows(row)] for row in range(len(images))
        )
        return all(torch.equal(a, b) for place in others for a, b in zip(place, first, strict=True))


def _rates_of(run: Naive, steps: int) -> NDArray[np.float64]:
    """Return the learning rates of a run's next steps; those beyond the end of its experience are not used."""
    rate = float(run.rates[0] if run.shares is not None else run.optimizer.param_groups[0]["lr"])
    if run.shares is None:
        return np.full(steps, rate)
    begun = run.clock.train_exp_iterations
    left = rate * run.shares[begun : begun + steps]
    return np.pad(left, (0, steps - len(left)))


_NOTHING = nullcontext()

_GRAPHS: dict[Any, Graph] = {}
"""Those of this process, by the kind of stack that they are for."""

atexit.register(_GRAPHS.clear)  # while torch can still be told of it

COMPILING: list[float] = []
"""What every graph of this process took to compile, in seconds."""


def _table(step: StackedStep, numbers: Tensor, lr: Tensor, like: Tensor) -> Tensor:
    """Return the rates of some steps, (T, rates, R, 1), which lie in memory alike for any number of steps."""
    rates = torch.stack([*step.rates(numbers, lr).values()], 1)[..., None]
    return torch.empty(rates.shape, dtype=like.dtype, device=like.device).copy_(rates)


def _keep_to_one_process() -> None:
    """Let the compiler start no processes of its own, which would stay, nor a bar of progress that waits for others."""
    import torch._inductor.config as config
    from torch.hub import tqdm  # type: ignore[attr-defined]

    config.compile_threads = 1
    if hasattr(tqdm, "set_lock"):  # torch makes one, if it is installed, that it does not show
        tqdm.set_lock(RLock())
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no GPU


def _of_its_own(function: Any) -> FunctionType:
    """Return a function with code of its own: what was compiled is kept, and counted, by the code object."""
    code, known = function.__code__.replace(), function.__globals__
    return FunctionType(code, known, function.__name__, None, function.__closure__)


def _first_everywhere(values: Tensor) -> Tensor:
    """Return a tensor that lies alike in memory, with the first row in the place of all."""
    alike = torch.empty_strided(values.shape, values.stride(), dtype=values.dtype, device=values.device)
    return alike.copy_(values[:1].expand_as(values))
