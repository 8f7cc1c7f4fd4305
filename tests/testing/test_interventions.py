"""``check_intervention``: every intervention of the table passes, and what others may do wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from tamcl.interventions import INTERVENTIONS, Intervention, ShrinkAndPerturb
from tamcl.registry import lookup
from tamcl.testing import check_intervention

OFTEN: dict[str, dict[str, Any]] = {
    "continual_backprop": {"replacement_rate": 0.2, "maturity": 1},
    "redo": {"tau": 0.6, "every": 2},
    "self_normalized_resets": {"threshold": 6, "every": 3, "percentile": 0.5, "longest": 60},
    "l2_init": {"strength": 0.1},
    "shrink_and_perturb": {"sigma": 0.1},
    "weight_clipping": {"kappa": 0.5},
}


@pytest.mark.parametrize("model", ["mlp", "lenet"])
@pytest.mark.parametrize("name", INTERVENTIONS)
def test_every_intervention_keeps_what_is_promised(name: str, model: str) -> None:
    check_intervention(partial(lookup(INTERVENTIONS, name), **OFTEN[name]), model)


def test_shrinking_at_shifts_too() -> None:
    check_intervention(partial(ShrinkAndPerturb, decay=0.5, sigma=0.1, when="shift"))


class Drawing(Intervention):
    kept = ()

    def after_step(self, optimizer: Any) -> None:
        for param in self.model.parameters():
            param.data.add_(torch.rand(()))


class Counting(Intervention):
    steps: int

    def begin(self, model: Any, optimizer: Any, seed: int) -> None:
        super().begin(model, optimizer, seed)
        self.steps = 0

    def after_step(self, optimizer: Any) -> None:
        self.steps += 1
        for param in self.model.parameters():
            param.data.mul_(1 - 0.01 * self.steps)


class Forgetful(Counting):
    kept = ()


class Sticky(Counting):
    kept = ("steps",)

    def begin(self, model: Any, optimizer: Any, seed: int) -> None:
        Intervention.begin(self, model, optimizer, seed)
        self.steps = getattr(self, "steps", 0)


class Unfreezing(Intervention):
    kept = ()

    def after_step(self, optimizer: Any) -> None:
        for param in self.model.parameters():
            param.data.mul_(0.99)


class Hasty(Intervention):
    kept = ()

    def begin(self, model: Any, optimizer: Any, seed: int) -> None:
        super().begin(model, optimizer, seed)
        for param in model.parameters():
            param.data.mul_(0.5)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Drawing, "draws from torch's global generator"),
        (Forgetful, "does not go on after 1 steps as if uninterrupted"),
        (Sticky, "to begin again does not forget what was before"),
        (Unfreezing, "which is not trained"),
        (Hasty, "begin changed weights"),
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[], Intervention], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_intervention(wrong)
