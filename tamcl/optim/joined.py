"""One step for all parameters of an optimizer that lie in a row: of small tensors it is the number that takes time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from tamcl.optim.base import HALF_PRECISION, TABLES, BaseOptimizer, Batch
from tamcl.optim.buffer import BufferOptimizer

ELEMENTWISE = (SGD, Adam, AdamW, RMSprop, Adagrad, NAdam, RAdam)
"""torch's optimizers that treat every number by itself."""


def can_be_joined(optimizer: Optimizer) -> bool:
    """Whether an optimizer of the table does the same step, up to rounding, if all its parameters are one vector.

    Examples
    --------
    >>> import torch
    >>> from tamcl.optim import TAM
    >>> weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    >>> can_be_joined(TAM(weights)), can_be_joined(TAM(weights, granularity="tensor"))
    (True, False)
    """
    if len(optimizer.param_groups) > 1:
        return False
    if any(param.dtype in HALF_PRECISION for param in optimizer.param_groups[0]["params"]):
        return False  # whose gradients are made wider in each step
    if isinstance(optimizer, BaseOptimizer):
        return type(optimizer).__module__.startswith("tamcl.optim.") and optimizer.can_be_joined
    return type(optimizer) in ELEMENTWISE


class Joined:
    """Steps an optimizer through one of its kind, whose only parameter is the row that all of its own lie in.

    State is found where it would be: tensors in the optimizer's state are views of those of the row, and its numbers
    are right after ``show``.

    Parameters
    ----------
    optimizer : Optimizer
        One that ``can_be_joined``, all of whose parameters have a gradient in every step.
    values, gradients : Tensor, (P,)
        What the parameters and their gradients are views of; anything between those is zero.
    slices : sequence of slice
        Where each parameter lies.
    """

    def __init__(self, optimizer: Optimizer, values: Tensor, gradients: Tensor, slices: Sequence[slice]) -> None:
        self.optimizer = optimizer
        self._slices = slices
        self._group = optimizer.param_groups[0]
        self._row = nn.Parameter(values, requires_grad=False)
        self._row.grad = gradients
        options = inspect.signature(type(optimizer)).parameters
        chosen = {key: self._group[key] for key in optimizer.defaults if key in options}
        self._inner = type(optimizer)([self._row], **chosen)
        if isinstance(self._inner, BufferOptimizer):
            self._inner.parts = [gradients[part] for part in slices]
        step = type(self._inner).step
        self._step = getattr(step, "__wrapped__", step)  # without the hooks and the profiling that torch wraps it in
        self._batches: list[Batch] = []
        self._shown: dict[str, Tensor] = {}
        self._take_over()

    def step(self) -> None:
        """Do one step."""
        self._inner.param_groups[0]["lr"] = self._group["lr"]
        if not isinstance(self._inner, BaseOptimizer):
            self._step(self._inner)
            return
        batches = self._batches or self._inner.gather()
        self._inner.apply(batches, None)
        if batches[0].grads[0] is self._row.grad:  # nothing was computed from it, so that it serves the next step too
            self._batches = batches

    def show(self) -> None:
        """Let the optimizer's state say what it would after the same steps."""
        state = self._inner.state[self._row]
        shared = self._shared
        for place, (param, part) in enumerate(self._parts()):
            own = self.optimizer.state[param]
            for key, value in state.items():
                if _is_row(key, value):
                    if self._shown.get(key) is not value or key not in own:
                        own[key] = value[..., part].view(*value.shape[:-1], *param.shape)
                elif key not in shared or place == 0:
                    own[key] = value
            for key in own.keys() - state.keys():
                del own[key]
        self._shown = {key: value for key, value in state.items() if _is_row(key, value)}

    def take_apart(self) -> None:
        """Give the optimizer a state of its own."""
        self.show()
        for state in self.optimizer.state.values():
            state.update({key: value.clone() for key, value in state.items() if isinstance(value, Tensor)})

    @property
    def _shared(self) -> Any:
        return self._inner.shared_numbers if isinstance(self._inner, BaseOptimizer) else ()

    def _parts(self) -> Iterator[tuple[Tensor, slice]]:
        return zip(self._group["params"], self._slices, strict=True)

    def _take_over(self) -> None:
        """Begin where the optimizer is."""
        state: dict[str, Any] = {}
        for param, part in self._parts():
            for key, value in self.optimizer.state.get(param, {}).items():
                if not _is_row(key, value):
                    state.setdefault(key, value.clone() if isinstance(value, Tensor) else value)
                    continue
                before = value.shape[: value.dim() - param.dim()]
                if key not in state:
                    state[key] = value.new_zeros(*before, self._row.numel())
                state[key][..., part] = value.reshape(*before, param.numel())
        if state:
            self._inner.state[self._row] = state


def _is_row(key: str, value: Any) -> bool:
    """Whether an entry of a state has something for every number of a parameter."""
    return isinstance(value, Tensor) and value.dim() > 0 and key not in TABLES
