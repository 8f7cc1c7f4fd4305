"""Body and head put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tamcl.errors import InputError, shortened
from tamcl.models import HEADS, MODELS
from tamcl.models.heads import Tasks
from tamcl.models.inputs import NormalizedInputs
from tamcl.registry import lookup
from tamcl.seeding import derive_seed


class Classifier(nn.Module):
    """A body that turns images into features and a head that turns features into one logit a class.

    Parameters
    ----------
    body : torch.nn.Module
        Maps images to features, (n, body.features).
    head : torch.nn.Module
        Maps features and the task to logits, (n, classes).
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor, task: int | Tensor = 0) -> Tensor:
        """Map images (n, channels, height, width) of one task, or each of its own (n,), to logits (n, classes)."""
        return self.head(self.body(x), task)  # type: ignore[no-any-return]


def build_classifier(
    name: str,
    head: str,
    options: dict[str, Any],
    *,
    shape: tuple[int, ...],
    classes: int,
    tasks: Tasks,
    seed: int,
    normalize_inputs: float | None = None,
) -> Classifier:
    """Build a model with the initial weights that belong to a seed, leaving the global generator as it was.

    Parameters
    ----------
    name, head : str
        Names in ``MODELS`` and ``HEADS``.
    options : dict
        Further arguments of the model.
    shape : tuple of int, (channels, height, width)
    classes : int
    tasks : dict of int to tuple of int
        The classes of each task.
    seed : int
        Seed of the run.
    normalize_inputs : float, optional
        How much images of before count in the running mean and deviation that inputs are normalised by, if they are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "init"))
        body = lookup(MODELS, name)(shape, **options)
        if normalize_inputs is not None:
            body = NormalizedInputs(body, shape, normalize_inputs)
        model = Classifier(body, lookup(HEADS, head)(body.features, classes, tasks))
        if any(map(is_lazy, (*model.parameters(), *model.buffers()))):  # they get shape and weights in a forward pass
            _pass_forward(model, shape, tasks)
        return model


def check_classifier(model: Classifier, *, shape: tuple[int, ...], tasks: Tasks) -> None:
    """Try a model that is not trained afterwards: a forward pass may change it.

    Raises
    ------
    InputError
        If a forward pass makes parameters, which an optimizer that was made before does not have.
    """
    known = set(model.parameters())
    _pass_forward(model, shape, tasks)
    if made := [name for name, param in model.named_parameters() if param not in known]:
        cure = "make them in __init__, or by lazy modules such as torch.nn.LazyLinear"
        names = shortened(", ".join(made))
        raise InputError(f"its first forward pass makes the parameters {names}, which no optimizer has then: {cure}")


@torch.no_grad()
def _pass_forward(model: Classifier, shape: tuple[int, ...], tasks: Tasks) -> None:
    """Pass an image through a model in test mode, which leaves the running means of normalisation as they are."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    model(torch.zeros(1, *shape), next(iter(tasks)))
    for module, training in modes:
        module.training = training
