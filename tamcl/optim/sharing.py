"""Parameters that are divided among ranks: what is measured over them is summed over the ranks.

A rank sees its share of the parameters alone. A cosine, a norm or a priority of the share would be another number on
every rank, and none of them that of the parameters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from tamcl.errors import InputError

PLAIN = {Tensor, torch.nn.Parameter}

Tensors = Literal["cut", "whole", "unknown"]
"""How a parameter relates to the tensors of the model: it is a piece of one, it is one, or nobody can tell."""


class Division(NamedTuple):
    """How a parameter is divided."""

    groups: tuple[Any, ...] = ()
    """Process groups over which sums over its pieces are summed, one after the other: those of a ``DTensor``."""
    tensors: Tensors = "whole"


class Sums(NamedTuple):
    """Sums over all ranks; on the CPU, in float64."""

    of_each: Tensor
    """Of each tensor with a gradient here, (tensors, columns); those of its piece if the tensors are unknown."""
    of_all: Tensor
    """Of all tensors of all ranks, (columns,)."""
    lengths: float
    """Of all tensors, the roots of the first column added up."""
    gradients: int
    """How many pieces with a gradient there are anywhere; 0 means that this is no step."""


class Ranks:
    """The ranks among which the parameters of a step are divided.

    All of them must ask for the same sums, also one without parameters or gradients: sums are collective calls.

    Parameters
    ----------
    params : sequence of Tensor
        All parameters of the optimizer, with a gradient or without.
    divisions : sequence of Division
        How each is divided.
    process_group : ProcessGroup, optional
        Ranks that have other parameters, or other pieces of them.
    are_tensors_known : bool
        Whether it is known which pieces are one tensor.
    """

    def __init__(
        self, params: Sequence[Tensor], divisions: Sequence[Division], process_group: Any, are_tensors_known: bool
    ) -> None:
        self.present = [row for row, param in enumerate(params) if param.grad is not None]
        self.divisions = divisions
        self.process_group = process_group
        self.are_tensors_known = are_tensors_known

    def check_tensors(self, option: str, instead: str = "") -> None:
        """Raise InputError unless what belongs to one tensor is known, which an option needs."""
        if not self.are_tensors_known:
            raise InputError(
                f"{option} measures each tensor by itself, and the parameters of a process group do not tell which of "
                f"their pieces are one tensor: {f'set {instead}; or ' if instead else ''}divide them by fully_shard, "
                "by FullyShardedDataParallel with use_orig_params=True, or by ZeroRedundancyOptimizer"
            )

    def add_up(self, values: Tensor, known: Sequence[bool | None] = ()) -> Sums:
        """Sum over the pieces of each tensor, and over all tensors.

        Parameters
        ----------
        values : Tensor
            Of each gradient here, what is to be summed: (gradients, columns), in float64.
        known : sequence of bool or None
            Whether this rank knows the numbers that the steps so far have left to the whole optimizer, or to each group
            of parameters; None if it has none of them. If some ranks do and others do not, the state is not that of
            these ranks, and InputError is raised on all of them.
        """
        rows, columns = len(self.divisions), values.shape[1]
        table = values.new_zeros(rows, columns + 1)
        table[self.present, :columns] = values
        table[self.present, columns] = 1
        own = [division.groups for division in self.divisions]
        for groups in dict.fromkeys(filter(None, own)):
            some = [row for row in range(rows) if own[row] == groups]
            table[some] = _summed(table[some], groups)

        total, lengths = table.sum(0), table[:, 0].sqrt().sum()
        if self.process_group is not None:
            is_cut = [division.tensors == "cut" and not division.groups for division in self.divisions]
            cut, others = ([row for row in range(rows) if is_cut[row] is which] for which in (True, False))
            holding = [rows > 0 and is_known is not None for is_known in known]
            notes = table.new_tensor([table[others, 0].sqrt().sum(), *holding, *(rows > 0 and bool(k) for k in known)])
            whole = torch.cat([table[others].sum(0), notes, table[cut].flatten()])
            whole = _summed(whole, [self.process_group])
            total, noted = whole[: columns + 1], whole[columns + 1 : columns + 1 + len(notes)]
            lengths = noted[0]
            for holds, knows in noted[1:].int().reshape(2, -1).T.tolist():
                if 0 < knows < holds:
                    raise InputError(
                        f"{knows} of {holds} ranks know the numbers of the steps so far, and the others do not: load "
                        "the state into as many ranks as it was saved from"
                    )
            table[cut] = whole[columns + 1 + len(notes) :].reshape(len(cut), columns + 1)
            total, lengths = total + table[cut].sum(0), lengths + table[cut, 0].sqrt().sum()
        total = total.cpu()
        return Sums(table[self.present, :columns].cpu(), total[:columns], float(lengths), int(total[columns]))


def ranks_of(optimizer: Any, process_group: Any, is_whole: bool = False) -> Ranks | None:
    """Return the ranks among which an optimizer's parameters are divided, or None if each rank has all of them.

    Parameters
    ----------
    optimizer : Optimizer
    process_group : ProcessGroup or None
        The option of that name.
    is_whole : bool
        Whether it is known that each tensor of the process group is whole on one of its ranks.

    Raises
    ------
    InputError
        If a parameter is divided in a way over which nothing can be summed.
    """
    if not is_distributed():
        return None
    name = type(optimizer).__name__
    params = [param for group in optimizer.param_groups for param in group["params"]]
    divisions = [_division(param, process_group, is_whole, name) for param in params]
    if process_group is None and not any(division.groups for division in divisions):
        return None
    if optimizer.param_groups[0].get("capturable"):
        raise InputError(
            f"capturable=True: {name} would have to sum over the ranks that share its parameters, which it does "
            "outside a graph alone: leave it out"
        )
    is_known = is_whole or (bool(params) and all(division.tensors != "unknown" for division in divisions))
    return Ranks(params, divisions, process_group, is_known)


def is_distributed() -> bool:
    """Whether there may be other ranks."""
    return dist.is_available() and dist.is_initialized()


def has_gradient_anywhere(optimizer: Any, process_group: Any) -> bool:
    """Whether any parameter of an optimizer has a gradient, on this rank or on one of a process group."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    if process_group is None and is_distributed():
        for param in params:  # which may tell that there should be one
            _division(param, None, False, type(optimizer).__name__)
    [found] = largest_anywhere([any(param.grad is not None for param in params)], process_group)
    return bool(found)


