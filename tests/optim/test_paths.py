"""The fast way, the readable way and the one without reads of the device lead to the same place."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tamcl.optim.slots
import tamcl.optim.torque
from tamcl.optim import TAM, AdamCM, AdaTAM, AdaTAMW
from tamcl.optim.adam_cm import adam_cm
from tamcl.optim.adatam import adatam
from tamcl.optim.kernels import group_by_device_and_dtype, kernels_work
from tamcl.optim.tam import tam
from tests.references.trajectory import gradients, parameters, set_gradients, two_groups

CASES = [
    (TAM, {}),
    (TAM, {"granularity": "tensor", "weight_decay": 0.1}),
    (TAM, {"damping": 0.0, "eps": 0.0, "momentum": 0.5}),
    (TAM, {"momentum": 0.0}),
    (TAM, {"start": "zero", "cosine_on": "decayed", "granularity": "global", "weight_decay": 0.1}),
    (TAM, {"damping": 0.5}),
    (AdaTAM, {"weight_decay": 0.1, "maximize": True}),
    (AdaTAM, {"granularity": "tensor", "bias_correction": "both"}),
    (AdaTAM, {"damping": 0.0, "eps": 0.0}),
    (AdaTAMW, {"bias_correction": "none"}),
    (AdamCM, {"weight_decay": 0.1}),
    (AdamCM, {"variant": "paper", "amsgrad": True, "capacity": 20, "decay": 0.99}),
    (AdamCM, {"capacity": 0}),
]
IDS = [f"{cls.__name__}-{','.join(options)}" for cls, options in CASES]


@pytest.fixture
def small_is_large(monkeypatch):
    """Treat small tensors as large ones are: measured by themselves, in several blocks."""
    monkeypatch.setattr(tamcl.optim.torque, "LARGE", 4)
    monkeypatch.setattr(tamcl.optim.slots, "BLOCK", 5)


def run(make, table, dtype=torch.float64):
    params = parameters(dtype)
    optimizer = make(params)
    for grads in table:
        set_gradients(params, grads)
        optimizer.step()
    return params, optimizer


def assert_same(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("missing", [False, True])
def test_fast_readable_and_capturable_are_the_same(cls, options, missing):
    table = gradients(60, missing=missing)
    ways = [{"foreach": None}, {"foreach": True}, {"foreach": False}, {"capturable": True}]
    results = [run(lambda params, way=way: cls(two_groups(params), **way, **options), table)[0] for way in ways]
    assert all(map(torch.equal, results[0], results[1]))
    assert_same(results[0], results[2], 1e-12)
    assert_same(results[0], results[3], 1e-12)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
def test_blocks_and_tensors_measured_by_themselves_change_nothing(cls, options):
    table = gradients(150, missing=True)
    fast, readable = (
        run(lambda params, way=way: cls(params, foreach=way, **options), table)[0] for way in (True, False)
    )
    assert_same(fast, readable, 1e-12)


@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
def test_both_ways_are_the_same_in_float32(cls, options):
    table = gradients(30)
    fast, readable = (
        run(lambda params, way=way: cls(params, foreach=way, **options), table, torch.float32)[0]
        for way in (True, False)
    )
    assert_same(fast, readable, 1e-4)


@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdamCM])
def test_the_way_may_change_in_the_middle(cls):
    def switching(params, ways):
        optimizer = cls(params)
        for grads, way in zip(gradients(60), ways * 20, strict=True):
            optimizer.param_groups[0]["foreach"] = way
            set_gradients(params, grads)
            optimizer.step()

    one, other = parameters(), parameters()
    switching(one, [True, True, True])
    switching(other, [True, False, False])
    assert_same(one, other, 1e-12)


class Recorder(TorchDispatchMode):
    """Records the names of torch's operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def recorded(optimizer, params, grads):
    set_gradients(params, grads)
    with Recorder() as recorder:
        optimizer.step()
    return recorder.names


