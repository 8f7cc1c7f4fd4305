"""Torque-aware momentum: the angle between momentum and gradient decides how much of the gradient enters."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import (
    SAFE,
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_choice,
    check_number,
    largest_entry,
    read,
)

Granularity = Literal["global", "tensor"]


class TAM(BaseOptimizer):
    r"""Torque-aware momentum: SGD whose momentum takes in less of a gradient that points against it.

    Use it in place of SGD with momentum where gradients may turn suddenly. Away from such turns the damping stays near
    1/2, so that TAM with step :math:`\eta` compares with SGD of step :math:`\eta / 2`: tune both.

    .. math::
        S_t &= \frac{\langle m_{t-1}, g_t \rangle}{\lVert m_{t-1} \rVert \, \lVert g_t \rVert} \\
        \hat s_t &= \gamma \, \hat s_{t-1} + (1 - \gamma) \, S_t \\
        d_t &= (1 + \hat s_t) / 2 \\
        m_t &= \beta \, m_{t-1} + (\epsilon + d_t) \, g_t \\
        \theta_t &= \theta_{t-1} - \eta \, m_t

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    momentum : float
        :math:`\beta` in [0, 1).
    gamma : float
        :math:`\gamma` in [0, 1): smoothing of the cosine over steps; the same in all groups.
    eps : float
        :math:`\epsilon`, at least 0: what still enters of a gradient opposed to the momentum.
    weight_decay : float
        :math:`\lambda`, at least 0.
    decoupled_weight_decay : bool
        False: :math:`g_t` becomes :math:`g_t + \lambda \theta_{t-1}` before the cosine is taken. True:
        :math:`\theta_{t-1}` shrinks by :math:`1 - \eta \lambda` before the step.
    granularity : {"global", "tensor"}
        One cosine over all parameters that have a gradient, or one for each tensor; the same in all groups.
    damping : float, optional
        Hold :math:`d_t` at this number in [0, 1] and measure no cosine; the same in all groups. 1/2 is the null model:
        what TAM would be if torque did not matter.
    maximize : bool
        Ascend instead.

    Attributes
    ----------
    state : dict
        ``momentum_buffer`` of every parameter, and of the last step ``cosine`` (:math:`S_t`), ``smoothed_cosine``
        (:math:`\hat s_t`) and ``damping`` (:math:`d_t`): of every parameter, or, if global, in ``shared_state``.

    Notes
    -----
    Assumptions, where the paper's text leaves room: :math:`m_0 = 0`, :math:`\hat s_0 = 0` and the cosine with a zero
    vector is 0, so that the first damping is 1/2; the cosine is global; weight decay is coupled by default.

    ``TAM`` of pytorch_optimizer 4.1 multiplies momentum and gradient entry by entry and never sums: no cosine is
    formed, and its damping is 1/2 for any real layer. It also starts from :math:`m_0 = g_1`.

    Held at ``damping=1`` with ``eps=0`` this is ``torch.optim.SGD`` with momentum.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = TAM([weight], lr=0.1)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = (weight**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(loss < 1e-3)
    True
    >>> 0 <= optimizer.shared_state["damping"] <= 1
    True
    """

    shared_options = ("gamma", "granularity", "damping")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        *,
        momentum: float = 0.9,
        gamma: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        granularity: Granularity = "global",
        damping: float | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "granularity": granularity,
            "damping": damping,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "momentum", high=1)
        check_number(group, "eps")
        check_torque(group)

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero momentum."""
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def update(self, batches: list[Batch]) -> None:
        """Do one step of TAM."""
        for (group, params, grads, states), dampings in zip(batches, torque(batches, self.shared_state), strict=True):
            momenta = [state["momentum_buffer"] for state in states]
            tam(params, grads, momenta, dampings, lr=float(group["lr"]), beta=group["momentum"], eps=group["eps"])


def tam(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    dampings: list[float],
    *,
    lr: float,
    beta: float,
    eps: float,
) -> None:
    """Do one step of TAM on lists of tensors, given the damping of each."""
    accumulate(momentum_buffers, grads, dampings, beta=beta, eps=eps)
    torch._foreach_add_(params, momentum_buffers, alpha=-lr)


def accumulate(
    momentum_buffers: list[Tensor], grads: list[Tensor], dampings: list[float], *, beta: float, eps: float
) -> None:
    """m = beta m + (eps + d) g."""
    torch._foreach_mul_(momentum_buffers, beta)
    if len(set(dampings)) == 1:
        torch._foreach_add_(momentum_buffers, grads, alpha=eps + dampings[0])
        return
    for momentum, grad, damping in zip(momentum_buffers, grads, dampings, strict=True):
        momentum.add_(grad, alpha=eps + damping)


def torque(batches: list[Batch], shared_state: dict[str, Any]) -> list[list[float]]:
    """Return the damping of every tensor of every batch; cosines and dampings are left in the state."""
    group = batches[0].group
    if group["damping"] is not None:
        return [[group["damping"]] * len(batch.params) for batch in batches]
    momenta = [[state["momentum_buffer"] for state in batch.states] for batch in batches]
    if group["granularity"] == "global":
        grads = [grad for batch in batches for grad in batch.grads]
        [cosine] = cosines(list(chain.from_iterable(momenta)), grads, "global")
        damping = smooth(shared_state, cosine, group["gamma"])
        return [[damping] * len(batch.params) for batch in batches]
    dampings = []
    for (*_, grads, states), tensors in zip(batches, momenta, strict=True):
        pairs = zip(states, cosines(tensors, grads, "tensor"), strict=True)
        dampings.append([smooth(state, cosine, group["gamma"]) for state, cosine in pairs])
    return dampings


def smooth(state: dict[str, Any], cosine: float, gamma: float) -> float:
    """Take a cosine into a state and return the damping that follows."""
    smoothed: float = gamma * state.get("smoothed_cosine", 0.0) + (1 - gamma) * cosine
    damping = (1 + smoothed) / 2
    state.update(cosine=cosine, smoothed_cosine=smoothed, damping=damping)
    return damping


def cosines(momenta: list[Tensor], grads: list[Tensor], granularity: Granularity) -> list[float]:
    """Return the cosine of momentum and gradient over all tensors, or that of each; 0 where either is 0.

    Examples
    --------
    >>> east, north = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1e-30])
    >>> cosines([east, east], [east, north], "tensor")
    [1.0, 0.0]
    >>> cosines([east, east], [-2 * east, -2 * east], "global")
    [-1.0]
    """
    products = read(chain.from_iterable(_products(m, g) for m, g in zip(momenta, grads, strict=True)))
    dots, momentum_squares, grad_squares = products[::3], products[1::3], products[2::3]
    if granularity == "global":
        return [_cosine(sum(dots), sum(momentum_squares), sum(grad_squares), momenta, grads)]
    return [
        _cosine(dot, mm, gg, [m], [g])
        for dot, mm, gg, m, g in zip(dots, momentum_squares, grad_squares, momenta, grads, strict=True)
    ]


def _products(momentum: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m, g = momentum.reshape(-1), grad.reshape(-1)
    return torch.dot(m, g), torch.dot(m, m), torch.dot(g, g)


def _cosine(
    dot: float, momentum_square: float, grad_square: float, momenta: list[Tensor], grads: list[Tensor]
) -> float:
    lengths = math.sqrt(momentum_square), math.sqrt(grad_square)
    if not all(SAFE[0] < length < SAFE[1] for length in lengths):
        return _scaled_cosine(momenta, grads)
    return min(max(dot / (lengths[0] * lengths[1]), -1.0), 1.0)


def _scaled_cosine(momenta: list[Tensor], grads: list[Tensor]) -> float:
    """Take a cosine whose norms float32 cannot hold; it does not change when either side is scaled."""
    m_scale, g_scale = largest_entry(momenta), largest_entry(grads)
    if 0 in (m_scale, g_scale):
        return 0.0
    if not math.isfinite(m_scale) or not math.isfinite(g_scale):
        return math.nan
    return cosines([m.double() / m_scale for m in momenta], [g.double() / g_scale for g in grads], "global")[0]


def check_torque(group: dict[str, Any]) -> None:
    """Raise ValueError if an option of the damping is out of range."""
    check_number(group, "gamma", high=1)
    check_choice(group, "granularity", get_args(Granularity))
    if group["damping"] is not None:
        check_number(group, "damping", high=1, closed=True)