def largest_anywhere(numbers: list[Any], process_group: Any) -> list[Any]:
    """Return each number's largest value on the ranks of a process group; without one, the numbers themselves."""
    if process_group is None:
        return numbers
    sent = torch.tensor(numbers, dtype=torch.float64, device=_device_of(process_group))
    dist.all_reduce(sent, dist.ReduceOp.MAX, group=process_group)
    return sent.tolist()


def check_process_group(process_group: Any) -> None:
    """Raise InputError unless an option is None or a process group that this rank is in."""
    if process_group is not None and not (is_distributed() and isinstance(process_group, dist.ProcessGroup)):
        raise InputError(
            f"process_group must be a torch.distributed.ProcessGroup that this rank is in, got {process_group!r}"
        )


def zero_redundancy_group() -> Any:
    """Return the process group of the ``ZeroRedundancyOptimizer`` that is making an optimizer, or None.

    It hands its optimizer a share of the parameters and says nothing, so that its calls have to be looked through.
    """
    module = sys.modules.get("torch.distributed.optim.zero_redundancy_optimizer")
    if module is None or not is_distributed():
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, module.ZeroRedundancyOptimizer):
            return caller.process_group
        frame = frame.f_back
    return None


def is_dtensor(tensor: Tensor) -> bool:
    """Whether a tensor is a ``DTensor``: there is none where nobody has imported them."""
    if type(tensor) in PLAIN:  # the usual case, which costs less to find out
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_flattened(param: Any) -> bool:
    """Whether ``FullyShardedDataParallel`` made a parameter of a piece of the model's, or of several."""
    return bool(getattr(param, "_fsdp_flattened", False))


def local(tensor: Any) -> Tensor:
    """Return the piece of a tensor that is on this rank, in the same memory: any tensor but a ``DTensor`` itself."""
    if not is_dtensor(tensor):
        return tensor  # type: ignore[no-any-return]
    piece = tensor.to_local()
    return piece.wait() if hasattr(piece, "wait") else piece  # type: ignore[no-any-return]


