"""Permuted inputs: every experience has the pixels in another order."""

from __future__ import annotations

from typing import Literal

from tamcl.seeding import derive_seed
from tamcl.streams.base import Transform
from tamcl.streams.input_shift import InputShift


class PermutedInputs(InputShift):
    """Every experience has the pixels of all images in an order of its own: P(x) shifts.

    The order is any permutation of the pixels' places, drawn anew for each experience, and the same for every channel.
    The protocol of Dohare et al. is all 60,000 images of MNIST in mini-batches of 1 and 800 experiences, that of UPGD
    ``samples=5000``, ``batch_size=1`` and 200 experiences, that of L2 Init ``samples=10000``, ``batch_size=16`` and
    500.

    Notes
    -----
    The first experience has the images as they are, as in L2 Init. Dohare et al. and UPGD permute the first too, which
    a fully connected network with random initial weights cannot tell apart.

    Examples
    --------
    >>> import numpy as np
    >>> stream = PermutedInputs(name="permuted_inputs", dataset="toy", experiences=3, samples=2)
    >>> labels = np.array([0, 1, 0, 1])
    >>> for segment in stream.segments(labels, labels, classes=2, seed=0):
    ...     print(segment.train_index, segment.transform and segment.transform.order(4).tolist())
    [1 3] None
    [0 2] [3, 0, 2, 1]
    [0 2] [1, 3, 0, 2]

    References
    ----------
    S. Dohare et al., "Loss of plasticity in deep continual learning", Nature, 2024,
    https://doi.org/10.1038/s41586-024-07711-7. M. Elsayed, A. R. Mahmood, "Addressing Loss of Plasticity and
    Catastrophic Forgetting in Continual Learning", 2024, https://arxiv.org/abs/2404.00781. S. Kumar, H. Marklund,
    B. Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization", 2023,
    https://arxiv.org/abs/2308.11958
    """

    name: Literal["permuted_inputs"]

    def transform(self, experience: int, seed: int) -> Transform:
        """Return an experience's permutation."""
        from tamcl.streams.transforms import Permutation

        return Permutation(derive_seed(seed, "stream", 1, experience))
