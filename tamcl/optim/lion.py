"""Lion: steps of the same size in every coordinate, in the direction of an interpolated momentum's sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import BaseOptimizer, Batch, at_least_float32, check_betas, column, learning_rate
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Lion(BaseOptimizer):
    r"""Lion: the sign of a momentum, into which the present gradient enters more than into what is remembered.

    Use it as a momentum method that does not see how large gradients are, so that a shift cannot make its steps large.
    Its learning rate is 3 to 10 times smaller than Adam's, and its weight decay that much larger.

    .. math::
        c_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1} - \eta \, \operatorname{sign}(c_t) \\
        m_t &= \beta_2 \, m_{t-1} + (1 - \beta_2) \, g_t

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        As for all optimizers here; nothing is measured over ranks.

    Attributes
    ----------
    state : dict
        ``exp_avg`` (:math:`m_t`) of every parameter.

    Notes
    -----
    ``Lion`` of pytorch_optimizer 4.1 does the same steps, and loses options of its own in a copy, so that a run cannot
    go on from a checkpoint; it also takes a misspelt option.

    References
    ----------
    Symbolic Discovery of Optimization Algorithms, 2023, algorithm 2, https://arxiv.org/abs/2302.06675

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = Lion([weight], lr=0.5)
    >>> weight.grad = torch.tensor([100.0, -0.01])
    >>> optimizer.step()
    >>> weight.tolist()
    [-0.5, 0.5]
    """

    moment = "exp_avg"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: yes."""
        return True

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: no."""
        return False

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero momentum."""
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of Lion."""
        for group, params, grads, states in batches:
            momenta, (beta_1, beta_2) = column(states, "exp_avg"), group["betas"]
            steps = torch._foreach_mul(momenta, beta_1)
            torch._foreach_add_(steps, grads, alpha=1 - beta_1)
            torch._foreach_sign_(steps)
            torch._foreach_add_(params, steps, alpha=-learning_rate(group))
            torch._foreach_mul_(momenta, beta_2)
            torch._foreach_add_(momenta, grads, alpha=1 - beta_2)
