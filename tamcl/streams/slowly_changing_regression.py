"""Slowly-changing regression: a fixed network of thresholds to be learnt on bits of which some change slowly."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Count, Indices, Normalization, Segment, Stream
from tamcl.streams.fields import Fraction


class SlowlyChangingRegression(Stream):
    """Numbers to be predicted from bits, most of which stay for a whole experience: P(x) shifts a little at a time.

    Of the m bits of an input the first ``flipping_bits`` are the same throughout an experience, and one of them, drawn
    from the seed, flips at each boundary; the others are random in every example. The target is the output of a fixed
    network with one hidden layer of linear threshold units and all weights +1 or -1, see ``ThresholdNetwork``. The
    protocol of Dohare et al. is m = 20, 15 slow bits, 10,000 examples an experience, mini-batches of 1 and 100
    experiences, learnt by 5 hidden units, too few to represent the target, so that the learner has to go on tracking
    it.

    The data set has to be "bit_patterns": image i is the number i in binary, its first bit the highest. The test set of
    an experience is every input that can occur in it.

    Parameters
    ----------
    samples : int
        Examples in an experience, each drawn from all that can occur, so that they repeat.
    flipping_bits : int
        Number of slow bits.
    units : int
        Hidden units of the target network.
    beta : float
        Share of its inputs, about, that have to agree with a unit's weights to activate it.

    Notes
    -----
    Without a shift (``oracle="no_shift"``) no bit flips. Inputs are 0 and 1 unless ``normalization`` says otherwise.

    Examples
    --------
    >>> stream = SlowlyChangingRegression(name="slowly_changing_regression", dataset="toy", experiences=3, samples=4,
    ...                                   flipping_bits=3)
    >>> patterns = np.zeros(16, dtype=np.int64)
    >>> for segment in stream.segments(patterns, patterns, classes=1, seed=0):
    ...     print([f"{i:04b}" for i in segment.train_index], segment.train_labels, segment.test_index)
    ['1011', '1010', '1011', '1011'] [ 0. -1.  0.  0.] [10 11]
    ['0011', '0010', '0010', '0011'] [-1.  0.  0. -1.] [2 3]
    ['0111', '0110', '0111', '0111'] [-3. -5. -3. -3.] [6 7]

    References
    ----------
    S. Dohare et al., "Loss of plasticity in deep continual learning", Nature, 2024,
    https://doi.org/10.1038/s41586-024-07711-7; S. Dohare, R. S. Sutton, A. R. Mahmood, "Continual Backprop: Stochastic
    Gradient Descent with Persistent Randomness", 2021, https://arxiv.org/abs/2108.06325
    """

    target: ClassVar[Literal["class", "number"]] = "number"
    repeats: ClassVar[bool] = True

    name: Literal["slowly_changing_regression"]
    samples: Count = 10_000
    batch_size: Count = 1
    normalization: Normalization = "none"
    flipping_bits: Count = 15
    units: Count = 100
    beta: Fraction = 0.7

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        bits = self._bits(len(train_y), len(test_y), classes)
        network = ThresholdNetwork(bits, self.units, self.beta, derive_seed(seed, "stream", 0))
        boundaries = np.random.default_rng(derive_seed(seed, "stream", 1))
        examples = np.random.default_rng(derive_seed(seed, "stream", 2))
        fast = bits - self.flipping_bits
        slow = int(boundaries.integers(2**self.flipping_bits))
        segments = []
        for experience in range(self.experiences):
            if experience and self.shifts:
                slow ^= 1 << int(boundaries.integers(self.flipping_bits))
            inputs = (slow << fast) + np.arange(2**fast)
            targets = network(_binary(inputs, bits))
            rows = examples.integers(2**fast, size=self.samples)
            segments.append(Segment(inputs[rows], targets[rows], inputs, targets, 0, (0,)))
        return segments

    def _bits(self, train: int, test: int, classes: int) -> int:
        """Return the number of bits of an input."""
        bits = train.bit_length() - 1
        if (train, test, classes) != (2**bits, 2**bits, 1):
            raise InputError(
                f"stream.dataset = '{self.dataset}': {self.name} needs 'bit_patterns', every pattern of bits in order"
            )
        if self.flipping_bits > bits:
            raise InputError(f"stream.flipping_bits = {self.flipping_bits}: an input has {bits} bits")
        return bits


class ThresholdNetwork:
    r"""One hidden layer of linear threshold units and a linear output, all weights and biases +1 or -1.

    Unit i with weights :math:`v_{ij}` and bias :math:`b_i` is 1 if :math:`\sum_j v_{ij} x_j + b_i > \theta_i` and 0
    otherwise, with :math:`\theta_i = \beta (m + 1) - S_i` and :math:`S_i = n_i + b_i / 2`, where :math:`n_i` of its
    weights are -1. So a unit is active where the number of bits that agree with its weights (1 with +1, 0 with -1)
    is more than :math:`\beta (m + 1) - \frac{3}{2} b_i`.

    Parameters
    ----------
    bits, units : int
        Numbers of inputs, m, and of hidden units.
    beta : float
    seed : int

    Notes
    -----
    The thresholds are those of the released code, from which the published errors come. By its comment :math:`S_i` is
    the number of weights that are -1; over weights and bias that would be :math:`n_i + (1 - b_i) / 2`, with which more
    units are active and errors are about half as large again.
    """

    def __init__(self, bits: int, units: int, beta: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.hidden = rng.choice([-1, 1], (units, bits + 1))
        self.output = rng.choice([-1, 1], units + 1)
        weights, bias = self.hidden[:, :-1], self.hidden[:, -1]
        self.threshold = beta * (bits + 1) - ((weights == -1).sum(1) + bias / 2)

    def __call__(self, inputs: Indices) -> NDArray[np.float32]:
        """Return the output for inputs of 0 and 1, (n, bits)."""
        active = _with_one(inputs) @ self.hidden.T > self.threshold
        output: Indices = _with_one(active.astype(np.int64)) @ self.output
        return output.astype(np.float32)


def _with_one(inputs: Indices) -> Indices:
    return np.column_stack([inputs, np.ones(len(inputs), dtype=np.int64)])


def _binary(numbers: Indices, bits: int) -> Indices:
    """Return the bits of numbers, the highest first, (n, bits)."""
    return numbers[:, None] >> np.arange(bits - 1, -1, -1) & 1