@pytest.mark.parametrize(
    ("cls", "options", "kernel"),
    [
        (TAM, {}, "_fused_sgd_"),
        (AdaTAM, {}, "_fused_adam_"),
        (AdaTAMW, {"weight_decay": 0.1}, "_fused_adam_"),
        (AdamCM, {"amsgrad": True}, "_fused_adam_"),
    ],
)
def test_the_fast_way_is_one_call_of_a_fused_kernel(cls, options, kernel):
    for way, calls in (({}, 1), ({"foreach": False}, 0), ({"capturable": True}, 0)):
        params, optimizer = run(lambda params, way=way: cls(params, **way, **options), gradients(3))
        assert recorded(optimizer, params, gradients(1)[0]).count(kernel) == calls


@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdamCM])
def test_autograd_is_told_that_parameters_changed(cls):
    """Which the fused kernels do not do: a backward pass through old values must raise."""
    params, optimizer = run(cls, gradients(3))
    product = params[0] * params[0]
    set_gradients(params, gradients(1)[0])
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize("granularity", ["global", "tensor"])
def test_damping_of_each_tensor_takes_a_call_for_each(granularity):
    params, optimizer = run(lambda params: TAM(params, granularity=granularity), gradients(3))
    calls = recorded(optimizer, params, gradients(1)[0]).count("_fused_sgd_")
    assert calls == (1 if granularity == "global" else len(params))


def test_a_step_with_critical_momenta_costs_the_same_for_any_capacity(monkeypatch):
    monkeypatch.setattr(tamcl.optim.slots, "SUMMED_EVERY", 10**9)
    costs = []
    for capacity in (5, 20):
        params, optimizer = run(lambda params, capacity=capacity: AdamCM(params, capacity=capacity), gradients(25))
        grads = [1e3 * g for g in gradients(1)[0]]  # which are surely stored
        costs.append(recorded(optimizer, params, grads))
    assert costs[0] == costs[1]


@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
def test_capturable_reads_nothing_and_keeps_its_tensors(cls, options):
    """What a CUDA graph needs: it repeats operations on the same memory, and the host knows nothing of them."""
    lr = torch.tensor(0.01, dtype=torch.float64)
    params, optimizer = run(lambda params: cls(params, lr=lr, capturable=True, **options), gradients(3))

    def places():
        return {
            (i, key): value.data_ptr()
            for i, state in enumerate(optimizer.state.values())
            for key, value in state.items()
            if isinstance(value, torch.Tensor)
        }

    def on_the_host():
        return [
            (key, value)
            for state in optimizer.state.values()
            for key, value in state.items()
            if not isinstance(value, torch.Tensor)
        ]

    before, known = places(), on_the_host()
    for grads in gradients(4):
        assert "_local_scalar_dense" not in recorded(optimizer, params, grads)
    assert (places(), on_the_host()) == (before, known)


@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_capturable_goes_on_bit_by_bit_after_loading(cls, options, dtype):
    def make(params):
        return cls(params, capturable=True, **options)

    table = gradients(30)
    whole, _ = run(make, table, dtype)
    half, first = run(make, table[:15], dtype)
    second = make(half)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for loaded, saved in zip(second.state.values(), first.state.values(), strict=True):
        for key in saved:
            torch.testing.assert_close(loaded[key], saved[key], rtol=0, atol=0, check_dtype=True)
    for grads in table[15:]:
        set_gradients(half, grads)
        second.step()
    assert all(map(torch.equal, whole, half))


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("gradient", ["alike", "contiguous"])
@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdamCM])
def test_channels_last_is_fused_too(cls, gradient):
    draw = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 5, 5), (2, 6)]
    plain = [torch.nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64)) for shape in shapes]
    last = [torch.nn.Parameter(p.detach().clone()) for p in plain]
    last[0] = torch.nn.Parameter(plain[0].detach().to(memory_format=torch.channels_last))
    optimizers = cls(plain, lr=0.01), cls(last, lr=0.01)
    for _ in range(20):
        for a, b in zip(plain, last, strict=True):
            a.grad = torch.randn(a.shape, generator=draw, dtype=a.dtype)
            b.grad = torch.empty_like(b).copy_(a.grad) if gradient == "alike" else a.grad.clone()
        optimizers[0].step()
        with Recorder() as recorder:
            optimizers[1].step()
    assert_same(last, plain, 1e-12)
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    assert ("sub_" in recorder.names) == (gradient == "contiguous"), "sub_ is the readable way's"


