"""Adam with critical momenta of stacked runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from tamcl.optim.slots import SUMMED_EVERY
from tamcl.optim.stacked.base import StackedState, StackedStep, shrink


class StackedAdamCM(StackedStep):
    """One step of ``AdamCM`` or ``AdamWCM`` for R runs; see ``StackedStep``.

    The slots are summed in every step, which costs no more than to keep their sum. One slot more is there for what is
    not remembered, so that all runs store alike, whatever each has chosen.
    """

    tensors = ("exp_avg", "exp_avg_sq", "buffer")
    shared = ("priorities", "ages")
    counts = "number"

    def start(self, params: Sequence[Tensor]) -> StackedState:
        """Return the state of runs that have not begun."""
        state, capacity = super().start(params), self.group["capacity"]
        runs, device = len(params[0]), params[0].device
        state.tensors["buffer"] = [param.new_zeros(runs, capacity + 1, param.shape[1]) for param in params]
        for key, dtype in {"priorities": torch.float64, "ages": torch.int64}.items():
            state.numbers[key] = torch.zeros(runs, capacity, dtype=dtype, device=device)
        return state

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the rates of Adam, and the shares by which the moments are kept and changed.

        With the first gradient the official variant neither moves nor changes a moment; it passes through the first
        moment to the slot.
        """
        beta1, beta2 = self.group["betas"]
        root = (1 - beta2**steps).sqrt()
        moves = self._moves(steps).double()
        found = {
            "lr": moves * lr * root / (1 - beta1**steps),
            "eps": self.group["eps"] * root,
            "share": 1 - beta1 * moves,
            "squares_kept": 1 - (1 - beta2) * moves,
            "squares_share": (1 - beta2) * moves,
        }
        if self.group["weight_decay"]:
            found["kept"] = (1 - lr * self.group["weight_decay"]).expand(steps.shape)
        return found

    def _moves(self, steps: Tensor) -> Tensor:
        is_official = self.group["variant"] == "official" and self.group["capacity"] > 0
        return (steps > 1) | (not is_official)

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Mapping[str, list[Tensor]],
        numbers: Mapping[str, Tensor],
        rates: Mapping[str, Tensor],
    ) -> Tensor:
        """Do the step, and return the row of all runs' slots that the new momentum of each goes to, (R,)."""
        capacity, ages = self.group["capacity"], numbers["ages"]
        shrink(params, rates)
        lengths = torch.cat([grad.double().square().sum(1, keepdim=True) for grad in grads], 1).sqrt()
        is_official = self.group["variant"] == "official"
        priority = lengths.sum(1, keepdim=True) if is_official else lengths.square().sum(1, keepdim=True).sqrt()
        filled = (ages > 0).sum(1, keepdim=True).clamp(min=1).to(params[0].dtype)
        row = self._choose(priority, numbers)
        columns = params, grads, state["exp_avg"], state["exp_avg_sq"], state["buffer"]
        for param, grad, m, v, buffer in zip(*columns, strict=True):
            m.add_(rates["share"] * (grad - m))
            aggregate = m
            if capacity:
                total = buffer[:, 0]
                for slot in range(1, capacity):
                    total = total + buffer[:, slot]
                aggregate = m + total / filled
            v.copy_(rates["squares_kept"] * v + rates["squares_share"] * aggregate * aggregate)
            param.sub_(rates["lr"] * aggregate / (v.sqrt() + rates["eps"]))
        return row

    def _choose(self, priority: Tensor, numbers: Mapping[str, Tensor]) -> Tensor:
        """Choose a slot for a step of this priority, and note it: what ``choose_on_device`` says, for each run."""
        capacity, (ages, priorities) = self.group["capacity"], (numbers["ages"], numbers["priorities"])
        runs, device = len(ages), ages.device
        chosen = torch.full((runs, 1), capacity, device=device)
        if capacity:
            ranks = torch.where(ages > 0, priorities, -math.inf)
            lowest = ranks.amin(1, keepdim=True)
            oldest = torch.where(ranks == lowest, ages, -1).argmax(1, keepdim=True)
            is_kept = priority > lowest
            chosen = torch.where(is_kept, oldest, capacity)
            mask = (torch.arange(capacity, device=device) == oldest) & is_kept
            priorities.copy_(self.group["decay"] * torch.where(mask, priority, priorities))
            ages.copy_(torch.where(mask, 1, ages + (ages > 0)))
        starts: Tensor = torch.arange(runs, device=device) * (capacity + 1)
        return starts + chosen[:, 0]

    def after(self, state: StackedState, found: Tensor, is_first: Tensor) -> None:
        """Store the new momenta: a compiled graph would copy all slots for it."""
        momenta = state.tensors["exp_avg"]
        for buffer, momentum in zip(state.tensors["buffer"], momenta, strict=True):
            buffer.flatten(0, 1).index_copy_(0, found, momentum)
        if is_first.any() and not self._moves(torch.ones(1)).all():
            for momentum in momenta:
                momentum[is_first] = 0.0

    def load(self, state: StackedState, row: int, optimizer: Optimizer) -> None:
        """Put what an optimizer knows in a run's row."""
        capacity = self.group["capacity"]
        slots = [buffer[:, :capacity] for buffer in state.tensors["buffer"]]
        super().load(StackedState(state.tensors | {"buffer": slots}, state.numbers, state.steps), row, optimizer)

    def show(self, state: StackedState, row: int, optimizer: Optimizer) -> None:
        """Let an optimizer's state say what is in a run's row, with what it would know of the sums of slots."""
        capacity = self.group["capacity"]
        slots = [buffer[:, :capacity] for buffer in state.tensors["buffer"]]
        super().show(StackedState(state.tensors | {"buffer": slots}, state.numbers, state.steps), row, optimizer)
        if not state.steps[row]:
            return
        params = optimizer.param_groups[0]["params"]
        for param in params:
            own = optimizer.state[param]
            own.pop("is_new", None)
            sizes = own["buffer"].flatten(1).double().norm(dim=1).cpu()
            size = own["exp_avg"].double().norm().item()
            own |= {"buffer_sum": own["buffer"].sum(0), "sizes": sizes, "size": size, "largest": sizes.sum().item()}
        optimizer.state[params[0]] |= {"draws": 0, "stored": SUMMED_EVERY * capacity}  # sums are due
