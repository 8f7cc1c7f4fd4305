"""Every registered optimizer keeps every promise of ``tamcl.testing``, and broken ones are caught by name."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import Optimizer

from tamcl.optim import OPTIMIZERS, SAM
from tamcl.registry import lookup
from tamcl.testing import check_optimizer
from tamcl.testing.optimizers import CHECKS, yield_checks

CASES = {name: (name, {}) for name in OPTIMIZERS} | {
    "tam[tensor]": ("tam", {"granularity": "tensor"}),
    "tam[decoupled]": ("tam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    "tam[frozen]": ("tam", {"damping": 0.5}),
    "adatam[tensor,both]": ("adatam", {"granularity": "tensor", "bias_correction": "both"}),
    "adam_cm[paper]": ("adam_cm", {"variant": "paper", "amsgrad": True}),
    "adam_cm[bfloat16]": ("adam_cm", {"buffer_dtype": "bfloat16"}),
    "adam_cm[empty]": ("adam_cm", {"capacity": 0}),
    "tam[average]": ("tam", {"damping": "average", "granularity": "tensor"}),
    "tam[shuffled]": ("tam", {"damping": "shuffled"}),
    "tam[reversed]": ("tam", {"damping_function": "reversed"}),
    "adam_cm[fifo]": ("adam_cm", {"replacement": "fifo", "capacity": 3, "variant": "paper"}),
    "adam_cm[random]": ("adam_cm", {"replacement": "random", "capacity": 3, "variant": "paper"}),
    "sgd_cm[fifo,bfloat16]": ("sgd_cm", {"replacement": "fifo", "buffer_dtype": "bfloat16", "variant": "paper"}),
    "sgd_cg[random]": ("sgd_cg", {"momentum": 0.9, "replacement": "random", "capacity": 3}),
    "adam_cg[paper]": ("adam_cg", {"variant": "paper", "capacity": 3}),
    "rmsprop_cg[centered]": ("rmsprop_cg", {"aggregation": "sum", "momentum": 0.9, "centered": True}),
    "sam[tam]": ("sam", {"base": "tam"}),
    "sam[adam_cm]": ("sam", {"base": "adam_cm"}),
    "sam[adam]": ("sam", {"base": "adam"}),
    "lookahead[tam]": ("lookahead", {"base": "tam"}),
    "lookahead[adam_cm]": ("lookahead", {"base": "adam_cm"}),
    "lookahead[adam]": ("lookahead", {"base": "adam"}),
    "lookahead[sam]": ("lookahead", {"base": partial(SAM, base="tam")}),
    "switch[5]": ("switch", {"at": 5}),
    "switch[10]": ("switch", {"at": 10, "s": None, "granularity": "tensor"}),
    "switch[15]": ("switch", {"at": 15, "carry": "nothing", "nesterov": True}),
    "switch[adam_cm,adam]": ("switch", {"first": "adam_cm", "then": "adam", "at": 5}),
    "switch[adam,tam]": ("switch", {"first": "adam", "then": "tam", "at": 5}),
}
"""Every registered optimizer as it comes, and ours with the options that change their state."""

_FILLS_FIRST = "the released code only fills its buffer with the first gradient"
_WALKS_BACK = "every k-th step goes part of the way back to the slow weights, whatever the learning rate"
SKIPS = {
    **{
        (case, "check_first_step_moves"): _FILLS_FIRST
        for case in (
            "adam_cm",
            "adam_cm[bfloat16]",
            "sam[adam_cm]",
            "lookahead[adam_cm]",
            "switch[adam_cm,adam]",
        )
    },
    **{(case, "check_changed_lr"): _WALKS_BACK for case in CASES if case.startswith("lookahead")},
    ("sgd", "check_rejects_bad_options"): "torch's SGD accepts lr=nan",
    ("sam", "check_rejects_bad_options"): "torch's SGD, its base, accepts momentum=nan",
    ("lookahead", "check_rejects_bad_options"): "torch's SGD, its base, accepts momentum=nan",
    ("nadam", "check_state_dict_resume_float64"): "torch rounds NAdam's mu_product when it loads it",
}
"""Promises that are known to be broken, and why; a skip that is no longer needed fails."""


def cases():
    for case, (name, options) in CASES.items():
        for check, run in yield_checks(lookup(OPTIMIZERS, name), **options):
            reason = SKIPS.get((case, check))
            marks = [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] if reason else []
            yield pytest.param(run, id=f"{case}:{check}", marks=marks)


@pytest.mark.parametrize("run", list(cases()))
def test_conformance(run):
    run()


def test_every_optimizer_has_a_case_and_every_skip_has_a_check():
    assert set(OPTIMIZERS) == {name for name, _ in CASES.values()}
    checks = {check.__name__ for check in CHECKS}
    assert {case for case, _ in SKIPS} <= set(CASES)
    assert {check for _, check in SKIPS} <= checks
    assert checks == {check for check, _ in yield_checks(lookup(OPTIMIZERS, "tam"))}, "a check applies to none of ours"


class Healthy(Optimizer):
    """Gradient descent with momentum, for others to break. https://example.org"""

    def __init__(self, params, lr, weight_decay=0.0):
        if not lr >= 0 or not weight_decay >= 0:
            raise ValueError("out of range")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.is_complex() or (param.grad is not None and param.grad.is_sparse):
                    raise RuntimeError("complex and sparse are not supported")
                if param.grad is not None:
                    self.step_one(param, group)
        return loss

    def step_one(self, param, group):
        momentum = self.state[param].setdefault("momentum_buffer", torch.zeros_like(param))
        momentum.mul_(0.9).add_(param.grad).add_(param, alpha=group["weight_decay"])
        param.add_(momentum, alpha=-group["lr"])


