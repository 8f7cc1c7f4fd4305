"""Adam with critical momenta: a small buffer of past momenta keeps pushing Adam on."""

from __future__ import annotations

import math
from itertools import compress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import (
    Batch,
    at_least_float32,
    check_betas,
    check_number,
    column,
    is_fast,
    learning_rate,
    set_scalar,
    zero,
)
from tamcl.optim.buffer import BufferOptimizer, Replacement, Variant
from tamcl.optim.draws import own_seed
from tamcl.optim.kernels import fused_adam, group_by_device_and_dtype
from tamcl.optim.sharing import Ranks, local, slots_like
from tamcl.optim.slots import (
    are_all_due,
    blocks,
    choose_on_device,
    empty_slots,
    note_sizes,
    replace,
    store,
    sum_anew,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdamCM(BufferOptimizer):
    r"""Adam with critical momenta: to the momentum is added the mean of a few remembered ones.

    Use it to ask whether remembered momenta help to explore: its paper says that they carry the parameters over sharp
    minima, at the price of slower settling. Compare it with ``capacity=0``, which has no buffer: on tamcl's toy that
    leaves sharp minima less often, in its scenario ``null_models_digits`` it learns better. Adam was ahead in all of
    tamcl's scenarios. Look for its learning rate around 1/8 to 1/4 of Adam's.

    .. math::
        \theta_{t-1} &\leftarrow (1 - \eta \omega) \, \theta_{t-1} \\
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        m_t^M &= m_t + \frac{1}{|B|} \sum_{b \in B} b \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, (m_t^M)^2 \\
        \theta_t &= \theta_{t-1}
            - \frac{\eta}{1 - \beta_1^t} \frac{m_t^M}{\sqrt{v_t} \, / \sqrt{1 - \beta_2^t} + \epsilon}

    Then :math:`m_t` enters the buffer :math:`B` with priority :math:`\lVert g_t \rVert`, if :math:`B` is not full or
    the priority is above the lowest in :math:`B`, which leaves (of equal ones the oldest). At the end of every step all
    priorities are multiplied by :math:`\lambda`.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    capacity : int
        How many momenta :math:`B` holds, at least 0; the same in all groups. At 0 this is Adam with the second moment
        built from the momentum, which is not torch's Adam.
    decay : float
        :math:`\lambda` in [0, 1]: at 1 large gradients are never forgotten; the same in all groups.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\omega`, at least 0; decoupled.
    amsgrad : bool
        Divide by the largest :math:`v` so far: :math:`\max_{i \le t} v_i` takes the place of :math:`v_t` in the step.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"`` to halve its memory; that of the moments if None.
    variant : {"official", "paper"}
        ``"official"`` follows the authors' released code: the priority is the sum of the norms of all tensors'
        gradients, and a tensor's first gradient moves nothing and is itself put in the buffer, in place of a momentum.
        ``"paper"`` follows the equations: the norm of the whole gradient, and a first step like any other. The same in
        all groups.
    replacement : {"priority", "fifo", "random"}
        What leaves a full buffer: see above; or, as null models that keep every momentum, the oldest or one drawn at
        random; the same in all groups.
    seed : int, optional
        Of those draws; that of torch's global generator if None. The same in all groups.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written; else by blocks of tensors through torch's fused Adam
        kernel, which gives the same numbers up to rounding.
    capturable : bool
        Keep all numbers on the device and read none, so that the step may be captured in a CUDA graph; tensor by
        tensor, at a cost that grows with the capacity. For parameters on one device; so far tried on CPUs alone.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg``, ``exp_avg_sq``, ``buffer`` (capacity first), ``buffer_sum`` (with ``size``, ``sizes`` and
        ``largest``, which say when to take it anew) and under amsgrad ``max_exp_avg_sq`` of every parameter;
        ``priorities`` and ``ages`` (in steps) of the slots in ``shared_state``, where an empty one has age 0.

    Notes
    -----
    Assumptions: there is one table of priorities for all parameters of the optimizer, so that one group and two with
    equal options are the same; a parameter without gradient stores zeros in that step's slot; moments and buffer of a
    parameter start when its first gradient comes.

    Once the gradient is zero for good, nothing enters the buffer any more, and what it holds moves the parameters on by
    about one learning rate a step. This is the algorithm's own way. A gradient that is zero from the first step on
    moves nothing.

    As in the released code, the mean comes from a running sum of the buffer, so that a step costs the same for any
    capacity. There its rounding errors add up; here the sum is at least float32 and taken anew now and then, and where
    a tensor's has shrunk, so that the norm of its error stays around 1e-6 of the norm of a tensor's sum. The
    error of an entry may be 1e-6 of the largest in its tensor, however small it is itself. The released code also loses
    its buffer in ``load_state_dict`` and ``deepcopy`` and draws from NumPy's global generator; here the buffer is saved
    and copied, and nothing global is drawn from.

    References
    ----------
    Promoting Exploration in Memory-Augmented Adam using Critical Momenta, 2023, https://arxiv.org/abs/2307.09638

    Examples
    --------
    How far a steady gradient has moved a parameter after each step, in learning rates:

    >>> for variant in ("official", "paper"):
    ...     weight = torch.nn.Parameter(torch.zeros(1))
    ...     optimizer = AdamCM([weight], lr=1.0, variant=variant)
    ...     for _ in range(3):
    ...         weight.grad = torch.ones(1)
    ...         optimizer.step()
    ...         print(f"{weight.abs().item():.2f}", end=" ")
    ...     print(variant)
    0.00 7.44 11.01 official
    10.00 17.04 22.18 paper
    >>> optimizer.shared_state["ages"]
    tensor([3, 2, 1, 0, 0])
    """

    clock = ("step",)
    device_numbers = frozenset({"step"})
    moment = "exp_avg"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        capacity: int = 5,
        decay: float = 0.7,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
        defaults = {
            "lr": lr,
            "capacity": capacity,
            "decay": decay,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "amsgrad": amsgrad,
            "buffer_dtype": buffer_dtype,
            "variant": variant,
            "replacement": replacement,
            "seed": own_seed(seed),
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        check_number(group, "eps")
        super().check_options(group)
        if group["capturable"] and group["replacement"] != "priority":
            raise ValueError(f"replacement={group['replacement']!r} is not capturable, only 'priority' is")

    def zeros(self, group: dict[str, Any]) -> list[str]:
        """Return the names of the state tensors, besides the buffer, that start from zeros."""
        return ["exp_avg", "exp_avg_sq", "buffer_sum"]

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments and an empty buffer."""
        if "step" not in state:
            state["step"], state["is_new"] = zero(param, group), True
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))
        if "buffer" not in state:
            slots = empty_slots(local(state["exp_avg"]), group["capacity"], self.state_dtype("buffer", param, group))
            state["buffer"] = slots_like(param, slots)
        super().initialize(state, param, group)
        if "sizes" not in state:
            state["sizes"] = torch.zeros(group["capacity"], dtype=torch.float64)
        for key in ("size", "largest"):
            state.setdefault(key, 0.0)
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = state["exp_avg_sq"].clone()

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of Adam with critical momenta."""
        if self.param_groups[0]["capturable"]:
            self.check_capacity(batches)
            self._update_on_device(batches)
        else:
            super().update(batches, ranks)

    def update_group(self, batch: Batch, filled: Any, slot: Any) -> None:
        """Do one step of a group."""
        if [state for state in batch.states if "is_new" in state]:
            batch = self._start(batch, slot)
        group, params, grads, states = batch
        if not params:
            return
        adam_cm(
            params,
            grads,
            column(states, "exp_avg"),
            column(states, "exp_avg_sq"),
            column(states, "max_exp_avg_sq") if group["amsgrad"] else [],
            column(states, "buffer"),
            column(states, "buffer_sum"),
            [state["step"] for state in states],
            filled=filled,
            slot=slot,
            lr=learning_rate(group),
            betas=group["betas"],
            eps=group["eps"],
            foreach=is_fast(group),
        )

    def _start(self, batch: Batch, slot: Any) -> Batch:
        """Store the first gradients, and return the rows that move."""
        group, params, grads, states = batch
        new = [state.pop("is_new", False) for state in states]
        if group["variant"] == "paper" or not group["capacity"]:
            return batch
        rows = list(zip(params, grads, states, strict=True))
        _, first_grads, first_states = zip(*compress(rows, new), strict=True)
        store(column(first_states, "buffer"), column(first_states, "buffer_sum"), first_grads, slot)
        others = [row for row, is_new in zip(rows, new, strict=True) if not is_new]
        return Batch(group, *map(list, zip(*others, strict=True))) if others else Batch(group, [], [], [])

    def _start_table(self, table: dict[str, Any], device: torch.device) -> None:
        if "ages" not in table:
            for state in self._with_buffer():  # a table that was cleared knows nothing of what they still hold
                for key in ("buffer", "buffer_sum", "sizes"):
                    local(state[key]).zero_()
        super()._start_table(table, device)

    def note_lengths(self, batches: list[Batch], lengths: list[float], slot: int | None, table: dict[str, Any]) -> None:
        """Take the sums anew that may have shrunk, and now and then all of them.

        A momentum is not measured: its norm is at most the average of those of the gradients.
        """
        own, sizes = iter(lengths), {}
        for group, *_, states in batches:
            for state, length in zip(states, own, strict=False):
                if slot is not None and state["step"] == 1 and not state["size"] and group["variant"] == "official":
                    sizes[id(state)] = length  # it is the gradient that was stored
                else:
                    beta = group["betas"][0]
                    sizes[id(state)] = state["size"] = beta * state["size"] + (1 - beta) * length
        if slot is None:
            return
        states = self._with_buffer()
        shrunk = note_sizes(states, slot, [sizes.get(id(state), 0.0) for state in states])
        table["stored"] = table.get("stored", 0) + 1
        if due := states if are_all_due(table, self.param_groups[0]["capacity"]) else shrunk:
            sum_anew(due)

    def _with_buffer(self) -> list[dict[str, Any]]:
        return [state for state in self.state.values() if "buffer" in state]

    def _store_zeros(self, slot: Any) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None and "buffer" in (state := self.state.get(param, {})):
                    buffer, total, momentum = (local(state[key]) for key in ("buffer", "buffer_sum", "exp_avg"))
                    store([buffer], [total], [torch.zeros_like(momentum)], slot)

    def _update_on_device(self, batches: list[Batch]) -> None:
        """Do the same with a table of tensors, and slots chosen by a mask, so that nothing is read."""
        group, table = batches[0].group, self.shared_state
        lengths = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) for b in batches for g in b.grads])
        priority = lengths.sum() if group["variant"] == "official" else lengths.norm()
        self._start_table(table, lengths.device)
        priorities, ages = table["priorities"], table["ages"]
        filled, slot = (ages > 0).sum(), choose_on_device(priorities, ages, priority)
        for batch in batches:
            for state in batch.states:
                set_scalar(state, step=state["step"] + 1)
            self.update_group(batch, filled, slot)
        self._store_zeros(slot)
        priorities.copy_(group["decay"] * torch.where(slot, priority, priorities))
        ages.copy_(torch.where(slot, 1, ages + (ages > 0)))


