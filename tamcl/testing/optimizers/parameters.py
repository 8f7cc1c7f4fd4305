"""Parameters of every precision, shape and layout."""

from __future__ import annotations

import torch
from torch.nn import Parameter

from tamcl.testing.optimizers.tools import (
    Make,
    do_step,
    expect,
    expect_finite,
    make_parameters,
    run_steps,
    set_gradients,
)

# Parameters of all kinds


def check_precision_is_kept(make: Make) -> None:
    """Parameters stay finite and of their type: float64, float32, bfloat16, float16."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        params = make_parameters(dtype)
        run_steps(make(params), params, range(10))
        expect(all(param.dtype is dtype for param in params), f"a {dtype} parameter became another type")
        expect_finite(params, f"a {dtype} parameter is not finite")


def check_float64_is_not_rounded(make: Make) -> None:
    """Steps of float64 parameters are not computed in float32."""
    params = make_parameters(torch.float64)
    run_steps(make(params), params, range(6))
    rounded = [param for param in params if torch.equal(param, param.float().double())]
    expect(not rounded, "all entries of a float64 parameter are float32 numbers")


def check_noncontiguous_parameters(make: Make) -> None:
    """A transposed parameter takes the same steps as a contiguous one."""
    plain = Parameter(torch.arange(12.0).reshape(3, 4))
    turned = Parameter(torch.arange(12.0).reshape(3, 4).t().contiguous().t())
    optimizers = make([plain]), make([turned])
    for step in range(8):
        set_gradients([plain], step)
        assert plain.grad is not None
        turned.grad = plain.grad.clone()
        for optimizer in optimizers:
            do_step(optimizer)
    expect(torch.allclose(plain, turned, rtol=1e-5, atol=1e-6), "they led to different places")


def check_gradient_layout(make: Make) -> None:
    """A gradient may lie in memory otherwise than its parameter does."""
    one, other = make_parameters(), make_parameters()
    optimizers = make(one), make(other)
    for step in range(8):
        set_gradients(one, step)
        for param, source in zip(other, one, strict=True):
            assert source.grad is not None
            axes = tuple(reversed(range(param.dim())))
            param.grad = source.grad.permute(axes).contiguous().permute(axes)
        for optimizer in optimizers:
            do_step(optimizer)
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(one, other, strict=True))
    expect(same, "turned gradients led to different places")


def check_scalar_and_empty_parameters(make: Make) -> None:
    """Parameters without dimensions and without entries are stepped like others."""
    params = [Parameter(torch.ones(())), Parameter(torch.ones(0, 3)), Parameter(torch.ones(2))]
    run_steps(make(params), params, range(8))
    expect_finite(params, "a parameter is not finite")
    expect(params[0].item() != 1, "the scalar did not move")


def check_sparse_gradients(make: Make) -> None:
    """Sparse gradients work, or are refused in an error that says so."""
    weight = Parameter(torch.ones(3, 2))
    weight.grad = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1, 2), (3, 2), check_invariants=True)
    try:
        with torch.sparse.check_sparse_tensor_invariants():
            do_step(make([weight]))
    except (RuntimeError, ValueError, TypeError) as error:
        expect("sparse" in str(error).lower(), f"the error does not speak of sparse gradients: {error}")
    expect_finite([weight], "the parameter is not finite")


def check_complex_parameters(make: Make) -> None:
    """A complex parameter is stepped like its real view, or refused in an error that says so."""
    whole = Parameter(torch.ones(3, dtype=torch.complex64))
    real = Parameter(torch.view_as_real(whole.detach()).clone())
    one = make([real])
    try:
        other = make([whole])
        for step in range(8):
            set_gradients([real], step)
            assert real.grad is not None
            whole.grad = torch.view_as_complex(real.grad.clone())
            do_step(one)
            do_step(other)
    except (RuntimeError, ValueError, TypeError) as error:
        expect("complex" in str(error).lower(), f"the error does not speak of complex parameters: {error}")
        return
    expect(torch.allclose(torch.view_as_real(whole.detach()), real), "it went elsewhere than its real view")
