"""Corrupted inputs: clean images first, then one corruption after the other."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

from tamcl.seeding import derive_seed
from tamcl.streams.base import Transform
from tamcl.streams.fields import CorruptionName, Severities, in_turn, not_empty
from tamcl.streams.input_shift import InputShift


class CorruptedInputs(InputShift):
    """Clean images in the first experience, then a domain for each corruption: P(x) shifts.

    Parameters
    ----------
    corruptions : list of str
        One for each boundary in turn, from the first again when they are used up: "gaussian_noise", "shot_noise",
        "impulse_noise", "gaussian_blur", "contrast", "brightness", "pixelate". All of them, in this order, if absent.
    severity : int or list of int
        From 1 to 5; a list as above.

    Notes
    -----
    The corruptions are re-implementations on tensors, with the severities of CIFAR-10-C; see
    ``tamcl.streams.transforms.Corruption``. The noise of an image depends on the seed and the image alone: it is the
    same in every pass and every experience with that corruption.

    Examples
    --------
    >>> import numpy as np
    >>> stream = CorruptedInputs(name="corrupted_inputs", dataset="toy", experiences=4,
    ...                          corruptions=["contrast", "pixelate"], severity=[1, 5, 5])
    >>> labels = np.array([0, 1])
    >>> for segment in stream.segments(labels, labels, classes=2, seed=0):
    ...     print(segment.transform and (segment.transform.name, segment.transform.severity))
    None
    ('contrast', 1)
    ('pixelate', 5)
    ('contrast', 5)

    References
    ----------
    D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019,
    https://arxiv.org/abs/1903.12261
    """

    name: Literal["corrupted_inputs"]
    corruptions: Annotated[tuple[CorruptionName, ...], AfterValidator(not_empty)] = get_args(CorruptionName)
    severity: Severities = 3

    def transform(self, experience: int, seed: int) -> Transform:
        """Return an experience's corruption."""
        from tamcl.streams.transforms import Corruption

        name = self.corruptions[(experience - 1) % len(self.corruptions)]
        return Corruption(name, in_turn(self.severity, experience - 1), derive_seed(seed, "stream", 1))
