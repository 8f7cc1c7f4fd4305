"""Every registered optimizer keeps every promise of ``tamcl.testing``, and broken ones are caught by name."""

from __future__ import annotations

import importlib.util
from functools import partial

import pytest

from tamcl.cli.main import main
from tamcl.optim import OPTIMIZERS, SAM
from tamcl.registry import lookup
from tamcl.testing import check_optimizer
from tamcl.testing.optimizers import CHECKS, settings_kept, yield_checks
from tests.broken_optimizers import (
    ChangesGradients,
    DecaysUpwardsUnderMaximize,
    DrawsGlobalRandomness,
    Healthy,
    IgnoresGroups,
    IgnoresMaximizeOfGroups,
    IgnoresTheMomentumOfGroups,
    KeepsItsOwnOptionsOnLoad,
    KeepsTheGradient,
    LeavesTheDefaultType,
    LosesHooks,
    LosesStateOnLoad,
    MultipliesTheLearningRate,
    NanAtHugeGradients,
    NanAtZeroGradient,
    PairsEntriesAsTheyLie,
    RoundsToFloat32,
    SeedsTheGlobalGenerator,
    SkipsTheStep,
    StateOutsideState,
)

CASES = {name: (name, {}) for name in OPTIMIZERS} | {
    "tam[tensor]": ("tam", {"granularity": "tensor"}),
    "tam[zero]": ("tam", {"start": "zero", "granularity": "global"}),
    "tam[decayed]": ("tam", {"cosine_on": "decayed", "weight_decay": 0.1}),
    "adatam[zero,decayed]": ("adatam", {"start": "zero", "cosine_on": "decayed", "weight_decay": 0.1}),
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
    "fade[fast]": ("fade", {"meta_lr": 1.0, "initial_log_decay": -3.0, "weight_decay": 0.1}),
    "hgm[tensor]": ("hgm", {"granularity": "tensor", "gamma": 2.0, "weight_decay": 0.1}),
    "ademamix[warmup]": ("ademamix", {"warmup": 10, "beta3": 0.99, "weight_decay": 0.1}),
    "muon[original]": ("muon", {"adjust_lr_fn": "original", "nesterov": False, "weight_decay": 0.1}),
    "schedule_free[warmup]": ("schedule_free", {"warmup": 5, "betas": (0.5, 0.99), "weight_decay": 0.1}),
    "upgd": ("upgd", {"lr": 0.1}),
    "upgd[decayed]": ("upgd", {"lr": 0.1, "beta_utility": 0.5, "sigma": 0.01, "weight_decay": 0.1}),
    "sam[tam]": ("sam", {"base": "tam"}),
    "sam[adam_cm]": ("sam", {"base": "adam_cm"}),
    "sam[adam]": ("sam", {"base": "adam"}),
    "lookahead[tam]": ("lookahead", {"base": "tam"}),
    "lookahead[adam_cm]": ("lookahead", {"base": "adam_cm"}),
    "lookahead[adam]": ("lookahead", {"base": "adam"}),
    "lookahead[sam]": ("lookahead", {"base": partial(SAM, base="tam")}),
    "cautious[sgd]": ("cautious", {"base": "sgd", "momentum": 0.9, "weight_decay": 0.01}),
    "cautious[adam_cm]": ("cautious", {"base": "adam_cm", "variant": "paper", "xi": 0.0}),
    "cautious[tam]": ("cautious", {"base": "tam"}),
    "switch[5]": ("switch", {"at": 5}),
    "switch[10]": ("switch", {"at": 10, "s": None, "granularity": "tensor"}),
    "switch[15]": ("switch", {"at": 15, "carry": "velocity", "nesterov": True}),
    "switch[lr_then]": ("switch", {"at": 5, "lr_then": 0.02}),
    "switch[adam_cm,adam]": ("switch", {"first": "adam_cm", "then": "adam", "at": 5}),
    "switch[adam,tam]": ("switch", {"first": "adam", "then": "tam", "at": 5}),
    **{
        f"{name}[{path}]": (name, options)
        for name in ("tam", "adatam", "adatamw", "adam_cm", "adamw_cm")
        for path, options in {"readable": {"foreach": False}, "capturable": {"capturable": True}}.items()
    },
}
"""Every registered optimizer as it comes, and ours with the options that change their state."""

