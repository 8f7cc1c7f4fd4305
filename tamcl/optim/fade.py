"""FADE: SGD whose last layer forgets at rates that are learnt, one for every weight."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from tamcl.errors import InputError
from tamcl.optim.base import BaseOptimizer, Batch, at_least_float32, check_number, learning_rate
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

LOWEST, HIGHEST = -15.0, 0.0
"""Between these a logarithm of a decay is kept."""

CURVATURE = "fade_curvature"
"""The attribute of a parameter in which ``watch`` leaves the curvature of the loss along it."""

OF_LAST = "of_last_layer"
"""The entry of a group in which ``watch`` leaves the places of its parameters that are of the model's last layer."""


class FADE(BaseOptimizer):
    r"""Forgetting through adaptive decay: SGD, with a learnt decay for every weight of the last layer.

    Use it where some of what is learnt stays right and some does not, as when a part of the classes is relabelled: the
    decay of a weight grows where less of that weight would have lowered the loss.

    .. math::
        \gamma_t &= \operatorname{clip}(\gamma_{t-1} - \kappa \, g_t \, h_{t-1}, -15, 0), \qquad
            \lambda_t = e^{\gamma_t} \\
        h_t &= \max(0, 1 - \lambda_t - \eta \, q_t) \, h_{t-1} - \lambda_t \, \theta_{t-1} \\
        \theta_t &= (1 - \lambda_t) \, \theta_{t-1} - \eta \, g_t

    where :math:`h_t` follows how a weight depends on its :math:`\gamma`, and :math:`q_t` is the curvature of the cross
    entropy: for a weight from feature i to class k the mean of :math:`x_i^2` times the mean of :math:`p_k (1 - p_k)`
    over the mini-batch, for a bias the latter.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups. The last layer is the last that is trained of those of two dimensions and more,
        with all behind it; all parameters, if there is none. Their order is the model's after ``watch(model)``, and
        before as they are given.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0; the learnt decay does not depend on it, but at 0 nothing moves.
    meta_lr : float
        :math:`\kappa`, at least 0: at 0 the decay stays what it is at first.
    initial_log_decay : float
        :math:`\gamma_0`, in [-15, 0]: -6.9 is a decay by a thousandth in each step.
    weight_decay : float
        Of all other layers, at least 0; decoupled.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        None: ranks that have but a share of the parameters are refused.

    Attributes
    ----------
    state : dict
        ``log_decay`` (:math:`\gamma_t`) and ``trace`` (:math:`h_t`) of every parameter of the last layer.

    Raises
    ------
    InputError
        In a step, if ranks have but a share of the parameters: each would take a layer of its own for the last. In a
        forward pass of a model that is watched, if its output is not that of its last layer, as with a head for each
        task.

    Notes
    -----
    The curvature is known after ``watch(model)``, which tamcl's strategies call; of several forward passes in a step
    the last counts. Without it :math:`q_t = 0`, as in the authors' code. They have all other layers by the same SGD, or
    by Adam; here it is SGD. Runs are trained one by one: in a stack no layer is asked for its output.

    References
    ----------
    Learning to Forget: Continual Learning with Adaptive Weight Decay, 2026, https://arxiv.org/abs/2604.27063; code:
    https://github.com/Aditya-Ramesh-10/Fade, ``FADE_Optimizer`` with ``for_lr="sgd"``, from which the equations are
    read

    Examples
    --------
    A weight that gradients push towards zero learns to decay faster:

    >>> weight = torch.nn.Parameter(torch.tensor([[1.0, 1.0]]))
    >>> optimizer = FADE([weight], lr=0.01, meta_lr=1.0)
    >>> for _ in range(20):
    ...     weight.grad = torch.tensor([[2.0, -2.0]])
    ...     optimizer.step()
    >>> rates = optimizer.state[weight]["log_decay"].exp()[0]
    >>> bool(rates[0] > 0.001 > rates[1])
    True
    """

    moment = "trace"
    learnt = ("log_decay",)
    decays_by_itself = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 5e-3,
        *,
        meta_lr: float = 0.1,
        initial_log_decay: float = -6.9,
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "meta_lr": meta_lr,
            "initial_log_decay": initial_log_decay,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "meta_lr")
        check_number(group, "initial_log_decay", LOWEST, HIGHEST, closed=True)

    def watch(self, model: nn.Module) -> None:
        """Note the curvature along the last layer's weights in every forward pass of a model in training mode."""
        own = {id(param) for group in self.param_groups for param in group["params"]}
        last = {id(param) for param in _last(param for param in model.parameters() if id(param) in own)}
        layers = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m.weight) in last]
        if not layers:
            raise InputError("FADE: the last layer of the model must be a torch.nn.Linear")
        for group in self.param_groups:  # which may have been split otherwise than in layers
            group[OF_LAST] = [place for place, param in enumerate(group["params"]) if id(param) in last]
        head = getattr(model, "head", model)  # which a strategy may call by itself
        head = head if any(module is layers[-1] for module in head.modules()) else model
        for module, hook in ((layers[-1], _keep), (head, _note)):
            if hook not in module._forward_hooks.values():
                module.register_forward_hook(hook)

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from the first decay, for a parameter of the last layer."""
        if any(param is each for each in self._last_layer()):
            dtype = at_least_float32(param.dtype)
            if "log_decay" not in state:
                state["log_decay"] = torch.full_like(param, group["initial_log_decay"], dtype=dtype)
            if "trace" not in state:
                state["trace"] = torch.zeros_like(param, dtype=dtype)

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of FADE."""
        if ranks is not None:
            raise InputError("FADE has to know which layer is the last: no rank may have but a share of the parameters")
        last = {id(param) for param in self._last_layer()}
        for group, params, grads, states in batches:
            lr = learning_rate(group)
            if not lr:  # as torch's checkpoints step to make the state, which may move nothing
                continue
            for param, grad, state in zip(params, grads, states, strict=True):
                if id(param) in last:
                    fade(param, grad, state["log_decay"], state["trace"], lr=lr, meta_lr=group["meta_lr"])
                else:
                    param.mul_(1 - lr * group["weight_decay"]).sub_(lr * grad)

    def _last_layer(self) -> list[Tensor]:
        groups = self.param_groups
        if any(OF_LAST in group for group in groups):
            return [group["params"][place] for group in groups for place in group.get(OF_LAST, ())]
        return _last(chain.from_iterable(group["params"] for group in groups))


