"""Rotated inputs: every experience has the images turned by another angle."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tamcl.seeding import derive_seed
from tamcl.streams.base import Transform
from tamcl.streams.input_shift import InputShift


class RotatedInputs(InputShift):
    """Every experience has all images turned by an angle of its own: P(x) shifts.

    Parameters
    ----------
    degrees : float
        The angles lie between 0 and this, at most 360.
    angles : {"even", "random"}
        Evenly spaced, ``degrees * e / experiences`` for experience e, a slow drift; or each drawn from the seed,
        uniform between 0 and ``degrees``. Experience 0 has the images as they are in both.

    Notes
    -----
    The released code of GEM draws one random angle in each of ``experiences`` equal parts of 180 degrees; the even
    angles are the lower ends of these parts.

    Examples
    --------
    >>> stream = RotatedInputs(name="rotated_inputs", dataset="toy", experiences=3, degrees=90)
    >>> labels = np.array([0, 1])
    >>> [part.transform and part.transform.describe() for part in stream.segments(labels, labels, classes=2, seed=0)]
    [None, 'rotation 30.0', 'rotation 60.0']

    References
    ----------
    D. Lopez-Paz, M. Ranzato, "Gradient Episodic Memory for Continual Learning", 2017, https://arxiv.org/abs/1706.08840
    """

    name: Literal["rotated_inputs"]
    degrees: Annotated[float, Field(strict=True, gt=0, le=360, allow_inf_nan=False)] = 180
    angles: Literal["even", "random"] = "even"

    def transform(self, experience: int, seed: int) -> Transform:
        """Return an experience's rotation."""
        from tamcl.streams.transforms import Rotation

        if self.angles == "even":
            return Rotation(self.degrees * experience / self.experiences)
        rng = np.random.default_rng(derive_seed(seed, "stream", 1, experience))
        return Rotation(float(rng.uniform(0, self.degrees)))