@pytest.mark.parametrize("cls", [TAM, AdaTAM, AdamCM])
def test_parameters_of_all_kinds_in_one_group(cls):
    """Each goes the way it can: of several types, transposed, with a transposed gradient, 0-dim and empty."""

    def some():
        draw = torch.Generator().manual_seed(0)
        dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float32, torch.float32]
        params = [torch.nn.Parameter(torch.randn(3, 4, generator=draw).to(dtype)) for dtype in dtypes]
        params[3] = torch.nn.Parameter(params[3].detach().t().contiguous().t())
        return [*params, torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.ones(0, 2))]

    results = []
    for way in (True, False):
        params = some()
        optimizer = cls(params, lr=0.01, foreach=way)
        draw = torch.Generator().manual_seed(1)
        for _ in range(10):
            for i, param in enumerate(params):
                grad = torch.randn(param.shape, generator=draw).to(param.dtype)
                param.grad = grad.t().contiguous().t() if i in (3, 4) else grad
            optimizer.step()
        results.append(params)
    for fast, readable in zip(*results, strict=True):
        torch.testing.assert_close(fast, readable, rtol=1e-4, atol=1e-4 if fast.dtype is not torch.bfloat16 else 1e-2)


@pytest.mark.parametrize("step", ["tam", "adatam", "adam_cm"])
def test_runs_stacked_in_one_tensor_may_have_numbers_of_their_own(step):
    """The readable way takes numbers that broadcast, and slots by run: what training replicas together needs."""
    draw = torch.Generator().manual_seed(0)
    lr, damping = torch.rand(2, 3, 1, 1, generator=draw, dtype=torch.float64)
    slot = torch.tensor([[True, False, False], [False, True, False]])  # of the runs, one stores nothing
    tensors = list(torch.rand(5, 3, 4, 5, generator=draw, dtype=torch.float64))
    buffer = torch.rand(2, 3, 4, 5, generator=draw, dtype=torch.float64)

    def take(tensors, buffer, lr, damping, slot):
        param, grad, m, v, total = ([tensor.clone()] for tensor in tensors)
        constants = {"lr": lr, "eps": 1e-8, "foreach": False}
        if step == "tam":
            tam(param, grad, m, [damping], lr=lr, beta=0.9, foreach=False)
        elif step == "adatam":
            shares, weights = [damping], [2 * damping]
            adatam(param, grad, m, v, [3], weights, shares, betas=(0.9, 0.99), bias_correction="both", **constants)
        else:
            slots = [buffer.clone()]
            adam_cm(param, grad, m, v, [], slots, total, [3], filled=2, slot=slot, betas=(0.9, 0.99), **constants)
            m = [*m, *slots[0]]
        return [*param, *v, *total, *m]

    together = take(tensors, buffer, lr, damping, slot)
    for run in range(3):
        own = [tensor[run] for tensor in tensors], buffer[:, run], lr[run].item(), damping[run].item(), slot[:, run]
        assert_same([tensor[run] for tensor in together], take(*own), 1e-14)


def test_a_compiled_step_leads_to_the_same_place():
    """The compiler cannot take all fused kernels, and so is given the readable way."""
    plain, compiled = ([torch.nn.Parameter(torch.ones(2, dtype=torch.float64))] for _ in range(2))
    steps = TAM(plain).step, torch.compile(TAM(compiled).step, backend="aot_eager")
    for grad in torch.tensor([[1.0, 2.0], [3.0, 1.0]], dtype=torch.float64):
        for (param,), step in zip((plain, compiled), steps, strict=True):
            param.grad = grad.clone()
            step()
    assert_same(plain, compiled, 1e-12)


