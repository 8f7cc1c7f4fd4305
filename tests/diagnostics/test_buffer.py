"""The buffer against a simulation in plain Python of what goes in and out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tests.diagnostics.helpers import Watch, cosine, measured, values, whole

NAMES = ("buffer_occupancy", "buffer_age", "buffer_priority", "buffer_accepted", "buffer_cosine")
C, DECAY, BETA = 3, 0.99, 0.8


class Seen(NamedTuple):
    """The buffer after an update, and the angle that the update used."""

    ages: list[int]
    priorities: list[float]
    accepted: bool
    cosine: float | None


def simulate(watch: Watch) -> list[Seen]:
    """Run the table of critical momenta on the gradients that came: slots as (priority, age, momentum)."""
    slots: list[tuple[float, int, np.ndarray]] = []
    momentum = np.zeros_like(whole(watch.grads[0]))
    seen = []
    for grads in watch.grads:
        gradient = whole(grads)
        momentum = BETA * momentum + (1 - BETA) * gradient
        angle = cosine(np.mean([m for *_, m in slots], axis=0), momentum) if slots else None
        priority = float(np.linalg.norm(gradient))
        accepted = len(slots) < C
        if not accepted:
            weakest = min(range(C), key=lambda slot: slots[slot][0])
            accepted = priority > slots[weakest][0]
            if accepted:
                slots.pop(weakest)
        if accepted:
            slots.append((priority, 0, momentum))
        slots = [(DECAY * p, age + 1, m) for p, age, m in slots]
        seen.append(Seen([age for _, age, _ in slots], [p for p, _, _ in slots], accepted, angle))
    return seen


@pytest.mark.parametrize("every", [1, 4])
def test_the_buffer_is_what_a_simulation_says(every: int) -> None:
    options = {"capacity": C, "decay": DECAY, "betas": (BETA, 0.999), "variant": "paper", "lr": 0.001}
    rows, watch, _ = measured("adam_cm", *NAMES, every=every, **options)
    seen = simulate(watch)
    last = -1
    steps = [step for start in (0, 10) for step in range(start, start + 10, every)]
    assert values(rows, "buffer_age").index.tolist() == steps
    for step in steps:
        now = seen[step]
        assert values(rows, "buffer_occupancy")[step] == len(now.ages) / C
        assert values(rows, "buffer_age")[step] == pytest.approx(np.mean(now.ages))
        assert values(rows, "buffer_priority")[step] == pytest.approx(np.mean(now.priorities), rel=1e-5)
        since = [each.accepted for each in seen[last + 1 : step + 1]]
        assert values(rows, "buffer_accepted")[step] == pytest.approx(np.mean(since))
        last = step
        if now.cosine is not None:
            assert values(rows, "buffer_cosine")[step] == pytest.approx(now.cosine, abs=1e-5)
    assert 0 not in values(rows, "buffer_cosine").index
    assert 0 < np.mean([each.accepted for each in seen]) < 1


def test_each_tensor_has_its_cosine() -> None:
    rows, watch, _ = measured("adam_cm", "buffer_cosine", capacity=2, decay=1.0, lr=0.001, variant="paper")
    name = "head.linear.weight"
    for step in range(1, 19):
        before, after = watch.states[step][name], watch.states[step + 1][name]
        mean = before["buffer"][: min(step, 2)].double().mean(0).numpy()
        expected = cosine(mean, after["exp_avg"].double().numpy())
        assert values(rows, "buffer_cosine", name)[step] == pytest.approx(expected, abs=1e-6)


def test_a_buffer_without_slots_has_no_rows() -> None:
    rows, _, _ = measured("adam_cm", *NAMES, capacity=0)
    assert set(rows["diagnostic"]) <= {"buffer_accepted"}
    assert (rows["value"] == 0).all()