def adam_cm(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    buffers: list[Tensor],
    buffer_sums: list[Tensor],
    steps: list[Any],
    *,
    filled: Any,
    slot: Any,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
    foreach: bool = True,
) -> None:
    """Do one step on lists of tensors: ``filled`` slots are averaged, then the new momenta go to ``slot``, if any.

    Tensor by tensor, the numbers may also be tensors that broadcast; see ``tam``. The slot is then a mask over slots.
    """
    step = _fused_adam_cm if foreach else _single_tensor_adam_cm
    tensors = params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, buffers, buffer_sums
    step(*tensors, steps, filled=filled, slot=slot, lr=lr, betas=betas, eps=eps)


def _single_tensor_adam_cm(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    buffers: list[Tensor],
    buffer_sums: list[Tensor],
    steps: list[Any],
    *,
    filled: Any,
    slot: Any,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
) -> None:
    beta1, beta2 = betas
    for i, param in enumerate(params):
        exp_avg, exp_avg_sq, step = exp_avgs[i], exp_avg_sqs[i], steps[i]
        exp_avg.mul_(beta1).add_(grads[i], alpha=1 - beta1)
        aggregate = exp_avg + buffer_sums[i] / _at_least_one(filled)
        store(buffers[i : i + 1], buffer_sums[i : i + 1], [exp_avg], slot)
        exp_avg_sq.mul_(beta2).addcmul_(aggregate, aggregate, value=1 - beta2)
        v = torch.maximum(max_exp_avg_sqs[i], exp_avg_sq, out=max_exp_avg_sqs[i]) if max_exp_avg_sqs else exp_avg_sq
        denominator = (v / (1 - beta2**step)).sqrt() + eps
        param.sub_(lr / (1 - beta1**step) * aggregate / denominator)


