"""Our training gives Avalanche's own weights; evaluation and foreign random draws change nothing."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.training import Naive as AvalanchesNaive
from avalanche.training.plugins import EvaluationPlugin

from tamcl.avalanche import SupervisedPlugin
from tamcl.models import Classifier
from tamcl.models.classifier import build_classifier
from tamcl.optim import HGM, SAM, AdamRel, Lookahead, ScheduleFree, Switch
from tamcl.optim.closures import needs_closure
from tamcl.strategies import Naive
from tamcl.strategies.loader import BatchLoader
from tamcl.streams import LabelFlip, TaskShift
from tamcl.streams.base import Segment
from tamcl.streams.benchmark import Experience, build_benchmark
from tamcl.training import collectors
from tamcl.training.collectors import EvaluationCollector, OnlineCollector
from tests.helpers import noise_data, noise_segments
from tests.strategies.helpers import build

DATA = noise_data(samples=95)
TASKS = TaskShift(name="task_shift", dataset="noise", experiences=2, setting="task_incremental")
FLIPS = LabelFlip(name="label_flip", dataset="noise", experiences=3, fraction=0.8)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def segments(stream: TaskShift | LabelFlip) -> list[Segment]:
    return stream.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)


def model(head: str = "single", tasks: dict[int, tuple[int, ...]] | None = None) -> Classifier:
    tasks = tasks or {0: tuple(range(10))}
    return build_classifier("mlp", head, {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)


def weights(network: Classifier) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def train(
    parts: list[Segment], *, evaluate: bool = False, optimizer: Callable[[Any], Any] = adam, **options: Any
) -> Naive:
    benchmark = build_benchmark(DATA, parts)
    strategy = build(Naive, model(), optimizer, **options)
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
        if evaluate:
            strategy.eval(benchmark.test_stream)
    return strategy


def test_weights_are_bitwise_those_of_avalanches_naive() -> None:
    parts = segments(FLIPS)
    benchmark = build_benchmark(DATA, parts)
    ours = train(parts, epochs=2, batch_size=8, seed=3)
    theirs = AvalanchesNaive(
        model=model(),
        optimizer=None,
        train_mb_size=8,
        train_epochs=1,
        evaluator=EvaluationPlugin(loggers=[_Silent()]),
    )
    theirs.optimizer = adam(theirs.model.parameters())
    for position, experience in enumerate(benchmark.train_stream):
        loader = BatchLoader(experience, 8, 3, position, torch.device("cpu"))
        for epoch in range(2):
            ordered = experience.dataset.subset(loader.order(epoch).tolist())
            theirs.train(_with_dataset(benchmark.train_stream[position], ordered), eval_streams=[], shuffle=False)
    assert torch.equal(weights(ours.model), weights(theirs.model))


class _Silent(SupervisedPlugin):  # type: ignore[misc]
    def log_metrics(self, values: object) -> None: ...


def _with_dataset(experience: Experience, dataset: Any) -> Experience:
    experience.__dict__["dataset"] = dataset
    return experience


def test_evaluation_changes_nothing_in_training() -> None:
    parts = segments(FLIPS)
    without, with_evaluation = train(parts), train(parts, evaluate=True)
    assert torch.equal(weights(without.model), weights(with_evaluation.model))


def test_an_optimizer_that_draws_from_the_global_generators_does_not_change_the_stream() -> None:
    seen: dict[str, list[torch.Tensor]] = {"adam": [], "noisy": []}
    for kind, optimizer in (("adam", adam), ("noisy", _Noisy)):
        watch = _Watch(seen[kind])
        train(segments(FLIPS), optimizer=optimizer, plugins=[watch], epochs=2)
    assert len(seen["adam"]) == 3 * 2 * 10
    for ours, theirs in zip(seen["adam"], seen["noisy"], strict=True):
        assert torch.equal(ours, theirs)


class _Noisy(torch.optim.SGD):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.01)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        np.random.rand(7)  # noqa: NPY002
        torch.rand(3)
        super().step(closure)


class _Watch(SupervisedPlugin):  # type: ignore[misc]
    """Keep the mini-batches that the strategy saw."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.seen.append(torch.cat([strategy.mb_x.flatten(), strategy.mb_y.float()]).clone())


