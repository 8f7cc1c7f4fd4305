"""Named random streams: every draw of tamcl comes from a generator seeded with ``derive_seed(seed, name)``.

Streams with different names are independent, so an optimizer that draws noise, or a model with more parameters, cannot
change which labels are flipped or which batch comes next.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Any, Literal, get_args

RandomStream = Literal[
    "stream", "order", "augmentation", "init", "optimizer", "intervention", "evaluation", "resampling", "split"
]
"""What draws: the benchmark, the order of mini-batches, crops and flips of images, initial weights, the optimizer's
noise, interventions, test subsets, the statistics, and which images of a data set without a split are for tests."""


def derive_seed(seed: int, name: RandomStream, *indices: int) -> int:
    """Return the seed of one named random stream of a run.

    Parameters
    ----------
    seed : int
        The seed of the run.
    name : {"stream", "order", "augmentation", "init", "optimizer", "intervention", "evaluation", "resampling", "split"}
        What draws from the stream.
    *indices : int
        Position inside the stream, such as experience and epoch: each position has its own generator, so that it can
        be reached without drawing everything before it.

    Returns
    -------
    int
        A seed in [0, 2**63), for ``torch.Generator().manual_seed`` or ``numpy.random.default_rng``.

    Examples
    --------
    >>> derive_seed(0, "order", 3) == derive_seed(0, "order", 3)
    True
    >>> derive_seed(0, "order", 3) == derive_seed(0, "order", 4)
    False
    """
    if name not in get_args(RandomStream):
        raise ValueError(f"unknown random stream {name!r}: one of {', '.join(get_args(RandomStream))}")
    text = "/".join(map(str, (seed, name, *indices)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class GlobalGenerators:
    """The global generators of torch, NumPy and Python as one run has them, while others have theirs.

    Inside a ``with`` block they are the run's; what it draws there goes on where its last block ended, or where they
    stood when this was made.

    Examples
    --------
    >>> random.seed(0)
    >>> one, other = GlobalGenerators(), GlobalGenerators()
    >>> with one:
    ...     first = random.random()
    >>> with other:
    ...     random.random() == first
    True
    """

    def __init__(self) -> None:
        self._states = generator_states()

    def __enter__(self) -> None:
        set_generators(self._states)

    def __exit__(self, *exception: object) -> None:
        self._states = generator_states()


def seed_global_generators(seed: int) -> None:
    """Seed what an optimizer may draw from."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for optimizers that draw from NumPy's global generator
    random.seed(seed)


def generator_states() -> tuple[Any, ...]:
    """Return the states of the global generators; of GPUs of the one that is this process's own."""
    import numpy as np
    import torch

    devices = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return torch.get_rng_state(), devices, np.random.get_state(), random.getstate()  # noqa: NPY002 - an optimizer's


def set_generators(states: tuple[Any, ...]) -> None:
    """Give the global generators the states that ``generator_states`` returned."""
    import numpy as np
    import torch

    cpu, devices, numpy, python = states
    torch.set_rng_state(cpu)
    for state in devices[:1]:
        torch.cuda.set_rng_state(state)
    np.random.set_state(numpy)  # noqa: NPY002
    random.setstate(python)
