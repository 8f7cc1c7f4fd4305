"""Permuted and random labels, as a strategy sees them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.streams.helpers import LABELS, concept, numbered, seen, stream


def test_label_permuted_composes_permutations_over_images_drawn_anew() -> None:
    made = stream("label_permuted", experiences=60, samples=100, batch_size=1)
    found = seen(made)
    maps = [concept(part) for part in found]
    assert maps[0] == {label: label for label in range(10)}
    assert all(sorted(each.values()) == list(range(10)) for each in maps)
    stays = [sum(before[label] == after[label] for label in range(10)) for before, after in pairwise(maps)]
    assert np.mean(stays) == pytest.approx(1, abs=4 / 59**0.5)  # a uniform permutation has one fixed point on average
    assert all(part.sizes == [1] * 100 for part in found)
    drawn = [set(part.index.tolist()) for part in found]
    assert all(len(each) == 100 for each in drawn)
    # Drawn from all 200 each time: two experiences share 50 images on average, and not 0 or 100.
    assert np.mean([len(a & b) for a, b in pairwise(drawn)]) == pytest.approx(50, abs=4)
    for segment, each in zip(made.segments(LABELS, LABELS, 10, 0), maps, strict=True):
        assert segment.test_labels.tolist() == [each[label] for label in LABELS.tolist()]


def test_label_permuted_without_a_shift() -> None:
    plain, still = (seen(stream("label_permuted", samples=50, oracle=oracle)) for oracle in ("none", "no_shift"))
    for ours, theirs in zip(plain, still, strict=True):
        assert ours.index.tolist() == theirs.index.tolist()
        assert theirs.labels.tolist() == LABELS[theirs.index].tolist()


def by_image(part) -> np.ndarray:
    return part.labels[np.argsort(part.index)]


def test_random_labels_are_uniform_and_drawn_anew_for_the_same_images() -> None:
    made = stream("random_labels", experiences=50, samples=120, batch_size=16, epochs=2)
    found = seen(made)
    assert len({frozenset(part.index.tolist()) for part in found}) == 1
    labels = []
    for part in found:
        passes = [by_image(part._replace(index=index, labels=these)) for index, these in zip(
            np.split(part.index, 2), np.split(part.labels, 2), strict=True)]  # fmt: skip
        assert passes[0].tolist() == passes[1].tolist()
        labels.append(passes[0])
    # 6,000 draws, first experience included: counts of ten values within five deviations, repeats as by chance.
    assert np.abs(np.bincount(np.concatenate(labels), minlength=10) - 600).max() < 5 * (6000 * 0.09) ** 0.5
    same = np.mean([(before == after).mean() for before, after in pairwise(labels)])
    assert same == pytest.approx(0.1, abs=5 * (0.09 / 5880) ** 0.5)
    agree = np.mean(np.concatenate(labels) == np.tile(LABELS[np.sort(np.split(found[0].index, 2)[0])], 50))
    assert agree == pytest.approx(0.1, abs=5 * (0.09 / 6000) ** 0.5)


def test_random_labels_of_the_test_images_are_random_too() -> None:
    segments = stream("random_labels", experiences=30).segments(LABELS, LABELS, 10, 0)
    assert np.mean([part.test_labels == LABELS for part in segments]) == pytest.approx(0.1, abs=0.02)


def test_random_labels_without_a_shift_stay() -> None:
    plain, still = (seen(stream("random_labels", samples=50, oracle=oracle)) for oracle in ("none", "no_shift"))
    assert by_image(plain[0]).tolist() == by_image(still[0]).tolist()
    assert all(by_image(part).tolist() == by_image(still[0]).tolist() for part in still)
    assert by_image(plain[1]).tolist() != by_image(plain[0]).tolist()


@pytest.mark.parametrize("name", ["label_permuted", "random_labels"])
def test_labels_differ_over_seeds_and_edges_run(name: str) -> None:
    assert seen(stream(name), 0)[1].labels.tolist() != seen(stream(name), 1)[1].labels.tolist()
    (only,) = seen(stream(name, experiences=1, samples=1, batch_size=1))
    assert only.sizes == [1]
    one_class = numbered(np.zeros(8, dtype=np.int64), 1)
    assert all(set(part.labels.tolist()) == {0} for part in seen(stream(name), data=one_class))
