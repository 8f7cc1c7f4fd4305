"""Body and head put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tamcl.errors import InputError, shortened, shown
from tamcl.models import HEADS
from tamcl.models.heads import Tasks
from tamcl.models.inputs import NormalizedInputs
from tamcl.models.plain import Logits, NoHead, build_body
from tamcl.registry import lookup
from tamcl.seeding import derive_seed


class Classifier(nn.Module):
    """A body that turns images into features and a head that turns features into one logit a class.

    Of text, each token has features and gets a logit for every token that may come next.

    Parameters
    ----------
    body : torch.nn.Module
        Maps images to features, (n, body.features), or windows of text to (n, context, body.features).
    head : torch.nn.Module
        Maps features and the task to logits, (n, classes).
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor, task: int | Tensor = 0) -> Tensor:
        """Map images (n, channels, height, width) of one task, or each of its own (n,), to logits (n, classes).

        Windows of text (n, context) are mapped to the logits of all their tokens in a row, (n * context, tokens).
        """
        return self.head(self.body(x).flatten(0, -2), task)  # type: ignore[no-any-return]


def build_classifier(
    name: str,
    head: str,
    options: dict[str, Any],
    *,
    shape: tuple[int, ...],
    classes: int,
    tasks: Tasks,
    seed: int,
    is_text: bool = False,
    normalize_inputs: float | None = None,
) -> Classifier:
    """Build a model with the initial weights that belong to a seed, leaving the global generator as it was.

    Parameters
    ----------
    name, head : str
        Names in ``MODELS`` and ``HEADS``. The outputs of a module of others are its logits, for the head "single".
    options : dict
        Further arguments of the model.
    shape : tuple of int, (channels, height, width), or (context,)
    classes : int
        Number of logits; of text, the tokens of its vocabulary.
    tasks : dict of int to tuple of int
        The classes of each task.
    seed : int
        Seed of the run.
    is_text : bool
        Whether the body is also told the number of ``tokens``.
    normalize_inputs : float, optional
        How much images of before count in the running mean and deviation that inputs are normalised by, if they are.
    """
    if is_text and normalize_inputs is not None:
        raise InputError(f"model.normalize_inputs {normalize_inputs}: is for images, and the data are text")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "init"))
        body: Any = build_body(name, options, shape, classes, is_text)
        has_head = isinstance(body, Logits)
        if has_head and head != "single":
            raise InputError(
                f"model.head '{head}': needs features, and {shown(name)} gives logits; let it give features, and say "
                "how many in its attribute `features`"
            )
        if normalize_inputs is not None:
            body = NormalizedInputs(body, shape, normalize_inputs)
        model = Classifier(body, NoHead() if has_head else lookup(HEADS, head)(body.features, classes, tasks))
        if any(map(is_lazy, (*model.parameters(), *model.buffers()))):  # they get shape and weights in a forward pass
            _pass_forward(model, shape, tasks, is_text)
        return model


def check_classifier(model: Classifier, *, shape: tuple[int, ...], tasks: Tasks, is_text: bool = False) -> None:
    """Try a model that is not trained afterwards: a forward pass may change it.

    Raises
    ------
    InputError
        If a forward pass makes parameters, which an optimizer that was made before does not have.
    """
    known = set(model.parameters())
    _pass_forward(model, shape, tasks, is_text)
    if made := [name for name, param in model.named_parameters() if param not in known]:
        cure = "make them in __init__, or by lazy modules such as torch.nn.LazyLinear"
        names = shortened(", ".join(made))
        raise InputError(f"its first forward pass makes the parameters {names}, which no optimizer has then: {cure}")


@torch.no_grad()
def _pass_forward(model: Classifier, shape: tuple[int, ...], tasks: Tasks, is_text: bool) -> None:
    """Pass an input through a model in test mode, which leaves the running means of normalisation as they are."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    model(torch.zeros(1, *shape, dtype=torch.int64 if is_text else torch.float32), next(iter(tasks)))
    for module, training in modes:
        module.training = training
