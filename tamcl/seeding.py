"""Named random streams: every draw of tamcl comes from a generator seeded with ``derive_seed(seed, name)``.

Streams with different names are independent, so an optimizer that draws noise, or a model with more parameters, cannot
change which labels are flipped or which batch comes next.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, get_args

RandomStream = Literal["stream", "order", "augmentation", "init", "optimizer", "evaluation", "resampling"]
"""What draws: the benchmark, the order of mini-batches, crops and flips of images, initial weights, the optimizer's
noise, test subsets, and the statistics."""


def derive_seed(seed: int, name: RandomStream, *indices: int) -> int:
    """Return the seed of one named random stream of a run.

    Parameters
    ----------
    seed : int
        The seed of the run.
    name : {"stream", "order", "augmentation", "init", "optimizer", "evaluation", "resampling"}
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
