"""Schedules of the learning rate are torch's, however a run is trained; clipped gradients are as long as asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from tamcl.avalanche import SupervisedPlugin
from tamcl.errors import InputError
from tamcl.models.classifier import build_classifier
from tamcl.optim import OPTIMIZERS, SAM
from tamcl.registry import lookup
from tamcl.scenario.load import load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import why_not_compiled
from tamcl.strategies import STRATEGIES, Cumulative, Joint, Naive
from tamcl.strategies.schedule import Schedule
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell, run_cells
from tests.helpers import noise_data, noise_segments
from tests.strategies.helpers import build

DATA = noise_data(samples=50)
"""Five mini-batches of ten an experience."""

PARTS = noise_segments(DATA, experiences=3)


class Rates(SupervisedPlugin):  # type: ignore[misc]
    """Notes the learning rates of all groups before each update, and the length of the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[float]] = []
        self.norms: list[float] = []

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        self.seen.append([group["lr"] for group in strategy.optimizer.param_groups])
        gradients = np.concatenate([param.grad.flatten().numpy() for param in strategy.model.parameters()])
        self.norms.append(float(np.sqrt((gradients.astype(float) ** 2).sum())))


def two_groups(parameters: Any) -> torch.optim.Optimizer:
    first, *others = parameters
    return torch.optim.SGD([{"params": [first], "lr": 0.3}, {"params": others}], lr=0.1)


