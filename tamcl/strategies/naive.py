"""Plain training on one experience after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tamcl.avalanche import EvaluationPlugin, PeriodicEval, SupervisedPlugin, SupervisedTemplate
from tamcl.errors import InputError
from tamcl.models import Classifier
from tamcl.optim.closures import needs_closure
from tamcl.optim.entries import reset_clock, reset_moments, why_no_clock, why_no_moments
from tamcl.optim.phases import tell_of_model, tell_of_shift, tell_of_training, weights_to_test
from tamcl.seeding import derive_seed, generator_states, set_generators
from tamcl.strategies.evaluation import Evaluation, evaluate
from tamcl.strategies.heartbeat import beat
from tamcl.strategies.loader import BatchLoader
from tamcl.strategies.settings import TrainingSettings
from tamcl.strategies.state import (
    NotSaved,
    State,
    check_apart,
    intervention_state,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
)
from tamcl.streams.base import batches_of
from tamcl.streams.benchmark import ExperienceStream

Hook = Callable[..., Any]


class Common(TypedDict):
    """The arguments of ``Naive``, which every strategy takes beside its own."""

    model: Classifier
    make_optimizer: Callable[[Any], torch.optim.Optimizer]
    settings: NotRequired[TrainingSettings | None]


class Reset(NamedTuple):
    """What of an optimizer begins anew at a boundary, and why that may have no meaning for it."""

    do: Callable[[torch.optim.Optimizer], None]
    why_not: Callable[[torch.optim.Optimizer], str]


RESETS = {
    "reset_moments": Reset(reset_moments, why_no_moments),
    "reset_clock": Reset(reset_clock, why_no_clock),
}


class Naive(SupervisedTemplate):  # type: ignore[misc]
    """Avalanche's ``Naive`` over tensors in memory: the same weights, in a fraction of the time.

    What differs from Avalanche's template, and why:

    - mini-batches are slices of tensors in memory, in an order drawn from the seed, the experience and the epoch;
    - the optimizer is told of a boundary, if it has ``at_shift``, and touched there as ``optimizer_state`` says alone:
      the model has all its parameters from the start, while Avalanche would wipe the state on the first call of
      ``train`` and add parameters that were left out;
    - plugins that have nothing to do at an event are not called, since eight calls a step cost more than the step;
    - ``eval`` tests all experiences in one pass and draws nothing at random, so that it changes nothing in training;
    - an optimizer that needs a closure, such as SAM and LBFGS, is given one. Its first call returns the loss whose
      gradients are there already, later ones compute both anew on the same mini-batch, without hooks: what plugins see
      is measured before the update, and what they add to the loss is not computed anew.

    The other strategies here are subclasses and not Avalanche's plugins. Those call the model without its task, read
    one image at a time through a loader that draws from torch's global generator, and lose their terms in a closure.
    ``objective`` and ``backward`` are what they change: both are part of the closure. ``mb_output``, ``mb_y`` and
    ``loss``, which plugins read, are always those of the new examples alone.

    Parameters
    ----------
    model : Classifier
    make_optimizer : callable
        Takes the parameters, returns the optimizer.
    settings : TrainingSettings, optional
        How it trains; by their defaults if absent.

    Attributes
    ----------
    evaluations : list of Evaluation
        What the last ``eval`` found.
    evaluation : Evaluation
        The one of them that the evaluator is told of.
    diverged : str
        What became infinite or not a number, and when, as a collector found; empty until then. Training stops there,
        before the weights are changed once more.
    after_step : callable, optional
        Called after every step, between two mini-batches, where ``state_dict`` may be asked for.

    Examples
    --------
    A strategy of your own is a subclass with its own options, which are keys of the table ``strategy`` in a scenario:

    >>> from typing import Unpack
    >>> from tamcl.strategies.naive import Common, Naive
    >>> class SmallLogits(Naive):
    ...     def __init__(self, *, strength: float = 0.01, **common: Unpack[Common]) -> None:
    ...         super().__init__(**common)
    ...         self.strength = strength
    ...
    ...     def objective(self):
    ...         return super().objective() + self.strength * self.mb_output.square().mean()

    If nothing that it has changes in training, it says so, and its runs go on from checkpoints; else the two methods
    add what does:

    >>> class Checkpointed(SmallLogits):
    ...     def state_dict(self):
    ...         return super().state_dict()
    ...
    ...     def load_state_dict(self, state):
    ...         super().load_state_dict(state)
    """

    dataloader: Any
    experience: Any
    plugins: list[Any]
    diverged: str = ""
    after_step: Callable[[], object] | None = None
    goes_on: State | None = None
    """What the next ``train`` goes on from."""
    is_within: bool = False
    """Whether the experience was begun in the middle."""
    shares: NDArray[np.float64] | None = None
    """What the learning rates are multiplied by in each update of the experience; None if they stay."""

    def __init__(
        self,
        *,
        model: Classifier,
        make_optimizer: Callable[[Any], torch.optim.Optimizer],
        settings: TrainingSettings | None = None,
    ) -> None:
        settings = settings or TrainingSettings()
        model = model.to(settings.device)
        super().__init__(
            model=model,
            optimizer=make_optimizer(model.parameters()),
            criterion=_SquaredError() if settings.target == "number" else nn.CrossEntropyLoss(),
            train_mb_size=settings.batch_size,
            train_epochs=settings.epochs,
            device=settings.device,
            plugins=list(settings.plugins),
            evaluator=settings.evaluator or no_metrics,
        )
        # it evaluates nothing, as it was not asked to, and would be called in every step
        self.plugins = [plugin for plugin in self.plugins if not isinstance(plugin, PeriodicEval)]
        self.settings = settings
        self.new_optimizer = make_optimizer
        self.initial = {name: value.clone() for name, value in model.state_dict().items()} if settings.restart else None
        self.evaluations: list[Evaluation] = []
        self.rates = self._rates()
        self._check_optimizer_state()
        self.interventions = list(settings.interventions)
        self._check_loop()
        self._begin_interventions()

    def _check_optimizer_state(self) -> None:
        """Refuse what has no meaning for the optimizer."""
        state = self.settings.optimizer_state
        if state in RESETS and (why := RESETS[state].why_not(self.optimizer)):
            raise InputError(f"optimizer_state = '{state}': {why}")

    def _check_loop(self) -> None:
        """Refuse a loop of somebody's own, in which interventions would never be called."""
        if self.interventions and type(self).training_epoch is not Naive.training_epoch:
            name = type(self).__name__
            raise InputError(f"interventions: {name} has a training_epoch of its own, which does not call them")

    def _begin_interventions(self) -> None:
        for place, each in enumerate(self.interventions):
            each.begin(self.model, self.optimizer, derive_seed(self.settings.seed, "intervention", place))

    def train_dataset_adaptation(self, **kwargs: Any) -> None:
        """Leave the experience's data as they are: no ``AvalancheDataset`` is made."""

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Take mini-batches straight from the experience's tensors."""
        position = self.experience.current_experience
        batches, settings = (self.train_mb_size, self.settings.seed, position, self.device), self.settings
        self.dataloader = BatchLoader(
            self.experience, *batches, augmentation=settings.augmentation, drop_last=settings.drop_last
        )

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Leave model and optimizer as they are, or make anew at a boundary what is to be made anew."""
        if self.clock.train_exp_counter:
            self._cross_boundary()
        tell_of_training(self.optimizer)
        tell_of_model(self.optimizer, self.model)

    def _cross_boundary(self) -> None:
        if self.initial is not None:
            self.model.load_state_dict(self.initial)
        state = self.settings.optimizer_state
        if self.initial is not None or state == "reset":
            self.optimizer = self.new_optimizer(self.model.parameters())
            self.rates = self._rates()
        else:
            if state in RESETS:
                RESETS[state].do(self.optimizer)
            tell_of_shift(self.optimizer)
        if self.initial is not None:
            self._begin_interventions()
        else:
            for each in self.interventions:
                each.at_shift(self.optimizer)

    def _rates(self) -> list[float]:
        """Return the learning rate of each group of an optimizer that was just made."""
        return [group["lr"] for group in self.optimizer.param_groups] if self.settings.schedule else []

    def updates(self, stream: ExperienceStream) -> list[int]:
        """Return how many updates are done in each experience of a stream."""
        return [self.updates_on(len(part.train_index)) for part in stream.segments]

    def updates_on(self, examples: int) -> int:
        """Return how many updates are done in an experience of so many examples."""
        updates: int = self.train_epochs * batches_of(examples, self.train_mb_size, self.settings.drop_last)
        return updates

    def _shares(self) -> NDArray[np.float64] | None:
        """Return the shares of the learning rate in the updates of the experience."""
        if (schedule := self.settings.schedule) is None:
            return None
        here = self.train_epochs * len(self.dataloader)
        if schedule.over == "experience":
            return schedule.shares(range(here), here)
        updates, position = self.updates(self.experience.origin_stream), self.experience.current_experience
        if updates[position] != here:
            name = type(self).__name__
            raise InputError(
                f"strategy.schedule.over = 'stream': {name} does {here} updates in experience {position}, where its "
                f"method 'updates' says {updates[position]}"
            )
        before = sum(updates[:position])
        return schedule.shares(range(before, before + here), sum(updates))

    def set_rates(self) -> None:
        """Give all groups of the optimizer the learning rates of the update that comes."""
        if self.shares is not None:
            share = float(self.shares[self.clock.train_exp_iterations])
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share

    def state_dict(self) -> State:
        """Return all that changes in training, between two steps of an experience, as tensors and plain values.

        That is model, optimizer, plugins, the global generators, and how far the experience is. A strategy of your own
        adds what it has itself; the data are left out, as an experience is its place in the stream.

        Raises
        ------
        NotSaved
            If the strategy is one of your own and does not say so by both methods, or anything is no plain value.
        """
        cls = type(self)
        if not cls.__module__.startswith("tamcl.") and not {"state_dict", "load_state_dict"} <= vars(cls).keys():
            raise NotSaved(f"{cls.__name__} has no state_dict and load_state_dict of its own")
        for each in map(type, self.settings.plugins):
            if not (hasattr(each, "state_dict") and hasattr(each, "load_state_dict")):
                raise NotSaved(f"the plugin {each.__name__} has no state_dict and load_state_dict")
        state = {
            "model": model_state(self.model),
            "optimizer": optimizer_state(self.optimizer),
            "plugins": [plugin.state_dict() for plugin in self.settings.plugins],
            "interventions": [intervention_state(each) for each in self.interventions],
            "clock": {name: count for name, count in vars(self.clock).items() if type(count) is int},
            "generators": generator_states(),
        }
        for part in ("plugins", "interventions"):
            check_apart(state[part], [state["model"], state["optimizer"]], also_within=False)
        return state

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned, of a strategy that was made in the same way, in this experience."""
        load_model_state(self.model, state["model"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        for plugin, saved in zip(self.settings.plugins, state["plugins"], strict=True):
            plugin.load_state_dict(saved)
        for each, saved in zip(self.interventions, state["interventions"], strict=True):
            each.load_state_dict(saved)
        for name in state["clock"]:
            setattr(self.clock, name, int(state["clock"][name]))
        set_generators(state["generators"])

    def go_on(self, state: State, experience: Any) -> None:
        """Take over a state, and let the next ``train``, which is to be on this experience, go on from there."""
        self.experience = experience
        self.load_state_dict(state)
        self.goes_on = state

    def _before_training_exp(self, **kwargs: Any) -> None:
        super()._before_training_exp(**kwargs)
        self.shares = self._shares()
        state, self.goes_on = self.goes_on, None
        self.is_within = state is not None
        if state is not None:  # what was done to begin the experience has changed it
            self.load_state_dict(state)
            self.dataloader.begin_at(self.clock.train_exp_epochs, self.clock.train_epoch_iterations)

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        train_epochs(self, self, **kwargs)

    @property
    def mb_task(self) -> int | Tensor:
        """The task of the mini-batch, or of each of its examples."""
        return self.experience.task  # type: ignore[no-any-return]

    @property
    def mb_y(self) -> Tensor:
        """The labels of the mini-batch; of text, all of its next tokens in a row, as the logits are."""
        return self.mbatch[1].flatten()  # type: ignore[no-any-return]

    def forward(self) -> Tensor:
        """Compute the logits of the current mini-batch."""
        return self.model(self.mb_x, self.mb_task)  # type: ignore[no-any-return]

    def objective(self) -> Tensor:
        """Return what is minimised on the current mini-batch: its loss, and what a strategy adds to it."""
        return self.loss  # type: ignore[no-any-return]

    def backward(self) -> None:
        """Compute the gradients of the objective."""
        self.objective().backward()

    def change_gradients(self) -> None:
        """Let the interventions change the gradients."""
        for each in self.interventions:
            each.change_gradients()

    def clip(self) -> None:
        """Scale the gradient down if it is longer than asked for."""
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)

    def training_epoch(self, **kwargs: Any) -> None:
        """Run one pass: Avalanche's loop with only the hooks that do something."""
        hooks, self._needs_closure = self._hooks, needs_closure(self.optimizer)
        before_iteration, after_iteration = hooks("before_training_iteration"), hooks("after_training_iteration")
        before_forward, after_forward = hooks("before_forward"), hooks("after_forward")
        before_backward, after_backward = hooks("before_backward"), hooks("after_backward")
        before_update, after_update = hooks("before_update"), hooks("after_update")
        for self.mbatch in self.dataloader:  # noqa: B020 - as in Avalanche, plugins read it
            if self._stop_training:
                break
            _call(before_iteration, self)
            self.optimizer.zero_grad()
            _call(before_forward, self)
            self.mb_output = self.forward()
            _call(after_forward, self)
            self.loss = self.criterion()
            _call(before_backward, self)
            if self.diverged:
                break
            self.backward()
            self.change_gradients()
            self.clip()
            _call(after_backward, self)
            self.set_rates()
            _call(before_update, self)
            self._is_stepped = False
            self.optimizer_step()
            if self.interventions and not self._is_stepped:
                name = type(self).__name__
                raise InputError(f"interventions: {name} has an optimizer_step of its own, which does not call them")
            _call(after_update, self)
            _call(after_iteration, self)
            beat(self.clock.train_iterations)
            if self.after_step is not None:
                self.after_step()

    def optimizer_step(self) -> None:
        """Update the weights, with a closure if the optimizer needs one."""
        self._is_stepped = True
        for each in self.interventions:
            each.before_step(self.optimizer)
        if self._needs_closure:
            self.optimizer.step(self._closure())
        else:
            self.optimizer.step()
        for each in self.interventions:
            each.after_step(self.optimizer)

    def _closure(self) -> Callable[[], Any]:
        """Return a function of no arguments that gives loss and gradients at the weights as they are when called."""
        present = [self.loss]

        def closure() -> Any:
            if present:
                return present.pop()
            seen = self.mb_output, self.loss
            self.optimizer.zero_grad()
            self.mb_output = self.forward()
            self.loss = loss = self.criterion()
            self.backward()
            self.change_gradients()
            self.clip()
            self.mb_output, self.loss = seen
            return loss

        return closure

    def _hooks(self, event: str) -> list[Hook]:
        """Return the plugins' methods for an event, without those that are Avalanche's empty ones."""
        empty = getattr(SupervisedPlugin, event)
        return [
            getattr(plugin, event)
            for plugin in self.plugins
            if (self._reports if plugin is self.evaluator else getattr(type(plugin), event, empty) is not empty)
        ]

    @property
    def _reports(self) -> bool:
        """Whether the evaluator has anything to do: Avalanche's makes its methods when they are asked for."""
        return bool(self.evaluator.metrics or self.evaluator.loggers)

    def test(self, stream: ExperienceStream, only: Iterable[int] | None = None) -> list[Evaluation]:
        """Test the model as ``eval`` does, without a word to any plugin, in training or not."""
        with weights_to_test(self.optimizer):
            return evaluate(self.model, stream, self.device, only)

    def eval(self, stream: ExperienceStream, only: Sequence[int] | None = None, **kwargs: Any) -> list[Evaluation]:
        """Test the model on the experiences of a stream, in one pass.

        Parameters
        ----------
        stream : ExperienceStream
        only : sequence of int, optional
            Positions of the experiences to test; all of them if absent.
        """
        self.is_training = False
        self._before_eval(**kwargs)
        self.evaluations = self.test(stream, only)
        if self._reports:
            self._report(stream)
        self._after_eval(**kwargs)
        return self.evaluations

    def _report(self, stream: ExperienceStream) -> None:
        """Tell the evaluator of each experience that was tested."""
        present = self.experience
        for evaluation in self.evaluations:
            self.evaluation = evaluation
            self.experience = stream[evaluation.experience]
            self.evaluator.before_eval_exp(self)
            self.evaluator.after_eval_exp(self)
        self.experience = present


class _SquaredError(nn.Module):
    """Mean squared error of the first output."""

    def forward(self, output: Tensor, numbers: Tensor) -> Tensor:
        return mse_loss(output[:, 0], numbers)


def no_metrics() -> EvaluationPlugin:
    """Return Avalanche's evaluation plugin without metrics: ours are computed from the collectors' rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No loggers specified", UserWarning)
        return EvaluationPlugin()


def train_epochs(strategy: Any, run: Naive, **kwargs: Any) -> None:
    """Train the epochs that an experience of a run has left, by a strategy that trains it, or several like it."""
    first = run.clock.train_exp_epochs
    for epoch in range(first, strategy.train_epochs):
        if epoch > first or not run.is_within:  # else it has been told
            strategy._before_training_epoch(**kwargs)
        if strategy._stop_training:
            strategy._stop_training = False
            break
        strategy.training_epoch(**kwargs)
        strategy._after_training_epoch(**kwargs)


def _call(hooks: list[Hook], strategy: Naive) -> None:
    for hook in hooks:
        hook(strategy)