def _fused_adam_cm(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    buffers: list[Tensor],
    buffer_sums: list[Tensor],
    steps: list[int],
    *,
    filled: int,
    slot: int | None,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Do the step block by block, the last part with Adam's kernel.

    There the aggregate is both gradient and first moment, which a first beta of 0 makes the same.
    """
    beta1, beta2 = betas
    slots = [] if slot is None else [[buffer[slot] for buffer in buffers]]
    largest = [max_exp_avg_sqs] if max_exp_avg_sqs else []
    columns = params, grads, exp_avgs, exp_avg_sqs, buffer_sums, *slots, *largest
    for tensors, (counts,), (own_buffers,), fits in group_by_device_and_dtype(columns, (steps,), (buffers,)):
        if not fits:
            ps, gs, ms, vs, sums, *more = tensors
            top = more[-1] if largest else []
            constants: dict[str, Any] = {"filled": filled, "slot": slot, "lr": lr, "betas": betas, "eps": eps}
            _single_tensor_adam_cm(ps, gs, ms, vs, top, own_buffers, sums, counts, **constants)
            continue
        first, root = 1 - beta1 ** counts[0], math.sqrt(1 - beta2 ** counts[0])
        for ps, gs, ms, vs, sums, *more in blocks(tensors):
            torch._foreach_lerp_(ms, gs, 1 - beta1)
            aggregates = list(torch._foreach_add(ms, sums, alpha=1 / _at_least_one(filled)))
            if slots:
                replace(more[0], sums, ms)
            # lr a / (sqrt(v) / c + eps) = lr c a / (sqrt(v) + c eps), with c for the root of the second correction
            top, rate = (more[-1] if largest else []), lr * root / first
            fused_adam(ps, aggregates, aggregates, vs, top, lr=rate, betas=(0.0, beta2), eps=eps * root)


def _at_least_one(filled: Any) -> Any:
    """Return how many slots the sum is divided by; without any it is zero."""
    return filled.clamp(min=1) if isinstance(filled, Tensor) else max(filled, 1)