def local_gradient(param: Tensor) -> Tensor:
    """Return the piece of a parameter's gradient that belongs to the parameter's own piece."""
    grad: Any = param.grad
    if is_dtensor(param):
        whole: Any = param
        if not is_dtensor(grad):
            raise InputError("the gradient of a DTensor must be a DTensor, got a plain tensor")
        if (grad.device_mesh, grad.placements) != (whole.device_mesh, whole.placements):
            grad = grad.redistribute(whole.device_mesh, whole.placements)
    return local(grad)


def slots_like(param: Tensor, slots: Tensor) -> Tensor:
    """Return slots for the piece of a parameter as slots for the parameter: a ``DTensor`` if it is one."""
    if not is_dtensor(param):
        return slots
    from torch.distributed.tensor import DTensor

    whole: Any = param
    shape = torch.Size((len(slots), *whole.shape))
    stride = (whole.numel(), *whole.stride())
    placements = [_behind_slots(placement) for placement in whole.placements]
    return DTensor.from_local(slots, whole.device_mesh, placements, run_check=False, shape=shape, stride=stride)


def _behind_slots(placement: Any) -> Any:
    """Return the placement of slots that lie as their tensor does, which has an axis less."""
    if not _is_shard(placement):
        return placement
    dim = placement.dim + 1 if placement.dim >= 0 else placement.dim
    further = {"split_factor": placement.split_factor} if hasattr(placement, "split_factor") else {}
    return type(placement)(dim, **further)


def _division(param: Any, process_group: Any, is_whole: bool, name: str) -> Division:
    if is_dtensor(param):
        return Division(tuple(_mesh_groups(param, process_group, name)), "cut")
    is_piece = is_flattened(param)
    if is_piece and process_group is None and dist.get_world_size() > 1:
        raise InputError(
            f"{name} measures all parameters together, and FullyShardedDataParallel leaves each rank a share of them: "
            "give it the process_group of that, such as process_group=torch.distributed.group.WORLD"
        )
    if process_group is None:
        return Division()
    if is_piece:
        return Division((), "unknown" if getattr(param, "_is_flat_param", False) else "cut")
    return Division((), "whole" if is_whole else "unknown")


def _mesh_groups(param: Any, process_group: Any, name: str) -> Iterable[Any]:
    """Yield the groups of ranks along which a ``DTensor`` is cut; along other axes of its mesh it is repeated."""
    mesh = param.device_mesh
    if mesh.get_coordinate() is None:
        raise InputError(f"{name}: a parameter of shape {tuple(param.shape)} lies on a device mesh without this rank")
    if process_group is not None:
        others = set(mesh.mesh.flatten().tolist()) & set(dist.get_process_group_ranks(process_group))
        if others - {dist.get_rank()}:
            raise InputError(
                f"process_group: {name} would count a parameter of shape {tuple(param.shape)} twice, whose DTensor "
                f"says by itself how it is divided among ranks {sorted(others)}: leave process_group out"
            )
    for axis, placement in enumerate(param.placements):
        if not placement.is_replicate() and not _is_shard(placement):
            raise InputError(
                f"{name} cannot measure a parameter of shape {tuple(param.shape)} placed as {placement}: a DTensor "
                "must be sharded or replicated along every axis of its mesh; redistribute it"
            )
        if not placement.is_replicate() and mesh.size(axis) > 1:
            yield mesh.get_group(axis)


def _is_shard(placement: Any) -> bool:
    from torch.distributed.tensor.placement_types import Shard, _StridedShard

    return isinstance(placement, Shard | _StridedShard)


def _summed(values: Tensor, groups: Iterable[Any]) -> Tensor:
    """Return the sum over the ranks of each group in turn, wherever a group wants its tensors."""
    for group in groups:
        sent = values.to(_device_of(group), copy=True)
        dist.all_reduce(sent, group=group)
        values = sent.to(values.device)
    return values


def _device_of(group: Any) -> str:
    """Return where a group wants tensors to be: what torch itself asks for the objects that it sends."""
    return dist.distributed_c10d._get_object_coll_device(group)
