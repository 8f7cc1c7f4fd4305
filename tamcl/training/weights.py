"""Final weights of a run in a file: all parameters and buffers of a model, by their names, and nothing else.

To read it runs nothing (``tamcl.training.state_file``). It starts with a digest of the rest, and names its run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tamcl.errors import Damaged, InputError, reason, shown
from tamcl.files.digests import OTHER, after_digest, is_whole
from tamcl.files.paths import open_regular
from tamcl.training.state_file import read_state, to_bytes

Weights = dict[str, Tensor]
"""Parameters and buffers by their names in the model."""


def weights_of(model: nn.Module) -> Weights:
    """Return a model's parameters and buffers, also those that its ``state_dict`` leaves out."""
    return {name: tensor.detach() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def dump_weights(model: nn.Module, of: str) -> bytes:
    """Return the file of a model's weights.

    Parameters
    ----------
    model : torch.nn.Module
    of : str
        The run that they are of.
    """
    weights = {name: tensor.cpu() for name, tensor in weights_of(model).items()}
    return after_digest(to_bytes({"of": of, "weights": weights}))


def read_weights(path: Path, of: str) -> Weights:
    """Read the weights of a run, which are no more than the file is long.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Damaged
        If it was damaged, is something else, or of another run.
    InputError
        If it may not be read.
    """
    try:
        with open_regular(path) as file:
            if not is_whole(file):
                raise ValueError(OTHER)
            found = read_state(file)
        if found["of"] != of:
            raise ValueError(f"it is of another run, {shown(found['of'])}")
        weights: Weights = found["weights"]
        if not all(type(name) is str and isinstance(tensor, Tensor) for name, tensor in weights.items()):
            raise ValueError("it holds something else than tensors")
        return weights
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise InputError(f"'{path}': {error.strerror}") from error
    except Exception as error:  # what a damaged file holds may be anything
        raise Damaged(f"'{path}' is damaged: {reason(error)}") from error


@torch.no_grad()
def load_weights(model: nn.Module, weights: Weights) -> None:
    """Take weights over into a model of the same kind.

    Raises
    ------
    ValueError
        If names, shapes or types of numbers are others than the model's.
    """
    held = weights_of(model)
    if found := sorted(held.keys() ^ weights.keys()):
        raise ValueError(f"{found[0]!r} is in the model or in the weights alone")
    for name, tensor in held.items():
        value = weights[name]
        if (value.shape, value.dtype) != (tensor.shape, tensor.dtype):
            there, here = (f"{each.dtype} {tuple(each.shape)}" for each in (value, tensor))
            raise ValueError(f"{name!r} is {there} in the weights and {here} in the model")
    for name, tensor in held.items():
        tensor.copy_(weights[name])
