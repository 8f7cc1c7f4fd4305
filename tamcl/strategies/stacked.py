"""Several runs trained as one: one forward and backward pass for all, and for each run its own step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tamcl.avalanche import SupervisedTemplate
from tamcl.errors import InputError
from tamcl.models.classifier import Classifier
from tamcl.models.stacked import StackedMLP, rows_for
from tamcl.optim.closures import needs_closure
from tamcl.optim.joined import Joined, can_be_joined
from tamcl.seeding import GlobalGenerators
from tamcl.strategies.heartbeat import beat
from tamcl.strategies.naive import RESETS, Hook, Naive, no_metrics, train_epochs
from tamcl.strategies.state import State
from tamcl.streams.benchmark import Experience


@dataclass(frozen=True)
class ExperienceStack:
    """One experience of each run, at the same place of their streams."""

    experiences: Sequence[Experience]

    @property
    def current_experience(self) -> int:
        """The place in the stream."""
        return self.experiences[0].current_experience  # type: ignore[no-any-return]

    def logging(self) -> ExperienceStack:
        """Return itself, where Avalanche asks for an experience without data."""
        return self


class Stacked(SupervisedTemplate):  # type: ignore[misc]
    """Runs of ``Naive`` that go through their experiences in step, their models stacked in common tensors.

    Each run stays a strategy of its own, with its model, its optimizer, its order of mini-batches and its plugins,
    which are told of every event as if it trained alone; it is tested by its own ``eval``. What a run computes does not
    depend on the others, to the last bit. It differs from what ``Naive`` alone would compute by rounding.

    All mini-batches have the same number of rows, of which the last of a pass uses fewer than the others. A run whose
    pass is over, that has diverged, or whose optimizer or plugin has raised an exception, takes no further step while
    the others go on.

    Parameters
    ----------
    runs : sequence of Naive
        At least one; with the same settings, but for the seed and what looks on, and with models of the same shapes. No
        optimizer may need a closure.
    generators : sequence of GlobalGenerators, optional
        The global generators of each run, for its optimizer to draw, when it is made anew, what it would alone; if
        absent they are as they are.
    draws_in_steps : bool
        Whether the optimizers may also draw when they step.

    Attributes
    ----------
    errors : dict of Naive to BaseException
        The runs that ended by an exception.
    after_step : callable, optional
        Called after every step, where ``state_of`` may be asked for.
    """

    after_step: Callable[[], object] | None = None

    def __init__(
        self,
        *,
        runs: Sequence[Naive],
        generators: Sequence[GlobalGenerators] = (),
        draws_in_steps: bool = True,
    ) -> None:
        for run in runs:
            if needs_closure(run.optimizer):
                raise InputError(f"{type(run.optimizer).__name__} needs a closure, which a stack of runs has not")
        self.runs, self.settings = runs, runs[0].settings
        super().__init__(
            model=nn.ModuleList(run.model for run in runs),
            optimizer=runs[0].optimizer,  # the template wants one; each run steps its own
            criterion=None,
            train_mb_size=self.settings.batch_size,
            train_epochs=self.settings.epochs,
            device=self.settings.device,
            evaluator=no_metrics,
        )
        self.stack = self._stack([run.model for run in runs])
        self.errors: dict[Naive, BaseException] = {}
        self._joined: dict[Naive, Joined] = {}
        self._generators = dict(zip(runs, generators, strict=True)) if generators else {}
        self._step_generators = self._generators if draws_in_steps else {}
        self._measure = _cross_entropy if self.settings.target == "class" else _squared_error

    def _stack(self, models: Sequence[Classifier]) -> Any:
        return StackedMLP(models)

    def is_on(self, run: Naive) -> bool:
        """Whether a run is to go on."""
        return not run.diverged and run not in self.errors

    def state_of(self, run: Naive) -> State:
        """Return ``state_dict`` of a run, between two steps, and the steps that its plugins are still to be told of.

        A run that takes it over must be in a stack of runs that go on from the same place of the same experience.
        """
        if run in self._joined:
            self._joined[run].show()
        return run.state_dict() | {"steps": self._steps.waiting(run)}

    def take_apart(self) -> None:
        """Give every run a model of its own again, and nothing of the others; the stack is of no use then."""
        self.stack.take_apart()
        for joined in self._joined.values():
            joined.take_apart()
        for run in self.runs:
            run.mbatch = run.mb_output = run.loss = None  # type: ignore[assignment]

    def _join(self, run: Naive) -> None:
        """Let a run's optimizer step in one go, if it is of those that can."""
        joined = self._joined.get(run)
        if (joined is None or joined.optimizer is not run.optimizer) and self.stack.is_complete:
            self._joined.pop(run, None)
            if can_be_joined(run.optimizer):
                place = self.runs.index(run)
                row = self.stack.values[place], self.stack.gradients[place]
                self._joined[run] = Joined(run.optimizer, *row, self.stack.slices)

    def _take_anew(self, run: Naive) -> None:
        """Let what steps a run's optimizer, if another does, be made anew from its state, which was changed."""
        self._joined.pop(run, None)

    def _each(self, call: Callable[[Naive], object]) -> None:
        """Call something for each run that is to go on; an exception ends its run and no other."""
        for run in self.runs:
            if self.is_on(run):
                self._try(run, call)

    def _try(self, run: Naive, call: Callable[[Naive], object]) -> None:
        try:
            call(run)
        except (Exception, SystemExit) as error:  # somebody's code may raise anything, and leave Python
            self.errors[run] = error

    def _before_training(self, **kwargs: Any) -> None:
        super()._before_training(**kwargs)

        def begin(run: Naive) -> None:
            run.is_training, run._stop_training = True, False
            run.model.train()
            run._before_training(**kwargs)

        self._each(begin)

    def _before_training_exp(self, **kwargs: Any) -> None:
        experiences = dict(zip(self.runs, self.experience.experiences, strict=True))
        waiting = {run: run.goes_on["steps"] for run in self.runs if run.goes_on is not None}

        def begin(run: Naive) -> None:
            run.experience = experiences[run]
            with self._generators.get(run, _NOTHING):  # an optimizer may be made anew
                run._before_training_exp(**kwargs)
            if run.settings.optimizer_state in RESETS:
                self._take_anew(run)
            self._join(run)

        self._each(begin)
        self._steps = _Steps(self.runs, waiting)
        super()._before_training_exp(**kwargs)

    def train_dataset_adaptation(self, **kwargs: Any) -> None:
        """Leave it to the runs."""

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Leave it to the runs."""

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Leave it to the runs."""

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        train_epochs(self, next(filter(self.is_on, self.runs), self.runs[0]), **kwargs)

    def _before_training_epoch(self, **kwargs: Any) -> None:
        super()._before_training_epoch(**kwargs)
        self._each(lambda run: run._before_training_epoch(**kwargs))

    def _after_training_epoch(self, **kwargs: Any) -> None:
        for joined in self._joined.values():
            joined.show()  # a test may be of weights that the optimizer makes of its state
        self._each(lambda run: run._after_training_epoch(**kwargs))
        super()._after_training_epoch(**kwargs)

    def _after_training_exp(self, **kwargs: Any) -> None:
        for joined in self._joined.values():
            joined.show()
        self._each(self._steps.hand_out)
        self._each(lambda run: run._after_training_exp(**kwargs))
        super()._after_training_exp(**kwargs)

    def _after_training(self, **kwargs: Any) -> None:
        self._each(lambda run: run._after_training(**kwargs))
        super()._after_training(**kwargs)
        self._each(lambda run: run._train_cleanup())

    def training_epoch(self, **kwargs: Any) -> None:
        """Run one pass of all runs, step by step."""
        hooks = Hooks(self.runs)
        dtype = next(self.model.parameters()).dtype
        rows = rows_for(self.runs[0].model, self.settings.batch_size)
        for batch in batches(self.runs, rows, dtype):
            on = [run for run, n in zip(self.runs, batch.sizes, strict=True) if n and self._takes_steps(run)]
            if not on:
                break
            self._iterate(batch, on, hooks)
            beat(on[0].clock.train_iterations)
            if self.after_step is not None:
                self.after_step()

    def _takes_steps(self, run: Naive) -> bool:
        return self.is_on(run) and not run._stop_training

    def _iterate(self, batch: Batch, on: list[Naive], hooks: Hooks) -> None:
        """Do one step of the runs that are on; the others' part of what is computed is not used."""
        if hooks.look:
            for run, x, y, n in zip(self.runs, batch.x, batch.y, batch.sizes, strict=True):
                run.mbatch = [x[:n], y[:n], torch.full((n,), run.experience.task, device=y.device)]
        self._call(hooks, on, "before_training_iteration", "before_forward")
        with torch.no_grad():
            output = self.stack.forward(batch.x, on[0].experience.task)
            loss, correct, gradient = self._measure(output, batch)
        if hooks.look:
            for run, logits, each, n in zip(self.runs, output, loss, batch.sizes, strict=True):
                run.mb_output, run.loss = logits[:n], each
        self._call(hooks, on, "after_forward", "before_backward")
        for run in self._steps.note(torch.stack((loss.double(), correct.double())), batch.sizes, on):
            self._try(run, self._steps.hand_out)
        on = [run for run in on if self.is_on(run)]
        with torch.no_grad():
            self.stack.backward(gradient)
        for run in on:
            if run.interventions:
                self._try(run, Naive.change_gradients)
        on = [run for run in on if self.is_on(run)]
        if self.settings.clip is not None:
            for run in on:
                self._try(run, Naive.clip)
        self._call(hooks, on, "after_backward")
        if self.settings.schedule is not None:
            for run in on:
                self._try(run, Naive.set_rates)
        self._call(hooks, on, "before_update")
        for run in reversed(on):  # the gradients of the last ones are still in the cache
            self._try(run, self._step)
        if len(self._joined) < len(self.runs):
            self.stack.take_back()
        if hooks.look:
            for joined in self._joined.values():
                joined.show()
        self._call(hooks, on, "after_update", "after_training_iteration")

    def _step(self, run: Naive) -> None:
        for each in run.interventions:
            each.before_step(run.optimizer)
        if run in self._joined:
            self._joined[run].step()
        else:
            with self._step_generators.get(run, _NOTHING):
                run.optimizer.step()
        for each in run.interventions:
            each.after_step(run.optimizer)

    def _call(self, hooks: Hooks, on: list[Naive], *events: str) -> None:
        for event in events:
            for run, hook in hooks.of[event]:
                if run in on and self.is_on(run):
                    self._try(run, hook)


