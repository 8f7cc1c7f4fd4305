"""Adam with critical momenta: a small buffer of past momenta keeps pushing Adam on."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import (
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_betas,
    check_choice,
    check_count,
    check_number,
    norms,
)

Variant = Literal["official", "paper"]


class AdamCM(BaseOptimizer):
    r"""Adam with critical momenta: to the momentum is added the mean of a few remembered ones.

    Use it where exploration is wanted: past momenta carry the parameters over sharp minima, at the price of slower
    settling. Look for its learning rate around 1/8 to 1/4 of Adam's.

    .. math::
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        m_t^M &= m_t + \frac{1}{|B|} \sum_{b \in B} b \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, (m_t^M)^2 \\
        \theta_t &= \theta_{t-1}
            - \frac{\eta}{1 - \beta_1^t} \frac{m_t^M}{\sqrt{v_t} \, / \sqrt{1 - \beta_2^t} + \epsilon}

    Then :math:`m_t` enters the buffer :math:`B` with priority :math:`\lVert g_t \rVert`, if :math:`B` is not full or
    the priority is above the lowest in :math:`B`, which leaves (of equal ones the oldest). At the end of every step all
    priorities are multiplied by :math:`\lambda`.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    capacity : int
        How many momenta :math:`B` holds, at least 0; the same in all groups. At 0 this is Adam with the second moment
        built from the momentum, which is not torch's Adam.
    decay : float
        :math:`\lambda` in [0, 1]: at 1 large gradients are never forgotten; the same in all groups.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        At least 0; decoupled: parameters shrink by ``1 - lr * weight_decay`` before the step.
    amsgrad : bool
        Divide by the largest :math:`v` so far.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"`` to halve its memory; that of the moments if None.
    variant : {"official", "paper"}
        ``"official"`` follows the authors' released code: the priority is the sum of the norms of all tensors'
        gradients, and a tensor's first gradient moves nothing and is itself put in the buffer, in place of a momentum.
        ``"paper"`` follows the equations: the norm of the whole gradient, and a first step like any other. The same in
        all groups.
    maximize : bool
        Ascend instead.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg``, ``exp_avg_sq``, ``buffer`` (capacity first) and under amsgrad ``max_exp_avg_sq`` of every
        parameter; ``priorities`` and ``ages`` (in steps) of the filled slots in ``shared_state``.

    Notes
    -----
    Assumptions: there is one table of priorities for all parameters of the optimizer, so that one group and two with
    equal options are the same; a parameter without gradient stores zeros in that step's slot; moments and buffer of a
    parameter start when its first gradient comes.

    Once the gradient is zero for good, nothing enters the buffer any more, and what it holds moves the parameters on by
    about one learning rate a step. This is the algorithm's own way. A gradient that is zero from the first step on
    moves nothing.

    The released code adds and subtracts into a running sum of the buffer, whose rounding error grows; here the mean is
    taken anew in each step. The released code also loses its buffer in ``load_state_dict`` and ``deepcopy`` and draws
    from NumPy's global generator; here the buffer is saved and copied, and nothing is drawn.

    References
    ----------
    Promoting Exploration in Memory-Augmented Adam using Critical Momenta, 2023, https://arxiv.org/abs/2307.09638

    Examples
    --------
    How far a steady gradient has moved a parameter after each step, in learning rates:

    >>> for variant in ("official", "paper"):
    ...     weight = torch.nn.Parameter(torch.zeros(1))
    ...     optimizer = AdamCM([weight], lr=1.0, variant=variant)
    ...     for _ in range(3):
    ...         weight.grad = torch.ones(1)
    ...         optimizer.step()
    ...         print(f"{weight.abs().item():.2f}", end=" ")
    ...     print(variant)
    0.00 7.44 11.01 official
    10.00 17.04 22.18 paper
    >>> optimizer.shared_state["ages"]
    [3, 2, 1]
    """

    shared_options = ("capacity", "decay", "variant")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        capacity: int = 5,
        decay: float = 0.7,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        buffer_dtype: str | torch.dtype | None = None,
        variant: Variant = "official",
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "capacity": capacity,
            "decay": decay,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "amsgrad": amsgrad,
            "buffer_dtype": buffer_dtype,
            "variant": variant,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_count(group, "capacity")
        check_number(group, "decay", high=1, closed=True)
        check_betas(group)
        check_number(group, "eps")
        check_choice(group, "variant", get_args(Variant))
        _floating_dtype(group["buffer_dtype"], torch.float32)

    def state_dtype(self, key: str, param: Tensor, group: dict[str, Any]) -> torch.dtype:
        """Return the precision of a state tensor; the buffer has its own."""
        dtype = super().state_dtype(key, param, group)
        return _floating_dtype(group["buffer_dtype"], dtype) if key == "buffer" else dtype

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments and an empty buffer."""
        dtype = at_least_float32(param.dtype)
        if "exp_avg" not in state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(param, dtype=dtype)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=dtype)
            slots = (group["capacity"], *param.shape)
            state["buffer"] = torch.zeros(slots, dtype=self.state_dtype("buffer", param, group), device=param.device)
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = state["exp_avg_sq"].clone()

    def update(self, batches: list[Batch]) -> None:
        """Do one step of Adam with critical momenta."""
        group = batches[0].group
        table = self.shared_state
        priorities, ages = table.setdefault("priorities", []), table.setdefault("ages", [])
        filled = len(priorities)
        lengths = [length for batch in batches for length in norms(batch.grads)]
        priority = sum(lengths) if group["variant"] == "official" else math.hypot(*lengths)
        slot = replaced_slot(priorities, ages, priority, group["capacity"])
        for batch in batches:
            self._update_group(batch, filled, slot)
        if slot is not None:
            self._store_zeros(slot)
            priorities[slot : slot + 1], ages[slot : slot + 1] = [priority], [0]
        priorities[:] = [group["decay"] * value for value in priorities]
        ages[:] = [age + 1 for age in ages]

    def _update_group(self, batch: Batch, filled: int, slot: int | None) -> None:
        group, *lists = batch
        rows = list(zip(*lists, strict=True))
        if group["variant"] == "official" and group["capacity"]:
            for _, grad, state in rows:
                if state["step"] == 0 and slot is not None:
                    state["buffer"][slot].copy_(grad)
            moving = [row for row in rows if row[2]["step"] > 0]
        else:
            moving = rows
        for _, _, state in rows:
            state["step"] += 1
        if moving:
            params, grads, states = (list(column) for column in zip(*moving, strict=True))
            adam_cm(
                params,
                grads,
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
                [state["buffer"] for state in states],
                [state["step"] for state in states],
                filled=filled,
                slot=slot,
                lr=float(group["lr"]),
                betas=group["betas"],
                eps=group["eps"],
            )

    def _store_zeros(self, slot: int) -> None:
        """Clear the slot of parameters without gradient, so that a slot holds one step's momenta everywhere."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None and "buffer" in self.state.get(param, {}):
                    self.state[param]["buffer"][slot].zero_()


def adam_cm(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    buffers: list[Tensor],
    steps: list[int],
    *,
    filled: int,
    slot: int | None,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Do one step on lists of tensors: ``filled`` slots are averaged, then the new momenta go to ``slot``, if any."""
    beta1, beta2 = betas
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    aggregates = exp_avgs
    if filled:
        aggregates = [
            torch.mean(buffer[:filled], 0, dtype=m.dtype) for buffer, m in zip(buffers, exp_avgs, strict=True)
        ]
        torch._foreach_add_(aggregates, exp_avgs)
    if slot is not None:
        torch._foreach_copy_([buffer[slot] for buffer in buffers], exp_avgs)

    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, aggregates, aggregates, 1 - beta2)
    if max_exp_avg_sqs:
        torch._foreach_maximum_(max_exp_avg_sqs, exp_avg_sqs)
    first, second = [1 - beta1**step for step in steps], [math.sqrt(1 - beta2**step) for step in steps]
    # lr m / (sqrt(v) / c + eps) = lr c m / (sqrt(v) + c eps), which is a pass less over the parameters
    denominators = torch._foreach_sqrt(max_exp_avg_sqs or exp_avg_sqs)
    torch._foreach_add_(denominators, [eps * c for c in second])
    torch._foreach_addcdiv_(params, aggregates, denominators, [-lr * c / b for b, c in zip(first, second, strict=True)])


def replaced_slot(priorities: list[float], ages: list[int], priority: float, capacity: int) -> int | None:
    """Return the slot that a momentum of this priority goes to, or None if it is not kept.

    Examples
    --------
    >>> replaced_slot([2.0, 1.0], [2, 1], 0.5, capacity=3)
    2
    >>> replaced_slot([2.0, 1.0, 1.0], [3, 1, 2], 1.5, capacity=3)
    2
    >>> replaced_slot([2.0, 1.0, 1.0], [3, 1, 2], 1.0, capacity=3) is None
    True
    """
    if len(priorities) < capacity:
        return len(priorities)
    lowest = min(range(capacity), key=lambda slot: (priorities[slot], -ages[slot]), default=None)
    return lowest if lowest is not None and priority > priorities[lowest] else None


def _floating_dtype(name: str | torch.dtype | None, default: torch.dtype) -> torch.dtype:
    dtype = default if name is None else getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"buffer_dtype must be a floating-point type such as 'bfloat16', got {name!r}")
    return dtype
