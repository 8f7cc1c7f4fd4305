"""Schedule-Free AdamW: gradients are taken at one point, and the average of the steps so far is what is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import (
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_betas,
    check_count,
    check_number,
    column,
    learning_rate,
)
from tamcl.optim.sharing import Ranks, local

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class ScheduleFree(BaseOptimizer):
    r"""Schedule-Free AdamW: an average of all steps takes the place of a falling learning rate.

    Use it to ask what a long memory of weights, not of gradients, costs under shifts: the average goes over the whole
    stream, also over what was right before the last shift. Parameters have two values: those that training goes on
    from, and the average, which is tested.

    .. math::
        y_t &= (1 - \beta_1) \, z_t + \beta_1 \, x_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \quad \text{with } g_t = \nabla L(y_t) \\
        z_{t+1} &= z_t - \eta_t \left( \frac{g_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} + \lambda \, y_t \right) \\
        x_{t+1} &= (1 - c_t) \, x_t + c_t \, z_{t+1} \quad \text{with } c_t = \frac{\eta_t^2}{\sum_{i \le t} \eta_i^2}

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`: how near to the average gradients are taken, in (0, 1), and as in Adam, in [0, 1).
    warmup : int
        Steps, at least 0, over which :math:`\eta_t` grows to :math:`\eta` in a line.
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled, at :math:`y`.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        As for all optimizers here; nothing is measured over ranks.

    Attributes
    ----------
    state : dict
        ``step``, ``z``, ``exp_avg_sq`` and ``weight_sum`` (:math:`\sum \eta_i^2`) of every parameter, whose value is
        :math:`y`; between ``eval`` and ``train`` its value is :math:`x` and the state has ``y``.

    Raises
    ------
    InputError
        By ``step``, between ``eval`` and ``train``.

    Notes
    -----
    tamcl's strategies call ``eval`` before a test and ``train`` after it, so that tests see :math:`x`. What is measured
    in training, such as the accuracy on each mini-batch before its step, and every diagnostic, is of :math:`y`. Batch
    norm counts at :math:`y` too, where its authors would count anew before a test. ``train`` gives back the very bits,
    so that tests change nothing, where the authors' code computes :math:`y` from :math:`x` again.

    Assumptions: :math:`c_t` by the present learning rate, as in the paper, where the released code takes the largest so
    far. ``ScheduleFreeAdamW`` of pytorch_optimizer 4.1 counts its steps in the group, where a cleared state does not
    reset them, moves at a learning rate of 0, changes gradients, and cannot be copied.

    References
    ----------
    The Road Less Scheduled, 2024, algorithm 1, https://arxiv.org/abs/2405.15682; code:
    https://github.com/facebookresearch/schedule_free

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    >>> optimizer = ScheduleFree([weight], lr=1.0)
    >>> for _ in range(3):
    ...     weight.grad = -torch.ones(1, dtype=torch.float64)
    ...     optimizer.step()
    >>> optimizer.eval()
    >>> round(weight.item(), 3)  # the mean of 1, 2 and 3
    2.0
    >>> optimizer.train()
    >>> round(weight.item(), 3)  # a tenth of the way from there to 3
    2.1
    """

    moment = "exp_avg_sq"
    clock = ("step", "weight_sum")
    decays_by_itself = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup: int = 0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "warmup": warmup,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: no."""
        return False

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        if not group["betas"][0]:
            raise ValueError(f"betas[0] must be in (0, 1), got {group['betas'][0]!r}")
        check_count(group, "warmup")
        check_number(group, "eps")

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start where the parameter is."""
        state.setdefault("step", 0)
        state.setdefault("weight_sum", 0.0)
        dtype = at_least_float32(param.dtype)
        if "z" not in state:
            state["z"] = param.detach().to(dtype, copy=True, memory_format=torch.preserve_format)
        if "exp_avg_sq" not in state:
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=dtype)

    @torch.no_grad()
    def eval(self) -> None:
        """Let parameters be the average, which is to be tested."""
        for param, state, beta in self._trained():
            if "y" not in state:
                y = local(param)
                state["y"] = param.detach().clone()
                z = local(state["z"])
                y.copy_(z + (y.to(z.dtype) - z) / beta)

    @torch.no_grad()
    def train(self) -> None:
        """Let parameters be what training goes on from; there is nothing to do if they are."""
        for param, state, _ in self._trained():
            if "y" in state:
                local(param).copy_(local(state.pop("y")))

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of Schedule-Free AdamW."""
        if any("y" in state for batch in batches for state in batch.states):
            raise InputError("ScheduleFree's parameters are those to be tested: call train() before a step")
        for group, params, grads, states in batches:
            columns = column(states, "z"), column(states, "exp_avg_sq")
            for param, grad, state, z, exp_avg_sq in zip(params, grads, states, *columns, strict=True):
                state["step"] += 1
                lr = learning_rate(group) * min(1.0, state["step"] / group["warmup"] if group["warmup"] else 1.0)
                state["weight_sum"] += lr**2
                schedule_free(
                    param,
                    grad,
                    z,
                    exp_avg_sq,
                    step=state["step"],
                    lr=lr,
                    c=lr**2 / state["weight_sum"] if state["weight_sum"] else 0.0,
                    group=group,
                )

    def _trained(self) -> list[tuple[Tensor, dict[str, Any], float]]:
        return [
            (param, self.state[param], group["betas"][0])
            for group in self.param_groups
            for param in group["params"]
            if "z" in self.state.get(param, {})
        ]


def schedule_free(
    param: Tensor,
    grad: Tensor,
    z: Tensor,
    exp_avg_sq: Tensor,
    *,
    step: int,
    lr: float,
    c: float,
    group: dict[str, Any],
) -> None:
    """Do one step of Schedule-Free AdamW on a tensor: y goes on without x, which it and z determine.

    It is ``(1 - beta) (z - move) + beta ((1 - c) x + c (z - move))``, in which ``beta x`` is ``y - (1 - beta) z``.
    """
    beta, beta2 = group["betas"]
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    y = param.to(z.dtype)
    move = lr * (grad / ((exp_avg_sq / (1 - beta2**step)).sqrt() + group["eps"]) + group["weight_decay"] * y)
    param.copy_(y + c * (z - y) - (1 - beta * (1 - c)) * move)
    z.sub_(move)
