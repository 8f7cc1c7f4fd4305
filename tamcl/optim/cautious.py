"""Cautious steps over any optimizer: it moves no weight against the present gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, RMSprop
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import BaseOptimizer, at_least_float32, check_number
from tamcl.optim.closures import needs_closure
from tamcl.optim.sharing import local, local_gradient, ranks_of, zero_redundancy_group
from tamcl.optim.wrapper import Base, Wrapper, maker, with_grad

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

COUPLED = (SGD, RMSprop, Adagrad)
"""torch's optimizers that add weight decay to the gradient, and whose groups do not say so."""


class Cautious(Wrapper):
    r"""Cautious optimizer: of another optimizer's step, what opposes the gradient is left out.

    Use it to ask whether momentum harms where it no longer points downhill, as after a shift: torque-aware momentum
    damps the gradient that opposes the momentum, this leaves out the momentum that opposes the gradient.

    .. math::
        u_t &= \text{base}(\theta_{t-1}) - \theta_{t-1} \\
        k_t &= [\, u_t \, g_t < 0 \,] \\
        \theta_t &= \theta_{t-1} + \frac{n}{\xi + \sum k_t} \, k_t \, u_t

    for every tensor of :math:`n` numbers: what is left of a step is as long as all of it was, if it was even.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element, optional
        Of the base; its own default if None.
    base : str, type or callable
        The optimizer that steps: a registered name, ``package.module:Class``, a class, or a ``functools.partial``.
    xi : float
        :math:`\xi`, at least 0: 1 as in the paper's algorithm; at 0 the kept numbers are rescaled by the inverse of
        their share, as in the released code, which caps that at 1000. ``cautious_xi`` in a parameter group.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.
    **options
        Options of the base.

    Raises
    ------
    TypeError
        If the base is none whose steps can be taken coordinate by coordinate: one that steps with others (Lookahead
        goes back at times, Switch changes its state between steps), one that needs a closure, or one that has decay of
        its own in its step.
    InputError
        If it is not known whether the base's ``weight_decay`` enters the gradient.

    Notes
    -----
    The base sees everything as it would alone, so that its state, such as its momentum, is not masked. Decoupled
    weight decay is no part of what is masked, as in the released C-AdamW; coupled decay is part of the gradient.

    A step is the difference that the base made: in half precision what it rounds away is not seen.

    References
    ----------
    Cautious Optimizers: Improving Training with One Line of Code, 2024, algorithm 1, https://arxiv.org/abs/2411.16085;
    code: https://github.com/kyleliang919/C-Optim

    Examples
    --------
    The momentum of the first step points the other way in the second, so that nothing moves:

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = Cautious([weight], lr=1.0, base="sgd", momentum=0.9, xi=0.0)
    >>> for grad in (1.0, -0.5):
    ...     weight.grad = torch.full((2,), grad)
    ...     optimizer.step()
    ...     print(weight.tolist())
    [-1.0, -1.0]
    [-1.0, -1.0]
    """

    own_options = ("cautious_xi",)
    has_whole_tensors = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        *,
        base: Base = "adamw",
        xi: float = 1.0,
        process_group: ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        made = maker(base, lr, options)(params)
        if why := _why_not(made):
            raise TypeError(f"Cautious cannot go over {type(made).__name__}: {why}")
        super().__init__([made], {"cautious_xi": xi}, process_group)
        self.has_whole_tensors = zero_redundancy_group() is not None

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number({"xi": group["cautious_xi"]}, "xi")
        is_known = "decoupled_weight_decay" in group or type(self.base) in COUPLED
        if group.get("weight_decay") and not is_known:
            raise InputError(
                f"weight_decay={group['weight_decay']!r}: it is not known whether that of {type(self.base).__name__} "
                "is part of the gradient, which Cautious would have to know: leave it out"
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step of the base, and take back what of it opposes the gradient; return the loss of the closure."""
        loss = None if closure is None else with_grad(closure)()
        rows = [
            (group, local(param), _descent(group, local(param), local_gradient(param)))
            for group in self.param_groups
            for param in group["params"]
            if param.grad is not None
        ]
        starts = self._step_of_base([(group, param) for group, param, _ in rows])
        moves = [
            _kept(param.to(start.dtype) - start, descent)
            for (_, param, descent), start in zip(rows, starts, strict=True)
        ]
        for (group, param, _), start, move, (kept, n) in zip(rows, starts, moves, self._counts(moves), strict=True):
            param.copy_(start + move * (n / (kept + group["cautious_xi"]).clamp(min=1)))
        return loss

    def _step_of_base(self, rows: list[tuple[dict[str, Any], Tensor]]) -> list[Tensor]:
        """Let the base step, and return where the parameters were, after the decay that is none of its step's."""
        decays = [group.get("weight_decay", 0.0) for group in self.param_groups]
        decoupled = [group for group in self.param_groups if group.get("decoupled_weight_decay")]
        for group, param in rows:
            if group.get("weight_decay") and group.get("decoupled_weight_decay"):
                param.mul_(1 - float(group["lr"]) * group["weight_decay"])
        starts = [param.to(at_least_float32(param.dtype), copy=True) for _, param in rows]
        for group in decoupled:
            group["weight_decay"] = 0.0
        try:
            self.base.step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                if "weight_decay" in group:
                    group["weight_decay"] = decay
        return starts

    def _counts(self, moves: list[Tensor]) -> list[tuple[Tensor, float]]:
        """Return how many numbers of each tensor are kept, and of how many, on all ranks together."""
        kept = [move.count_nonzero().double() for move in moves]
        ranks = ranks_of(self, self.process_group, self.has_whole_tensors)
        if ranks is None:
            return [(count, move.numel()) for count, move in zip(kept, moves, strict=True)]
        ranks.check_tensors("Cautious")
        pairs = [[float(count), float(move.numel())] for count, move in zip(kept, moves, strict=True)]
        device = moves[0].device if moves else None
        found = ranks.add_up(torch.tensor(pairs, dtype=torch.float64, device=device).reshape(-1, 2))
        return [(count.to(move.device), float(n)) for (count, n), move in zip(found.of_each, moves, strict=True)]


def _why_not(base: Any) -> str:
    """Return why an optimizer's steps cannot be taken coordinate by coordinate; nothing if they can."""
    if isinstance(base, Wrapper):
        return "it goes over other optimizers"
    if needs_closure(base):
        return "its step needs a closure of its own"
    if isinstance(base, BaseOptimizer) and base.decays_by_itself:
        return "its steps have decay in them that is not to be masked"
    return ""


def _kept(move: Tensor, descent: Tensor) -> Tensor:
    """Return a move without the numbers that do not go down."""
    return move * (move.sign() * descent.sign() > 0)  # whose product may be too small to be a number


def _descent(group: dict[str, Any], param: Tensor, grad: Tensor) -> Tensor:
    """Return the direction of descent, in float32 or wider, with coupled weight decay."""
    if grad.layout is not torch.strided:
        raise RuntimeError(f"Cautious does not support sparse gradients, got one of layout {grad.layout}")
    descent = grad.to(at_least_float32(grad.dtype)) * (1.0 if group.get("maximize") else -1.0)
    decay = 0.0 if group.get("decoupled_weight_decay") else group.get("weight_decay", 0.0)
    return descent - decay * param if decay else descent
