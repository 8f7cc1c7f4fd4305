"""Mini-batches that are not full can be left out, and everything that counts updates knows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.strategies.settings import TrainingSettings
from tamcl.study.estimate import estimate
from tamcl.training.build import check_step, load_data, plan
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.training.running import lay_ground
from tests.strategies.test_loader import loader

SHORT = ["stream.experiences=3", "stream.samples=57", "stream.epochs=2", "model.hidden=[8]", "evaluation.samples=20"]
DROP = "stream.drop_last=true"


def scenario_of(*settings: str, name: str = "label_flip_digits", arms: tuple[str, ...] = ("tam",)) -> Scenario:
    return load_scenario(name, [*SHORT, *settings], arms)


def online(*settings: str, name: str = "label_flip_digits") -> Any:
    scenario = scenario_of(*settings, name=name)
    outcome = run_cell(Cell(scenario, "tam", 0.05, seed=0, phase="report"))
    assert outcome.runs["status"].item() == "ok", outcome.runs["error"].item()
    return outcome.online


def test_the_last_of_each_pass_is_left_out_and_the_others_are_the_same() -> None:
    all_of_them, full = loader(batch_size=10, seed=2), loader(batch_size=10, seed=2, drop_last=True)
    assert (len(all_of_them), len(full)) == (5, 4)
    for _ in range(2):
        pairs = zip(list(full), list(all_of_them)[:4], strict=True)
        assert all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
    assert [len(loader(batch_size=size, drop_last=True)) for size in (45, 46)] == [1, 0]


@pytest.mark.parametrize(
    "settings",
    [["strategy.stacked=false"], [], *([f"strategy.name={name}"] for name in ("joint", "replay", "ewc"))],
)
def test_every_experience_has_its_full_mini_batches_twice(settings: list[str]) -> None:
    assert online(DROP, *settings)["n"].tolist() == [10] * (3 * 2 * 5)
    assert online(*settings)["n"].tolist() == ([10] * 5 + [7]) * 3 * 2


def test_cumulative_training_leaves_out_what_all_examples_so_far_leave() -> None:
    found = online(DROP, "strategy.name=cumulative").groupby("experience")["n"].agg(["size", "sum"])
    assert found.to_numpy().tolist() == [[10, 100], [22, 220], [34, 340]]  # of 57, 114 and 171 examples


def test_the_schedule_over_the_stream_ends_with_the_last_update() -> None:
    """Steps of warmup 1.0 rise in a line over 30 updates: the mean rate seen by hand is that of the run."""
    rates: list[float] = []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    globals()["Noting"] = Noting
    schedule = 'strategy.schedule={ name = "warmup", over = "stream", warmup = 1.0 }'
    scenario = scenario_of(DROP, schedule, f'arms.x={{ optimizer = "{__name__}:Noting", lr = [1.0] }}', arms=("x",))
    run_cell(Cell(scenario, "x", 1.0, seed=0, phase="report"))
    np.testing.assert_allclose(rates, np.arange(1, 31) / 31)


def test_plan_counts_what_is_trained_and_tests_inside() -> None:
    assert estimate(scenario_of(DROP)).steps == 3 * 2 * 5
    assert estimate(scenario_of()).steps == 3 * 2 * 6


class Failing(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("no step")


def test_an_arm_is_tried_with_a_mini_batch_that_is_not_left_out() -> None:
    scenario = scenario_of(DROP, f'arms.x={{ optimizer = "{__name__}:Failing", lr = [1.0] }}', arms=("x",))
    data = load_data("digits", Resources())
    with pytest.raises(InputError, match="arms.x: its first steps fail: ValueError: no step"):
        check_step(scenario, "x", data, plan(scenario, data, 0))


def test_what_would_leave_nothing_is_refused_and_what_leaves_one_is_not() -> None:
    assert online(DROP, "stream.batch_size=57")["n"].tolist() == [57] * 6
    message = "stream.drop_last = true: experience 0 has 57 training examples, none of which would be left in mini-"
    with pytest.raises(InputError, match=message):
        estimate(scenario_of(DROP, "stream.batch_size=58"))


def test_a_gradual_flip_counts_the_mini_batches_that_are_trained_on() -> None:
    online(DROP, "stream.epochs=1", "stream.width=5")
    with pytest.raises(InputError, match="stream.width = 6: an experience has 5 mini-batches"):
        online(DROP, "stream.epochs=1", "stream.width=6")


@pytest.mark.parametrize("name", ["label_flip_digits", "task_shift_digits"])
def test_without_it_everything_is_named_as_ever(name: str) -> None:
    changes = ["stream.experiences=5", "stream.samples=30"]
    plain, off, on = (
        scenario_of(*changes, *more, name=name) for more in ([], ["stream.drop_last=false"], ["stream.drop_last=true"])
    )
    cells = [Cell(each, "tam", 0.05, seed=0, phase="report") for each in (plain, off, on)]
    assert "drop_last" not in plain.dump()["stream"]
    assert "drop_last" not in cells[0].config["stream"]
    assert cells[0].id == cells[1].id != cells[2].id
    assert load_scenario(name, [*SHORT, *changes, DROP]).dump()["stream"]["drop_last"] is True


def test_runs_that_are_given_other_examples_are_no_pair() -> None:
    grounds = [lay_ground(scenario_of(*more), Resources(), seed=0) for more in ([], [DROP])]
    assert grounds[0].digest != grounds[1].digest
    assert grounds[0].order != grounds[1].order


def test_settings_of_a_strategy_say_true_or_false() -> None:
    with pytest.raises(InputError, match="drop_last = 1: must be True or False"):
        TrainingSettings(drop_last=1)  # type: ignore[arg-type]
