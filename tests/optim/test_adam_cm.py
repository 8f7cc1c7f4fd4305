"""AdamCM against its references, the trace of the released code, and what its buffer promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tamcl.optim import AdamCM
from tests.references.adam_cm import AdamCMReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {"dense": gradients(), "missing": gradients(missing=True), "zeros": gradients(zeros=True)}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("capacity", [0, 1, 5])
@pytest.mark.parametrize("variant", ["official", "paper"])
def test_follows_the_equations(variant, capacity, amsgrad, sequence):
    options = {"variant": variant, "capacity": capacity, "amsgrad": amsgrad, "weight_decay": 0.1, "lr": 0.01}
    reference = AdamCMReference([p.detach().numpy() for p in parameters()], **options)
    assert_follows(lambda params: AdamCM(params, **options), reference, SEQUENCES[sequence])


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_follows_the_equations_with_two_groups(variant):
    reference = AdamCMReference([p.detach().numpy() for p in parameters()], variant=variant, **TWO_GROUPS)
    assert_follows(lambda params: AdamCM(two_groups(params), variant=variant), reference, gradients(missing=True))


@pytest.mark.parametrize("decay", [0.0, 0.99, 1.0])
def test_follows_the_equations_with_another_decay(decay):
    reference = AdamCMReference([p.detach().numpy() for p in parameters()], lr=0.01, decay=decay, capacity=20)
    assert_follows(lambda params: AdamCM(params, lr=0.01, decay=decay, capacity=20), reference, gradients())


def steady(optimizer, param, steps, grad=1.0):
    """Return the moves of a parameter under a steady gradient."""
    moves = []
    for _ in range(steps):
        before = param.item()
        param.grad = torch.full_like(param, grad)
        optimizer.step()
        moves.append(param.item() - before)
    return moves


def test_official_variant_repeats_the_trace_of_the_released_code():
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    trace = [0, -0.00744137, -0.00356694, -0.0027182, -0.00240067, -0.00223674, -0.00186681, -0.00196917]
    assert steady(AdamCM([param]), param, 8) == pytest.approx(trace, abs=1e-7)


def test_paper_variant_starts_by_the_equations():
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    assert steady(AdamCM([param], lr=1.0, variant="paper"), param, 4) == pytest.approx([-10, -7, -5.1, -4.2], abs=0.05)


def test_variants_rank_gradients_by_different_norms():
    """(3, 4) against (6, 0) in two tensors: the sum of norms prefers the first, the norm of the whole the second."""
    for variant, kept in (("official", 3.0), ("paper", 6.0)):
        params = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
        optimizer = AdamCM(params, capacity=1, decay=1.0, betas=(0.0, 0.9), variant=variant)
        for grads in ((0.1, 0.1), (3.0, 4.0), (6.0, 0.0)):
            set_gradients(params, grads)
            optimizer.step()
        assert optimizer.state[params[0]]["buffer"].item() == kept


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_capacity_zero_is_adam_with_the_second_moment_of_the_momentum(variant):
    """Not torch's Adam; on the momentum as gradient and without a first moment it is, up to the correction of m."""
    ours, torchs = parameters(), parameters()
    cm = AdamCM(ours, lr=0.01, capacity=0, variant=variant)
    adam = torch.optim.Adam(torchs, lr=0.01, betas=(0.0, 0.999))
    momenta = [np.zeros(p.shape) for p in ours]
    for t, grads in enumerate(gradients(50), start=1):
        momenta = [0.9 * m + 0.1 * g for m, g in zip(momenta, grads, strict=True)]
        adam.param_groups[0]["lr"] = 0.01 / (1 - 0.9**t)
        for params, optimizer, direction in ((ours, cm, grads), (torchs, adam, momenta)):
            set_gradients(params, direction)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_without_momentum_and_buffer_it_is_torchs_adam():
    ours, torchs = parameters(), parameters()
    cm = AdamCM(ours, lr=0.01, capacity=0, betas=(0.0, 0.999), weight_decay=0.1, amsgrad=True)
    adam = torch.optim.AdamW(torchs, lr=0.01, betas=(0.0, 0.999), weight_decay=0.1, amsgrad=True)
    for grads in gradients(100, missing=True):
        for params, optimizer in ((ours, cm), (torchs, adam)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def stored(sizes, **options):
    """Step once with a gradient of each size and return the sizes that are in the buffer."""
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = AdamCM([param], betas=(0.0, 0.9), **options)
    for size in sizes:
        param.grad = torch.tensor(size, dtype=torch.float64)
        optimizer.step()
    table = {key: optimizer.shared_state[key] for key in ("priorities", "ages")}
    assert len(table["priorities"]) == len(table["ages"]) == options["capacity"]
    filled = int((table["ages"] > 0).sum())
    assert not table["ages"][filled:].any(), "the filled slots come first"
    buffer = optimizer.state[param]["buffer"][:filled].tolist()
    return buffer, {key: value[:filled].tolist() for key, value in table.items()}


def test_the_buffer_never_holds_more_than_its_capacity():
    for n in range(8):
        sizes, _ = stored([float(size) for size in range(1, n + 1)] or [0.0], capacity=3)
        assert len(sizes) == min(max(n, 1), 3)


def test_the_lowest_priority_leaves_first():
    sizes, table = stored([5.0, 1.0, 3.0, 2.0, 0.5], capacity=3, decay=1.0)
    assert sizes == [5.0, 2.0, 3.0]
    assert table == {"priorities": [5.0, 2.0, 3.0], "ages": [5, 2, 3]}


def test_of_equal_priorities_the_oldest_leaves():
    assert stored([1.0, -1.0, 2.0, 3.0], capacity=3, decay=1.0)[0] == [3.0, -1.0, 2.0]
    # slot 0 is refilled and is then the youngest of the ones
    assert stored([1.0, -2.0, 2.0, 1.5, 9.0, 9.0], capacity=3, decay=1.0)[0] == [9.0, 9.0, 2.0]


def test_a_priority_equal_to_the_lowest_is_not_kept():
    assert stored([1.0, -1.0, 1.0], capacity=2, decay=1.0)[0] == [1.0, -1.0]


def test_priorities_decay_at_the_end_of_every_step():
    _, table = stored([1.0, 0.0, 0.0], capacity=1, decay=0.5)
    assert table["priorities"] == [0.125]


def test_first_in_first_out_whatever_the_priority():
    assert stored([5.0, 1.0, 3.0, 0.1], capacity=3, replacement="fifo")[0] == [0.1, 1.0, 3.0]


def test_old_priorities_give_way():
    sizes, _ = stored([8.0, 1.5], capacity=1, decay=0.1)
    assert sizes == [1.5]


def test_zero_gradients_from_the_first_step_move_nothing_and_later_ones_do():
    param = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = AdamCM([param], lr=0.01)
    assert steady(optimizer, param, 10, grad=0.0) == [0.0] * 10
    steady(optimizer, param, 10, grad=1.0)
    assert steady(optimizer, param, 10, grad=0.0)[-1] < 0


def test_a_step_without_any_gradient_does_not_decay_the_table():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = AdamCM([param], decay=0.5)
    param.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    param.grad = None
    optimizer.step()
    assert optimizer.shared_state["priorities"].tolist() == [2.5, 0, 0, 0, 0]
    assert optimizer.shared_state["ages"].tolist() == [1, 0, 0, 0, 0]


def test_the_table_survives_a_first_parameter_that_never_has_a_gradient():
    frozen, param = (torch.nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))
    alone = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    assert steady(AdamCM([frozen, param]), param, 10) == steady(AdamCM([alone]), alone, 10)


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("variant", ["official", "paper"])
def test_norms_neither_underflow_nor_overflow(variant, size):
    param = torch.nn.Parameter(torch.zeros(3))
    optimizer = AdamCM([param], decay=1.0, variant=variant)
    param.grad = torch.full((3,), size)
    optimizer.step()
    assert optimizer.shared_state["priorities"][0].item() == pytest.approx(math.sqrt(3) * size)


