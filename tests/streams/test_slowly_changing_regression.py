"""Bits and targets against a network of thresholds written out by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from tamcl.data import DATASETS
from tamcl.errors import InputError
from tamcl.registry import lookup
from tamcl.seeding import derive_seed
from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import build_benchmark
from tamcl.streams.slowly_changing_regression import ThresholdNetwork
from tests.streams.helpers import stream

NAME = "slowly_changing_regression"


def patterns(bits: int) -> np.ndarray:
    return np.zeros(2**bits, dtype=np.int64)


def segments(bits: int = 8, seed: int = 0, **settings):
    made = stream(NAME, **{"experiences": 30, "samples": 50, "flipping_bits": 5, **settings})
    return made.segments(patterns(bits), patterns(bits), 1, seed)


def bits_of(number: int, bits: int) -> list[int]:
    return [int(digit) for digit in f"{number:0{bits}b}"]


def target_by_hand(network: ThresholdNetwork, x: list[int], beta: float) -> float:
    """One input through the network, unit by unit, with S as the released code computes it."""
    m, total = len(x), float(network.output[-1])
    for weights, out in zip(network.hidden, network.output[:-1], strict=True):
        *v, b = (int(weight) for weight in weights)
        s = (m - sum(v) + b) / 2
        if sum(w * value for w, value in zip(v, x, strict=True)) + b > beta * (m + 1) - s:
            total += int(out)
    return total


@pytest.mark.parametrize(("bits", "units", "beta"), [(8, 100, 0.7), (6, 7, 0.55), (5, 1, 0.0), (5, 3, 1.0)])
def test_targets_are_those_of_the_network(bits: int, units: int, beta: float) -> None:
    network = ThresholdNetwork(bits, units, beta, derive_seed(4, "stream", 0))
    assert set(np.unique(network.hidden)) <= {-1, 1}
    assert set(np.unique(network.output)) <= {-1, 1}
    assert network.hidden.shape == (units, bits + 1)
    assert network.output.shape == (units + 1,)
    found = {}
    for part in segments(bits, seed=4, units=units, beta=beta, flipping_bits=3):
        assert part.train_labels.dtype == part.test_labels.dtype == np.float32
        for index, label in zip(part.test_index, part.test_labels, strict=True):
            found[int(index)] = label
            assert label == target_by_hand(network, bits_of(index, bits), beta)
        for index, label in zip(part.train_index, part.train_labels, strict=True):
            assert label == found[int(index)]
    assert len(found) > 2 ** (bits - 3)


def test_a_unit_is_active_where_enough_bits_agree() -> None:
    """Of 20 bits at least 14 are 1 at a weight of +1 or 0 at one of -1, and 17 where the bias is -1."""
    network = ThresholdNetwork(20, 100, 0.7, 0)
    x = np.random.default_rng(0).integers(0, 2, (500, 20))
    agreeing = (x[:, None, :] == (network.hidden[None, :, :-1] == 1)).sum(2)
    expected = (agreeing >= np.where(network.hidden[:, -1] == 1, 14, 17)) @ network.output[:-1] + network.output[-1]
    assert network(x).tolist() == expected.tolist()


def test_one_slow_bit_flips_at_every_boundary_and_the_fast_ones_are_uniform() -> None:
    parts = segments(samples=4000)
    slow = []
    for part in parts:
        high, low = part.train_index >> 3, part.train_index & 7
        assert len(np.unique(high)) == 1
        assert np.abs(np.bincount(low, minlength=8) - 500).max() < 5 * (4000 * 7 / 64) ** 0.5
        assert part.test_index.tolist() == [int(high[0]) * 8 + k for k in range(8)]
        assert (part.task, part.classes, part.ordered, part.transform) == (0, (0,), False, None)
        slow.append(int(high[0]))
    flips = [before ^ after for before, after in pairwise(slow)]
    assert all(flip.bit_count() == 1 for flip in flips)
    assert len(set(flips)) == 5


def test_without_a_shift_no_bit_flips_and_the_target_stays() -> None:
    plain, still = segments(), segments(oracle="no_shift")
    assert plain[0].train_index.tolist() == still[0].train_index.tolist()
    assert len({tuple(part.test_index.tolist()) for part in still}) == 1
    assert len({tuple(part.test_labels.tolist()) for part in still}) == 1
    for ours, theirs in zip(plain, still, strict=True):
        assert (ours.train_index & 7).tolist() == (theirs.train_index & 7).tolist()


def test_the_papers_protocol_on_the_real_data() -> None:
    """Twenty bits, 15 of them slow, 100 units, mini-batches of one: what a learner sees, from its mini-batches."""
    data = lookup(DATASETS, "bit_patterns")().load(None)
    made = stream(NAME, dataset="bit_patterns", experiences=3, samples=300)
    assert (made.flipping_bits, made.units, made.beta, made.batch_size, made.normalization) == (15, 100, 0.7, 1, "none")
    assert stream(NAME).samples == 10_000
    parts = made.segments(data.train_y, data.test_y, data.classes, 0)
    network = ThresholdNetwork(20, 100, 0.7, derive_seed(0, "stream", 0))
    for position, experience in enumerate(build_benchmark(data, parts, made.normalization).train_stream):
        batches = list(BatchLoader(experience, 1, 0, position, torch.device("cpu")))
        assert len(batches) == 300
        inputs = torch.cat([x for x, _, _ in batches]).reshape(300, 20).numpy()
        assert set(np.unique(inputs)) == {0, 1}
        assert len(np.unique(inputs[:, :15], axis=0)) == 1
        assert len(np.unique(inputs[:, 15:], axis=0)) == 32
        for x, y in zip(inputs[:5].astype(int).tolist(), torch.cat([y for _, y, _ in batches]).tolist(), strict=False):
            assert y == target_by_hand(network, x, 0.7)
        assert experience.labels.dtype == torch.float32
        assert experience.classes_in_this_experience == []
        assert len(parts[position].test_index) == 32
        x, y, _ = experience.dataset[3]
        assert (y, x.shape) == (experience.labels[3].item(), (1, 1, 20))


def test_edges_run() -> None:
    (only,) = segments(bits=5, experiences=1, samples=1, flipping_bits=5)
    assert len(only.test_index) == 1
    assert len(segments(bits=5, flipping_bits=1)[0].test_index) == 16


@pytest.mark.parametrize(
    ("sizes", "classes", "settings", "message"),
    [
        ((60, 60), 1, {}, "^stream.dataset = 'any': slowly_changing_regression needs 'bit_patterns', every pattern"),
        ((64, 32), 1, {}, "needs 'bit_patterns'"),
        ((64, 64), 4, {}, "needs 'bit_patterns'"),
        ((64, 64), 1, {"flipping_bits": 7}, "^stream.flipping_bits = 7: an input has 6 bits$"),
    ],
)
def test_what_does_not_fit_is_refused(sizes: tuple[int, int], classes: int, settings: dict, message: str) -> None:
    made = stream(NAME, **{"flipping_bits": 3, **settings})
    train, test = (np.zeros(size, dtype=np.int64) for size in sizes)
    with pytest.raises(InputError, match=message):
        made.segments(train, test, classes, 0)
