"""Conformance of an optimizer: small checks of one promise each, run one by one or all together."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tamcl.optim.closures import needs_closure

Make = Callable[..., Optimizer]
"""Builds the optimizer under check: ``make(params, **options)``."""


def check_optimizer(optimizer: Make, **options: Any) -> None:
    """Run every check that applies to an optimizer; use it in the tests of one's own.

    Parameters
    ----------
    optimizer : type or callable
        Optimizer class, or a function of parameters and keyword options that returns an optimizer.
    **options
        Options to build it with; ``lr`` is 0.01 unless given.

    Raises
    ------
    AssertionError
        If a promise is broken; it names the check and says what was seen.

    Examples
    --------
    >>> check_optimizer(torch.optim.Adam, lr=0.003)
    >>> check_optimizer(torch.optim.SGD)
    Traceback (most recent call last):
    AssertionError: check_rejects_bad_options: lr=nan was accepted
    """
    for name, run in yield_checks(optimizer, **options):
        try:
            with settings_kept():
                run()
        except Exception as error:
            raise AssertionError(f"{name}: {error or type(error).__name__}") from error


def yield_checks(optimizer: Make, **options: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of every check that applies and a function that runs it; it raises if the promise is broken.

    Examples
    --------
    >>> [name for name, run in yield_checks(torch.optim.SGD)][:2]
    ['check_rejects_bad_options', 'check_rejects_unknown_options']
    """
    make = partial(optimizer, **{"lr": 0.01, **options})
    for check in CHECKS:
        if all(_has_option(make, name) for name in NEEDS.get(check, ())):
            yield check.__name__, partial(check, make)


# What the checks train with. All draws come from generators of their own.


def _parameters(dtype: torch.dtype = torch.float32, more: tuple[int, ...] | None = None) -> list[Parameter]:
    draw = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(4, 3), (3,), (2, 2, 2), *([more] if more else [])]
    return [Parameter(torch.randn(shape, generator=draw, dtype=torch.float32).to(dtype)) for shape in shapes]


def _set_gradients(params: list[Parameter], step: int) -> None:
    draw = torch.Generator().manual_seed(step + 1)
    for param in params:
        param.grad = torch.randn(param.shape, generator=draw, dtype=torch.float32).to(param.dtype)


def _run(optimizer: Optimizer, params: list[Parameter], steps: range) -> None:
    for step in steps:
        _set_gradients(params, step)
        _step(optimizer)


def _step(optimizer: Optimizer) -> None:
    """Do a step with the gradients as they are, also where ``step`` needs a closure to compute them anew."""
    if needs_closure(optimizer):
        optimizer.step(lambda: 0.0)
    else:
        optimizer.step()


def _has_option(make: Make, name: str) -> bool:
    parameters = inspect.signature(make).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return name in make(_parameters()).param_groups[0]
    return name in parameters


def _without_decay(make: Make) -> Make:
    return partial(make, weight_decay=0.0) if _has_option(make, "weight_decay") else make


def _settings() -> dict[str, Any]:
    return {
        "the default type": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
    }


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put torch's global settings back, whatever an optimizer under check does to them."""
    dtype, enabled, threads = _settings().values()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(enabled)
        torch.set_num_threads(threads)


def _listed(value: Any) -> Any:
    """Return the state of a generator as lists and numbers."""
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, Tensor | np.ndarray) else value


def _values(params: list[Parameter]) -> list[Tensor]:
    return [param.detach().clone() for param in params]


def _expect(promise: bool, message: str) -> None:
    if not promise:
        raise AssertionError(message)


def _expect_equal(found: list[Parameter], expected: list[Parameter] | list[Tensor], message: str) -> None:
    for a, b in zip(found, expected, strict=True):
        _expect(torch.equal(a, b), f"{message}: largest difference {(a - b).abs().max().item():.2g}")


def _expect_finite(params: list[Parameter], message: str) -> None:
    _expect(all(bool(param.isfinite().all()) for param in params), message)


# Options