_NOTHING = nullcontext()


class Hooks:
    """The methods of all runs' plugins for the events of a step, without those that do nothing."""

    EVENTS = (
        "before_training_iteration",
        "before_forward",
        "after_forward",
        "before_backward",
        "after_backward",
        "before_update",
        "after_update",
        "after_training_iteration",
    )

    def __init__(self, runs: Sequence[Naive]) -> None:
        self.of: dict[str, list[tuple[Naive, Hook]]] = {
            event: [
                (run, hook)
                for run in runs
                for hook in run._hooks(event)
                if not (event == "before_backward" and _notes_steps(getattr(hook, "__self__", None)))
            ]
            for event in self.EVENTS
        }
        pairs = (pair for pairs in self.of.values() for pair in pairs)
        self.look = any(getattr(hook, "__self__", None) is not run.clock for run, hook in pairs)
        """Whether any of them may look at the mini-batch."""


def _notes_steps(plugin: Any) -> bool:
    """Whether a plugin takes what was measured in many steps at once, in place of a call before each backward pass."""
    return hasattr(plugin, "note_steps")


class _Steps:
    """What was measured in the steps of an experience: on the device, until enough have come together to be read."""

    def __init__(self, runs: Sequence[Naive], waiting: Mapping[Naive, NDArray[np.float64]]) -> None:
        self._plugins = {run: [plugin for plugin in run.plugins if _notes_steps(plugin)] for run in runs}
        self._at_once = min((p.steps_at_once for plugins in self._plugins.values() for p in plugins), default=0)
        self._measured: list[Tensor] = []
        self._sizes: list[list[int]] = []
        self._read: dict[Naive, list[NDArray[np.float64]]] = {run: [waiting.get(run, _NO_STEPS)] for run in runs}
        self._waiting = {run: len(rows) for run, (rows,) in self._read.items()}

    def note(self, measured: Tensor, sizes: Sequence[int], on: Sequence[Naive]) -> list[Naive]:
        """Note loss and right answers (2, R) of the runs that are on, and return those that have waited long enough."""
        if not self._at_once:
            return []
        self._measured.append(measured)
        self._sizes.append([n if run in on else 0 for run, n in zip(self._waiting, sizes, strict=True)])
        for run in on:
            self._waiting[run] += 1
        return [run for run in on if self._waiting[run] == self._at_once]

    def hand_out(self, run: Naive) -> None:
        """Give a run's plugins the steps that they have not been given, with one read of the device for all runs."""
        if self._waiting[run]:
            n, loss, correct = self.waiting(run).T
            self._waiting[run], self._read[run] = 0, [_NO_STEPS]
            for plugin in self._plugins[run]:
                plugin.note_steps(run, n.astype(np.int64), loss, correct)

    def waiting(self, run: Naive) -> NDArray[np.float64]:
        """Return examples, loss and right answers of the steps that a run's plugins have not been given, (steps, 3)."""
        if self._measured:
            numbers, sizes = torch.stack(self._measured).cpu().numpy(), np.array(self._sizes)
            for place, read in enumerate(self._read.values()):
                taken = sizes[:, place] > 0
                read.append(np.column_stack((sizes[taken, place], numbers[taken, :, place])))
            self._measured, self._sizes = [], []
        return np.concatenate(self._read[run])