_FILLS_FIRST = "the released code only fills its buffer with the first gradient"
_WALKS_BACK = "every k-th step goes part of the way back to the slow weights, whatever the learning rate"
_HOLDS_ALL = "all utilities are negative where every weight should shrink, and the method then holds them all"
_IS_NOISY = "noise moves the weights where there is no gradient"
SKIPS = {
    **{
        (case, "check_first_step_moves"): _FILLS_FIRST
        for case in (
            "adam_cm",
            "adam_cm[bfloat16]",
            "adam_cm[readable]",
            "adam_cm[capturable]",
            "sam[adam_cm]",
            "lookahead[adam_cm]",
            "switch[adam_cm,adam]",
        )
    },
    **{(case, "check_changed_lr"): _WALKS_BACK for case in CASES if case.startswith("lookahead")},
    **{(case, "check_zero_gradient"): _IS_NOISY for case in CASES if case.startswith("upgd")},
    ("upgd", "check_descends_a_quadratic"): _HOLDS_ALL,
    ("sgd", "check_rejects_bad_options"): "torch's SGD accepts lr=nan",
    ("sam", "check_rejects_bad_options"): "torch's SGD, its base, accepts momentum=nan",
    **{
        (case, "check_zero_gradient"): "the last layer decays in every step, also without a gradient"
        for case in CASES
        if case.startswith("fade")
    },
    ("lion", "check_scalar_and_empty_parameters"): "as many steps of one size lead back to where a scalar was",
    **{
        (case, "check_group_options"): "momentum is that of matrices, and the group has none"
        for case in CASES
        if case.startswith("muon")
    },
    ("cautious[sgd]", "check_rejects_bad_options"): "torch's SGD, its base, accepts momentum=nan",
    ("lookahead", "check_rejects_bad_options"): "torch's SGD, its base, accepts momentum=nan",
    ("nadam", "check_state_dict_resume_float64"): "torch rounds NAdam's mu_product when it loads it",
    ("nadam", "check_state_dict_resume_bfloat16"): "torch rounds NAdam's mu_product when it loads it",
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
    NanAtZeroGradient: {"check_zero_gradient", "check_weight_decay_shrinks"},
    SeedsTheGlobalGenerator: {"check_global_generators"},
    KeepsItsOwnOptionsOnLoad: {"check_state_dict_carries_options"},
    IgnoresTheMomentumOfGroups: {"check_group_options"},
    IgnoresMaximizeOfGroups: {"check_group_options"},
    DecaysUpwardsUnderMaximize: {"check_weight_decay_shrinks"},
    RoundsToFloat32: {"check_float64_is_not_rounded"},
    MultipliesTheLearningRate: {"check_tensor_lr"},
    PairsEntriesAsTheyLie: {"check_gradient_layout"},
    LeavesTheDefaultType: {"check_global_settings"},
    LosesHooks: {"check_hooks"},
    NanAtHugeGradients: {"check_huge_gradients"},
}


def failures(cls):
    failed = set()
    for name, run in yield_checks(cls):
        try:
            with settings_kept():
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


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (LosesStateOnLoad, "check_state_dict_resume"),
        (DrawsGlobalRandomness, "check_global_generators"),
        (ChangesGradients, "check_gradients_unmodified"),
        (IgnoresGroups, "check_group_options"),
        (NanAtZeroGradient, "check_zero_gradient"),
        (SeedsTheGlobalGenerator, "check_global_generators"),
        (LeavesTheDefaultType, "check_global_settings"),
    ],
)
def test_the_command_names_the_check_that_a_broken_optimizer_fails(cls, check, capsys):
    assert main(["check", f"{cls.__module__}:{cls.__name__}"]) == 3
    failed = {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")}
    assert check in failed
    assert failed == BROKEN[cls]


def others():
    """Yield the checks of pytorch_optimizer's TAM, which is another reading of the paper."""
    if not importlib.util.find_spec("pytorch_optimizer"):
        reason = "pytorch_optimizer is not installed"
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=reason), id="pytorch_optimizer")]
    return [
        pytest.param(run, OTHERS_SKIPS.get(check), id=f"pytorch_optimizer.TAM:{check}")
        for check, run in yield_checks(lookup(OPTIMIZERS, "pytorch_optimizer:TAM"))
    ]


OTHERS_SKIPS = {
    "check_rejects_bad_options": "raises an error of its own that is no ValueError",
    "check_rejects_unknown_options": "swallows any keyword",
    "check_repr_and_reference": "its docstring links no paper",
    "check_sparse_gradients": "raises an error of its own that is no RuntimeError",
    "check_complex_parameters": "complex parameters go elsewhere than their real views",
    "check_copies": "loses attributes when copied",
}
"""What pytorch_optimizer 4.1 does not promise; if a later one does, the test says so."""


@pytest.mark.parametrize(("run", "reason"), others())
def test_the_other_tam(run, reason):
    if reason is None:
        run()
    else:
        with pytest.raises(Exception):  # noqa: B017, PT011 - somebody else's optimizer may raise anything
            run()