def check_rejects_bad_options(make: Make) -> None:
    """Options out of range raise ValueError when the optimizer is built."""
    nan = float("nan")
    bad: dict[str, list[Any]] = {
        "lr": [-1.0, nan],
        "momentum": [-0.1, nan],
        "betas": [(-0.1, 0.9), (1.0, 0.9), (0.9, nan)],
        "eps": [-1.0, nan],
        "weight_decay": [-1.0, nan],
    }
    for name, values in bad.items():
        for value in values if _has_option(make, name) else []:
            try:
                make(_parameters(), **{name: value})
            except ValueError:
                continue
            raise AssertionError(f"{name}={value} was accepted")


def check_rejects_unknown_options(make: Make) -> None:
    """A misspelt option raises TypeError."""
    try:
        make(_parameters(), no_such_option=1)
    except TypeError:
        return
    raise AssertionError("no_such_option=1 was accepted")


def check_repr_and_reference(make: Make) -> None:
    """``repr`` works, and the docstring links to where the method comes from."""
    optimizer = make(_parameters())
    _expect(type(optimizer).__name__ in repr(optimizer), f"repr is {optimizer!r}")
    _expect("http" in (inspect.getdoc(type(optimizer)) or ""), "the docstring has no link to a reference")


# The step


def check_descends_a_quadratic(make: Make) -> None:
    """200 steps on a convex quadratic lower its value."""
    params = _parameters()
    optimizer = make(params)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.stack([(param**2).sum() for param in params]).sum()
        loss.backward()
        _step(optimizer)
        losses.append(loss.item())
    _expect(losses[-1] < 0.9 * losses[0], f"it went from {losses[0]:.3g} to {losses[-1]:.3g}")


def check_first_step_moves(make: Make) -> None:
    """The first step moves every parameter."""
    params = _parameters()
    before = _values(params)
    _run(make(params), params, range(1))
    _expect(not any(map(torch.equal, params, before)), "a parameter with a gradient did not move")


def check_step_moves_in_place(make: Make) -> None:
    """Parameters are changed in place, and autograd is told."""
    params = _parameters()
    places, versions = [p.data_ptr() for p in params], [p._version for p in params]
    _run(make(params), params, range(2))
    _expect(places == [p.data_ptr() for p in params], "a parameter is in another place of memory")
    _expect(all(p._version > old for p, old in zip(params, versions, strict=True)), "a version counter stood still")


def check_missing_gradients(make: Make) -> None:
    """A parameter without gradient is left alone, and so is everything if no parameter has one."""
    params = _parameters()
    before = _values(params)
    optimizer = make(params)
    _step(optimizer)
    for step in range(3):
        _set_gradients(params, step)
        params[0].grad = None
        _step(optimizer)
    _expect_equal(params[:1], before[:1], "a parameter without gradient moved")
    _expect(not torch.equal(params[1], before[1]), "a parameter with a gradient did not move")


def check_late_first_gradient(make: Make) -> None:
    """A parameter may get its first gradient later than the others."""
    params = _parameters()
    before = _values(params)
    optimizer = make(params)
    for step in range(6):
        _set_gradients(params, step)
        if step < 3:
            params[0].grad = params[2].grad = None
        _step(optimizer)
    _expect_finite(params, "a parameter is not finite")
    _expect(not any(map(torch.equal, params, before)), "a parameter did not move")


def check_zero_gradient(make: Make) -> None:
    """Gradients of zero from the first step on move nothing (without weight decay)."""
    params = _parameters()
    before = _values(params)
    optimizer = _without_decay(make)(params)
    for _ in range(3):
        for param in params:
            param.grad = torch.zeros_like(param)
        _step(optimizer)
    _expect_finite(params, "a parameter is not finite")
    _expect_equal(params, before, "a parameter moved")


def check_gradients_unmodified(make: Make) -> None:
    """Gradients are the same after the step as before it, whatever the options."""
    for options in ({}, {"weight_decay": 0.1}, {"maximize": True}):
        params = _parameters()
        optimizer = make(params, **{name: value for name, value in options.items() if _has_option(make, name)})
        for step in range(8):
            _set_gradients(params, step)
            before = [param.grad.clone() for param in params if param.grad is not None]
            _step(optimizer)
            for param, grad in zip(params, before, strict=True):
                _expect(param.grad is not None and torch.equal(param.grad, grad), f"a gradient changed with {options}")


