"""Which labels flip, and how, is counted from the mini-batches that a strategy gets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario, parse
from tests.streams.helpers import LABELS, concept, numbered, seen, stream

FRACTIONS = [0, 0.2, 0.8, 1]
PERMUTING = ["cycle", "permutation", "derangement", "swap", "recurring"]


def concepts(seed: int = 0, **settings) -> list[dict[int, int]]:
    made = stream("label_flip", **{"experiences": 8, "samples": 100, **settings})
    return [concept(experience) for experience in seen(made, seed)]


def changed(before: dict[int, int], after: dict[int, int]) -> int:
    return sum(before[label] != after[label] for label in range(10))


# Classes


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("kind", [None, "cycle", "derangement", "swap", "symmetric", "recurring"])
def test_exactly_that_many_classes_change_at_every_boundary(kind: str | None, fraction: float) -> None:
    for seed in range(3):
        found = concepts(seed, kind=kind, fraction=fraction)
        assert found[0] == {label: label for label in range(10)}
        assert [changed(*pair) for pair in pairwise(found)] == [round(10 * fraction)] * 7


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_permutation_changes_at_most_that_many_classes_and_one_less_than_chosen_on_average(fraction: float) -> None:
    counts = [
        changed(*pair) for seed in range(40) for pair in pairwise(concepts(seed, kind="permutation", fraction=fraction))
    ]
    assert max(counts) <= round(10 * fraction)
    assert 1 not in counts
    # A uniform permutation leaves one place as it was in expectation, with variance 1: 280 draws, four deviations.
    assert np.mean(counts) == pytest.approx(max(0, round(10 * fraction) - 1), abs=4 / 280**0.5)


@pytest.mark.parametrize("kind", PERMUTING)
def test_no_class_merges_with_another_unless_the_flip_is_symmetric(kind: str) -> None:
    assert all(sorted(found.values()) == list(range(10)) for found in concepts(kind=kind, fraction=1))
    merged = concepts(kind="symmetric", fraction=1)
    assert any(len(set(found.values())) < 10 for found in merged)
    assert len(set(merged[-1].values())) > 1


@pytest.mark.parametrize("kind", [None, "permutation", "derangement", "swap", "symmetric", "recurring"])
@pytest.mark.parametrize("cumulative", [True, False])
def test_stable_classes_keep_their_labels_and_give_them_to_no_other(kind: str | None, cumulative: bool) -> None:
    kept = set()
    for seed in range(5):
        found = concepts(seed, kind=kind, fraction=1, stable_classes=4, cumulative=cumulative)
        stable = {label for label in range(10) if all(each[label] == label for each in found)}
        assert len(stable) == 4
        assert not {each[label] for each in found for label in set(range(10)) - stable} & stable
        kept.add(frozenset(stable))
    assert len(kept) > 1, "which classes they are depends on the seed"


def test_a_partial_permutation_is_drawn_anew_from_the_labels_of_the_data_set() -> None:
    """Of four classes two stay: the others exchange their labels or do not, whatever they did before."""
    settings = {"kind": "permutation", "fraction": 1, "stable_classes": 8, "compose": False}
    found = [each for seed in range(30) for each in concepts(seed, **settings)[1:]]
    exchanged = [changed(each, {label: label for label in range(10)}) for each in found]
    assert set(exchanged) == {0, 2}
    # a fair coin, thrown 210 times: 105 with a deviation of 7.2
    assert exchanged.count(2) == pytest.approx(105, abs=4 * 7.2)
    for seed in range(5):  # a cycle of two from the data set's labels is always the same; on the one before, undone
        settings["kind"] = "cycle"
        assert len({tuple(sorted(each.items())) for each in concepts(seed, **settings)[1:]}) == 1
        assert concepts(seed, **settings | {"compose": True})[2] == {label: label for label in range(10)}


def test_what_was_not_asked_for_is_not_written_so_that_cells_keep_their_names() -> None:
    plain = load_scenario("label_flip_digits").dump()["stream"]
    assert not {"stable_classes", "compose"} & set(plain)
    scenario = load_scenario("label_flip_digits", ["stream.stable_classes=3", "stream.compose=false"])
    written = scenario.dump()["stream"]
    assert (written["stable_classes"], written["cumulative"]) == (3, False)
    assert parse(scenario.dump()) == scenario
    for settings in ([], ["stream.stable_classes=3"]):
        assert load_scenario("label_flip_digits", settings).stream.stable_classes == 3 * len(settings)


def test_a_stable_class_takes_part_in_no_count() -> None:
    found = concepts(fraction=0.5, stable_classes=2)
    assert [changed(*pair) for pair in pairwise(found)] == [4] * 7  # half of the other eight


def step(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    """From a label before the boundary to the label of the same images after it."""
    return {before[label]: after[label] for label in before}


def loops(sigma: dict[int, int]) -> list[int]:
    """Lengths of the loops of a permutation, without those of one class."""
    lengths, left = [], set(sigma)
    while left:
        label, length = left.pop(), 1
        while sigma[label] in left:
            label, length = sigma[label], length + 1
            left.remove(label)
        lengths.append(length)
    return sorted(length for length in lengths if length > 1)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8, 1])
def test_loops_of_each_kind(fraction: float) -> None:
    count = round(10 * fraction)
    for pair in pairwise(concepts(kind="cycle", fraction=fraction)):
        assert loops(step(*pair)) == [count]
    for pair in pairwise(concepts(kind="swap", fraction=fraction)):
        assert loops(step(*pair)) == [2] * (count // 2)
    for pair in pairwise(concepts(kind="derangement", fraction=fraction)):
        assert sum(loops(step(*pair))) == count


def test_derangements_are_uniform() -> None:
    """Of the nine derangements of four classes six are one loop and three are two pairs."""
    data = numbered(np.arange(40) % 4, 4)
    made = stream("label_flip", experiences=400, fraction=1, kind="derangement")
    found = [tuple(concept(part, data.train_y)[label] for label in range(4)) for part in seen(made, data=data)]
    steps = [tuple(after[before.index(label)] for label in range(4)) for before, after in pairwise(found)]
    kinds, counts = np.unique(steps, axis=0, return_counts=True)
    assert len(kinds) == 9
    assert counts.min() > 399 / 9 - 4 * (399 * 8 / 81) ** 0.5
    assert counts.max() < 399 / 9 + 4 * (399 * 8 / 81) ** 0.5


def test_an_odd_number_of_classes_to_swap_is_rounded_down() -> None:
    assert [changed(*pair) for pair in pairwise(concepts(kind="swap", fraction=0.7))] == [6] * 7


def test_recurring_flips_alternate_between_two_concepts() -> None:
    found = concepts(kind="recurring", fraction=0.6)
    assert found[0::2] == [found[0]] * 4
    assert found[1::2] == [found[1]] * 4
    assert loops(step(found[0], found[1])) == [6]


@pytest.mark.parametrize("kind", ["cycle", "permutation", "derangement", "swap", "symmetric"])
def test_flips_add_up_or_start_from_the_data_sets_labels(kind: str) -> None:
    original = {label: label for label in range(10)}
    alone = concepts(kind=kind, fraction=0.4, cumulative=False)
    assert all(changed(original, found) <= 4 for found in alone)
    assert len({tuple(sorted(found.items())) for found in alone}) > 3
    assert changed(original, concepts(kind=kind, fraction=0.4)[-1]) > 4


def test_a_list_of_fractions_is_taken_in_turn_and_again() -> None:
    found = concepts(fraction=[0.2, 0.4, 0.6, 0.8, 1.0])
    assert [changed(*pair) for pair in pairwise(found)] == [2, 4, 6, 8, 10, 2, 4]
    assert [changed(*pair) for pair in pairwise(concepts(fraction=[0, 1]))] == [0, 10] * 3 + [0]


def test_class_flip_takes_fresh_images_until_they_are_used_up() -> None:
    drawn = [set(part.index.tolist()) for part in seen(stream("label_flip", experiences=6, fraction=1, samples=60))]
    assert len(set.union(*drawn[:3])) == len(set.union(*drawn[3:])) == 180
    assert drawn[0] != drawn[3]


@pytest.mark.parametrize("unit", ["class", "example"])
def test_images_and_their_order_do_not_depend_on_the_flip(unit: str) -> None:
    settings = [{"fraction": f} for f in FRACTIONS] + [{"fraction": 1, "oracle": "no_shift"}]
    settings += [{"fraction": 1, "kind": "recurring"}]
    found = [seen(stream("label_flip", unit=unit, samples=50, **setting)) for setting in settings]
    for parts in zip(*found, strict=True):
        assert len({tuple(part.index.tolist()) for part in parts}) == 1


def test_test_labels_follow_the_concept() -> None:
    for kind in [*PERMUTING, "symmetric"]:
        made = stream("label_flip", experiences=5, fraction=0.8, kind=kind, samples=100)
        segments = made.segments(LABELS, LABELS[:50], 10, 2)
        for segment, experience in zip(segments, seen(made, 2), strict=True):
            found = concept(experience)
            assert segment.test_index.tolist() == list(range(50))
            assert segment.test_labels.tolist() == [found[label] for label in LABELS[:50].tolist()]


def test_without_a_shift_nothing_is_flipped() -> None:
    for settings in ({}, {"unit": "example"}, {"kind": "recurring"}, {"width": 3}, {"kind": "symmetric"}):
        for part in seen(stream("label_flip", fraction=1, samples=50, oracle="no_shift", **settings)):
            assert part.labels.tolist() == LABELS[part.index].tolist()


# Examples


def by_image(experience) -> np.ndarray:
    """Labels in the order of the images."""
    return experience.labels[np.argsort(experience.index)]


@pytest.mark.parametrize("kind", [None, "symmetric", "recurring"])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_exactly_that_many_examples_change(fraction: float, kind: str | None) -> None:
    made = stream("label_flip", fraction=fraction, unit="example", kind=kind, samples=50, experiences=5)
    found = seen(made, seed=1)
    assert by_image(found[0]).tolist() == LABELS[np.sort(found[0].index)].tolist()
    for before, after in pairwise(found):
        assert sorted(before.index.tolist()) == sorted(after.index.tolist())
        assert (by_image(before) != by_image(after)).sum() == round(50 * fraction)
    for before, after in pairwise(made.segments(LABELS, LABELS, 10, 1)):
        assert (before.test_labels != after.test_labels).sum() == round(200 * fraction)
    if kind == "recurring":
        assert by_image(found[0]).tolist() == by_image(found[2]).tolist() == by_image(found[4]).tolist()


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_shuffled_examples_keep_the_counts_of_the_labels(fraction: float) -> None:
    made = stream("label_flip", fraction=fraction, unit="example", kind="permutation", experiences=5)
    found = [by_image(part) for part in seen(made)]
    for before, after in pairwise(found):
        assert np.bincount(before).tolist() == np.bincount(after).tolist()
        assert (before != after).sum() <= round(200 * fraction)
        # Of n shuffled labels of ten equally large classes nine in ten change.
        assert (before != after).sum() == pytest.approx(0.9 * 200 * fraction, abs=15)


def test_a_symmetric_flip_reaches_every_other_class() -> None:
    made = stream("label_flip", experiences=2, fraction=1, unit="example")
    found = seen(made, data=numbered(np.zeros(2000, dtype=np.int64), 10))[1]
    counts = np.bincount(found.labels, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 150


# Gradual


@pytest.mark.parametrize("width", [1, 5, 20])
@pytest.mark.parametrize("unit", ["class", "example"])
def test_the_old_concept_gives_way_evenly_over_the_width(unit: str, width: int) -> None:
    """Share of examples with the label before, by place in the experience, over 600 experiences."""
    made = stream("label_flip", experiences=601, fraction=1, unit=unit, samples=200, width=width)
    sharp = stream("label_flip", experiences=601, fraction=1, unit=unit, samples=200)
    labels = [by_image(part) for part in seen(sharp)]
    is_old = np.zeros(200)
    for before, after, part in zip(labels[:-1], labels[1:], seen(made)[1:], strict=True):
        place = np.argsort(np.argsort(part.index))
        assert ((part.labels == before[place]) | (part.labels == after[place])).all()
        is_old += part.labels == before[place]
    expected = np.clip(1 - np.arange(200) / (10 * width), 0, 1)
    assert is_old[0] == 600
    assert (is_old[10 * width :] == 0).all()
    assert is_old / 600 == pytest.approx(expected, abs=5 * 0.5 / 600**0.5)


def test_a_gradual_flip_keeps_the_images_and_the_final_concept() -> None:
    sharp, gradual = (stream("label_flip", fraction=1, samples=60, width=width) for width in (0, 6))
    for one, other in zip(sharp.segments(LABELS, LABELS, 10, 0), gradual.segments(LABELS, LABELS, 10, 0), strict=True):
        assert one.test_labels.tolist() == other.test_labels.tolist()
        assert one.train_index.tolist() == sorted(other.train_index.tolist())
        assert (one.ordered, other.ordered) == (False, True)
    first = seen(gradual)[0]
    assert first.labels.tolist() == LABELS[first.index].tolist()
    assert first.index.tolist() != sorted(first.index.tolist())


def test_width_at_its_largest_and_beyond() -> None:
    last = seen(stream("label_flip", fraction=1, samples=35, width=4))[-1]
    assert last.sizes == [10, 10, 10, 5]
    with pytest.raises(InputError, match="^stream.width = 5: an experience has 4 mini-batches$"):
        seen(stream("label_flip", fraction=1, samples=35, width=5))
    single = seen(stream("label_flip", fraction=1, samples=1, width=1, batch_size=1))
    assert [part.sizes for part in single] == [[1]] * 4


# What does not fit


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"fraction": 0.1},
            r"stream.fraction = 0.1: of 10 classes that is 1; .* 2 classes \(fraction >= 0.2\)$",
        ),
        ({"fraction": 0.1, "kind": "swap"}, "of 10 classes that is 1; a flip needs 0 or at least 2 classes"),
        ({"fraction": 0.04, "kind": "symmetric"}, "of 10 classes that is 0; a flip needs 0 or at least 1 class "),
        ({"fraction": [1, 0.1]}, "stream.fraction = 0.1: of 10 classes that is 1"),
        ({"fraction": 0.2, "samples": 201}, "^stream.samples = 201: the training set has 200 images$"),
    ],
)
def test_flips_that_do_not_fit_the_data_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        seen(stream("label_flip", **settings))


def test_one_class_has_nothing_to_flip_to() -> None:
    data = numbered(np.zeros(20, dtype=np.int64), 1)
    for unit in ("class", "example"):
        with pytest.raises(InputError, match="^stream.fraction = 1.0: a flip needs 2 classes, the data set has 1$"):
            seen(stream("label_flip", fraction=1.0, unit=unit), data=data)
        assert len(seen(stream("label_flip", fraction=0, unit=unit), data=data)) == 4
    message = "^stream.stable_classes = 9: a flip needs 2 classes, the data set has 1 besides these$"
    with pytest.raises(InputError, match=message):
        seen(stream("label_flip", fraction=1.0, stable_classes=9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stream.kind=cycl"], "stream.kind = 'cycl': must be 'cycle', 'permutation', 'derangement', 'swap', "),
        (
            ["stream.kind=swap", "stream.unit=example"],
            "stream.kind: 'swap' is no flip of examples, which may be one of 'symmetric', 'permutation', 'recurring'",
        ),
        (["stream.fraction=[0.5, 2]"], "stream.fraction.1 = 2: must be less than or equal to 1"),
        (["stream.fraction=[]"], "stream.fraction: is an empty list"),
        (["stream.fraction=nan"], "stream.fraction = nan: must be a finite number"),
        (["stream.fraction=half"], "stream.fraction = 'half': must be a number"),
        (["stream.kind=recurring", "stream.fraction=[0.5, 1]"], "stream.fraction: must be one number for a recurring"),
        (["stream.width=2", "stream.epochs=2"], "stream.width: 2 needs epochs = 1"),
        (["stream.width=-1"], "stream.width = -1: must be greater than or equal to 0"),
        (["stream.cumulative=1"], "stream.cumulative = 1: must be true or false"),
        (
            ["stream.normalization=images"],
            "stream.normalization = 'images': must be 'channel', 'task', 'signed' or 'none'",
        ),
        (["stream.stable_classes=1", "stream.unit=example"], "stream.stable_classes: is for unit = 'class'"),
        (["stream.stable_classes=-1"], "stream.stable_classes = -1: must be greater than or equal to 0"),
        (["stream.compose=1"], "stream.compose = 1: must be true or false"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_line(settings: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("label_flip_digits", settings)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_lists_of_a_scenario_file_are_read_and_written() -> None:
    scenario = load_scenario("label_flip_digits", ["stream.fraction=[0.2, 1]"])
    assert scenario.stream.fraction == (0.2, 1)
    assert scenario.dump()["stream"]["fraction"] == [0.2, 1]
    with pytest.raises(ValidationError, match="Input should be a valid number"):
        stream("label_flip", fraction="0.5")
