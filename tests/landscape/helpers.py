"""Networks of two weights, whose loss is known in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tamcl.landscape import Surface
from tamcl.models import Classifier
from tamcl.streams.benchmark import Experience, Images

X = np.array([0.0, 1.0, 2.0, 5.0])
SQUARES = float((X**2).mean())


class Head(nn.Module):
    """A number times the feature, whatever the task."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor, task: int) -> Tensor:
        return features * self.weight


class Body(nn.Module):
    """A number times the pixel, normalised or not."""

    def __init__(self, *, normalized: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm1d(1, affine=False) if normalized else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(1) * self.weight)  # type: ignore[no-any-return]


def pixels(y: np.ndarray, repeats: int = 1) -> Experience:
    """Images of one pixel, each of X, with numbers to be learnt."""
    values = torch.from_numpy(np.tile(X, repeats).astype(np.uint8))[:, None, None, None]
    images = Images(values, lambda: (torch.zeros(1), torch.ones(1)))
    labels = np.tile(y, repeats).astype(np.float32)
    return Experience(images, np.arange(len(labels)), labels, task=0, position=0)


def surface(*, normalized: bool = False, y: np.ndarray = X) -> Surface:
    """The loss of ``weight * weight * x``, or of the same with x normalised in between, against y."""
    model = Classifier(Body(normalized=normalized), Head())
    return Surface(model, [pixels(y)], [pixels(y)], torch.device("cpu"))


def weights(body: float, head: float, **others: float) -> dict[str, Tensor]:
    held = {"body.weight": torch.tensor([float(body)]), "head.weight": torch.tensor([float(head)])}
    named = {f"body.norm.running_{name}": torch.tensor([value], dtype=torch.float32) for name, value in others.items()}
    return held | named | ({"body.norm.num_batches_tracked": torch.tensor(0)} if others else {})
