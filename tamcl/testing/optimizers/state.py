"""State: it is saved, loaded, copied and cleared without a trace."""

from __future__ import annotations

import copy
import io
import pickle
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tamcl.testing.optimizers.tools import (
    Make,
    copies_of,
    expect,
    expect_equal,
    expect_finite,
    make_parameters,
    run_steps,
)

# State


def _expect_resume(
    make: Make,
    carry: Callable[[dict[str, Any]], dict[str, Any]],
    dtype: torch.dtype,
    breaks: tuple[int, ...] = (10,),
    more: tuple[int, ...] | None = None,
) -> None:
    """Break a run in two, give the state through ``carry`` to a new optimizer, and compare with an unbroken run."""
    whole = make_parameters(dtype, more)
    run_steps(make(whole), whole, range(20))
    for at in breaks:
        broken = make_parameters(dtype, more)
        first = make(broken)
        run_steps(first, broken, range(at))
        second = make(broken)
        second.load_state_dict(carry(first.state_dict()))
        run_steps(second, broken, range(at, 20))
        expect_equal(broken, whole, f"the run in {dtype} that was resumed after step {at} went elsewhere")


def check_state_dict_resume(make: Make) -> None:
    """A run goes on through ``state_dict`` bit by bit as if it had not been broken."""
    _expect_resume(make, copy.deepcopy, torch.float32)


def check_state_dict_resume_float64(make: Make) -> None:
    """The same with float64 parameters."""
    _expect_resume(make, copy.deepcopy, torch.float64)


def check_state_dict_resume_bfloat16(make: Make) -> None:
    """The same with bfloat16 parameters, broken off early and late: where they round, small errors seldom show."""
    _expect_resume(make, copy.deepcopy, torch.bfloat16, breaks=(1, 3, 5, 8, 13), more=(50, 40))


def check_state_dict_carries_options(make: Make) -> None:
    """Options come with the state: a learning rate that a scheduler has changed is that of the resumed run."""
    params = make_parameters()
    optimizer = make(params)
    run_steps(optimizer, params, range(4))
    for group in optimizer.param_groups:
        group["lr"] = 0.00123
    other = make(make_parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    found = [float(group["lr"]) for group in other.param_groups]
    expect(found == [0.00123], f"lr is {found[0]} after a state with lr=0.00123 was loaded")


def check_state_dict_file(make: Make) -> None:
    """The same through a file, read with ``weights_only=True``."""

    def through_file(state: dict[str, Any]) -> dict[str, Any]:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        loaded: dict[str, Any] = torch.load(file, weights_only=True)
        return loaded

    _expect_resume(make, through_file, torch.float32)


def check_state_dict_is_plain(make: Make) -> None:
    """State consists of tensors, numbers and plain lists and dicts of them."""

    def plain(value: Any) -> bool:
        if type(value) in (list, tuple):
            return all(map(plain, value))
        if type(value) is dict:
            return all(map(plain, value.values()))
        return type(value) in (Tensor, int, float, bool, str, type(None))

    params = make_parameters()
    optimizer = make(params)
    run_steps(optimizer, params, range(8))
    for state in optimizer.state_dict()["state"].values():
        for key, value in state.items():
            expect(plain(value), f"'{key}' is a {type(value).__name__}")


def check_copies(make: Make) -> None:
    """``deepcopy`` and ``pickle`` give an optimizer that steps on like the original and apart from it."""

    def pickled(pair: Any) -> Any:
        return pickle.loads(pickle.dumps(pair))

    for name, duplicate in (("deepcopy", copy.deepcopy), ("pickle", pickled)):
        params = make_parameters()
        optimizer = make(params)
        run_steps(optimizer, params, range(10))
        copied, twin = duplicate((params, optimizer))
        before = copies_of(copied)
        run_steps(optimizer, params, range(10, 20))
        expect_equal(copied, before, f"stepping the original moved its {name}")
        run_steps(twin, copied, range(10, 20))
        expect_equal(copied, params, f"the {name} went elsewhere")


def check_cleared_state_is_fresh(make: Make) -> None:
    """Emptying or replacing ``state``, as continual-learning libraries do, leaves a fresh optimizer."""
    for replace in (False, True):
        fresh, reset = make_parameters(), make_parameters()
        start = copies_of(reset)
        optimizer = make(reset)
        run_steps(optimizer, reset, range(10))
        if replace:
            optimizer.state = defaultdict(dict)
        else:
            optimizer.state.clear()
        with torch.no_grad():
            for param, value in zip(reset, start, strict=True):
                param.copy_(value)
        run_steps(optimizer, reset, range(10, 20))
        run_steps(make(fresh), fresh, range(10, 20))
        expect_equal(reset, fresh, "it remembers what was before")


def check_preset_empty_state(make: Make) -> None:
    """``state[p] = {}``, as continual-learning libraries set for new and changed parameters, starts that one anew."""
    plain, preset = make_parameters(), make_parameters()
    optimizer = make(preset)
    for param in preset:
        optimizer.state[param] = {}
    run_steps(make(plain), plain, range(8))
    run_steps(optimizer, preset, range(8))
    expect_equal(preset, plain, "empty entries before the first step led elsewhere")
    for index in range(len(preset)):
        before = copies_of(preset)
        optimizer.state[preset[index]] = {}
        run_steps(optimizer, preset, range(8 + 4 * index, 12 + 4 * index))
        expect_finite(preset, "a parameter is not finite")
        expect(not any(map(torch.equal, preset, before)), "a parameter did not move")


def check_state_size_is_constant(make: Make) -> None:
    """State does not grow once training is under way."""

    def size(value: Any) -> int:
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        return sum(map(size, value)) if isinstance(value, list | tuple) else 1

    params = make_parameters()
    optimizer = make(params)
    run_steps(optimizer, params, range(30))
    early = size(optimizer.state_dict()["state"])
    run_steps(optimizer, params, range(30, 60))
    late = size(optimizer.state_dict()["state"])
    expect(early == late, f"it grew from {early} to {late}")