def _last(params: Iterable[Tensor]) -> list[Tensor]:
    """Return the last matrix that is trained, of parameters in the order of the layers, with all behind it."""
    trained = [param for param in params if param.requires_grad]
    start = max((place for place, param in enumerate(trained) if param.dim() > 1), default=0)
    return trained[start:]


def fade(param: Tensor, grad: Tensor, log_decay: Tensor, trace: Tensor, *, lr: float, meta_lr: float) -> None:
    """Do one step of FADE on a tensor of the last layer."""
    log_decay.sub_(meta_lr * grad * trace).clamp_(LOWEST, HIGHEST)
    decay = log_decay.exp()
    curvature = getattr(param, CURVATURE, 0.0)
    trace.mul_((1 - decay - lr * curvature).clamp(min=0)).sub_(decay * param)
    param.mul_(1 - decay).sub_(lr * grad)


def _keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Leave with a layer what it was given and what it made of it, for ``_note``."""
    if layer.training:
        layer.fade_seen = inputs[0].detach(), output.detach()  # type: ignore[assignment]


def _note(head: nn.Module, inputs: Any, output: Tensor) -> None:
    """Leave with the parameters of the last layer the curvature of the cross entropy along them."""
    if not head.training:
        return
    seen = [(layer, *layer.__dict__.pop("fade_seen")) for layer in head.modules() if "fade_seen" in layer.__dict__]
    is_output = [_is_output(logits, output) for _, _, logits in seen]
    if is_output != [True] or output.dim() != 2 or output.shape[1] < 2:
        raise InputError(
            "FADE knows the curvature where a model's output is that of its last layer, one logit a class: "
            "head = 'single' or 'masked', and no numbers to be learnt"
        )
    [(layer, features, _)] = seen
    p = output.detach().softmax(1)
    spread = (p * (1 - p)).mean(0)
    setattr(layer.weight, CURVATURE, spread[:, None] * features.square().mean(0))
    if layer.bias is not None:
        setattr(layer.bias, CURVATURE, spread)


def _is_output(logits: Tensor, output: Tensor) -> bool:
    """Whether what a layer made is a model's output, but for classes that are left out, and for what is no number."""
    if logits.shape != output.shape:
        return False
    output = output.detach()
    return bool(((output == logits) | (output == -torch.inf) | output.isnan()).all())