_NO_STEPS = np.empty((0, 3))


class Batch(NamedTuple):
    """A mini-batch of each run, of which the first rows are used; the others are zeros."""

    x: Tensor
    """(R, B, channels, height, width)"""
    y: Tensor
    """(R, B)"""
    sizes: list[int]
    """How many rows each run uses; 0 if its pass is over."""
    weights: Tensor
    """What each row counts in its run's mean, (R, B)."""


def batches(runs: Sequence[Naive], rows: int, dtype: torch.dtype, spare: int = 0) -> Iterator[Batch]:
    """Yield the mini-batches of a pass; runs of one seed on one experience share theirs.

    There are as many more as there are spare places in the stack, of which no row is used.
    """
    shared = {(run.settings.seed, id(run.experience)): run.dataloader for run in runs}
    places = {key: place for place, key in enumerate(shared)}
    of = [places[run.settings.seed, id(run.experience)] for run in runs]
    shown = of + of[-1:] * spare
    sizes: list[int] = []
    for parts in zip_longest(*shared.values()):
        like = next(part for part in parts if part is not None)
        x, y = ([_padded(None if part is None else part[i], rows, like[i]) for part in parts] for i in (0, 1))
        lengths = [0 if part is None else part[1].shape[0] for part in parts]
        present = [lengths[i] for i in of] + [0] * spare
        if present != sizes:
            sizes = present
            weights = _weights(sizes, rows, dtype, like[0].device)
        yield Batch(torch.stack([x[i] for i in shown]).to(dtype), torch.stack([y[i] for i in shown]), sizes, weights)


