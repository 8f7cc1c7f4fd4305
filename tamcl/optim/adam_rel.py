"""Adam-Rel: Adam that counts its steps from the last shift, and keeps its moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch
from tamcl.optim.moments import MomentsOptimizer
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdamRel(MomentsOptimizer):
    r"""Adam with relative timesteps: at a shift its clock goes back to zero, and its moments are kept.

    Use it where shifts are known, beside Adam that goes on (``optimizer_state = "keep"``) and Adam made anew
    (``"reset"``): it is between them. With the moments full and the corrections those of a first step, the step after a
    shift is :math:`\sqrt{1 - \beta_2} / (1 - \beta_1)` = 0.316 of Adam's, and grows back.

    .. math::
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1}
            - \eta \, \frac{m_t / (1 - \beta_1^\tau)}{\sqrt{v_t / (1 - \beta_2^\tau)} + \epsilon}

    where :math:`\tau` counts the steps since the last shift.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        As for all optimizers here; nothing is measured over ranks.

    Attributes
    ----------
    state : dict
        ``step`` (:math:`\tau`), ``exp_avg`` and ``exp_avg_sq`` of every parameter.

    Notes
    -----
    tamcl's strategies call ``at_shift`` at every boundary of a stream, which other optimizers are not told of: compare
    it with those that know nothing as one that knows more. In a training loop of one's own, call it. Without a call
    this is ``torch.optim.AdamW`` with the same ``weight_decay``.

    References
    ----------
    Adam on Local Time: Addressing Nonstationarity in RL with Relative Adam Timesteps, 2024,
    https://arxiv.org/abs/2412.17113

    Examples
    --------
    A steady gradient moves a parameter by one learning rate a step, and by less right after a shift:

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = AdamRel([weight], lr=1.0)
    >>> for step in range(5002):
    ...     before = weight.item()
    ...     weight.grad = -torch.ones(1)
    ...     if step == 5000:
    ...         optimizer.at_shift()
    ...     optimizer.step()
    ...     if step >= 4999:
    ...         print(f"{weight.item() - before:.2f}", end=" ")
    1.00 0.32 0.24
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: no."""
        return False

    def at_shift(self) -> None:
        """Let the clock start again: what is learnt has changed."""
        for state in self.state.values():
            if "step" in state:
                state["step"] = 0

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of Adam."""
        for batch in batches:
            self.step_as_adam(batch)
