"""Torque-aware momentum: the angle between momentum and gradient decides how much of the gradient enters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_number, column, is_fast, learning_rate
from tamcl.optim.damping import DampingFunction, Timing
from tamcl.optim.draws import own_seed
from tamcl.optim.kernels import fused_sgd, group_by_device_and_dtype
from tamcl.optim.sharing import Ranks
from tamcl.optim.torque import CosineOn, Granularity, Start, TorqueOptimizer, check_torque

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class TAM(TorqueOptimizer):
    r"""Torque-aware momentum: SGD whose momentum takes in less of a gradient that points against it.

    Use it in place of SGD with momentum where gradients may turn suddenly. Away from such turns the damping stays near
    1/2, so that TAM with step :math:`\eta` compares with SGD of step :math:`\eta / 2`: tune both. Held at 1/2
    (``damping=0.5``) it did as well in all of tamcl's scenarios, so compare it with that too.

    .. math::
        m_1 &= g_1 + \lambda \theta_0, \qquad \hat s_1 = 0 \\
        S_t &= \frac{\langle m_{t-1}, g_t \rangle}{\lVert m_{t-1} \rVert \, \lVert g_t \rVert}
            \quad \text{from the second gradient on} \\
        \hat s_t &= \gamma \, \hat s_{t-1} + (1 - \gamma) \, S_t \\
        d_t &= (1 + \hat s_t) / 2 \\
        m_t &= \beta \, m_{t-1} + (\epsilon + d_t) \, (g_t + \lambda \theta_{t-1}) \\
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
        False: as above. True: :math:`\theta_{t-1}` shrinks by :math:`1 - \eta \lambda` before the step, and
        :math:`g_t` enters alone.
    start : {"gradient", "zero"}
        What the first gradient of a parameter does, in whatever step it comes: enter whole, without a cosine, or meet a
        momentum of zero, whose cosine counts as 0, so that the first damping is 1/2. The same in all groups.
    cosine_on : {"raw", "decayed"}
        Whether the cosine is that of the gradient itself or that of the gradient with coupled weight decay; decoupled,
        both are the same. The same in all groups.
    granularity : {"group", "global", "tensor"}
        One cosine over all parameters of a group that have a gradient, over those of all groups, or for each tensor;
        the same in all groups. With one group, "group" and "global" are the same.
    damping : float or {"average", "shuffled"}, optional
        Null models of torque, the same in all groups. A number in [0, 1]: hold :math:`d_t` there and measure no cosine;
        1/2 is what TAM would be if torque did not matter. ``"average"``: the mean of all dampings so far.
        ``"shuffled"``: one of the last 1000, drawn at random, so that only its timing is lost. A first gradient enters
        as it does in TAM, and is in none of these.
    damping_function : {"linear", "quadratic", "reversed"}
        :math:`d_t` as a function of :math:`\hat s_t`: with c for :math:`(1 + \hat s_t) / 2`, it is c, :math:`c^2` or
        :math:`1 - c`. The same in all groups.
    seed : int, optional
        Of the draws of ``"shuffled"``; that of torch's global generator if None. The same in all groups.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written; else through torch's fused SGD kernel, which gives the
        same numbers up to rounding.
    capturable : bool
        Keep all numbers on the device and read none, so that the step may be captured in a CUDA graph; tensor by
        tensor. So far tried on CPUs alone.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``momentum_buffer`` of every parameter; and ``cosine`` (:math:`S_t`), ``smoothed_cosine`` (:math:`\hat s_t`) and
        ``damping`` (:math:`d_t`) as they were last measured (before that 0, 0 and 1): of all in ``shared_state``, of
        a group among several in ``numbers_of(group)``, or of every parameter.

    Notes
    -----
    Source: ``Adabeta`` in ``optim_adabeta.py`` of https://github.com/pranshu28/nanoGPT (branch ``optim_gpt``, May 2024,
    MIT), public code of the paper's first author from seven months before the paper. It is a precursor: its formula and
    constants are TAM's, but that it is TAM is an inference, since the paper's text was not at hand. From it are the
    first step, the cosine of each group on the gradient without weight decay, coupled decay, and all constants. It
    clamps norms at 1e-8 in the cosine; here only a cosine with a zero vector is special: it is 0.

    Assumptions: a parameter whose first gradient comes late has no part in that step's cosine (as in the source), and
    from its second on shares the smoothed cosine of its group. If a step has first gradients alone, the smoothed cosine
    stays.

    Other readings of the paper start from zero and take one cosine of everything after weight decay
    (``start="zero", cosine_on="decayed", granularity="global"``, as here before these were options). ``TAM`` of
    pytorch_optimizer 4.1 multiplies momentum and gradient entry by entry and never sums: no cosine is formed, and its
    damping is 1/2 for any real layer.

    Held at ``damping=1`` with ``eps=0`` this is ``torch.optim.SGD`` with momentum.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> import torch
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

    device_numbers = frozenset({"cosine", "smoothed_cosine", "damping"})

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
        start: Start = "gradient",
        cosine_on: CosineOn = "raw",
        granularity: Granularity = "group",
        damping: float | Timing | None = None,
        damping_function: DampingFunction = "linear",
        seed: int | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "start": start,
            "cosine_on": cosine_on,
            "granularity": granularity,
            "damping": damping,
            "damping_function": damping_function,
            "seed": own_seed(seed),
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "momentum", high=1)
        check_number(group, "eps")
        check_torque(group)

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of TAM."""
        for (group, params, grads, states), shares in self.damped(batches, ranks):
            tam(
                params,
                grads,
                column(states, "momentum_buffer"),
                shares,
                lr=learning_rate(group),
                beta=group["momentum"],
                foreach=is_fast(group),
            )


def tam(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    shares: list[Any],
    *,
    lr: Any,
    beta: float,
    foreach: bool = True,
) -> None:
    """Do one step of TAM on lists of tensors, given the share of each gradient that enters the momentum.

    Tensor by tensor, shares and ``lr`` may also be tensors that broadcast: without dimensions under ``capturable``,
    or of shape (R, 1, ..., 1) for R runs that are stacked in one tensor and have each its own.
    """
    step = _fused_tam if foreach else _single_tensor_tam
    step(params, grads, momentum_buffers, shares, lr=lr, beta=beta)


def _single_tensor_tam(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    shares: list[Any],
    *,
    lr: Any,
    beta: float,
) -> None:
    for param, grad, momentum, share in zip(params, grads, momentum_buffers, shares, strict=True):
        momentum.mul_(beta).add_(share * grad)
        param.sub_(lr * momentum)


def _fused_tam(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    shares: list[Any],
    *,
    lr: Any,
    beta: float,
) -> None:
    """Do the step in one pass: it is that of torch's SGD, which takes 1 - dampening of a gradient into the momentum."""
    for tensors, numbers, _, fits in group_by_device_and_dtype((params, grads, momentum_buffers), (shares,)):
        if not fits or beta == 0:  # without momentum the kernel takes no buffers
            _single_tensor_tam(*tensors, *numbers, lr=lr, beta=beta)
            continue
        fused_sgd(*tensors, lr=lr, momentum=beta, share=numbers[0][0])