def _padded(values: Tensor | None, rows: int, like: Tensor) -> Tensor:
    """Return rows of values, as many as asked for: those that there are, and zeros."""
    if values is None:
        return like.new_zeros(rows, *like.shape[1:])
    missing = rows - values.shape[0]
    return torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) if missing else values


def _weights(sizes: Sequence[int], rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    used = torch.tensor(sizes, device=device)[:, None]
    return torch.where(torch.arange(rows, device=device) < used, 1 / used.to(dtype), 0)


def _cross_entropy(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss (R,), the number of right answers (R,), and the gradient of the losses, like the logits."""
    labels, used = batch.y[..., None], batch.weights > 0
    correct = (logits.argmax(2).eq(batch.y) & used).sum(1)
    log_p = logits.log_softmax(2)
    loss = -(log_p.gather(2, labels)[..., 0].masked_fill(~used, 0) * batch.weights).sum(1)
    gradient = log_p.exp_().scatter_add_(2, labels, -torch.ones_like(labels, dtype=log_p.dtype))
    return loss, correct, gradient.mul_(batch.weights[..., None])


def _squared_error(output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same for numbers, which the first output is to give; they are neither right nor wrong."""
    error = (output[..., 0] - batch.y).masked_fill_(batch.weights == 0, 0)
    gradient = torch.zeros_like(output)
    gradient[..., 0] = 2 * error * batch.weights
    loss = (error.square() * batch.weights).sum(1)
    return loss, torch.full_like(loss, torch.nan), gradient
