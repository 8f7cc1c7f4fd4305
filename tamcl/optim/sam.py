"""Sharpness-aware minimisation over any optimizer: the gradient is taken where the loss is worst nearby."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import SAFE, at_least_float32, check_number, norms, squares
from tamcl.optim.closures import needs_closure
from tamcl.optim.sharing import local, local_gradient, ranks_of, zero_redundancy_group
from tamcl.optim.wrapper import Base, Wrapper, maker, with_grad

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class SAM(Wrapper):
    r"""Sharpness-aware minimisation: another optimizer steps with the gradient of the worst nearby point.

    Use it over any optimizer to prefer flat minima: it costs a second pass forward and backward in every step, so
    compare it at equal passes as well as at equal steps. Under a stream of single passes the second pass sees the same
    mini-batch again.

    .. math::
        e_t &= \rho \, \frac{g_t}{\lVert g_t \rVert} \quad \text{with } g_t = \nabla L(\theta_{t-1}) \\
        \theta_t &= \text{base}\bigl(\theta_{t-1}, \nabla L(\theta_{t-1} + e_t)\bigr)

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element, optional
        Of the base; its own default if None.
    base : str, type or callable
        The optimizer that steps: a registered name, ``package.module:Class``, a class, or a ``functools.partial``.
    rho : float
        :math:`\rho`, at least 0: how far the worst point is looked for; at 0 this is the base. ``sam_rho`` in a
        parameter group.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.
    **options
        Options of the base.

    Notes
    -----
    ``step`` must be given a closure that computes loss and gradients at the present parameters, as torch defines
    closures; it is called twice, and the first loss is returned. Layers that count batches or draw at random (batch
    norm, dropout) do so twice.

    The base has no closure to call, so it cannot be one that needs one, such as ``torch.optim.LBFGS`` or another
    ``SAM``. The norm is that of the whole gradient, over all groups. The parameters are put back from a copy before
    the base steps, not by subtracting, which would leave rounding errors. Assumptions: weight decay is left to the base
    and does not turn the perturbation; under ``maximize`` the perturbation goes down. What the papers combine with
    other optimizers here is plain SAM, whose :math:`\rho` they do not state; 0.05 is that of the reference below.

    References
    ----------
    Sharpness-Aware Minimization for Efficiently Improving Generalization, 2020, https://arxiv.org/abs/2010.01412

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SAM([weight], lr=0.1, base="tam", rho=0.1, momentum=0.5)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (weight**2).sum()
    ...     loss.backward()
    ...     return loss
    >>> losses = [optimizer.step(closure).item() for _ in range(30)]
    >>> losses[0], losses[-1] < 0.1
    (5.0, True)
    """

    own_options = ("sam_rho",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        *,
        base: Base = "sgd",
        rho: float = 0.05,
        process_group: ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        if zero_redundancy_group() is not None:
            raise InputError(
                "SAM cannot be stepped by ZeroRedundancyOptimizer: each rank would climb along its own parameters, "
                "unseen by the others; put it on top: "
                "SAM(params, base=functools.partial(ZeroRedundancyOptimizer, optimizer_class=...))"
            )
        super().__init__([maker(base, lr, options)(params)], {"sam_rho": rho}, process_group)
        if needs_closure(self.base):
            raise TypeError(f"SAM cannot go over {type(self.base).__name__}: its step needs a closure of its own")

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number({"rho": group["sam_rho"]}, "rho")

    @property
    def needs_closure(self) -> bool:
        """Whether ``step`` must be given a closure: yes."""
        return True

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step and return the loss at the parameters before it.

        Where all gradients are zero there is nowhere to climb and no closure is needed: that is how torch's checkpoints
        make the state of an optimizer.
        """
        if closure is None:
            if self._stands_still():
                return self.base.step()
            raise TypeError("SAM needs a closure that computes loss and gradients: step(closure)")
        closure = with_grad(closure)
        loss = closure()
        weights = self._climb()
        try:
            closure()
        finally:
            for param, weight in weights:
                param.copy_(weight)
        self.base.step()
        return loss

    def _stands_still(self) -> bool:
        grads = [local_gradient(param) for param in self._params() if param.grad is not None]
        return bool(grads) and not any(bool(grad.any()) for grad in grads)

    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        """Move to the worst point nearby and return the parameters that moved, each with a copy of where it was."""
        ranks = ranks_of(self, self.process_group)
        with_grads = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        rows = [(group, local(param)) for group, param in with_grads]
        grads = [_dense(local_gradient(param)).to(at_least_float32(param.dtype)) for _, param in with_grads]
        exact = math.sqrt(ranks.add_up(squares(grads)).of_all) if ranks is not None else None
        if not rows:
            return []
        weights = [(param, param.clone()) for _, param in rows]
        lengths = torch._foreach_norm(grads)
        device, dtype = lengths[0].device, max((length.dtype for length in lengths), key=lambda dtype: dtype.itemsize)
        norm = torch.stack([length.to(device, dtype) for length in lengths]).norm()
        if exact is not None:
            norm.fill_(exact)
        if not SAFE[0] < float(norm) < SAFE[1]:
            exact = math.hypot(*norms(grads)) if exact is None else exact
            grads = [(grad.double() / exact).to(grad.dtype) if exact else grad for grad in grads]
            norm = torch.ones_like(norm)
        for (group, param), grad in zip(rows, grads, strict=True):
            sign = -1 if group.get("maximize") else 1
            param.add_(grad * (sign * group["sam_rho"] / norm).to(param.device))
        return weights


def _dense(grad: Tensor) -> Tensor:
    if grad.layout is not torch.strided:
        raise RuntimeError(f"SAM does not support sparse gradients, got one of layout {grad.layout}")
    return grad