@pytest.fixture
def kernels_tried_anew():
    kernels_work.cache_clear()
    yield
    kernels_work.cache_clear()


def changed(kernel):
    """A kernel of another torch: it does something else, takes something else, or is for other tensors."""

    def other(*args, lr, **kwargs):
        return kernel(*args, lr=2 * lr, **kwargs)

    def renamed(params, *args):
        raise TypeError("got an unexpected keyword argument 'dampening'")

    def missing(*args, **kwargs):
        raise NotImplementedError("Could not run the kernel with arguments from the 'CPU' backend")

    return {"other": other, "renamed": renamed, "missing": missing}


@pytest.mark.usefixtures("kernels_tried_anew")
@pytest.mark.parametrize("how", ["gone", "other", "renamed", "missing"])
@pytest.mark.parametrize("kernel", ["_fused_sgd_", "_fused_adam_"])
@pytest.mark.parametrize(("cls", "options"), [(TAM, {}), (AdaTAM, {}), (AdamCM, {"amsgrad": True})])
def test_a_torch_without_the_kernels_leads_to_the_same_place(monkeypatch, cls, options, kernel, how):
    table = gradients(40, missing=True)
    expected, _ = run(lambda params: cls(params, **options), table)
    readable, _ = run(lambda params: cls(params, foreach=False, **options), table)
    kernels_work.cache_clear()
    if how == "gone":
        monkeypatch.delattr(torch, kernel)
    else:
        monkeypatch.setattr(torch, kernel, changed(getattr(torch, kernel))[how])
    found, _ = run(lambda params: cls(params, **options), table)
    assert_same(found, readable, 1e-12)
    assert_same(found, expected, 1e-12)


@pytest.mark.usefixtures("kernels_tried_anew")
def test_kernels_are_tried_once_and_on_what_may_have_them():
    assert kernels_work("cpu")
    assert not kernels_work("meta")
    run(TAM, gradients(5))
    run(AdaTAM, gradients(5))
    assert kernels_work.cache_info().misses == 2


def fits(param, grad=None):
    [(*_, found)] = group_by_device_and_dtype(([param], [param.clone() if grad is None else grad]))
    return found


def test_what_a_fused_kernel_is_given():
    weight = torch.nn.Parameter(torch.zeros(3, 4))
    assert fits(weight)
    assert fits(torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last))
    assert not fits(weight, torch.zeros(4, 3).t()), "it would pair other entries"
    assert not fits(torch.zeros(3, dtype=torch.bfloat16)), "its moments are float32"
    torch.set_num_threads(2)
    assert fits(weight), "for any number of threads"


def test_rows_are_sorted_by_their_numbers():
    a, b, c = (torch.zeros(2) for _ in range(3))
    found = group_by_device_and_dtype(([a, b, c], [a, b, c]), ([1, 2, 1],), (["a", "b", "c"],))
    assert [(numbers, others, fit) for _, numbers, others, fit in found] == [
        (([1, 1],), (["a", "c"],), True),
        (([2],), (["b"],), True),
    ]


@pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)
def test_nothing_is_left_behind(cls, options):
    """No reference cycles: memory is free as soon as the optimizer goes."""
    _, optimizer = run(lambda params: cls(params, **options), gradients(5))
    gc.disable()
    left = weakref.ref(optimizer)
    del optimizer
    gone = left() is None
    gc.enable()
    assert gone


def test_a_compiled_step_of_a_buffer_goes_where_the_plain_one_does():
    """Plain numbers of the state are traced as if they were on the device."""
    torch._dynamo.reset()
    ours, plain = parameters(), parameters()
    one, other = AdamCM(ours), AdamCM(plain)
    compiled = torch.compile(lambda: one.step(), backend="eager")
    for grads in gradients(4):
        set_gradients(ours, grads)
        compiled()
        set_gradients(plain, grads)
        other.step()
    assert_same(ours, plain, 1e-12)
