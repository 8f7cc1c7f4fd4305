"""Which classes come when, under which labels, and what the model is told."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tests.streams.helpers import LABELS, numbered, seen, stream

SETTINGS = ["task_incremental", "class_incremental", "domain_incremental"]


def segments(seed: int = 0, **settings):
    return stream("task_shift", **{"experiences": 5, **settings}).segments(LABELS, LABELS, 10, seed)


@pytest.mark.parametrize("setting", SETTINGS[:2])
def test_every_class_comes_once_and_keeps_its_number(setting: str) -> None:
    made = stream("task_shift", experiences=5, setting=setting)
    found = seen(made)
    came = [set(part.labels.tolist()) for part in found]
    assert [len(labels) for labels in came] == [2] * 5
    assert set.union(*came) == set(range(10))
    for part, segment, labels in zip(found, made.segments(LABELS, LABELS, 10, 0), came, strict=True):
        assert part.labels.tolist() == LABELS[part.index].tolist()
        assert set(segment.test_labels.tolist()) == labels
        assert len(part.index) == len(segment.test_index) == 40
    told = setting == "task_incremental"
    assert [set(part.tasks.tolist()) for part in found] == ([{task} for task in range(5)] if told else [{0}] * 5)
    classes = [set(segment.classes) for segment in made.segments(LABELS, LABELS, 10, 0)]
    assert classes == (came if told else [set(range(10))] * 5)


def test_domain_labels_are_places_within_the_task() -> None:
    order = (9, 0, 3, 2, 1, 4, 5, 6, 7, 8)
    made = stream("task_shift", experiences=5, setting="domain_incremental", class_order=order)
    assert not made.tells_task
    for task, (part, segment) in enumerate(zip(seen(made), made.segments(LABELS, LABELS, 10, 0), strict=True)):
        pairs = set(zip(LABELS[part.index].tolist(), part.labels.tolist(), strict=True))
        assert pairs == {(order[2 * task], 0), (order[2 * task + 1], 1)}
        assert set(zip(LABELS[segment.test_index].tolist(), segment.test_labels.tolist(), strict=True)) == pairs
        assert set(part.tasks.tolist()) == {0}
        assert segment.classes == (0, 1)


def test_orders_of_classes_and_tasks() -> None:
    for seed in (0, 1):
        fixed = [part.classes for part in segments(seed, setting="task_incremental", class_order="fixed")]
        assert fixed == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    given = segments(setting="task_incremental", class_order=[9, 8, 0, 1, 2, 3, 4, 5, 6, 7])
    assert [part.classes for part in given] == [(8, 9), (0, 1), (2, 3), (4, 5), (6, 7)]
    turned = segments(setting="task_incremental", class_order="fixed", task_order=[0, 1, 2, 4, 3])
    assert [part.classes for part in turned] == [(0, 1), (2, 3), (4, 5), (8, 9), (6, 7)]
    assert [part.task for part in turned] == [0, 1, 2, 3, 4]
    drawn = {tuple(part.classes for part in segments(seed, setting="task_incremental", class_order="fixed",
             task_order="random")) for seed in range(5)}  # fmt: skip
    assert len(drawn) > 1
    assert all(sorted(order) == sorted(fixed) for order in drawn)


def test_five_datasets_and_forty_tasks() -> None:
    """The 5-dataset sequence in GPM's order, and TinyImageNet 40 x 5 and 10 x 20."""
    five = numbered(np.arange(250) % 50, 50)
    gpm = stream(
        "task_shift", experiences=5, setting="task_incremental", class_order="fixed", task_order=[0, 1, 2, 4, 3]
    )
    assert [sorted(set((part.labels // 10).tolist())) for part in seen(gpm, data=five)] == [[0], [1], [2], [4], [3]]
    tiny = numbered(np.arange(400) % 200, 200)
    for experiences, classes in ((40, 5), (10, 20)):
        split = seen(stream("task_shift", experiences=experiences, setting="task_incremental"), data=tiny)
        assert [len(set(part.labels.tolist())) for part in split] == [classes] * experiences
        assert len({label for part in split for label in part.labels.tolist()}) == 200


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("samples", [None, 18])
def test_without_a_shift_every_experience_has_its_share_of_every_class(setting: str, samples: int | None) -> None:
    plain, still = (
        stream("task_shift", experiences=5, setting=setting, samples=samples, oracle=oracle)
        for oracle in ("none", "no_shift")
    )
    shifted, mixed = seen(plain), seen(still)
    assert sorted(i for part in mixed for i in part.index) == sorted(i for part in shifted for i in part.index)
    pairs = {pair for part in shifted for pair in zip(LABELS[part.index].tolist(), part.labels.tolist(), strict=True)}
    counts = Counter(LABELS[part.index[k]] for part in shifted for k in range(len(part.index)))
    for part in mixed:
        assert len(part.index) == (samples or 40)
        assert set(zip(LABELS[part.index].tolist(), part.labels.tolist(), strict=True)) <= pairs
        for label, here in Counter(LABELS[part.index].tolist()).items():
            assert abs(here - counts[label] / 5) < 1
        assert len(set(LABELS[part.index].tolist())) == 10
    tests = still.segments(LABELS, LABELS, 10, 0)
    assert all(np.bincount(LABELS[part.test_index]).tolist() == [4] * 10 for part in tests)
    assert len({part.classes for part in tests}) == 1
    assert {part.task for part in tests} == {0}


def test_starting_over_changes_no_data() -> None:
    plain, restart = (segments(setting="task_incremental", oracle=oracle) for oracle in ("none", "restart"))
    for ours, theirs in zip(plain, restart, strict=True):
        assert ours.train_index.tolist() == theirs.train_index.tolist()
        assert (ours.task, ours.classes) == (theirs.task, theirs.classes)


def test_samples_of_a_task_are_drawn_from_its_classes() -> None:
    for part in seen(stream("task_shift", experiences=5, setting="task_incremental", samples=7)):
        assert len(set(part.index.tolist())) == 7
        assert len(set(part.labels.tolist())) <= 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experiences": 3}, "^stream.experiences = 3: does not divide the 10 classes evenly$"),
        ({"samples": 41}, "^stream.samples = 41: classes .* have 40 training images$"),
        ({"class_order": [0, 1]}, r"^stream.class_order = \[0, 1\]: must name each of the 10 classes from 0 on once$"),
        (
            {"task_order": [0, 1, 2, 3, 3]},
            r"task_order = \[0, 1, 2, 3, 3\]: must name each of the 5 tasks from 0",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_data_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segments(setting="task_incremental", **settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stream.class_order=sorted", "stream.class_order = 'sorted': must be 'random' or 'fixed'"),
        ("stream.class_order=[0, -1]", "stream.class_order.1 = -1: must be greater than or equal to 0"),
        ("stream.task_order=[0.5]", "stream.task_order.0 = 0.5: must be a whole number"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_line(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("task_shift_digits", [setting])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_one_experience_holds_everything() -> None:
    (part,) = seen(stream("task_shift", experiences=1, setting="class_incremental", batch_size=1))
    assert sorted(part.index.tolist()) == list(range(200))
