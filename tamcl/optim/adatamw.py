"""AdaTAMW: AdaTAM with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.adatam import AdaTAMBase, BiasCorrection
from tamcl.optim.damping import DampingFunction, Timing
from tamcl.optim.draws import own_seed
from tamcl.optim.torque import Granularity

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdaTAMW(AdaTAMBase):
    r"""AdaTAM whose weight decay is decoupled from the gradient, as AdamW's is.

    Use it where AdamW is used: decay then shrinks all weights alike, whatever the size of their gradients. Not in place
    of AdamW untuned: its learning rate is lower, and a decay found for AdaTAM or AdamW does not carry over.

    .. math::
        \theta_{t-1} &\leftarrow (1 - \eta \lambda) \, \theta_{t-1} \\
        d_t &= (1 + \hat s_t) / 2 \quad \text{as in TAM} \\
        m_t &= \beta_1 \, m_{t-1} + (\epsilon + d_t) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= \theta_{t-1} - \eta \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    gamma : float
        :math:`\gamma` in [0, 1): smoothing of the cosine over steps; the same in all groups.
    eps : float
        :math:`\epsilon`, at least 0: added to the damping and to the denominator.
    weight_decay : float
        :math:`\lambda`, at least 0.
    granularity : {"global", "tensor"}
        One cosine over all parameters that have a gradient, or one for each tensor; the same in all groups.
    bias_correction : {"second", "none", "both"}
        Which moments are corrected for their start at zero; see ``AdaTAM``.
    damping : float or {"average", "shuffled"}, optional
        Null models of torque, the same in all groups; see ``TAM``.
    damping_function : {"linear", "quadratic", "reversed"}
        The damping as a function of the smoothed cosine, the same in all groups; see ``TAM``.
    seed : int, optional
        Of the draws of ``"shuffled"``; that of torch's global generator if None. The same in all groups.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written; else through torch's fused Adam kernel, which gives the
        same numbers up to rounding.
    capturable : bool
        Keep all numbers on the device and read none, so that the step may be captured in a CUDA graph; tensor by
        tensor. So far tried on CPUs alone.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg``, ``exp_avg_sq`` and ``weight`` of every parameter, where the momentum :math:`m_t` is
        ``weight * exp_avg``; and ``cosine``, ``smoothed_cosine`` and ``damping`` of the last step: of every parameter,
        or, if global, in ``shared_state``. Of large tensors also ``momentum_square``; see ``TAM``.

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

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        gamma: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        granularity: Granularity = "global",
        bias_correction: BiasCorrection = "second",
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
            "betas": betas,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "granularity": granularity,
            "bias_correction": bias_correction,
            "damping": damping,
            "damping_function": damping_function,
            "seed": own_seed(seed),
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, defaults, process_group)