def check_gradients_not_kept(make: Make) -> None:
    """Nothing refers to a gradient after the step: its memory may be used again."""
    fresh, reused = _parameters(), _parameters()
    one, other = make(fresh), make(reused)
    for param in reused:
        param.grad = torch.zeros_like(param)
    for step in range(8):
        _set_gradients(fresh, step)
        for param, source in zip(reused, fresh, strict=True):
            assert param.grad is not None
            assert source.grad is not None
            param.grad.copy_(source.grad)
        _step(one)
        _step(other)
    _expect_equal(reused, fresh, "gradients written in place led elsewhere")


def check_closure(make: Make) -> None:
    """A closure is called with gradients enabled, and the loss of its first call returned.

    It is called once, unless the optimizer says by ``needs_closure`` that it computes gradients anew.
    """
    params = _parameters()
    calls = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        _set_gradients(params, 0)
        return 0.25 + len(calls)

    optimizer = make(params)
    loss = optimizer.step(closure)
    several = needs_closure(optimizer)
    _expect(all(calls), f"calls of the closure and whether gradients were enabled: {calls}")
    _expect(len(calls) == 1 or (several and len(calls) > 1), f"the closure was called {len(calls)} times")
    _expect(loss == 1.25, f"it returned {loss}")


def check_maximize(make: Make) -> None:
    """``maximize`` steps as it would down the negated gradient."""
    up, down = _parameters(), _parameters()
    climbing, descending = make(up, maximize=True), make(down)
    for step in range(8):
        _set_gradients(up, step)
        for param, source in zip(down, up, strict=True):
            assert source.grad is not None
            param.grad = -source.grad
        _step(climbing)
        _step(descending)
    _expect_equal(up, down, "it led elsewhere")


def check_weight_decay_shrinks(make: Make) -> None:
    """Weight decay makes parameters smaller where there is no gradient, also under ``maximize``."""
    for options in ({}, {"maximize": True}) if _has_option(make, "maximize") else ({},):
        params = _parameters()
        before = sum(float(param.detach().square().sum()) for param in params)
        optimizer = make(params, weight_decay=0.1, **options)
        for _ in range(4):
            for param in params:
                param.grad = torch.zeros_like(param)
            _step(optimizer)
        after = sum(float(param.detach().square().sum()) for param in params)
        _expect(
            after < before, f"the sum of squares went from {before:.6g} to {after:.6g} with {options or 'defaults'}"
        )


def check_huge_gradients(make: Make) -> None:
    """Gradients whose norm is 1e16 and more leave parameters finite in float32."""
    params = _parameters()
    optimizer = make(params)
    for step in range(4):
        _set_gradients(params, step)
        for param in params:
            assert param.grad is not None
            param.grad *= 1e16
        _step(optimizer)
    _expect_finite(params, "a parameter is not finite")


def check_hooks(make: Make) -> None:
    """Hooks before and after a step are called at every step."""
    params = _parameters()
    optimizer = make(params)
    for step in range(2):
        calls: list[str] = []
        handles = [
            optimizer.register_step_pre_hook(lambda *_, calls=calls: calls.append("before")),
            optimizer.register_step_post_hook(lambda *_, calls=calls: calls.append("after")),
        ]
        _run(optimizer, params, range(step, step + 1))
        for handle in handles:
            handle.remove()
        # torch calls them more than once where a step calls that of its parent class
        _expect(calls[:1] == ["before"] and calls[-1:] == ["after"], f"a step called {calls}")


def check_global_generators(make: Make) -> None:
    """The global generators of torch, NumPy and Python are neither drawn from nor seeded."""

    def states() -> list[Any]:
        return [torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()]  # noqa: NPY002

    before = states()
    try:  # somewhere that no seed leads to
        for seed, draw in ((torch.manual_seed, torch.rand), (np.random.seed, np.random.rand)):
            seed(938_211)
            draw(3)
        random.seed(938_211)
        random.random()
        params = _parameters()
        odd = states()
        _run(make(params), params, range(10))
        pairs = zip(("torch", "numpy", "random"), odd, states(), strict=True)
        changed = [name for name, a, b in pairs if str(_listed(a)) != str(_listed(b))]
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
    _expect(not changed, f"drew from or seeded the global generator of {', '.join(changed)}")


def check_global_settings(make: Make) -> None:
    """The default type, whether gradients are recorded, and the number of threads are as they were after a step."""

    for dtype in (torch.float32, torch.float64):
        with settings_kept():
            torch.set_default_dtype(dtype)
            params = _parameters()
            before = _settings()
            _run(make(params), params, range(3))
            changed = [name for name, value in _settings().items() if value != before[name]]
        _expect(not changed, f"it changed {', '.join(changed)}")