def trained(strategy: type[Naive] = Naive, optimizer: Any = two_groups, **settings: Any) -> tuple[Naive, Rates]:
    rates, tasks = Rates(), {0: tuple(range(10))}
    model = build_classifier("mlp", "single", {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)
    training = build(strategy, model, optimizer, plugins=[rates], **settings)
    for experience in build_benchmark(DATA, PARTS).train_stream:
        training.train(experience, eval_streams=[])
    return training, rates


def torchs(total: int, warmup: int, then: Any) -> list[float]:
    """What torch's schedulers, one after the other, give of a learning rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler: LRScheduler = then(optimizer)
    if warmup:
        rising = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        scheduler = SequentialLR(optimizer, [rising, then(optimizer)], milestones=[warmup])
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("total", [1, 7, 40])
def test_shares_are_those_of_torchs_schedulers(total: int, warmup: float) -> None:
    rising = round(warmup * total)
    left = max(1, total - rising)
    cosine = torchs(total, rising, lambda optimizer: CosineAnnealingLR(optimizer, T_max=left))
    found = Schedule(name="cosine", warmup=warmup).shares(range(total), total)
    np.testing.assert_allclose(found, cosine, atol=1e-12)
    drops = [round(0.6 * total) - rising, round(0.8 * total) - rising]
    step = torchs(total, rising, lambda optimizer: MultiStepLR(optimizer, drops, gamma=0.2))
    found = Schedule(name="step", warmup=warmup, at=[0.6, 0.8], factor=0.2).shares(range(total), total)
    np.testing.assert_allclose(found, step, atol=1e-12)
    flat = torchs(total, rising, lambda optimizer: MultiStepLR(optimizer, [total + 1]))
    np.testing.assert_allclose(Schedule(name="warmup", warmup=warmup).shares(range(total), total), flat, atol=1e-12)


def test_a_name_alone_has_the_defaults_that_its_docstring_says() -> None:
    assert Schedule(name="warmup").shares(range(3), 40).round(6).tolist() == [0.333333, 0.666667, 1.0]
    step = Schedule(name="step").shares(range(8), 8)
    np.testing.assert_allclose(step, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_all_groups_follow_it_within_each_experience_and_over_the_stream() -> None:
    """Two epochs of five mini-batches in three experiences."""
    once = (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    _, rates = trained(schedule=Schedule(name="cosine"), epochs=2)
    np.testing.assert_allclose(rates.seen, np.outer([*once, *once, *once], [0.3, 0.1]))
    _, rates = trained(schedule=Schedule(name="cosine", over="stream"), epochs=2)
    np.testing.assert_allclose(rates.seen, np.outer((1 + np.cos(np.pi * np.arange(30) / 30)) / 2, [0.3, 0.1]))


@pytest.mark.parametrize("made_anew", [{"optimizer_state": "reset"}, {"restart": True}])
def test_an_optimizer_that_is_made_anew_follows_it_from_its_own_learning_rate(made_anew: dict[str, Any]) -> None:
    _, rates = trained(schedule=Schedule(name="step", over="stream", at=[0.4], factor=0.5), **made_anew)
    np.testing.assert_allclose(rates.seen, np.outer([1.0] * 6 + [0.5] * 9, [0.3, 0.1]))


@pytest.mark.parametrize(("strategy", "updates"), [(Cumulative, [5, 10, 15]), (Joint, [5, 5, 5])])
def test_over_the_stream_it_ends_with_the_stream_whatever_an_experience_holds(
    strategy: type[Naive], updates: list[int]
) -> None:
    training, rates = trained(strategy, schedule=Schedule(name="cosine", over="stream"))
    assert training.updates(build_benchmark(DATA, PARTS).train_stream) == updates
    total = sum(updates)
    np.testing.assert_allclose([lr for _, lr in rates.seen], 0.05 * (1 + np.cos(np.pi * np.arange(total) / total)))
    _, rates = trained(strategy, schedule=Schedule(name="cosine"))
    within = np.concatenate([1 + np.cos(np.pi * np.arange(each) / each) for each in updates])
    np.testing.assert_allclose([lr for _, lr in rates.seen], 0.05 * within)


@pytest.mark.parametrize("over", ["experience", "stream"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_does_as_many_updates_as_the_schedule_counts(strategy: str, over: str) -> None:
    training, rates = trained(lookup(STRATEGIES, strategy), schedule=Schedule(name="warmup", warmup=1.0, over=over))
    updates = training.updates(build_benchmark(DATA, PARTS).train_stream)
    lengths = [sum(updates)] if over == "stream" else updates
    expected = np.concatenate([np.arange(1, each + 1) / (each + 1) for each in lengths])
    np.testing.assert_allclose([first for first, _ in rates.seen], 0.3 * expected)


class Twice(Naive):
    """Does other updates than it says."""

    def make_train_dataloader(self, **kwargs: Any) -> None:
        super().make_train_dataloader(**kwargs)
        self.dataloader = [*self.dataloader, *self.dataloader]


def test_a_strategy_that_does_other_updates_than_it_says_is_refused_over_the_stream_alone() -> None:
    _, rates = trained(Twice, schedule=Schedule(name="cosine"))
    assert len(rates.seen) == 30
    with pytest.raises(InputError, match="'stream': Twice does 10 updates in experience 0, where .* says 5$"):
        trained(Twice, schedule=Schedule(name="cosine", over="stream"))


def test_weights_are_those_of_a_bare_loop_with_torchs_scheduler() -> None:
    def momentum(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    ours, _ = trained(optimizer=momentum, schedule=Schedule(name="step", over="stream", at=[0.2, 0.6], factor=0.5))
    theirs, _ = trained(optimizer=momentum)  # for the model alone: it is trained anew below
    bare = build_classifier(
        "mlp", "single", {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks={0: tuple(range(10))}, seed=0
    )
    optimizer = momentum(bare.parameters())
    scheduler = MultiStepLR(optimizer, [3, 9], gamma=0.5)
    for experience in build_benchmark(DATA, PARTS).train_stream:
        theirs.experience = experience
        theirs.make_train_dataloader()
        for images, labels, _ in theirs.dataloader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(bare(images, 0), labels).backward()
            optimizer.step()
            scheduler.step()
    for one, other in zip(ours.model.parameters(), bare.parameters(), strict=True):
        assert torch.equal(one, other)


SHORT = ["stream.experiences=2", "stream.samples=60", "model.hidden=[8]", "evaluation.samples=20"]
COSINE = [*SHORT, 'strategy.schedule={ name = "cosine", over = "stream", warmup = 0.2 }']


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS.keys() - {"schedule_free", "sam", "fade"}))
def test_a_stack_is_the_single_run_for_every_optimizer(float64: None, optimizer: str) -> None:
    scenario = load_scenario("label_flip_digits", COSINE)
    values = scenario.dump()
    values["protocol"]["pairs"] = []
    own = {"at": 5} if optimizer == "switch" else {}
    values["arms"] = {"mine": {"optimizer": optimizer, "lr": [0.01], **own}}
    cells = dict[str, Cell]()
    for way, stacked, schedule in (("stack", None, True), ("alone", False, True), ("constant", False, False)):
        values["strategy"] |= {"stacked": stacked, "schedule": scenario.strategy.schedule if schedule else None}
        cells[way] = Cell(Scenario.model_validate(values | {"stream": scenario.stream}), "mine", 0.01, 0, "report")
    losses = {way: run_cell(cell).online["loss"].to_numpy() for way, cell in cells.items()}
    np.testing.assert_allclose(losses["stack"], losses["alone"], rtol=1e-10, atol=1e-10)
    assert abs(losses["alone"] - losses["constant"]).max() > 1e-6


def test_runs_of_a_stack_have_learning_rates_of_their_own() -> None:
    scenario = load_scenario("label_flip_digits", COSINE)
    cells = [Cell(scenario, "tam", lr, seed, "report") for lr, seed in ((0.1, 0), (0.05, 0), (0.1, 1))]
    for together, cell in zip(run_cells(tuple(cells), Resources()), cells, strict=True):
        assert together.online["loss"].equals(run_cell(cell).online["loss"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("cosin", "strategy.schedule.name: unknown schedule 'cosin': did you mean 'cosine'? Known: constant, cosine"),
        ("3", "strategy.schedule: must be a name, or a table such as { name = 'cosine', warmup = 0.05 }, got 3"),
        ("{ warmup = 0.1 }", "strategy.schedule.name: is missing"),
        ('{ name = "cosine", at = [0.5] }', "strategy.schedule.at: is for the schedule 'step', not 'cosine'"),
        ('{ name = "cosine", warmpu = 0.5 }', "strategy.schedule.warmpu: unknown key: did you mean 'warmup'?"),
        ('{ name = "cosine", warmup = 2.0 }', "strategy.schedule.warmup = 2.0: must be less than or equal to 1"),
        ('{ name = "constant", warmup = 0.5 }', "strategy.schedule.warmup: is for the schedules 'warmup', 'cosine'"),
        ('{ name = "step", at = [] }', "strategy.schedule.at: is an empty list"),
        ('{ name = "step", at = [0.5, 0.5] }', "strategy.schedule.at: [0.5, 0.5] must rise from each to the next"),
        ('{ name = "step", at = [0.75, 0.5] }', "strategy.schedule.at: [0.75, 0.5] must rise from each to the next"),
        ('{ name = "step", factor = 1.5 }', "strategy.schedule.factor = 1.5: must be less than 1"),
        ('{ name = "cosine", over = "epoch" }', "strategy.schedule.over = 'epoch': must be 'experience' or 'stream'"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_line(settings: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("label_flip_digits", [f"strategy.schedule={settings}"])
    assert str(caught.value).startswith(f"scenario 'label_flip_digits': {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arm",
    [
        {"optimizer": "schedule_free"},
        {"optimizer": "lookahead", "base": "schedule_free"},
        {"optimizer": "tamcl.optim.schedule_free:ScheduleFree"},
    ],
)
def test_schedule_free_is_refused(arm: dict[str, Any]) -> None:
    values = load_scenario("label_flip_digits").dump()
    values |= {"arms": {"free": arm | {"lr": [0.1]}}}
    values["protocol"]["pairs"] = []
    values["strategy"]["schedule"] = "constant"
    assert parse(values).strategy.schedule is None
    values["strategy"]["schedule"] = "cosine"
    with pytest.raises(InputError, match="strategy.schedule: schedule_free needs a constant learning rate, .*'free'"):
        parse(values)


def test_a_run_without_schedule_is_the_run_that_it_always_was() -> None:
    cells = [
        Cell(load_scenario("label_flip_digits", settings), "tam", 0.1, 0, "report")
        for settings in ([], ["strategy.schedule=constant"], ["strategy.schedule=cosine"], ["strategy.clip=1.0"])
    ]
    assert not {"schedule", "clip"} & cells[0].config["strategy"].keys()
    assert cells[0].id == cells[1].id
    assert len({cell.id for cell in cells}) == 3


def test_gradients_are_as_long_as_they_are_or_as_asked_for() -> None:
    _, free = trained()
    bound = float(np.median(free.norms))
    _, clipped = trained(clip=bound)
    assert max(clipped.norms) <= bound * (1 + 1e-5)
    first = next(place for place, norm in enumerate(free.norms) if norm > bound)
    np.testing.assert_allclose(clipped.norms[:first], free.norms[:first])  # nothing was done to shorter ones
    np.testing.assert_allclose(clipped.norms[first], bound, rtol=1e-5)


def test_both_gradients_of_a_closure_are_clipped() -> None:
    seen: list[float] = []

    class Looking(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            params = [param for group in self.param_groups for param in group["params"]]
            seen.append(float(torch.cat([param.grad.flatten() for param in params]).norm()))
            super().step(closure)

    trained(optimizer=lambda parameters: SAM(parameters, lr=0.1, base=Looking), clip=1e-3)
    np.testing.assert_allclose(seen, 1e-3, rtol=1e-3)


def test_a_stack_clips_each_run_by_itself(float64: None) -> None:
    values = [*SHORT, "strategy.clip=0.3"]
    stacked, alone = (load_scenario("label_flip_digits", [*values, *more]) for more in ([], ["strategy.stacked=false"]))
    cells = [Cell(stacked, "tam", lr, seed, "report") for lr, seed in ((0.1, 0), (0.05, 1))]
    for together, cell in zip(run_cells(tuple(cells), Resources()), cells, strict=True):
        single = run_cell(Cell(alone, "tam", cell.lr, cell.seed, "report"))
        np.testing.assert_allclose(together.online["loss"], single.online["loss"], rtol=1e-10)
    assert why_not_compiled(stacked.dump(), "tam") == "strategy.clip looks inside of steps"


@pytest.mark.parametrize("wrong", [0, -1.0, True, float("inf"), "1"])
def test_a_norm_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="^clip = .*: must be a finite number above 0, or None$"):
        trained(clip=wrong)