def test_a_bfloat16_buffer_halves_memory_and_is_averaged_in_float32():
    params = parameters(torch.float32)
    optimizer, exact = AdamCM(params, buffer_dtype="bfloat16"), AdamCM(twins := parameters(torch.float32))
    for grads in gradients(50):
        set_gradients(params, grads)
        set_gradients(twins, grads)
        optimizer.step()
        exact.step()
    for param, twin in zip(params, twins, strict=True):
        assert optimizer.state[param]["buffer"].dtype is torch.bfloat16
        torch.testing.assert_close(param, twin, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "buffer_dtype"),
    [(torch.float32, "bfloat16"), (torch.bfloat16, torch.float32), (torch.bfloat16, "bfloat16")],
    ids=str,
)
def test_buffer_precision_survives_loading(dtype, buffer_dtype):
    def run(params, optimizer, table):
        for grads in table:
            set_gradients(params, grads)
            optimizer.step()

    table = gradients(30)
    whole, half = parameters(dtype), parameters(dtype)
    run(whole, AdamCM(whole, buffer_dtype=buffer_dtype), table)
    first = AdamCM(half, buffer_dtype=buffer_dtype)
    run(half, first, table[:15])
    second = AdamCM(half, buffer_dtype=buffer_dtype)
    second.load_state_dict(first.state_dict())
    run(half, second, table[15:])
    for a, b in zip(whole, half, strict=True):
        assert torch.equal(a, b)
