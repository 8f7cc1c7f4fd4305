"""UPGD: what matters to the loss is left alone, and what does not is moved, by the gradient and by noise."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import BaseOptimizer, Batch, at_least_float32, check_count, check_number, learning_rate, to_python
from tamcl.optim.draws import noise_like, own_seed
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class UPGD(BaseOptimizer):
    r"""Utility-based perturbed gradient descent (UPGD-W): noisy gradient steps, the smaller the more a weight matters.

    Use it where a network should go on learning over many shifts: its paper says that it keeps useful weights, against
    forgetting, and renews useless ones, against the loss of plasticity. Its noise has a size of its own to be tuned.

    .. math::
        u_t &= \beta_u \, u_{t-1} - (1 - \beta_u) \, g_t \, \theta_{t-1} \\
        s_t &= \sigma\!\left(\frac{u_t}{(1 - \beta_u^t) \, \max u_t}\right) \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1} - \eta \, (g_t + \varsigma \, \xi_t) (1 - s_t)

    with the logistic function :math:`\sigma`, standard normal :math:`\xi_t`, and the maximum over all weights.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    beta_utility : float
        :math:`\beta_u` in [0, 1): smoothing of the utility over steps.
    sigma : float
        :math:`\varsigma`, at least 0: standard deviation of the noise, which moves weights by up to :math:`\eta` times
        that.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    seed : int, optional
        Of the noise; that of torch's global generator if None. The same in all groups, and, where each rank has all
        parameters, on all ranks.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        None: ranks that have but a share of the parameters are refused.

    Attributes
    ----------
    state : dict
        ``step`` and ``avg_utility`` (:math:`u_t`) of every parameter.

    Raises
    ------
    InputError
        In a step, if ranks have but a share of the parameters: their noise would be another.

    Notes
    -----
    This is ``FirstOrderGlobalUPGD`` of the authors' code, with first-order utilities and one maximum over all tensors.
    Kept as it is there: the maximum is not corrected for having started at zero, as the utilities are, so that with a
    :math:`\beta_u` near 1 weights of positive utility hardly move in the first steps; and if all utilities are
    negative, so is the maximum, and the most harmful weights are held the most.

    What differs: where the maximum is zero, a utility of zero counts as 0, while the released code has 0 / 0; noise
    comes from a private generator, seeded for every step and tensor. A gradient that is zero does not stop the noise.

    References
    ----------
    Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning, 2024, algorithm 1,
    https://arxiv.org/abs/2404.00781; code: https://github.com/mohmdelsayed/upgd

    Examples
    --------
    The first weight matters twice as much as the second, and moves less:

    >>> weight = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
    >>> optimizer = UPGD([weight], lr=1.0, sigma=0.0)
    >>> weight.grad = torch.tensor([-1.0, -1.0])
    >>> optimizer.step()
    >>> print([f"{move:.5f}" for move in (weight - torch.tensor([2.0, 1.0])).tolist()])
    ['0.00005', '0.00669']
    """

    shared_options = ("seed",)
    moment = "avg_utility"
    decays_by_itself = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        beta_utility: float = 0.9,
        sigma: float = 1e-3,
        weight_decay: float = 0.0,
        seed: int | None = None,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta_utility": beta_utility,
            "sigma": sigma,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "seed": own_seed(seed),
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "beta_utility", high=1)
        check_number(group, "sigma")
        check_count(group, "seed")

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from no utility."""
        state.setdefault("step", 0)
        if "avg_utility" not in state:
            state["avg_utility"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of UPGD."""
        if ranks is not None:
            raise InputError("UPGD draws its noise for whole tensors: no rank may have but a share of the parameters")
        largest = self._measure(batches)
        everything = chain.from_iterable(group["params"] for group in self.param_groups)
        places = {id(param): place for place, param in enumerate(everything)}
        for group, params, grads, states in batches:
            for param, grad, state in zip(params, grads, states, strict=True):
                noise = noise_like(state["avg_utility"], group["seed"], state["step"], places[id(param)])
                upgd(
                    param,
                    grad,
                    state["avg_utility"] / (1 - group["beta_utility"] ** state["step"]) / largest,
                    group["sigma"] * noise,
                    lr=learning_rate(group),
                    weight_decay=group["weight_decay"],
                )

    def _measure(self, batches: list[Batch]) -> float:
        """Take the gradients into the utilities, and return the largest utility."""
        for group, params, grads, states in batches:
            for param, grad, state in zip(params, grads, states, strict=True):
                state["step"] += 1
                share = 1 - group["beta_utility"]
                state["avg_utility"].mul_(group["beta_utility"]).sub_(grad * param, alpha=share)
        utilities = (state["avg_utility"] for batch in batches for state in batch.states)
        return max(to_python(utility.max() for utility in utilities if utility.numel()), default=1.0)


def upgd(param: Tensor, grad: Tensor, scaled_utility: Tensor, noise: Tensor, *, lr: float, weight_decay: float) -> None:
    """Do one step of UPGD on a tensor, given its utility as a share of the largest."""
    held = scaled_utility.nan_to_num(nan=0.0).sigmoid()  # 0 / 0, where no weight has any utility
    param.mul_(1 - lr * weight_decay).sub_(lr * (grad + noise) * (1 - held))
