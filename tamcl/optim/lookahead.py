"""Lookahead over any optimizer: slow weights follow the fast ones part of the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import at_least_float32, check_number
from tamcl.optim.sharing import local
from tamcl.optim.wrapper import Base, Wrapper, check_steps, maker

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Lookahead(Wrapper):
    r"""Lookahead: another optimizer takes k steps, and then only part of the way is kept.

    Use it to steady an optimizer that is noisy or whose learning rate is high. After a shift it holds the parameters
    back by the same share, so it may adapt more slowly.

    .. math::
        \theta_t &= \text{base}(\theta_{t-1}) \\
        \phi &\leftarrow \phi + \alpha \, (\theta_t - \phi), \quad \theta_t \leftarrow \phi
            \qquad \text{if } t \text{ is a multiple of } k

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element, optional
        Of the base; its own default if None.
    base : str, type or callable
        The optimizer that steps: a registered name, ``package.module:Class``, a class, or a ``functools.partial``.
    k : int
        Steps between two moves of the slow weights :math:`\phi`, at least 1. ``lookahead_k`` in a parameter group.
    alpha : float
        :math:`\alpha` in [0, 1]: at 1 this is the base. ``lookahead_alpha`` in a parameter group.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.
    **options
        Options of the base.

    Attributes
    ----------
    state : dict
        ``slow`` of every parameter, beside the base's state; ``lookahead_step`` in ``shared_state``.

    Notes
    -----
    Slow weights start where a parameter is when its first gradient comes. The base's own state, such as its momentum,
    is kept when the fast weights go back, which is the paper's default. A learning rate that has fallen to 0 does not
    stop the next move towards the slow weights.

    References
    ----------
    Lookahead Optimizer: k steps forward, 1 step back, 2019, https://arxiv.org/abs/1907.08610

    Examples
    --------
    Steps of 1, of which half are taken back after every second:

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Lookahead([weight], lr=1.0, base="sgd", k=2, alpha=0.5)
    >>> for _ in range(4):
    ...     weight.grad = -torch.ones(1)
    ...     optimizer.step()
    ...     print(weight.item(), end=" ")
    1.0 1.0 2.0 2.0
    """

    own_state = ("slow", "lookahead_step")
    own_options = ("lookahead_k", "lookahead_alpha")
    shared_numbers = ("lookahead_step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        *,
        base: Base = "sgd",
        k: int = 5,
        alpha: float = 0.5,
        process_group: ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            [maker(base, lr, options)(params)], {"lookahead_k": k, "lookahead_alpha": alpha}, process_group
        )

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_steps("k", group["lookahead_k"])
        check_number({"alpha": group["lookahead_alpha"]}, "alpha", high=1, closed=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step of the base, and every k-th time move the slow weights; return the loss of the closure."""
        starts = {
            param: param.detach().to(at_least_float32(param.dtype), copy=True)
            for param in self._params()
            if param.requires_grad and "slow" not in self.state.get(param, {})
        }
        with self.own_state_aside():
            loss = self.base.step(closure)
        for param, start in starts.items():
            if param.grad is not None:
                self.state[param]["slow"] = start
        if self.has_gradient():
            numbers = self.shared_state
            numbers["lookahead_step"] = numbers.get("lookahead_step", 0) + 1
            self._look_ahead(numbers["lookahead_step"])
        return loss

    def _look_ahead(self, step: int) -> None:
        for group in self.param_groups:
            if step % group["lookahead_k"] == 0:
                for param in group["params"]:
                    if "slow" in self.state.get(param, {}):
                        slow, fast = local(self.state[param]["slow"]), local(param)
                        slow.lerp_(fast.detach().to(slow.dtype), group["lookahead_alpha"])
                        fast.copy_(slow)
