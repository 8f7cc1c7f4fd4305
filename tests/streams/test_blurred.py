"""How classes mix around a boundary, counted from what a strategy sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tests.streams.helpers import LABELS, numbered, seen, stream

WIDE = numbered(np.arange(1000) % 10, 10)


def groups(part, order: str = "fixed") -> np.ndarray:
    return part.labels // 2


@pytest.mark.parametrize("width", [0, 0.2, 0.5, 1])
def test_nothing_is_lost_and_only_neighbours_mix(width: float) -> None:
    made = stream("blurred", experiences=5, class_order="fixed", width=width)
    found = seen(made, data=WIDE)
    assert [len(part.index) for part in found] == [200] * 5
    assert sorted(i for part in found for i in part.index) == list(range(1000))
    half = int(width * 200 / 2)
    for position, part in enumerate(found):
        assert part.labels.tolist() == WIDE.train_y[part.index].tolist()
        assert set(part.tasks.tolist()) == {0}
        start, middle, end = np.split(groups(part), [half, 200 - half])
        assert set(middle.tolist()) <= {position}
        assert set(start.tolist()) <= ({position} if position == 0 else {position - 1, position})
        assert set(end.tolist()) <= ({position} if position == 4 else {position, position + 1})
        if width and 0 < position < 4:
            assert len(set(start.tolist())) == len(set(end.tolist())) == 2
    if not width:
        assert all(set(groups(part).tolist()) == {position} for position, part in enumerate(found))


def test_the_share_of_the_next_group_rises_evenly() -> None:
    """Over 300 seeds: place in the stretch of 100 examples around the boundary, and group of the example there."""
    made = stream("blurred", experiences=2, class_order="fixed", width=0.5)
    data, share = numbered(np.arange(400) % 2, 2), np.zeros(100)
    for seed in range(300):
        first, second = seen(made, seed, data)
        share += np.concatenate([first.labels[-50:], second.labels[:50]])
    expected = (np.arange(100) + 0.5) / 100
    assert share / 300 == pytest.approx(expected, abs=5 * 0.5 / 300**0.5)
    assert np.polyfit(expected, share / 300, 1) == pytest.approx([1, 0], abs=0.05)


def test_test_sets_are_of_one_group_and_the_classes_are_not_told() -> None:
    for position, segment in enumerate(
        stream("blurred", experiences=5, class_order="fixed").segments(LABELS, LABELS, 10, 0)
    ):
        assert set((segment.test_labels // 2).tolist()) == {position}
        assert segment.classes == tuple(range(10))
        assert segment.ordered


def test_the_order_is_drawn_within_an_experience() -> None:
    made = stream("blurred", experiences=5, width=0)
    orders = [seen(made, seed)[0].index.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize("samples", [None, 7])
def test_without_a_shift_every_experience_has_its_share_of_every_class(samples: int | None) -> None:
    plain, still = (
        seen(stream("blurred", experiences=5, samples=samples, oracle=oracle)) for oracle in ("none", "no_shift")
    )
    assert sorted(i for part in plain for i in part.index) == sorted(i for part in still for i in part.index)
    total = Counter(label for part in still for label in part.labels.tolist())
    for part in still:
        assert len(part.index) == (samples or 40)
        counts = Counter(part.labels.tolist())
        assert all(abs(counts[label] - total[label] / 5) < 1 for label in range(10))
        halves = np.split(part.labels, [len(part.labels) // 2])
        assert samples or all(len(set(half.tolist())) > 5 for half in halves)


@pytest.mark.parametrize("width", [0, 0.3, 1])
@pytest.mark.parametrize("samples", [1, 2, 7])
def test_odd_sizes_run(samples: int, width: float) -> None:
    found = seen(stream("blurred", experiences=5, samples=samples, width=width, batch_size=1))
    indices = [i for part in found for i in part.index]
    assert len(indices) == len(set(indices)) == 5 * samples


def test_a_second_pass_is_refused_with_one_line() -> None:
    table = 'stream={name="blurred", dataset="digits", experiences=5, epochs=2}'
    with pytest.raises(InputError, match="^scenario .*: stream.epochs: 2 is not possible: the examples come in one"):
        load_scenario("label_flip_digits", [table])
