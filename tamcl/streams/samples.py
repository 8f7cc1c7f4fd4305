"""Which images an experience takes, and in which order: arrays of positions in a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tamcl.data.checked import some_classes
from tamcl.errors import InputError
from tamcl.streams.base import Indices
from tamcl.streams.fields import Order


def draws(length: int, samples: int, seed: int) -> Iterator[Indices]:
    """Yield ``samples`` numbers below ``length``, none twice; none comes again before the others are nearly used up."""
    if samples == length:
        yield from _everything(length)
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(length)
        for start in range(0, length - samples + 1, samples):
            yield np.sort(order[start : start + samples])


def redraws(length: int, samples: int, seed: int) -> Iterator[Indices]:
    """Yield ``samples`` numbers below ``length``, none twice, each time drawn from all of them."""
    if samples == length:
        yield from _everything(length)
    rng = np.random.default_rng(seed)
    while True:
        yield np.sort(rng.choice(length, samples, replace=False, shuffle=False))


def _everything(length: int) -> Iterator[Indices]:
    numbers = np.arange(length)
    while True:  # one array for all: 800 experiences of 60,000 images would be 400 MB
        yield numbers


def groups(class_order: Order, classes: int, experiences: int, rng: np.random.Generator) -> list[Indices]:
    """Split the classes evenly over the experiences.

    Raises
    ------
    InputError
        If they do not divide evenly, or a given order does not name each class once.
    """
    if classes % experiences:
        raise InputError(f"stream.experiences = {experiences}: does not divide the {classes} classes evenly")
    return np.split(arrange(class_order, classes, "class_order", "classes", rng), experiences)


def arrange(order: Order, length: int, setting: str, what: str, rng: np.random.Generator) -> Indices:
    """Return the numbers below ``length`` in the order that a setting asks for.

    Raises
    ------
    InputError
        If a given order does not name each of them once.
    """
    if isinstance(order, str):
        return rng.permutation(length) if order == "random" else np.arange(length)
    if sorted(order) != list(range(length)):
        raise InputError(f"stream.{setting} = {list(order)}: must name each of the {length} {what} from 0 on once")
    return np.array(order, dtype=np.int64)


def members_of_each(
    tasks: Sequence[Indices], labels: Indices, samples: int | None, part: str, rng: np.random.Generator
) -> list[Indices]:
    """Return the ``members`` of each task.

    Parameters
    ----------
    part : {"training", "test"}
        What the labels belong to, for the error message.

    Raises
    ------
    InputError
        If a task has no images: nothing could be learnt in it, or measured of it.
    """
    found = [members(labels, np.sort(group), samples, rng) for group in tasks]
    lacking = [
        f"{some_classes(np.sort(group).tolist())} (experience {task})"
        for task, (group, rows) in enumerate(zip(tasks, found, strict=True))
        if not len(rows)
    ]
    if lacking:
        few = lacking if len(lacking) <= 10 else [*lacking[:10], f"of {len(lacking) - 10} experiences more"]
        raise InputError(
            f"stream.experiences = {len(tasks)}: there are no {part} images of {', '.join(few)}; each experience needs "
            "some"
        )
    return found


def members(labels: Indices, group: Indices, samples: int | None, rng: np.random.Generator) -> Indices:
    """Return where the classes of a group are, or ``samples`` of these places at random.

    Raises
    ------
    InputError
        If there are fewer.
    """
    found = np.flatnonzero(np.isin(labels, group))
    if samples is None:
        return found
    if samples > len(found):
        of = some_classes(np.sort(group).tolist())
        have = "has" if len(group) == 1 else "have"
        raise InputError(f"stream.samples = {samples}: {of} {have} {len(found)} training images")
    return np.sort(rng.permutation(found)[:samples])


def deal(parts: Sequence[Indices], labels: Indices, rng: np.random.Generator) -> list[Indices]:
    """Deal the images of all parts out again, as many to each part as it had, every class evenly over the parts.

    Examples
    --------
    >>> parts = deal([np.array([0, 1]), np.array([2, 3])], np.array([5, 5, 7, 7]), np.random.default_rng(0))
    >>> [[5, 5, 7, 7][image] for part in parts for image in part]
    [5, 7, 5, 7]
    """
    pool = np.concatenate(parts)
    place = np.empty(len(pool))
    for label in np.unique(labels[pool]):
        rows = np.flatnonzero(labels[pool] == label)
        place[rows] = (rng.permutation(len(rows)) + rng.random()) / len(rows)  # at equal distances over all the parts
    ends = np.cumsum([len(part) for part in parts])
    return [np.sort(part) for part in np.split(pool[np.argsort(place, kind="stable")], ends[:-1])]