class LosesStateOnLoad(Healthy):
    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.state.clear()


class DrawsGlobalRandomness(Healthy):
    def step_one(self, param, group):
        torch.rand(1)
        super().step_one(param, group)


class ChangesGradients(Healthy):
    def step_one(self, param, group):
        param.grad.add_(param, alpha=group["weight_decay"])
        super().step_one(param, {**group, "weight_decay": 0.0})


class IgnoresGroups(Healthy):
    def step_one(self, param, group):
        super().step_one(param, self.param_groups[0])


class NanAtZeroGradient(Healthy):
    def step_one(self, param, group):
        param.sub_(param.grad / param.grad.norm(), alpha=group["lr"])


class StateOutsideState(Healthy):
    def step_one(self, param, group):
        self.memory = getattr(self, "memory", None) or {}
        momentum = self.memory.setdefault(param, torch.zeros_like(param))
        param.sub_(momentum.mul_(0.9).add_(param.grad), alpha=group["lr"])


class KeepsTheGradient(Healthy):
    def step_one(self, param, group):
        previous = self.state[param].get("previous", param.grad)
        param.sub_(param.grad + previous, alpha=group["lr"])
        self.state[param]["previous"] = param.grad


class SkipsTheStep(Healthy):
    def step_one(self, param, group):
        pass


BROKEN = {
    Healthy: set(),
    LosesStateOnLoad: {
        "check_state_dict_resume",
        "check_state_dict_resume_float64",
        "check_state_dict_resume_bfloat16",
        "check_state_dict_file",
    },
    DrawsGlobalRandomness: {"check_global_generators"},
    ChangesGradients: {"check_gradients_unmodified"},
    IgnoresGroups: {"check_group_with_zero_lr", "check_group_options"},
    NanAtZeroGradient: {"check_zero_gradient", "check_group_options", "check_scalar_and_empty_parameters"},
}


def failures(cls):
    failed = set()
    for name, run in yield_checks(cls):
        try:
            run()
        except Exception:
            failed.add(name)
    return failed


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_optimizer_is_caught_by_the_right_checks(cls):
    assert failures(cls) == BROKEN[cls]


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (StateOutsideState, "check_cleared_state_is_fresh"),
        (StateOutsideState, "check_state_dict_resume"),
        (StateOutsideState, "check_copies"),
        (KeepsTheGradient, "check_gradients_not_kept"),
        (SkipsTheStep, "check_descends_a_quadratic"),
        (SkipsTheStep, "check_first_step_moves"),
        (SkipsTheStep, "check_two_experiences"),
    ],
)
def test_a_broken_optimizer_is_caught_by(cls, check):
    assert check in failures(cls)


def test_the_error_names_the_check_and_what_was_seen():
    with pytest.raises(AssertionError, match=r"^check_zero_gradient: a parameter is not finite$"):
        check_optimizer(NanAtZeroGradient)
