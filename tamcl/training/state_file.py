"""Tensors and plain values in a file that is data alone: to read it runs nothing, and takes no memory beyond its size.

Behind a word that tells what it is stand the length of a text, the text, which is JSON, and the bytes of the tensors.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from math import prod
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from tamcl.strategies.state import NotSaved

WORD = b"tamcl state 1\n\0\0"
"""What a file of this kind begins with."""

_LENGTH = 8


def write_state(file: IO[bytes], values: Any) -> None:
    """Write nested plain values and tensors at the place where a file is.

    Raises
    ------
    NotSaved
        If there is anything else among them, saying where.
    """
    tensors: list[Tensor] = []
    text = json.dumps([_encoded(values, tensors, ""), [_described(tensor) for tensor in tensors]]).encode()
    file.write(WORD + len(text).to_bytes(_LENGTH, "little") + text)
    for tensor in tensors:
        laid_out = tensor.detach().permute(_order(tensor)).contiguous().cpu()
        file.write(laid_out.reshape(-1).view(torch.uint8).numpy().data)


def read_state(file: IO[bytes]) -> Any:
    """Read what ``write_state`` has written where a file is.

    Raises
    ------
    ValueError
        If it is something else, or says that it is longer than the file.
    """
    if file.read(len(WORD)) != WORD:
        raise ValueError("it is of another version, or no checkpoint")
    length = int.from_bytes(file.read(_LENGTH), "little")
    _check_length(file, length)
    try:
        values, described = json.loads(file.read(length))
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
    return _decoded(values, [_read_tensor(file, *each) for each in described])


def to_bytes(values: Any) -> bytes:
    """Return what ``write_state`` would write: the same bytes for the same bits."""
    file = io.BytesIO()
    write_state(file, values)
    return file.getvalue()


def _encoded(value: Any, tensors: list[Tensor], where: str) -> Any:
    """Return a value as JSON can have it; tensors and arrays are their numbers."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is dict:
        inside = [(key, each, f"{where}[{key!r}]"[-200:]) for key, each in value.items()]
        pairs = [[_encoded(key, tensors, name), _encoded(each, tensors, name)] for key, each, name in inside]
        return {"dict": pairs}
    if kind in _SEQUENCES:
        members = list(value)
        if not {type(each) for each in members} <= _AS_IT_IS:
            members = [_encoded(each, tensors, f"{where}[{place}]"[-200:]) for place, each in enumerate(members)]
        if kind in (set, frozenset):
            members.sort(key=json.dumps)  # else their order would be that of their hashes
        return members if kind is list else {_SEQUENCES[kind]: members}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind in (Tensor, nn.Parameter) and value.layout is torch.strided and not value.is_quantized:
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind in "biuf":
        tensors.append(torch.from_numpy(np.array(value, order="C")))
        return {"array" if kind is np.ndarray else "scalar": len(tensors) - 1}
    raise NotSaved(f"{where or 'it'} is of the type {kind.__module__}.{kind.__qualname__}, which no file can hold")


_AS_IT_IS = {type(None), bool, int, float, str}
_SEQUENCES: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}


def _decoded(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, list):
        return [each if type(each) in _AS_IT_IS else _decoded(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "dict":
        return {_decoded(key, tensors): _decoded(each, tensors) for key, each in held}
    if kind == "bytes":
        return bytes.fromhex(held)
    if kind == "tensor":
        return tensors[held]
    if kind in ("array", "scalar"):
        return tensors[held].numpy() if kind == "array" else tensors[held].numpy()[()]
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](_decoded(held, tensors))


def _described(tensor: Tensor) -> list[Any]:
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), _order(tensor), tensor.device.type]


def _order(tensor: Tensor) -> list[int]:
    """Return a tensor's dimensions as they lie in memory, which decides by which kernel it is computed with."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dimension: (-strides[dimension], dimension))


def _read_tensor(file: IO[bytes], dtype: str, shape: list[int], order: list[int], device: str) -> Tensor:
    kind = getattr(torch, dtype)
    if not isinstance(kind, torch.dtype) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"it has a tensor of the type {dtype} and the shape {shape}")
    length = prod(shape) * kind.itemsize
    _check_length(file, length)
    content = torch.empty(length, dtype=torch.uint8)
    file.readinto(content.numpy())  # type: ignore[attr-defined]
    laid_out = content.view(kind).view([shape[dimension] for dimension in order])
    return laid_out.permute([order.index(dimension) for dimension in range(len(order))]).to(_kind_of(device))


def _kind_of(device: str) -> str:
    """Return the kind of a device, of which this process has one: a run may go on on another GPU."""
    return device.partition(":")[0]  # of before, its number


def _check_length(file: IO[bytes], length: int) -> None:
    place = file.tell()
    if length > file.seek(0, os.SEEK_END) - place:
        raise ValueError("it ends too early")
    file.seek(place)
