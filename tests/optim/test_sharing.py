"""Two processes that share parameters or data take the steps that one takes on the whole batch, or refuse."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS, SAM, TAM, AdamCM, Lookahead, Switch
from tamcl.registry import lookup, signature

RANKS, STEPS, BATCH = 2, 6, 8

OURS = [name for name, path in OPTIMIZERS.items() if path.startswith("tamcl.")]
WRAPPERS = {
    "sam": {"base": "tam"},
    "lookahead": {"base": "tam", "k": 3},
    "cautious": {"base": "tam"},
    "switch": {"at": 4, "s": None},
}
LR = {
    "tam": 0.05,
    "cautious": 0.05,
    "sgd": 0.05,
    "sgd_cm": 0.02,
    "sgd_cg": 0.02,
    "sam": 0.05,
    "lookahead": 0.05,
    "switch": 0.05,
}

WHOLE = {
    "upgd": ("UPGD draws its noise for whole tensors", {"DDP"}),
    "fade": ("FADE has to know which layer is the last", {"DDP"}),
    "muon": ("Muon takes matrices as a whole", {"DDP", "ZeRO"}),
}
"""Those that refuse to be divided among ranks: what they say, and where they are not divided."""

LAYERS = {
    "even": (4, 8, 2),
    "uneven": (5, 7, 3, 1),  # a rank may be without any entry of the last
    "large": (127, 131, 1),  # from 2^14 entries on the square of a momentum is kept, and blocks are cut
    "one": (3, 1),  # with fewer tensors than ranks, once the bias is left out
}


class Frame(nn.Module):
    """Layers of some widths; the last of them may be left out of a forward pass."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(3)
        bias = len(widths) > 2
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias, dtype=torch.float64) for a, b in pairwise(widths))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


FEW = ("tam", "adatam", "adam_cm", "sgd_cg", "sam", "lookahead", "cautious", "switch")
"""One of each kind: what all are not tried with, these are."""


def options_of(name):
    return {"lr": LR.get(name, 0.005)} | WRAPPERS.get(name, {})


def further_options(name):
    """Return what else changes what is measured, or how."""
    known = signature(OPTIMIZERS[name]).parameters or ()
    if "foreach" in known:
        yield {"foreach": False}
    if "granularity" in known:
        yield {"granularity": "tensor"}
    if "variant" in known:
        yield {"variant": "paper", "capacity": 2, "decay": 0.99}


