"""AdaTAMW: AdaTAM with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.adatam import AdaTAM, BiasCorrection
from tamcl.optim.damping import DampingFunction, Timing
from tamcl.optim.torque import Granularity, Start

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdaTAMW(AdaTAM):
    r"""AdaTAM whose weight decay is decoupled from the gradient, as AdamW's is.

    Use it where AdamW is used: decay then shrinks all weights alike, whatever the size of their gradients. Not in place
    of AdamW untuned: its learning rate is lower, and a decay found for AdaTAM or AdamW does not carry over.

    .. math::
        \theta_{t-1} &\leftarrow (1 - \eta \lambda) \, \theta_{t-1} \\
        d_t &= (1 + \hat s_t) / 2 \quad \text{as in TAM} \\
        m_1 &= g_1 \\
        m_t &= \beta_1 \, m_{t-1} + (\epsilon + d_t) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= \theta_{t-1} - \eta \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    gamma : float
        Smoothing of the cosine over steps, in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    start : {"gradient", "zero"}
        Whether the first gradient enters whole, or meets a momentum of zero; see ``TAM``.
    granularity : {"group", "global", "tensor"}
        One cosine over all parameters of a group, over those of all groups, or for each tensor.
    bias_correction : {"second", "none", "both"}
        Which moments are corrected for their start at zero.
    damping : float or {"average", "shuffled"}, optional
        Null models of torque; see ``AdaTAM``.
    damping_function : {"linear", "quadratic", "reversed"}
        The damping as a function of the smoothed cosine; see ``AdaTAM``.
    seed : int, optional
        Of draws; that of torch's global generator if None.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written.
    capturable : bool
        Read nothing from the device; see ``AdaTAM``.
    process_group : ProcessGroup, optional
        Ranks among which the parameters are divided; see ``tamcl.optim.sharing``.

    Notes
    -----
    Assumptions: the decay comes before the step, its default is AdamW's, and those of ``AdaTAM``.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdaTAMW([weight], lr=0.1, weight_decay=0.5)
    >>> weight.grad = torch.zeros(2)
    >>> optimizer.step()
    >>> weight
    Parameter containing:
    tensor([ 0.9500, -1.9000], requires_grad=True)
    """

    decouples_weight_decay = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        gamma: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        start: Start = "gradient",
        granularity: Granularity = "group",
        bias_correction: BiasCorrection = "second",
        damping: float | Timing | None = None,
        damping_function: DampingFunction = "linear",
        seed: int | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas=betas,
            gamma=gamma,
            eps=eps,
            weight_decay=weight_decay,
            start=start,
            granularity=granularity,
            bias_correction=bias_correction,
            damping=damping,
            damping_function=damping_function,
            seed=seed,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            process_group=process_group,
        )
