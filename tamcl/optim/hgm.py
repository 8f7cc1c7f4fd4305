"""HGM: Adam whose learning rate follows the cosine of gradient and momentum."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_choice, check_number, column, learning_rate
from tamcl.optim.moments import MomentsOptimizer
from tamcl.optim.sharing import Ranks
from tamcl.optim.torque import Row, cosine, cosines_of_each, cosines_of_sections, measure

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Granularity = Literal["global", "tensor"]


class HGM(MomentsOptimizer):
    r"""Hindsight-guided momentum: Adam with a learning rate that grows while gradient and momentum agree.

    Use it beside ``AdaTAM``: it listens to the same cosine and pulls another lever. Torque-aware momentum weighs what
    enters the momentum, this weighs the step and leaves Adam's moments as they are.

    .. math::
        c_t &= \frac{m_{t-1} \cdot g_t}{\lVert m_{t-1} \rVert \lVert g_t \rVert} \\
        s_t &= \beta_s \, s_{t-1} + (1 - \beta_s) \, c_t \\
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1}
            - \eta \, e^{\gamma s_t} \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0; the step is between :math:`e^{-\gamma}` and :math:`e^{\gamma}` times Adam's.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    beta_s : float
        :math:`\beta_s` in [0, 1): smoothing of the cosine over steps; the same in all groups.
    gamma : float
        :math:`\gamma`, at least 0: at 0 this is Adam. (TAM's gamma is what is :math:`\beta_s` here.)
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    granularity : {"global", "tensor"}
        One cosine over all parameters that have a gradient, or one for each tensor; the same in all groups.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg`` and ``exp_avg_sq`` of every parameter, and of the last step ``cosine`` (:math:`c_t`) and
        ``smoothed_cosine`` (:math:`s_t`): of every parameter, or, if global, in ``shared_state``.

    Notes
    -----
    No code of its author is known, and its paper was not at hand: the equations are as another collection of optimizers
    (zij, https://github.com/junaidaliop/zij, ``canon/math/hgm.md``) gives them. Assumptions: :math:`s_0 = 0`; the
    cosine is global, which the collection leaves open (TAM has one for each group); a cosine with a zero vector is 0,
    in place of an :math:`\epsilon` in its denominator; defaults of :math:`\beta_s` and :math:`\gamma` are ours, those
    of TAM's smoothing and of a step between 0.37 and 2.7 times Adam's.

    References
    ----------
    Hindsight-Guided Momentum (HGM) Optimizer: An Approach to Adaptive Learning Rate, 2025,
    https://arxiv.org/abs/2506.22479

    Examples
    --------
    How far a steady gradient moves a parameter in each step, in learning rates: Adam goes 1.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = HGM([weight], lr=1.0)
    >>> for _ in range(4):
    ...     before = weight.detach().clone()
    ...     weight.grad = -torch.ones(2)
    ...     optimizer.step()
    ...     print(f"{(weight - before)[0].item():.3f}", end=" ")
    1.000 1.105 1.209 1.311
    """

    shared_options = ("beta_s", "granularity")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        beta_s: float = 0.9,
        gamma: float = 1.0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        granularity: Granularity = "global",
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "beta_s": beta_s,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "granularity": granularity,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "beta_s", high=1)
        check_number(group, "gamma")
        check_choice(group, "granularity", get_args(Granularity))
        super().check_options(group)

    @property
    def shared_numbers(self) -> Collection[str]:
        """The entries of the state that are about the whole optimizer."""
        return ("cosine", "smoothed_cosine") if self._is_global else ()

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: the cosine is of all."""
        return self._is_global

    @property
    def _is_global(self) -> bool:
        return bool(self.param_groups[0]["granularity"] == "global")

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of HGM."""
        cosines = self._cosines(batches, ranks)
        if not cosines:
            return
        n = sum(len(batch.params) for batch in batches)
        if self._is_global:
            smoothed = iter([self._note(cosines[0], self.shared_state)] * n)
        else:
            states_of_all = (state for batch in batches for state in batch.states)
            smoothed = iter([self._note(*pair) for pair in zip(cosines, states_of_all, strict=True)])
        for batch in batches:
            lr, gamma = learning_rate(batch.group), batch.group["gamma"]
            self.step_as_adam(batch, [lr * math.exp(gamma * next(smoothed)) for _ in batch.params])

    def _note(self, measured: float, state: dict[str, Any]) -> float:
        """Return the smoothed cosine; both are left in a state."""
        beta = self.param_groups[0]["beta_s"]
        state["cosine"] = measured
        state["smoothed_cosine"] = beta * state.get("smoothed_cosine", 0.0) + (1 - beta) * measured
        return float(state["smoothed_cosine"])

    def _cosines(self, batches: list[Batch], ranks: Ranks | None) -> list[float]:
        """Return the cosine of each tensor, or the one of all; none if there is no gradient anywhere."""
        grads = [grad for batch in batches for grad in batch.grads]
        momenta = [momentum for batch in batches for momentum in column(batch.states, "exp_avg")]
        rows = [Row(*pair) for pair in zip(grads, momenta, strict=True)]
        if ranks is None:
            products = measure(rows)
            if self._is_global:
                return [float(cosine(products, rows))]
            return [float(cosine([each], [row])) for each, row in zip(products, rows, strict=True)]
        if not self._is_global:
            ranks.check_tensors("granularity='tensor'", "granularity='global'")
            return cosines_of_each(rows, ranks)
        [found] = cosines_of_sections(rows, [0] * len(rows), ranks, ["smoothed_cosine" in self.shared_state])
        return [found.cosine] if found.gradients else []