def test_batches_hold_every_example_once_an_epoch_with_its_label_of_this_experience() -> None:
    parts = segments(FLIPS)
    benchmark = build_benchmark(DATA, parts)
    experience = benchmark.train_stream[2]
    loader = BatchLoader(experience, 10, 0, 2, torch.device("cpu"))
    epochs = [list(loader), list(loader)]
    assert [len(y) for _, y, _ in epochs[0]] == [10] * 9 + [5] == [len(y) for _, y, _ in epochs[1]]
    assert len(loader) == 10
    mean, std = DATA.train_x.mean(), DATA.train_x.std()
    pictures = (DATA.train_x[parts[2].train_index] - mean) / std
    expected = {p.tobytes(): label for p, label in zip(pictures.round(3), parts[2].train_labels, strict=True)}
    for batches in epochs:
        x, y = torch.cat([x for x, _, _ in batches]), torch.cat([y for _, y, _ in batches])
        found = {p.tobytes(): label for p, label in zip(x.double().numpy().round(3), y.tolist(), strict=True)}
        assert found == expected
    assert not torch.equal(epochs[0][0][1], epochs[1][0][1])


def test_batch_order_depends_on_seed_experience_and_epoch_alone() -> None:
    benchmark = build_benchmark(DATA, segments(FLIPS))
    cpu = torch.device("cpu")
    orders = [
        tuple(BatchLoader(benchmark.train_stream[position], 10, seed, position, cpu).order(epoch).tolist())
        for seed in (0, 1) for position in (0, 1) for epoch in (0, 1)
    ]  # fmt: skip
    assert len(set(orders)) == 8


@pytest.mark.parametrize("head", ["single", "masked", "multi"])
def test_one_pass_evaluation_equals_one_experience_at_a_time(head: str) -> None:
    parts = segments(TASKS)
    tasks = {segment.task: segment.classes for segment in parts}
    network = model(head, tasks)
    benchmark = build_benchmark(DATA, parts)
    strategy = Naive(model=network, make_optimizer=adam)
    network.train()
    results = strategy.eval(benchmark.test_stream)
    assert network.training
    for result, segment in zip(results, parts, strict=True):
        x = benchmark.test_stream[0].inputs.batch(torch.from_numpy(segment.test_index))
        logits = network(x, segment.task).detach().double().numpy()
        of_task = logits[:, list(segment.classes)] if head != "single" else logits
        answers = np.array(segment.classes)[of_task.argmax(1)] if head != "single" else of_task.argmax(1)
        assert result.accuracy == pytest.approx((answers == segment.test_labels).mean())
        shifted = logits - logits.max(1, keepdims=True)
        right = shifted[np.arange(len(logits)), segment.test_labels] - np.log(np.exp(shifted).sum(1))
        assert result.loss == pytest.approx(-right.mean(), rel=1e-5)
        assert result.n == len(segment.test_index)


def test_optimizer_state_is_kept_or_made_anew_at_a_boundary() -> None:
    steps = {}
    for state in ("keep", "reset"):
        strategy = train(segments(FLIPS), optimizer_state=state)
        steps[state] = {int(values["step"]) for values in strategy.optimizer.state.values()}
    assert steps == {"keep": {30}, "reset": {10}}


def test_parameters_left_out_of_the_optimizer_stay_out() -> None:
    strategy = train(segments(FLIPS), optimizer=lambda parameters: adam([next(iter(parameters))]))
    assert len(strategy.optimizer.param_groups[0]["params"]) == 1
    untouched, initial = list(strategy.model.parameters())[1], list(model().parameters())[1]
    assert torch.equal(untouched, initial)


