"""AdamW with critical momenta: Adam with critical momenta whose weight decay is AdamW's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.adam_cm import AdamCM
from tamcl.optim.buffer import Replacement, Variant

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdamWCM(AdamCM):
    r"""Adam with critical momenta and AdamW's weight decay.

    Use it beside AdamW to ask what ``AdamCM`` is asked. Weight decay is decoupled in ``AdamCM`` too, as in the authors'
    released code, so this is that optimizer under its other name, with AdamW's default decay. Not in place of AdamW
    without tuning: at one learning rate its steps are several times as long.

    .. math::
        \theta_{t-1} &\leftarrow (1 - \eta \omega) \, \theta_{t-1} \\
        \theta_t &= \theta_{t-1}
            - \frac{\eta}{1 - \beta_1^t} \frac{m_t^M}{\sqrt{v_t} \, / \sqrt{1 - \beta_2^t} + \epsilon}
            \quad \text{as in AdamCM}

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    weight_decay : float
        :math:`\omega`, at least 0.
    capacity : int
        How many momenta the buffer holds, at least 0.
    decay : float
        In [0, 1]: what the priorities in the buffer are multiplied by after a step.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    amsgrad : bool
        Divide by the largest :math:`v` so far.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"``; that of the moments if None.
    variant : {"official", "paper"}
        Which reading of the method; see ``AdamCM``.
    replacement : {"priority", "fifo", "random"}
        What leaves a full buffer: the lowest priority, the oldest, or one drawn at random.
    seed : int, optional
        Of draws; that of torch's global generator if None.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written.
    capturable : bool
        Read nothing from the device; see ``AdamCM``.
    process_group : ProcessGroup, optional
        Ranks among which the parameters are divided; see ``tamcl.optim.sharing``.

    Notes
    -----
    Assumptions: the default decay, and those of ``AdamCM``.

    References
    ----------
    Promoting Exploration in Memory-Augmented Adam using Critical Momenta, 2023, https://arxiv.org/abs/2307.09638

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamWCM([weight], lr=0.1, weight_decay=0.5)
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
        capacity: int = 5,
        decay: float = 0.7,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        buffer_dtype: str | torch.dtype | None = None,
        variant: Variant = "official",
        replacement: Replacement = "priority",
        seed: int | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            capacity=capacity,
            decay=decay,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            buffer_dtype=buffer_dtype,
            variant=variant,
            replacement=replacement,
            seed=seed,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            process_group=process_group,
        )