# Parameters of all kinds


def check_precision_is_kept(make: Make) -> None:
    """Parameters stay finite and of their type: float64, float32, bfloat16, float16."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        params = _parameters(dtype)
        _run(make(params), params, range(10))
        _expect(all(param.dtype is dtype for param in params), f"a {dtype} parameter became another type")
        _expect_finite(params, f"a {dtype} parameter is not finite")


def check_float64_is_not_rounded(make: Make) -> None:
    """Steps of float64 parameters are not computed in float32."""
    params = _parameters(torch.float64)
    _run(make(params), params, range(6))
    rounded = [param for param in params if torch.equal(param, param.float().double())]
    _expect(not rounded, "all entries of a float64 parameter are float32 numbers")


def check_noncontiguous_parameters(make: Make) -> None:
    """A transposed parameter takes the same steps as a contiguous one."""
    plain = Parameter(torch.arange(12.0).reshape(3, 4))
    turned = Parameter(torch.arange(12.0).reshape(3, 4).t().contiguous().t())
    optimizers = make([plain]), make([turned])
    for step in range(8):
        _set_gradients([plain], step)
        assert plain.grad is not None
        turned.grad = plain.grad.clone()
        for optimizer in optimizers:
            _step(optimizer)
    _expect(torch.allclose(plain, turned, rtol=1e-5, atol=1e-6), "they led to different places")


def check_gradient_layout(make: Make) -> None:
    """A gradient may lie in memory otherwise than its parameter does."""
    one, other = _parameters(), _parameters()
    optimizers = make(one), make(other)
    for step in range(8):
        _set_gradients(one, step)
        for param, source in zip(other, one, strict=True):
            assert source.grad is not None
            axes = tuple(reversed(range(param.dim())))
            param.grad = source.grad.permute(axes).contiguous().permute(axes)
        for optimizer in optimizers:
            _step(optimizer)
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(one, other, strict=True))
    _expect(same, "turned gradients led to different places")


def check_scalar_and_empty_parameters(make: Make) -> None:
    """Parameters without dimensions and without entries are stepped like others."""
    params = [Parameter(torch.ones(())), Parameter(torch.ones(0, 3)), Parameter(torch.ones(2))]
    _run(make(params), params, range(8))
    _expect_finite(params, "a parameter is not finite")
    _expect(params[0].item() != 1, "the scalar did not move")


def check_sparse_gradients(make: Make) -> None:
    """Sparse gradients work, or are refused in an error that says so."""
    weight = Parameter(torch.ones(3, 2))
    weight.grad = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1, 2), (3, 2), check_invariants=True)
    try:
        with torch.sparse.check_sparse_tensor_invariants():
            _step(make([weight]))
    except (RuntimeError, ValueError, TypeError) as error:
        _expect("sparse" in str(error).lower(), f"the error does not speak of sparse gradients: {error}")
    _expect_finite([weight], "the parameter is not finite")


def check_complex_parameters(make: Make) -> None:
    """A complex parameter is stepped like its real view, or refused in an error that says so."""
    whole = Parameter(torch.ones(3, dtype=torch.complex64))
    real = Parameter(torch.view_as_real(whole.detach()).clone())
    one = make([real])
    try:
        other = make([whole])
        for step in range(8):
            _set_gradients([real], step)
            assert real.grad is not None
            whole.grad = torch.view_as_complex(real.grad.clone())
            _step(one)
            _step(other)
    except (RuntimeError, ValueError, TypeError) as error:
        _expect("complex" in str(error).lower(), f"the error does not speak of complex parameters: {error}")
        return
    _expect(torch.allclose(torch.view_as_real(whole.detach()), real), "it went elsewhere than its real view")


def check_named_parameters(make: Make) -> None:
    """Parameters may be given with their names."""
    named, plain = _parameters(), _parameters()
    _run(make([(f"layer.{i}", param) for i, param in enumerate(named)]), named, range(4))
    _run(make(plain), plain, range(4))
    _expect_equal(named, plain, "names changed where it led")


# Groups


def check_group_with_zero_lr(make: Make) -> None:
    """A group with a learning rate of 0 stays where it is, and the others move."""
    params = _parameters()
    before = _values(params)
    _run(make([{"params": params[:1]}, {"params": params[1:], "lr": 0.0}]), params, range(8))
    _expect_equal(params[1:], before[1:], "the group moved")
    _expect(not torch.equal(params[0], before[0]), "the other group did not move")


def check_group_options(make: Make) -> None:
    """A group's own options are used: weight decay, momentum, betas, ``maximize``."""
    own = {"weight_decay": 0.5, "momentum": 0.55, "betas": (0.55, 0.75), "maximize": True}
    make = _without_decay(make)
    for name, value in own.items():
        if not _has_option(make, name):
            continue
        params, plain, alone, grouped = (_parameters() for _ in range(4))
        for some, optimizer in (
            (params, make([{"params": params[:1]}, {"params": params[1:], name: value}])),
            (plain, make(plain)),
            (alone, make(alone, **{name: value})),
            (grouped, make([{"params": grouped, name: value}])),
        ):
            _run(optimizer, some, range(8))
        _expect(not torch.equal(params[1], plain[1]), f"{name} of a group made no difference")
        _expect_equal(grouped, alone, f"{name} of the only group led elsewhere than as an option of all")