def test_online_rows_are_measured_before_the_update() -> None:
    online = OnlineCollector()
    parts = segments(FLIPS)
    train(parts, plugins=[online], batch_size=10)
    rows = online.rows()
    assert rows["step"].tolist() == list(range(30))
    assert rows["experience"].tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert rows["n"].tolist() == ([10] * 9 + [5]) * 3
    benchmark = build_benchmark(DATA, parts)
    x, y, _ = next(iter(BatchLoader(benchmark.train_stream[0], 10, 0, 0, torch.device("cpu"))))
    logits = model()(x)
    assert rows.loc[0, "loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item())
    assert rows.loc[0, "correct"] == (logits.argmax(1) == y).sum().item()


def test_an_optimizer_that_needs_a_closure_gets_one_that_computes_loss_and_gradients_anew() -> None:
    """SAM by hand on the same mini-batches; rows are measured before the update and hooks called once a step."""
    online, seen = OnlineCollector(), list[torch.Tensor]()
    parts = segments(FLIPS)

    def sam(parameters: Any) -> torch.optim.Optimizer:
        return SAM(parameters, lr=0.1, base="sgd", momentum=0.9, rho=0.5)

    strategy = train(parts, plugins=[online, _Watch(seen)], optimizer=sam)
    assert len(seen) == 30
    network, losses = model(), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def gradient(x: torch.Tensor, y: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()
        return loss.item()

    for position, experience in enumerate(build_benchmark(DATA, parts).train_stream):
        for x, y, _ in BatchLoader(experience, 10, 0, position, torch.device("cpu")):
            losses.append(gradient(x, y))
            weights_before = [p.detach().clone() for p in network.parameters()]
            grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
            length = torch.cat([g.flatten() for g in grads]).norm()
            with torch.no_grad():
                for p, g in zip(network.parameters(), grads, strict=True):
                    p.add_(g * 0.5 / length)
            gradient(x, y)
            with torch.no_grad():
                for p, w in zip(network.parameters(), weights_before, strict=True):
                    p.copy_(w)
            optimizer.step()
    assert online.rows()["loss"].to_numpy() == pytest.approx(np.array(losses), rel=1e-4)
    torch.testing.assert_close(weights(strategy.model), weights(network), rtol=1e-4, atol=1e-5)


class _Closing(torch.optim.SGD):
    """Says by its signature alone that it needs a closure, whose gradients it steps by."""

    def step(self, compute: Any) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = compute()
            compute()
        super().step()
        return loss


def _scheduled(parameters: Any) -> torch.optim.Optimizer:
    """A scheduler goes around the step."""
    optimizer = torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
        _scheduled,
        lambda p: _Closing(p, lr=0.1),
        lambda p: Lookahead(p, base=_Closing, lr=0.1, k=2),
        lambda p: Switch(p, first=torch.optim.LBFGS, then="sgd", lr=0.1, at=3, max_iter=3),
    ],
    ids=["lbfgs", "scheduled", "by signature", "lookahead", "switch"],
)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_whatever_needs_a_closure_by_its_signature_gets_one(make: Any) -> None:
    """torch's own loop with a closure takes the same steps, and a row is the loss before the update, once."""
    online, seen = OnlineCollector(), list[torch.Tensor]()
    parts = segments(FLIPS)
    strategy = train(parts, plugins=[online, _Watch(seen)], optimizer=make)
    assert len(seen) == 30
    network, losses = model(), []
    optimizer = make(network.parameters())
    for position, experience in enumerate(build_benchmark(DATA, parts).train_stream):
        for x, y, _ in BatchLoader(experience, 10, 0, position, torch.device("cpu")):

            def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(network(x), y)
                loss.backward()
                return loss

            losses.append(closure().item())
            optimizer.step(closure)
    assert online.rows()["loss"].to_numpy() == pytest.approx(np.array(losses), rel=1e-4)
    torch.testing.assert_close(weights(strategy.model), weights(network), rtol=1e-4, atol=1e-5)
    assert needs_closure(strategy.optimizer)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_rows_before() -> None:
    online = OnlineCollector()

    def huge(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1e30)

    strategy = train(noise_segments(DATA), plugins=[online], optimizer=huge)
    assert re.fullmatch(r"the loss was (nan|inf) at step \d", strategy.diverged)
    rows = online.rows()
    assert 0 < len(rows) < 10
    assert np.isfinite(rows["loss"]).all()


def test_no_weight_is_changed_after_a_loss_that_is_not_finite_was_seen() -> None:
    online, counted = OnlineCollector(), _Counted()

    def huge(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1e30)

    strategy = train(noise_segments(DATA), plugins=[online, counted], optimizer=huge, batch_size=1, epochs=3)
    assert strategy.diverged
    assert counted.updates == 99  # a row is looked at with the hundredth, before its update


class _Counted(SupervisedPlugin, supports_distributed=False):  # type: ignore[misc,call-arg]
    updates = 0

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.updates += 1


def test_weights_that_the_last_update_made_nan_are_found_in_evaluation() -> None:
    evaluation = EvaluationCollector()
    benchmark = build_benchmark(DATA, segments(FLIPS))
    strategy = build(Naive, model(), adam, plugins=[evaluation])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    with torch.no_grad():
        next(strategy.model.parameters()).fill_(torch.nan)
    assert not strategy.diverged
    strategy.eval(benchmark.test_stream)
    assert strategy.diverged == "the test loss was nan after experience 0"
    assert len(evaluation.rows()) == 3


