"""What all optimizers here share: option errors with their text, precision of the state, the table of names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
import torch

import tamcl.optim
from tamcl.optim import (
    OPTIMIZERS,
    SAM,
    SGDCG,
    SGDCM,
    TAM,
    AdamCG,
    AdamCM,
    AdamWCM,
    AdaTAM,
    AdaTAMW,
    Cautious,
    Lookahead,
    RMSpropCG,
    Switch,
)
from tamcl.optim.base import TABLES, BaseOptimizer
from tamcl.registry import lookup, signature

REGISTERED = [lookup(OPTIMIZERS, name) for name, path in OPTIMIZERS.items() if path.startswith("tamcl.")]
OURS = [cls for cls in REGISTERED if issubclass(cls, BaseOptimizer)]
WRAPPERS = [SAM, Lookahead, Cautious, Switch]


def parameter(**options):
    return torch.nn.Parameter(torch.ones(2, **options))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_registered_name_loads_and_can_be_listed(name):
    cls = lookup(OPTIMIZERS, name)
    assert issubclass(cls, torch.optim.Optimizer)
    parameters = signature(OPTIMIZERS[name]).parameters
    if cls in WRAPPERS:
        assert parameters is None, "the base says what they take"
    else:
        assert {"params", "lr", "weight_decay"} <= set(parameters)


@pytest.mark.parametrize("name", [name for name, path in OPTIMIZERS.items() if path.startswith("tamcl.")])
def test_ours_have_a_summary(name):
    assert signature(OPTIMIZERS[name]).summary.endswith((".", ":"))


def test_public_names():
    exported = tamcl.optim.__all__
    assert set(exported) == {"OPTIMIZERS", "transfer_lr", *(cls.__name__ for cls in REGISTERED)}
    assert all(hasattr(tamcl.optim, name) for name in exported)


def test_needs_torch_alone():
    code = """
import sys
sys.modules |= dict.fromkeys("avalanche matplotlib pandas pydantic rich scipy sklearn torchvision typer".split())
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
import torch
for cls in (lookup(OPTIMIZERS, name) for name in OPTIMIZERS if name != "sam"):
    p = torch.nn.Parameter(torch.ones(2)); p.grad = torch.ones(2); cls([p]).step()
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr


ERRORS = [
    (TAM, {"lr": -0.1}, "lr must be a number >= 0, got -0.1"),
    (TAM, {"lr": float("nan")}, "lr must be a number >= 0, got nan"),
    (TAM, {"lr": float("inf")}, "lr must be a number >= 0, got inf"),
    (TAM, {"lr": "0.1"}, "lr must be a number >= 0, got '0.1'"),
    (TAM, {"lr": torch.ones(2)}, "lr must be a number >= 0, got tensor([1., 1.])"),
    (TAM, {"momentum": 1.0}, "momentum must be in [0, 1), got 1.0"),
    (TAM, {"gamma": -0.1}, "gamma must be in [0, 1), got -0.1"),
    (TAM, {"eps": -1e-8}, "eps must be a number >= 0, got -1e-08"),
    (TAM, {"weight_decay": float("nan")}, "weight_decay must be a number >= 0, got nan"),
    (TAM, {"damping": 1.1}, "damping must be a number in [0, 1], 'average' or 'shuffled', got 1.1"),
    (TAM, {"damping": True}, "damping must be a number in [0, 1], 'average' or 'shuffled', got True"),
    (TAM, {"damping": [0.5]}, "damping must be a number in [0, 1], 'average' or 'shuffled', got [0.5]"),
    (TAM, {"maximize": "no"}, "maximize must be one of True, False, got 'no'"),
    (TAM, {"decoupled_weight_decay": "no"}, "decoupled_weight_decay must be one of True, False, got 'no'"),
    (AdamCM, {"amsgrad": "no"}, "amsgrad must be one of True, False, got 'no'"),
    (RMSpropCG, {"centered": "no"}, "centered must be one of True, False, got 'no'"),
    (TAM, {"granularity": "layer"}, "granularity must be one of 'group', 'global', 'tensor', got 'layer'"),
    (AdaTAM, {"betas": (0.9, 1.0)}, "betas[1] must be in [0, 1), got 1.0"),
    (AdaTAM, {"betas": 0.9}, "betas must be two numbers, got 0.9"),
    (AdaTAMW, {"bias_correction": "first"}, "bias_correction must be one of 'second', 'none', 'both', got 'first'"),
    (AdamCM, {"capacity": -1}, "capacity must be a whole number >= 0, got -1"),
    (AdamCM, {"capacity": 2.5}, "capacity must be a whole number >= 0, got 2.5"),
    (AdamCM, {"decay": 1.5}, "decay must be in [0, 1], got 1.5"),
    (AdamCM, {"variant": "fifo"}, "variant must be one of 'official', 'paper', got 'fifo'"),
    (AdamCM, {"buffer_dtype": "int8"}, "buffer_dtype must be a floating-point type such as 'bfloat16', got 'int8'"),
]