def check_equal_groups_are_one(make: Make) -> None:
    """Two groups with equal options do what one group does."""
    one, two = _parameters(), _parameters()
    _run(make(one), one, range(20))
    _run(make([{"params": two[:2]}, {"params": two[2:]}]), two, range(20))
    _expect_equal(two, one, "two groups led elsewhere")


def check_added_group(make: Make) -> None:
    """A group may be added in the middle; it moves, and the others move on."""
    params = _parameters()
    optimizer = make(params[:2])
    _run(optimizer, params, range(4))
    before = _values(params)
    optimizer.add_param_group({"params": params[2:]})
    _run(optimizer, params, range(4, 8))
    _expect_finite(params, "a parameter is not finite")
    _expect(not any(map(torch.equal, params, before)), "a parameter did not move")


def check_changed_lr(make: Make) -> None:
    """A learning rate changed between steps, as schedulers do, is used."""
    params = _parameters()
    optimizer = make(params)
    _run(optimizer, params, range(4))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = _values(params)
    _run(optimizer, params, range(4, 6))
    _expect_equal(params, before, "it moved at a learning rate of 0")


def check_tensor_lr(make: Make) -> None:
    """A learning rate in a tensor of one element does what the number does, or is refused when it is given."""
    plain, params = _parameters(), _parameters()
    number = make(plain)
    lr = torch.tensor(float(number.param_groups[0]["lr"]))
    try:
        optimizer = make(params, lr=lr)
    except (TypeError, ValueError):
        return
    _run(number, plain, range(6))
    _run(optimizer, params, range(6))
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(plain, params, strict=True))
    _expect(same, f"{lr!r} led elsewhere than {lr.item():.3g}")


# State