def test_evaluation_rows_start_with_the_untrained_model() -> None:
    evaluation = EvaluationCollector()
    benchmark = build_benchmark(DATA, segments(FLIPS))
    strategy = build(Naive, model(), adam, plugins=[evaluation])
    strategy.eval(benchmark.test_stream)
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
        strategy.eval(benchmark.test_stream)
    rows = evaluation.rows()
    assert list(zip(rows["trained_on"], rows["evaluated_on"], strict=True)) == [
        (trained, tested) for trained in (-1, 0, 1, 2) for tested in (0, 1, 2)
    ]


@pytest.mark.parametrize("name", ["OnlineCollector", "EvaluationCollector"])
def test_collectors_use_hooks_that_exist_and_change_no_weight(name: str) -> None:
    collector = getattr(collectors, name)
    hooks = {method for method, _ in inspect.getmembers(SupervisedPlugin) if method.startswith(("before_", "after_"))}
    answered = {method for method in vars(collector) if method.startswith(("before_", "after_"))}
    assert answered
    assert answered <= hooks
    parts = segments(FLIPS)
    with_it = train(parts, plugins=[collector()], evaluate=True)
    assert torch.equal(weights(with_it.model), weights(train(parts).model))


def test_experiences_are_built_when_asked_for_and_share_the_images() -> None:
    stream = build_benchmark(DATA, segments(FLIPS)).train_stream
    assert len(stream) == 3
    assert stream[0] is not stream[0]
    assert stream[0].inputs.pixels.data_ptr() == stream[2].inputs.pixels.data_ptr()
    assert stream[-1].current_experience == 2
    assert [experience.current_experience for experience in stream[1:]] == [1, 2]
    assert stream[1].classes_in_this_experience == list(range(10))
    x, y, task = stream[1].dataset[4]
    assert (y, task) == (int(stream[1].labels[4]), 0)
    assert torch.equal(x, stream[1].inputs.batch(stream[1].index[4:5])[0])


def test_an_optimizer_with_a_clock_is_told_of_every_boundary_but_the_first() -> None:
    """Of 3 experiences of 10 mini-batches each it counts the last one's."""
    strategy = train(segments(FLIPS), optimizer=lambda p: AdamRel(p, lr=0.01))
    assert {state["step"] for state in strategy.optimizer.state.values()} == {10}
    wrapped = train(segments(FLIPS), optimizer=lambda p: Lookahead(p, lr=0.01, base="adam_rel"))
    assert {state["step"] for state in wrapped.optimizer.state.values()} == {10}
    other = train(segments(FLIPS), optimizer=lambda p: HGM(p, lr=0.01))
    assert {state["step"] for state in other.optimizer.state.values()} == {30}


@pytest.mark.parametrize(("first", "then", "at"), [("adam", "adam_rel", 100), ("adam_rel", "adam", 5)])
def test_an_optimizer_that_does_not_step_now_is_told_of_no_boundary(first: str, then: str, at: int) -> None:
    """Whose clock it would start again is the other's."""
    made = {"lr": 0.01, "first": first, "then": then, "at": at}
    strategy = train(segments(FLIPS), optimizer=lambda p: Switch(p, **made))
    assert {float(state["step"]) for state in strategy.optimizer.state.values()} == {30 - at % 100}


def test_what_is_tested_is_the_average_and_a_test_changes_nothing() -> None:
    parts, test = segments(FLIPS), build_benchmark(DATA, segments(FLIPS)).test_stream

    def make(p: Any) -> ScheduleFree:
        return ScheduleFree(p, lr=0.05)

    plain, tested = (train(parts, evaluate=evaluate, optimizer=make) for evaluate in (False, True))
    assert torch.equal(weights(plain.model), weights(tested.model))
    found = tested.test(test)
    assert torch.equal(weights(plain.model), weights(tested.model))
    with torch.no_grad():
        for param, state in plain.optimizer.state.items():
            param.copy_((param - 0.1 * state["z"]) / 0.9)
    plain.optimizer.state.clear()
    expected = plain.test(test)
    assert [each.loss for each in found] == pytest.approx([each.loss for each in expected], rel=1e-5)
    trained = build(Naive, tested.model, adam).test(test)
    assert [each.loss for each in found] != pytest.approx([each.loss for each in trained], rel=1e-3)
