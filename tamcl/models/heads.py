"""Output layers. All parameters exist from the start, so that no optimizer state is ever made anew for a new task.

Every head returns one logit for each class of the data set; classes outside the image's task are at minus infinity
where the head knows tasks. The task is a number for all images, or an int64 tensor with one for each of them.

Heads that grow as classes come do not exist here: a layer made later would have no optimizer state, and its initial
weights would depend on when it is made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Tasks = dict[int, tuple[int, ...]]
"""The classes of each task."""


class SingleHead(nn.Module):
    """One linear layer over all classes; the task is not used.

    Parameters
    ----------
    features : int
    classes : int
    tasks : dict of int to tuple of int
    """

    def __init__(self, features: int, classes: int, tasks: Tasks) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor, task: int | Tensor) -> Tensor:
        """Map features (n, features) to logits (n, classes)."""
        return self.linear(features)  # type: ignore[no-any-return]


class MaskedHead(nn.Module):
    """One linear layer over all classes, the logits of classes outside the task at minus infinity.

    Weights of other tasks get zero gradients, so an optimizer with momentum still moves them; with ``MultiHead`` they
    get none and stay.

    Parameters
    ----------
    features : int
    classes : int
    tasks : dict of int to tuple of int
        The classes that each task chooses from.
    """

    def __init__(self, features: int, classes: int, tasks: Tasks) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        outside = torch.ones(max(tasks) + 1, classes, dtype=torch.bool)
        for task, own in tasks.items():
            outside[task, list(own)] = False
        self.outside: Tensor
        self.register_buffer("outside", outside)

    def forward(self, features: Tensor, task: int | Tensor) -> Tensor:
        """Map features (n, features) to logits (n, classes)."""
        return self.linear(features).masked_fill(self.outside[task], -torch.inf)  # type: ignore[no-any-return]


class MultiHead(nn.Module):
    """A linear layer for each task over that task's classes; other classes are at minus infinity.

    Parameters
    ----------
    features : int
    classes : int
    tasks : dict of int to tuple of int
        The classes of each task's layer.
    """

    def __init__(self, features: int, classes: int, tasks: Tasks) -> None:
        super().__init__()
        self.classes = classes
        self.linears = nn.ModuleDict({str(task): nn.Linear(features, len(own)) for task, own in tasks.items()})
        for task, own in tasks.items():
            self.register_buffer(f"own_{task}", torch.tensor(own))

    def forward(self, features: Tensor, task: int | Tensor) -> Tensor:
        """Map features (n, features) to logits (n, classes)."""
        logits = features.new_full((len(features), self.classes), -torch.inf)
        if isinstance(task, int):
            return logits.index_copy(1, self.get_buffer(f"own_{task}"), self.linears[str(task)](features))
        for number in task.unique().tolist():
            rows = (task == number).nonzero()
            own = self.linears[str(number)](features[rows[:, 0]])
            logits = logits.index_put((rows, self.get_buffer(f"own_{number}")), own)
        return logits