def _expect_resume(
    make: Make,
    carry: Callable[[dict[str, Any]], dict[str, Any]],
    dtype: torch.dtype,
    breaks: tuple[int, ...] = (10,),
    more: tuple[int, ...] | None = None,
) -> None:
    """Break a run in two, give the state through ``carry`` to a new optimizer, and compare with an unbroken run."""
    whole = _parameters(dtype, more)
    _run(make(whole), whole, range(20))
    for at in breaks:
        broken = _parameters(dtype, more)
        first = make(broken)
        _run(first, broken, range(at))
        second = make(broken)
        second.load_state_dict(carry(first.state_dict()))
        _run(second, broken, range(at, 20))
        _expect_equal(broken, whole, f"the run in {dtype} that was resumed after step {at} went elsewhere")


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
    params = _parameters()
    optimizer = make(params)
    _run(optimizer, params, range(4))
    for group in optimizer.param_groups:
        group["lr"] = 0.00123
    other = make(_parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    found = [float(group["lr"]) for group in other.param_groups]
    _expect(found == [0.00123], f"lr is {found[0]} after a state with lr=0.00123 was loaded")


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

    params = _parameters()
    optimizer = make(params)
    _run(optimizer, params, range(8))
    for state in optimizer.state_dict()["state"].values():
        for key, value in state.items():
            _expect(plain(value), f"'{key}' is a {type(value).__name__}")


def check_copies(make: Make) -> None:
    """``deepcopy`` and ``pickle`` give an optimizer that steps on like the original and apart from it."""

    def pickled(pair: Any) -> Any:
        return pickle.loads(pickle.dumps(pair))

    for name, duplicate in (("deepcopy", copy.deepcopy), ("pickle", pickled)):
        params = _parameters()
        optimizer = make(params)
        _run(optimizer, params, range(10))
        copied, twin = duplicate((params, optimizer))
        before = _values(copied)
        _run(optimizer, params, range(10, 20))
        _expect_equal(copied, before, f"stepping the original moved its {name}")
        _run(twin, copied, range(10, 20))
        _expect_equal(copied, params, f"the {name} went elsewhere")


def check_cleared_state_is_fresh(make: Make) -> None:
    """Emptying or replacing ``state``, as continual-learning libraries do, leaves a fresh optimizer."""
    for replace in (False, True):
        fresh, reset = _parameters(), _parameters()
        start = _values(reset)
        optimizer = make(reset)
        _run(optimizer, reset, range(10))
        if replace:
            optimizer.state = defaultdict(dict)
        else:
            optimizer.state.clear()
        with torch.no_grad():
            for param, value in zip(reset, start, strict=True):
                param.copy_(value)
        _run(optimizer, reset, range(10, 20))
        _run(make(fresh), fresh, range(10, 20))
        _expect_equal(reset, fresh, "it remembers what was before")


def check_preset_empty_state(make: Make) -> None:
    """``state[p] = {}``, as continual-learning libraries set for new and changed parameters, starts that one anew."""
    plain, preset = _parameters(), _parameters()
    optimizer = make(preset)
    for param in preset:
        optimizer.state[param] = {}
    _run(make(plain), plain, range(8))
    _run(optimizer, preset, range(8))
    _expect_equal(preset, plain, "empty entries before the first step led elsewhere")
    for index in range(len(preset)):
        before = _values(preset)
        optimizer.state[preset[index]] = {}
        _run(optimizer, preset, range(8 + 4 * index, 12 + 4 * index))
        _expect_finite(preset, "a parameter is not finite")
        _expect(not any(map(torch.equal, preset, before)), "a parameter did not move")


def check_state_size_is_constant(make: Make) -> None:
    """State does not grow once training is under way."""

    def size(value: Any) -> int:
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        return sum(map(size, value)) if isinstance(value, list | tuple) else 1

    params = _parameters()
    optimizer = make(params)
    _run(optimizer, params, range(30))
    early = size(optimizer.state_dict()["state"])
    _run(optimizer, params, range(30, 60))
    late = size(optimizer.state_dict()["state"])
    _expect(early == late, f"it grew from {early} to {late}")


# Training


def check_two_experiences(make: Make) -> None:
    """It learns one labelling of some points and then the opposite one, its state kept or reset in between."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 2, generator=draw)
    labels = (inputs @ torch.tensor([1.0, -2.0]) > 0).float()

    def loss_of(params: list[Parameter], target: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(inputs @ params[0] + params[1], target)

    def learn(optimizer: Optimizer, params: list[Parameter], target: Tensor) -> None:
        before = loss_of(params, target).item()
        for _ in range(150):
            optimizer.zero_grad()
            loss_of(params, target).backward()
            _step(optimizer)
        after = loss_of(params, target).item()
        _expect(after < 0.98 * before, f"the loss went from {before:.3f} to {after:.3f}")

    for reset in (False, True):
        params = [Parameter(torch.zeros(shape, dtype=torch.float32)) for shape in ((2,), ())]
        optimizer = make(params)
        learn(optimizer, params, labels)
        if reset:
            optimizer.state = defaultdict(dict)
        twin = copy.deepcopy(params)
        learn(optimizer, params, 1 - labels)
        if reset:
            learn(make(twin), twin, 1 - labels)
            _expect_equal(params, twin, "after a reset it did not go on like a new optimizer")


CHECKS = [
    check for name, check in list(globals().items()) if name.startswith("check_") and check is not check_optimizer
]
"""All checks, in the order in which they stand here."""

NEEDS = {check_maximize: ("maximize",), check_weight_decay_shrinks: ("weight_decay",)}
"""Checks for optimizers that have certain options only."""