@pytest.mark.parametrize(("cls", "options", "message"), ERRORS, ids=[f"{c.__name__}-{o}" for c, o, _ in ERRORS])
def test_bad_options_are_named(cls, options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        cls([parameter()], **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("cls", OURS)
def test_numbers_may_be_numpys(cls):
    """The groups hold plain numbers, which a state in a file may."""
    counts = {"capacity": np.int64(5)} if "capacity" in inspect.signature(cls).parameters else {}
    optimizer = cls([parameter()], lr=np.float32(0.5), weight_decay=np.float64(0.25), **counts)
    assert {type(optimizer.param_groups[0][name]) for name in ("lr", "weight_decay")} == {float}
    assert optimizer.param_groups[0].get("capacity") in (None, 5)
    with pytest.raises(ValueError, match="lr must be a number >= 0, got"):
        cls([parameter()], lr=np.bool_(True))


@pytest.mark.parametrize("cls", OURS)
def test_goes_on_when_parameters_become_float64(cls):
    """As after ``model.double()``, with tensors of all sizes."""
    param = torch.nn.Parameter(torch.ones(200, 100))
    optimizer = cls([param], lr=0.01)
    twin = torch.nn.Parameter(torch.ones(200, 100, dtype=torch.float64))
    other = cls([twin], lr=0.01)
    for t in range(6):
        for each, its in ((param, optimizer), (twin, other)):
            each.grad = torch.full_like(each, (-0.5) ** t)
            its.step()
        if t == 2:
            param.data = param.data.double()
            param.grad = None
    assert param.dtype is torch.float64
    torch.testing.assert_close(param, twin, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdaTAMW, AdamCM, AdamWCM])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_capturable_takes_a_learning_rate_of_any_shape(cls, shape):
    def path(lr, **options):
        params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((), (2, 3))]
        optimizer = cls(params, lr=lr, weight_decay=0.1, **options)
        for _ in range(3):
            for param in params:
                param.grad = torch.ones_like(param)
            optimizer.step()
        return params

    decoupled = {"decoupled_weight_decay": True} if cls is TAM else {}
    found = path(torch.full(shape, 0.1), capturable=True, **decoupled)
    for a, b in zip(found, path(0.1, **decoupled), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("cls", [AdamCM, SGDCM, AdamCG, SGDCG, RMSpropCG])
@pytest.mark.parametrize("capacity", [3, 8])
def test_capacity_does_not_change_on_the_way(cls, capacity):
    optimizer = cls([param := parameter()], capacity=5)
    for _ in range(6):
        param.grad = torch.ones(2)
        optimizer.step()
    optimizer.param_groups[0]["capacity"] = capacity
    with pytest.raises(ValueError, match=f"capacity cannot change while there is a buffer: .* 5 slots, got {capacity}"):
        optimizer.step()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdamCM])
def test_capturable_set_on_the_way(cls, before):
    optimizer, other = cls([param := parameter()], capturable=before), cls([twin := parameter()])
    for step in range(4):
        param.grad = torch.ones(2)
        if step == 2:
            optimizer.param_groups[0]["capturable"] = not before
        if step >= 2 and cls is AdamCM:
            with pytest.raises(ValueError, match=f"capturable={not before} was set after the first steps: clear the"):
                optimizer.step()
        else:
            optimizer.step()
            twin.grad = torch.ones(2)
            other.step()
    torch.testing.assert_close(param, twin)


def test_bad_options_of_a_later_group_leave_the_optimizer_as_it_was():
    optimizer = TAM([parameter()])
    with pytest.raises(ValueError, match="lr must be a number >= 0, got -1"):
        optimizer.add_param_group({"params": [parameter()], "lr": -1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("cls", "option", "value"),
    [(TAM, "gamma", 0.5), (AdaTAM, "granularity", "tensor"), (AdaTAMW, "damping", 0.5), (AdamCM, "capacity", 7)],
)
def test_options_of_the_whole_optimizer_must_agree(cls, option, value):
    optimizer = cls([parameter()])
    with pytest.raises(ValueError, match=f"{option} must be the same in all groups"):
        optimizer.add_param_group({"params": [parameter()], option: value})


@pytest.mark.parametrize("cls", OURS)
def test_complex_and_sparse_are_refused(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__} does not support complex parameters"):
        cls([parameter(dtype=torch.complex64)])
    embedding = torch.nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([0])).sum().backward()
    other = parameter()
    other.grad = torch.ones(2)
    optimizer = cls([other, *embedding.parameters()], weight_decay=0.1)
    with pytest.raises(RuntimeError, match=f"{cls.__name__} does not support sparse gradients"):
        optimizer.step()
    assert torch.equal(other, torch.ones(2)), "nothing may have moved"


@pytest.mark.parametrize("cls", OURS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_moments_of_half_precision_parameters_are_float32_and_stay_so(cls, dtype):
    param = parameter(dtype=dtype)
    optimizer = cls([param])
    param.grad = torch.full((2,), 1e-4, dtype=dtype)
    optimizer.step()
    other = cls([param])
    other.load_state_dict(optimizer.state_dict())
    for state in chain(optimizer.state.values(), other.state.values()):
        tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        assert {value.dtype for key, value in tensors.items() if key not in TABLES} == {torch.float32}
        assert all(value.dtype is TABLES[key] for key, value in tensors.items() if key in TABLES)
    assert param.dtype is dtype


@pytest.mark.parametrize("cls", OURS)
def test_loaded_state_shares_nothing_with_the_saved_one(cls):
    param = parameter()
    first = cls([param])
    param.grad = torch.ones(2)
    first.step()
    second = cls([param])
    second.load_state_dict(first.state_dict())
    saved = repr(first.state_dict()["state"])
    second.step()
    assert repr(first.state_dict()["state"]) == saved


@pytest.mark.parametrize("cls", OURS)
def test_lr_may_be_a_tensor_changed_in_place(cls):
    moves = []
    for lr in (0.1, torch.tensor(0.1)):
        param = parameter(dtype=torch.float64)
        optimizer = cls([param], lr=lr)
        for _ in range(3):
            param.grad = torch.ones_like(param)
            optimizer.step()
        if isinstance(lr, torch.Tensor):
            lr.zero_()
            before = param.detach().clone()
            optimizer.step()
            assert torch.equal(param, before)
        moves.append(before if isinstance(lr, torch.Tensor) else param.detach().clone())
    torch.testing.assert_close(*moves, rtol=1e-6, atol=1e-6)