def batches(widths):
    draw = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        x = torch.randn(BATCH, widths[0], generator=draw, dtype=torch.float64)
        yield x, (-1) ** (step // 3) * x.sum(1, keepdim=True).expand(-1, widths[-1]) / widths[0]


def train(model, optimizer, widths, rank=None):
    """Train on all of every batch, or on a rank's part of it."""
    for x, y in batches(widths):
        part = slice(None) if rank is None else slice(rank * BATCH // RANKS, (rank + 1) * BATCH // RANKS)

        def closure(x=x[part], y=y[part]):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        closure()
        optimizer.step(closure)


def alone(name, options, widths):
    model = Frame(widths)
    train(model, lookup(OPTIMIZERS, name)(model.parameters(), **options), widths)
    return [param.detach() for param in model.parameters()]


def ddp(model, cls, options):
    model = nn.parallel.DistributedDataParallel(model)
    return model, cls(model.parameters(), **options), lambda: model.parameters()


def zero(model, cls, options):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = nn.parallel.DistributedDataParallel(model)
    if cls is SAM:
        base = partial(ZeroRedundancyOptimizer, optimizer_class=TAM)
        return model, SAM(model.parameters(), **options | {"base": base}), lambda: model.parameters()
    return model, ZeroRedundancyOptimizer(model.parameters(), cls, **options), lambda: model.parameters()


def fsdp1(model, cls, options, use_orig_params):
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    model = FSDP(model, device_id=torch.device("cpu"), use_orig_params=use_orig_params)
    optimizer = cls(model.parameters(), process_group=dist.group.WORLD, **options)

    def gathered():
        with FSDP.summon_full_params(model):
            return [param.detach().clone() for param in model.parameters()]

    return model, optimizer, gathered


def fsdp2(model, cls, options):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import init_device_mesh  # noqa: F401

    mesh = dist.init_device_mesh("cpu", (RANKS,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, cls(model.parameters(), **options), lambda: [param.full_tensor() for param in model.parameters()]


def tensor_parallel(model, cls, options):
    """The first layer is cut by rows and the second by columns; what is not cut is repeated."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = dist.init_device_mesh("cpu", (RANKS,))
    parallelize_module(model, mesh, {"layers.0": ColwiseParallel(), "layers.1": RowwiseParallel()})
    return model, cls(model.parameters(), **options), lambda: [_whole(param) for param in model.parameters()]


def _whole(param):
    return param.full_tensor() if hasattr(param, "full_tensor") else param.detach()


WAYS = {
    "DDP": ddp,
    "ZeRO": zero,
    "FSDP1": partial(fsdp1, use_orig_params=True),
    "FSDP1 flat": partial(fsdp1, use_orig_params=False),
    "FSDP2": fsdp2,
    "tensor parallel": tensor_parallel,
}


def joined(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def cases():
    """Yield layers, way, name of an optimizer, and its options."""
    for name in OURS:
        for way in ("DDP", "ZeRO", "FSDP1", "FSDP1 flat", "FSDP2"):
            yield "uneven", way, name, {}
        for options in further_options(name):
            for way in ("ZeRO", "FSDP1 flat", "FSDP2"):
                yield "uneven", way, name, options
    for name in FEW:
        for layers, way in (
            ("large", "ZeRO"),
            ("large", "FSDP2"),
            ("one", "ZeRO"),
            ("one", "FSDP1"),
            ("one", "FSDP2"),
            ("even", "FSDP2"),
            ("even", "tensor parallel"),
        ):
            yield layers, way, name, {}


def difference(rank, layers, way, name, options):
    """Return how far an optimizer is from one process on the whole batch, or why it refuses."""
    widths, options = LAYERS[layers], options_of(name) | options
    expected = alone(name, options, widths)
    try:
        model, optimizer, weights = WAYS[way](Frame(widths), lookup(OPTIMIZERS, name), options)
        # in tensor parallel training all ranks see the whole batch
        train(model, optimizer, widths, None if way == "tensor parallel" else rank)
        return (joined(weights()) - joined(expected)).abs().max().item()
    except InputError as error:
        return str(error)


def gradients_of_one_rank(rank):
    """Return how far ranks are from one process where at times only one of them has a gradient, and once none."""
    found = {}
    for name in FEW:
        if name != "sam":
            one, two = ([nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in (4, 4)] for _ in range(2))
            whole = lookup(OPTIMIZERS, name)(one, **options_of(name))
            from torch.distributed.optim import ZeroRedundancyOptimizer

            parts = ZeroRedundancyOptimizer(two, lookup(OPTIMIZERS, name), **options_of(name))
            for step in range(10):
                for params in (one, two):
                    for i, param in enumerate(params):
                        missing = step % 3 == i or step == 5
                        param.grad = None if missing else (i + 1) * torch.arange(step - 3.0, step + 1.0).double().sin()
                whole.step()
                parts.step()
            found[name] = (joined(two) - joined(one)).abs().max().item()
    return found


IN_GROUPS = ("tam", "adatam", "adatamw")
"""Those with a cosine for each group of parameters."""


def groups_of_ranks(rank):
    """Return how far ranks are from one process with two groups, where first gradients come late, and on one rank."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    found = {}
    for name in IN_GROUPS:
        sizes = (4, 3, 2, 5)
        one, two = ([nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in sizes] for _ in range(2))

        def groups(params):
            return [{"params": params[:1], "weight_decay": 0.1}, {"params": params[1:], "lr": 0.01}]

        whole = lookup(OPTIMIZERS, name)(groups(one), **options_of(name))
        parts = ZeroRedundancyOptimizer(groups(two), lookup(OPTIMIZERS, name), **options_of(name))
        for step in range(12):
            for params in (one, two):
                for i, param in enumerate(params):
                    missing = step < 3 * ((i + 2) % 4) or step == 5 + i
                    entries = torch.arange(step - 3.0, step - 3.0 + sizes[i]).double()
                    param.grad = None if missing else (i + 1) * (entries + i).sin()
            whole.step()
            parts.step()
        found[name] = (joined(two) - joined(one)).abs().max().item()
    return found


def refusals(rank):
    """Return what is said where sums would be wrong or there is nothing to sum over."""
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.distributed.tensor import DTensor, Partial

    world, mesh = dist.group.WORLD, dist.init_device_mesh("cpu", (RANKS,))

    def stepped(optimizer):
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = torch.zeros_like(param)
        optimizer.step()

    def plain():
        return [nn.Parameter(torch.ones(2))]

    def wrapped():
        return FSDP(Frame(LAYERS["even"]), device_id=torch.device("cpu")).parameters()

    def sharded():
        return fsdp2(Frame(LAYERS["even"]), TAM, {})[0].parameters()

    def partially():
        return [nn.Parameter(DTensor.from_local(torch.ones(2), mesh, [Partial()]))]

    attempts = {
        "no group": lambda: stepped(TAM(wrapped())),
        "no group for a wrapper": lambda: stepped(Lookahead(wrapped(), base="sgd")),
        "twice": lambda: stepped(TAM(sharded(), process_group=world)),
        "partial": lambda: stepped(TAM(partially())),
        "unknown tensors": lambda: stepped(AdamCM(plain(), process_group=world)),
        "capturable": lambda: stepped(TAM(sharded(), capturable=True)),
        "copy": lambda: copy.deepcopy(TAM(plain(), process_group=world)),
        "copy of a wrapper": lambda: copy.deepcopy(Switch(plain(), process_group=world)),
        "no such group": lambda: TAM(plain(), process_group="world"),
        "mean over tensors": lambda: Switch(plain(), s=None, granularity="tensor", process_group=world),
        "climbing apart": lambda: ZeroRedundancyOptimizer(plain(), SAM, base="tam"),
        "other ranks": lambda: _half_loaded(rank),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except InputError as error:
            found[name] = str(error)
    stepped(TAM(wrapped(), damping=0.5))  # which measures nothing
    return found


def _half_loaded(rank):
    params = [nn.Parameter(torch.ones(2))]
    optimizer = TAM(params, process_group=dist.group.WORLD)
    params[0].grad = torch.ones(2)
    optimizer.step()
    if rank:
        optimizer.state.clear()
    optimizer.step()


def checkpoints(rank, folder):
    """Return whether runs of divided tensors go on bit by bit from a state in files, and in one process as well."""
    flat, whole = StateDictOptions(flatten_optimizer_state_dict=True), StateDictOptions(full_state_dict=True)
    found = {}
    for name in FEW:
        widths, cls = LAYERS["uneven"], lookup(OPTIMIZERS, name)
        model, optimizer, weights = fsdp2(Frame(widths), cls, options_of(name))
        train(model, optimizer, widths, rank)
        other, resumed, weights_of_other = fsdp2(Frame(widths), cls, options_of(name))
        set_model_state_dict(other, get_model_state_dict(model))
        if name != "switch":  # which has switched: its flat state is refused
            dcp.save({"o": get_optimizer_state_dict(model, optimizer, options=flat)}, checkpoint_id=folder / name)
            state = {"o": get_optimizer_state_dict(other, resumed, options=flat)}
            dcp.load(state, checkpoint_id=folder / name)
            set_optimizer_state_dict(other, resumed, state["o"], options=flat)
        else:
            resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        single = Frame(widths)
        single.load_state_dict(get_model_state_dict(model, options=whole))
        alone = cls(single.parameters(), **options_of(name))
        set_optimizer_state_dict(single, alone, get_optimizer_state_dict(model, optimizer, options=whole))
        train(model, optimizer, widths, rank)
        train(other, resumed, widths, rank)
        train(single, alone, widths)
        ours = joined(weights())
        found[name] = (
            torch.equal(joined(weights_of_other()), ours),
            (joined(single.parameters()) - ours).abs().max().item(),
        )
    return found


def everything(rank, folder):
    return {
        "differences": {(*key, str(options)): difference(rank, *key, options) for *key, options in cases()},
        "gradients of one rank": gradients_of_one_rank(rank),
        "groups of ranks": groups_of_ranks(rank),
        "refusals": refusals(rank),
        "checkpoints": checkpoints(rank, folder),
    }


def ran(rank, folder):
    warnings.simplefilter("ignore")  # those of torch's own wrappers
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    try:
        torch.save(everything(rank, folder), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found, one after the other: starting them costs more than most of what they do."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(ran, (folder,), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


REFUSED = (
    "Cautious measures each tensor",
    "granularity='tensor' measures each tensor",
    "variant='official' measures each tensor",
)


def test_ranks_take_the_steps_of_one_process_or_refuse(found):
    ours, theirs = (each["differences"] for each in found)
    assert {name for _, _, name, _ in ours} == set(OURS)
    assert {way for _, way, _, _ in ours} == set(WAYS)
    for (layers, way, name, options), value in ours.items():
        case = f"{name} {options} with {layers} layers under {way}"
        said, whole_in = WHOLE.get(name, ("", WAYS))
        if way not in whole_in:
            assert str(value).startswith(said), case
        elif isinstance(value, str):
            assert way == "FSDP1 flat", f"{case}: {value}"
            assert value.startswith(REFUSED), case
            assert (
                name == "cautious" or "tensor" in options or ("paper" not in options and name.endswith(("_cm", "_cg")))
            ), case
        else:
            assert max(value, theirs[layers, way, name, options]) < 1e-12, case


def test_a_rank_without_gradients_neither_waits_nor_counts_otherwise(found):
    for each in found:
        assert each["gradients of one rank"].keys() == set(FEW) - {"sam"}
        assert max(each["gradients of one rank"].values()) < 1e-14


def test_groups_have_the_cosines_of_one_process(found):
    for each in found:
        assert each["groups of ranks"].keys() == set(IN_GROUPS)
        assert max(each["groups of ranks"].values()) < 1e-14


SAID = {
    "no group": "TAM measures all parameters together, and FullyShardedDataParallel leaves each rank a share of them: ",
    "no group for a wrapper": "Lookahead measures all parameters together, and FullyShardedDataParallel leaves",
    "twice": "process_group: TAM would count a parameter of shape (8, 4) twice, whose DTensor says by itself",
    "partial": "TAM cannot measure a parameter of shape (2,) placed as P(sum): a DTensor must be sharded or replicated",
    "unknown tensors": "variant='official' measures each tensor by itself, and the parameters of a process group do",
    "capturable": "capturable=True: TAM would have to sum over the ranks that share its parameters",
    "copy": "TAM with a process_group cannot be copied or pickled",
    "copy of a wrapper": "Switch with a process_group cannot be copied or pickled",
    "no such group": "process_group must be a torch.distributed.ProcessGroup that this rank is in, got 'world'",
    "mean over tensors": "s=None takes the mean of the smoothed cosines of all tensors",
    "climbing apart": "SAM cannot be stepped by ZeroRedundancyOptimizer",
    "other ranks": "1 of 2 ranks know the numbers of the steps so far, and the others do not: load the state into as",
}


def test_what_would_be_wrong_is_refused_on_all_ranks(found):
    for each in found:
        assert each["refusals"].keys() == SAID.keys()
        for name, said in SAID.items():
            assert each["refusals"][name].startswith(said), name


def test_divided_states_go_on_bit_by_bit_and_load_in_one_process(found):
    for each in found:
        for name in FEW:
            is_same, difference = each["checkpoints"][name]
            assert is_same, name
            assert difference < 1e-12, name


def test_without_other_ranks_a_process_group_is_refused():
    with pytest.raises(InputError, match="process_group must be a torch.distributed.ProcessGroup"):
        TAM([nn.Parameter(torch.ones(1))], process_group=object())
