"""Muon: orthogonalised momentum for matrices, and AdamW for everything else, as one optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, DEFAULT_NS_STEPS, EPS, muon
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import Batch, at_least_float32, check_choice, check_number, column, learning_rate
from tamcl.optim.moments import MomentsOptimizer
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Adjustment = Literal["match_rms_adamw", "original", "spectral_unclamped"]


class Muon(MomentsOptimizer):
    r"""Muon on matrices, by torch's own function, and AdamW on biases, filters and all that is no matrix.

    Use it to ask what a step does whose directions in a layer are all of the same size. By default a step of a matrix
    is as large as one of AdamW, so that one learning rate is for both, and is looked for where AdamW's is.

    .. math::
        m_t &= \mu \, m_{t-1} + (1 - \mu) \, g_t \\
        O_t &\approx U V^\top \quad \text{of } \mu \, m_t + (1 - \mu) \, g_t = U S V^\top \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1} - 0.2 \, \sqrt{\max(A, B)} \, \eta \, O_t

    for a matrix of A rows and B columns; the approximation is by five Newton-Schulz steps.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups: those of two dimensions are stepped by Muon, others by AdamW.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    momentum : float
        :math:`\mu` in [0, 1), of matrices.
    nesterov : bool
        False: orthogonalise :math:`m_t` itself.
    adjust_lr_fn : {"match_rms_adamw", "original", "spectral_unclamped"}
        What :math:`\eta` is multiplied by for a matrix: see above; or :math:`\sqrt{\max(1, A / B)}` or
        :math:`\sqrt{A / B}`, for which the others' learning rate is to be set in a group of their own.
    betas : tuple of float
        Of AdamW, each in [0, 1).
    eps : float
        Of AdamW, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        None: ranks that have but a piece of a matrix are refused, whole tensors divided among ranks are not.

    Attributes
    ----------
    state : dict
        ``exp_avg`` of every parameter, and ``step`` and ``exp_avg_sq`` of those that are no matrices.

    Raises
    ------
    InputError
        In a step, if ranks have but pieces of tensors: a piece has another orthogonalisation.

    Notes
    -----
    Its authors give embeddings and the last layer to AdamW; here every matrix is Muon's, as an optimizer is not told
    which layer is which. torch computes the Newton-Schulz steps in bfloat16 for parameters of any type: an entry of
    :math:`O_t` is right to a hundredth or so, and singular values come out between 0.7 and 1.2, as its authors want.

    References
    ----------
    Muon: An optimizer for hidden layers in neural networks, 2024, https://kellerjordan.github.io/posts/muon/; Muon is
    Scalable for LLM Training, 2025, https://arxiv.org/abs/2502.16982 (the size of a step); ``torch.optim.Muon``

    Examples
    --------
    Directions of all sizes are gone along alike, here with steps of 0.2 times the root of 2, and 0.7 to 1.2 of that:

    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = Muon([weight], lr=1.0)
    >>> weight.grad = torch.diag(torch.tensor([100.0, -20.0]))
    >>> optimizer.step()
    >>> [round(number, 1) for number in weight.diag().tolist()]
    [-0.2, 0.2]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        adjust_lr_fn: Adjustment = "match_rms_adamw",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "adjust_lr_fn": adjust_lr_fn,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        super().check_options(group)
        check_number(group, "momentum", high=1)
        check_choice(group, "nesterov", (True, False))
        check_choice(group, "adjust_lr_fn", get_args(Adjustment))

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments."""
        if param.dim() != 2:
            super().initialize(state, param, group)
        elif "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(
                param, dtype=at_least_float32(param.dtype), memory_format=torch.contiguous_format
            )

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of Muon and AdamW."""
        if ranks is not None and not self.has_whole_tensors:
            raise InputError("Muon takes matrices as a whole: no rank may have but a piece of one")
        for batch in batches:
            for is_matrix, step in ((True, _muon), (False, self.step_as_adam)):
                rows = [row for row in zip(*batch[1:], strict=True) if (row[0].dim() == 2) is is_matrix]
                if rows := [row for row in rows if row[0].numel()]:
                    step(Batch(batch.group, *map(list, zip(*rows, strict=True))))


def _muon(batch: Batch) -> None:
    group, params, grads, states = batch
    muon(
        params,
        [grad.contiguous() for grad in grads],  # of another layout it would be rounded otherwise
        column(states, "exp_avg"),
        lr=learning_rate(group),
        weight_decay=0.0,
        momentum=group["momentum"],
        nesterov=group["nesterov"],
        ns_coefficients=(DEFAULT_A, DEFAULT_B, DEFAULT_C),
        ns_steps=DEFAULT_NS_STEPS,
        eps=EPS,
        adjust_lr_fn=group["adjust_lr_fn"],
        has_complex=False,
    )
