"""Checks that every intervention has to pass: ``check_intervention`` for people who add their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from io import BytesIO
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamcl.interventions import Intervention
from tamcl.models import MODELS
from tamcl.models.classifier import build_classifier
from tamcl.seeding import generator_states, set_generators
from tamcl.strategies.state import NotSaved, intervention_state
from tamcl.training.state_file import read_state, to_bytes

Make = Callable[[], Intervention]
Check = Callable[[Make, str], None]

STEPS, SHIFT = 24, 8
"""Steps of a training, and from one shift to the next."""


class _Training:
    """A model that is trained on noise, with an intervention."""

    def __init__(self, intervention: Intervention, model: str, *, seed: int = 0, frozen: str = "") -> None:
        tasks = {0: tuple(range(4))}
        options: dict[str, Any] = {"hidden": [8, 6]} if model == "mlp" else {}
        side = 8 if model == "mlp" else 16
        self.model = build_classifier(model, "single", options, shape=(1, side, side), classes=4, tasks=tasks, seed=3)
        for name, param in self.model.named_parameters():
            param.requires_grad_(name != frozen)
        params = [param for param in self.model.parameters() if param.requires_grad]
        self.optimizer = torch.optim.Adam(params, lr=0.01)
        self.intervention = intervention
        intervention.begin(self.model, self.optimizer, seed)
        generator = torch.Generator().manual_seed(7)
        self.images = torch.randn(STEPS, 6, 1, side, side, generator=generator)
        self.labels = torch.randint(4, (STEPS, 6), generator=generator)

    def train(self, steps: range) -> _Training:
        for step in steps:
            if step and step % SHIFT == 0:
                self.intervention.at_shift(self.optimizer)
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.images[step]), self.labels[step]).backward()
            self.intervention.change_gradients()
            self.intervention.before_step(self.optimizer)
            self.optimizer.step()
            self.intervention.after_step(self.optimizer)
        return self

    @property
    def weights(self) -> Tensor:
        return torch.cat([param.detach().flatten() for param in self.model.parameters()])


WHOLE = range(STEPS)


def check_begin(make: Make, model: str) -> None:
    """To begin changes no weight, and is the same at any time: what was trained before is forgotten."""
    tasks = {0: tuple(range(4))}
    training = _Training(make(), model)
    first = to_bytes(intervention_state(training.intervention))
    options: dict[str, Any] = {"hidden": [8, 6]} if model == "mlp" else {}
    side = training.images.shape[-1]
    plain = build_classifier(model, "single", options, shape=(1, side, side), classes=4, tasks=tasks, seed=3)
    start = torch.cat([param.detach().flatten() for param in plain.parameters()])
    assert torch.equal(training.weights, start), "begin changed weights"
    initial = deepcopy(training.model.state_dict())
    training.train(WHOLE)
    training.model.load_state_dict(initial)
    training.intervention.begin(training.model, training.optimizer, 0)
    assert to_bytes(intervention_state(training.intervention)) == first, (
        "to begin again does not forget what was before"
    )


def check_seed(make: Make, model: str) -> None:
    """The same seed gives the same weights, whatever the global generators, and these are left as they are."""
    before = generator_states()
    try:
        torch.manual_seed(1)
        one = _Training(make(), model).train(WHOLE).weights
        torch.manual_seed(2)
        drawn = torch.get_rng_state()
        other = _Training(make(), model).train(WHOLE).weights
        assert torch.equal(torch.get_rng_state(), drawn), "it draws from torch's global generator"
    finally:
        set_generators(before)
    assert torch.equal(one, other), "the same seed does not give the same weights"


def check_state(make: Make, model: str) -> None:
    """What goes on from ``state_dict`` is bit by bit what was never interrupted, and the state stays what it was."""
    whole = _Training(make(), model).train(WHOLE)
    for stop in (1, 7, 13, 20):
        first = _Training(make(), model).train(range(stop))
        try:
            written = to_bytes([intervention_state(first.intervention), first.optimizer.state_dict()])
        except NotSaved as error:
            raise AssertionError(f"its state cannot be kept: {error}") from error
        state, moments = read_state(BytesIO(written))
        second = _Training(make(), model)
        second.model.load_state_dict(first.model.state_dict())
        second.optimizer.load_state_dict(moments)
        second.intervention.load_state_dict(state)
        second.train(range(stop, STEPS))
        assert torch.equal(second.weights, whole.weights), f"it does not go on after {stop} steps as if uninterrupted"
        assert to_bytes(state) == to_bytes(read_state(BytesIO(written))[0]), "it changes the state that it took over"


def check_frozen(make: Make, model: str) -> None:
    """A parameter that is not trained stays as it is, but for outgoing weights of units that are reset."""
    frozen = next(name for name, _ in _Training(make(), model).model.named_parameters() if name.endswith("bias"))
    training = _Training(make(), model, frozen=frozen)
    before = training.model.get_parameter(frozen).detach().clone()
    if not hasattr(training.intervention, "reset"):
        training.train(WHOLE)
        assert torch.equal(training.model.get_parameter(frozen), before), f"it changes {frozen}, which is not trained"


def yield_checks() -> Iterator[Check]:
    """Yield every check."""
    yield check_begin
    yield check_seed
    yield check_state
    yield check_frozen


def check_intervention(make: Make, model: str = "mlp") -> None:
    """Run every check on an intervention.

    Parameters
    ----------
    make : callable
        Makes one, with its options.
    model : str
        Name of the model that it is tried on: of 8 x 8 pixels with ``"mlp"``, else of 16 x 16.

    Raises
    ------
    AssertionError
        Saying what is wrong.
    InputError
        If it refuses the model.

    Examples
    --------
    >>> from tamcl.interventions import ShrinkAndPerturb
    >>> check_intervention(ShrinkAndPerturb)
    """
    assert model in MODELS, f"there is no model {model!r}"
    for check in yield_checks():
        check(make, model)
